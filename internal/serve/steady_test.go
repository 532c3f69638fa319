package serve

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A pausing is a ResponseWriter that stops once to let a test change the file
// in the middle of the body.
type pausing struct {
	*httptest.ResponseRecorder
	after  int
	change func()
}

func (p *pausing) Write(b []byte) (int, error) {
	n, err := p.ResponseRecorder.Write(b)
	if p.change != nil && p.Body.Len() >= p.after {
		change := p.change
		p.change = nil
		change()
	}
	return n, err
}

// serveChanging runs one request whose file is changed once half of size has
// been sent, and tells whether the response was aborted.
func serveChanging(h http.Handler, r *http.Request, size int, change func()) (w *pausing, aborted bool) {
	w = &pausing{ResponseRecorder: httptest.NewRecorder(), after: size / 2, change: change}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			aborted = true
		default:
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return w, false
}

func TestFileChangedWhileServed(t *testing.T) {
	const size = 1 << 20
	old := bytes.Repeat([]byte("old-"), size/4)
	fresh := bytes.Repeat([]byte("new!"), size/4)
	put := func(name string, content []byte, flags int) {
		f, err := os.OpenFile(name, flags, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		ranges string
		change func(name string)
		want   string // "whole": the old content, whole; "cut": aborted
	}{
		{"not at all", "", func(string) {}, "whole"},
		{"appended to", "", func(name string) { put(name, fresh, os.O_WRONLY|os.O_APPEND) }, "whole"},
		{"truncated", "", func(name string) { os.Truncate(name, size/4) }, "cut"},
		{"emptied", "", func(name string) { os.Truncate(name, 0) }, "cut"},
		{"truncated at what was sent", "", func(name string) { os.Truncate(name, size/2) }, "cut"},
		{"written over, same size", "", func(name string) { put(name, fresh, os.O_WRONLY) }, "cut"},
		{"written anew, same size", "", func(name string) { put(name, fresh, os.O_WRONLY|os.O_TRUNC) }, "cut"},
		{"written anew, shorter", "", func(name string) { put(name, fresh[:size*3/4], os.O_WRONLY|os.O_TRUNC) }, "cut"},
		{"written anew, longer", "", func(name string) { put(name, append(fresh, fresh...), os.O_WRONLY|os.O_TRUNC) }, "cut"},
		{"written anew, longer, by the same content", "", func(name string) { put(name, append(old, old...), os.O_WRONLY|os.O_TRUNC) }, "whole"},
		{"replaced by a rename", "", func(name string) {
			put(name+".new", fresh, os.O_WRONLY|os.O_CREATE)
			os.Rename(name+".new", name)
		}, "whole"},
		{"removed", "", func(name string) { os.Remove(name) }, "whole"},
		{"made read-only", "", func(name string) { os.Chmod(name, 0o400) }, "whole"},
		{"a range, appended to", "bytes=4096-", func(name string) { put(name, fresh, os.O_WRONLY|os.O_APPEND) }, "whole"},
		{"a range, written over beyond it", "bytes=0-524287", func(name string) { put(name, append(old[:size*3/4:size*3/4], fresh...), os.O_WRONLY|os.O_TRUNC) }, "whole"},
		{"a range, written anew, longer", "bytes=4096-", func(name string) { put(name, append(fresh, fresh...), os.O_WRONLY|os.O_TRUNC) }, "cut"},
		{"a range, truncated", "bytes=4096-", func(name string) { os.Truncate(name, size/4) }, "cut"},
		{"several ranges, not at all", "bytes=0-524287,600000-900000", func(string) {}, "whole"},
		{"several ranges, appended to", "bytes=0-524287,600000-900000", func(name string) { put(name, fresh, os.O_WRONLY|os.O_APPEND) }, "cut"},
		{"several ranges, truncated", "bytes=0-524287,600000-900000", func(name string) { os.Truncate(name, size/4) }, "cut"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			name := filepath.Join(root, "file.bin")
			write(t, root, "file.bin", string(old))
			h := newHandler(t, Config{Root: root})
			r := httptest.NewRequest("GET", "/file.bin", nil)
			want := old
			var first, last int
			if tc.ranges != "" {
				r.Header.Set("Range", tc.ranges)
				part := strings.TrimPrefix(tc.ranges, "bytes=")
				from, to, _ := strings.Cut(part, "-")
				first, _ = strconv.Atoi(from)
				last = size - 1
				if n, err := strconv.Atoi(to); err == nil {
					last = n
				}
				want = old[first : last+1]
			}
			w, aborted := serveChanging(h, r, size/2, func() { tc.change(name) })
			if w.change != nil {
				t.Fatal("the file was never changed")
			}
			announced, _ := strconv.Atoi(w.Header().Get("Content-Length"))
			if aborted != (tc.want == "cut") {
				t.Errorf("aborted: %t, %d of %d bytes sent, want it %s", aborted, w.Body.Len(), announced, tc.want)
			}
			if aborted && w.Body.Len() >= announced {
				t.Errorf("aborted after all of the %d announced bytes: it looks whole", announced)
			}
			if !aborted && !strings.Contains(tc.ranges, ",") && !bytes.Equal(w.Body.Bytes(), want) {
				t.Errorf("%d bytes sent, not the %d of the old content", w.Body.Len(), len(want))
			}
		})
	}
}

// A visitor who leaves is not a file that changed.
func TestVisitorLeavesInTheMiddle(t *testing.T) {
	root := t.TempDir()
	write(t, root, "file.bin", strings.Repeat("x", 1<<20))
	h := newHandler(t, Config{Root: root})
	for _, ranges := range []string{"", "bytes=0-99999,200000-900000"} {
		r := httptest.NewRequest("GET", "/file.bin", nil)
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		w := &leaving{ResponseRecorder: httptest.NewRecorder(), after: 100}
		h.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 206 {
			t.Errorf("range %q: %d", ranges, w.Code)
		}
	}
}

// A leaving is a ResponseWriter whose reader goes away.
type leaving struct {
	*httptest.ResponseRecorder
	after int
}

func (l *leaving) Write(b []byte) (int, error) {
	if l.Body.Len() > l.after {
		return 0, errors.New("the visitor left")
	}
	return l.ResponseRecorder.Write(b)
}

// The body goes to a writer's ReadFrom, where there is one, in pieces of its choice.
func TestBodyGoesThroughReadFrom(t *testing.T) {
	root := t.TempDir()
	content := strings.Repeat("0123456789", 10_000)
	write(t, root, "file.bin", content)
	h := newHandler(t, Config{Root: root})
	w := &readingFrom{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(w, httptest.NewRequest("GET", "/file.bin", nil))
	if w.calls != 1 || w.Body.String() != content {
		t.Errorf("ReadFrom was called %d times, with %d bytes, want once with %d", w.calls, w.Body.Len(), len(content))
	}
}

type readingFrom struct {
	*httptest.ResponseRecorder
	calls int
}

func (w *readingFrom) ReadFrom(r io.Reader) (int64, error) {
	w.calls++
	var n int64
	buf := make([]byte, 777)
	for {
		m, err := r.Read(buf)
		w.Body.Write(buf[:m])
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
