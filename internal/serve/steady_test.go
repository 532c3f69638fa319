package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
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
	return w, aborts(h, w, r)
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
		rest   bool // a file at rest comes whole all the same
		moving bool // one that changes already when it is opened does
	}{
		{"not at all", "", func(string) {}, true, true},
		{"appended to", "", func(name string) { put(name, fresh, os.O_WRONLY|os.O_APPEND) }, false, true},
		{"truncated", "", func(name string) { os.Truncate(name, size/4) }, false, false},
		{"emptied", "", func(name string) { os.Truncate(name, 0) }, false, false},
		{"truncated at what was sent", "", func(name string) { os.Truncate(name, size/2) }, false, false},
		{"written over, same size", "", func(name string) { put(name, fresh, os.O_WRONLY) }, false, true},
		{"written over, its time set back", "", func(name string) {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			put(name, fresh, os.O_WRONLY)
			os.Chtimes(name, info.ModTime(), info.ModTime())
		}, false, true},
		{"touched", "", func(name string) { os.Chtimes(name, time.Time{}, time.Now().Add(time.Minute)) }, false, true},
		{"written anew, same size", "", func(name string) { put(name, fresh, os.O_WRONLY|os.O_TRUNC) }, false, true},
		{"written anew, shorter", "", func(name string) { put(name, fresh[:size*3/4], os.O_WRONLY|os.O_TRUNC) }, false, false},
		{"written anew, longer", "", func(name string) { put(name, append(fresh, fresh...), os.O_WRONLY|os.O_TRUNC) }, false, true},
		{"replaced by a rename", "", func(name string) {
			put(name+".new", fresh, os.O_WRONLY|os.O_CREATE)
			os.Rename(name+".new", name)
		}, true, true},
		{"removed", "", func(name string) { os.Remove(name) }, true, true},
		{"made read-only", "", func(name string) { os.Chmod(name, 0o400) }, true, true},
		{"given another name", "", func(name string) { os.Link(name, name+".link") }, true, true},
		{"a range, appended to", "bytes=4096-", func(name string) { put(name, fresh, os.O_WRONLY|os.O_APPEND) }, false, true},
		{"a range, truncated behind it", "bytes=0-524287", func(name string) { os.Truncate(name, size*3/4) }, false, true},
		{"a range, written anew, longer", "bytes=4096-", func(name string) { put(name, append(fresh, fresh...), os.O_WRONLY|os.O_TRUNC) }, false, true},
		{"a range, truncated", "bytes=4096-", func(name string) { os.Truncate(name, size/4) }, false, false},
		{"several ranges, not at all", "bytes=0-524287,600000-900000", func(string) {}, true, true},
		{"several ranges, appended to", "bytes=0-524287,600000-900000", func(name string) { put(name, fresh, os.O_WRONLY|os.O_APPEND) }, false, true},
		{"several ranges, truncated", "bytes=0-524287,600000-900000", func(name string) { os.Truncate(name, size/4) }, false, false},
	} {
		for _, rest := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, at rest %t", tc.name, rest), func(t *testing.T) {
				begun := time.Now()
				root := t.TempDir()
				name := filepath.Join(root, "file.bin")
				write(t, root, "file.bin", string(old))
				var log bytes.Buffer
				h := newHandler(t, Config{Root: root, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				whole := tc.moving
				stopClock(h, begun)
				if rest {
					setClock(h, time.Hour)
					whole = tc.rest
				}
				r := httptest.NewRequest("GET", "/file.bin", nil)
				if tc.ranges != "" {
					r.Header.Set("Range", tc.ranges)
				}
				awaitTick(t, root)
				w, aborted := serveChanging(h, r, size/2, func() { tc.change(name) })
				if w.change != nil {
					t.Fatal("the file was never changed")
				}
				if tag := w.Header().Get("Etag"); (tag != "") != rest || strings.HasPrefix(tag, "W/") {
					t.Errorf("ETag %q, want a strong one: %t", tag, rest)
				}
				announced, _ := strconv.Atoi(w.Header().Get("Content-Length"))
				if aborted == whole {
					t.Errorf("aborted: %t, %d of %d bytes sent", aborted, w.Body.Len(), announced)
				}
				if aborted && w.Body.Len() >= announced {
					t.Errorf("aborted after all of the %d announced bytes: it looks whole", announced)
				}
				if !aborted && w.Body.Len() != announced {
					t.Errorf("%d bytes sent, %d announced", w.Body.Len(), announced)
				}
				if rest && (bytes.Contains(w.Body.Bytes(), []byte("new!")) || !aborted && tc.ranges == "" && !bytes.Equal(w.Body.Bytes(), old)) {
					t.Error("what was sent under a strong ETag is not the old content")
				}
				line := "level=INFO msg=\"a download was broken off: the file changed meanwhile\" file=file.bin\n"
				if got := strings.Contains(log.String(), line); got != aborted {
					t.Errorf("aborted: %t, but the log says\n%s", aborted, &log)
				}
			})
		}
	}
}

// Whatever writes to a file however seldom, the second try gets it.
func TestNextTryOfAFileThatChanges(t *testing.T) {
	const size = 1 << 20
	root := t.TempDir()
	write(t, root, "file.bin", strings.Repeat("x", size))
	var log bytes.Buffer
	h := newHandler(t, Config{Root: root, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	touch := func() { os.Chtimes(filepath.Join(root, "file.bin"), time.Time{}, time.Now().Add(-time.Hour)) }
	for try, want := range []struct {
		aborted bool
		clock   time.Duration
	}{{true, time.Hour}, {false, time.Hour}, {false, time.Hour + restlessFor/2}, {true, time.Hour + 2*restlessFor}} {
		setClock(h, want.clock) // each change is an hour ago by then
		awaitTick(t, root)
		w, aborted := serveChanging(h, httptest.NewRequest("GET", "/file.bin", nil), size/2, touch)
		if aborted != want.aborted || (w.Header().Get("ETag") != "") != want.aborted {
			t.Errorf("try %d: aborted %t, ETag %q", try, aborted, w.Header().Get("ETag"))
		}
	}
	// It is told of once in that time, however many downloads it breaks off.
	shrink := func() { os.Truncate(filepath.Join(root, "file.bin"), size/4) }
	if _, aborted := serveChanging(h, httptest.NewRequest("GET", "/file.bin", nil), size/2, shrink); !aborted {
		t.Error("a file that got shorter was not broken off")
	}
	if n := strings.Count(log.String(), "broken off"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, &log)
	}
}

// No part of a file that changes is joined to a part that a visitor has.
func TestNoValidatorOfAFileThatChanges(t *testing.T) {
	begun := time.Now()
	root := t.TempDir()
	write(t, root, "a.txt", "0123456789", "old.txt", "0123456789")
	date := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(root, "old.txt"), date, date); err != nil {
		t.Fatal(err)
	}
	srv := start(t, Config{Root: root})
	stopClock(srv.Config.Handler.(*Handler), begun)
	a := ask(t, srv, "GET", "/a.txt", "")
	if a.Header.Get("ETag") != "" || a.Header.Get("Last-Modified") != "" {
		t.Errorf("a file of this moment: ETag %q, Last-Modified %q, want neither", a.Header.Get("ETag"), a.Header.Get("Last-Modified"))
	}
	modified := date.UTC().Format(http.TimeFormat)
	if a = ask(t, srv, "GET", "/old.txt", ""); a.Header.Get("ETag") != "" || a.Header.Get("Last-Modified") != modified {
		t.Errorf("a file of this moment with an older time: ETag %q, Last-Modified %q, want none and its time", a.Header.Get("ETag"), a.Header.Get("Last-Modified"))
	}
	for _, target := range []string{"/a.txt", "/old.txt"} {
		for header, want := range map[string]int{
			"If-Range: " + modified: 200, `If-Range: "x"`: 200, `If-Range: W/"x"`: 200, "X-No: condition": 206, `If-None-Match: "x"`: 206,
		} {
			if a := ask(t, srv, "GET", target, "", "Range: bytes=0-1", header); a.StatusCode != want {
				t.Errorf("%s, a range with %s: %d, want %d", target, header, a.StatusCode, want)
			}
		}
	}
	for _, at := range []time.Duration{time.Hour, 20 * 365 * 24 * time.Hour} {
		future := time.Now().Add(at)
		write(t, root, "future.txt", "x")
		if err := os.Chtimes(filepath.Join(root, "future.txt"), future, future); err != nil {
			t.Fatal(err)
		}
		h := newHandler(t, Config{Root: root})
		setClock(h, time.Minute)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/future.txt", nil))
		if w.Header().Get("Last-Modified") != "" || w.Header().Get("ETag") == "" {
			t.Errorf("a time %v ahead: Last-Modified %q, ETag %q, want none and one", at, w.Header().Get("Last-Modified"), w.Header().Get("ETag"))
		}
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
