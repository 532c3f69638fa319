//go:build unix

package serve

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/amahi/spdy-proxy/internal/testlog"
)

func makeFIFO(name string) error { return syscall.Mkfifo(name, 0o600) }

// makeSocket makes one in a folder, to which nobody listens.
func makeSocket(t *testing.T, dir string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	// A short name, as the address of a socket is short: bind by way of the folder's descriptor.
	t.Chdir(dir)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: "socket"}); err != nil {
		t.Fatal(err)
	}
}

// withLimit calls f while the system gives this process less of something, which it has back
// however f ends.
func withLimit(t *testing.T, resource int, lower func(*syscall.Rlimit), f func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(resource, &old); err != nil {
		t.Fatal(err)
	}
	less := old
	lower(&less)
	if err := syscall.Setrlimit(resource, &less); err != nil {
		t.Skipf("the limit %d cannot be set: %v", resource, err)
	}
	defer func() {
		if err := syscall.Setrlimit(resource, &old); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// noMore is for RLIMIT_NOFILE. (The type of Cur is not the same everywhere.)
func noMore(l *syscall.Rlimit) { l.Cur = 0 }

// Without descriptors everybody is told to come back, and the log once.
func TestNoDescriptors(t *testing.T) {
	root := t.TempDir()
	write(t, root, "film.mp4", "film")
	var book testlog.Buffer
	h := newHandler(t, Config{Root: root, Upload: t.TempDir(), Logger: book.Logger(slog.LevelInfo)})
	var answers []*httptest.ResponseRecorder
	withLimit(t, syscall.RLIMIT_NOFILE, noMore, func() {
		for range 500 {
			for _, r := range []*http.Request{
				httptest.NewRequest("PUT", "/x", strings.NewReader("hello")),
				httptest.NewRequest("GET", "/film.mp4", nil),
				httptest.NewRequest("GET", "/", nil),
			} {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				answers = append(answers, w)
			}
		}
	})
	for _, w := range answers {
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Fatalf("%d %q, Retry-After %q, want 503", w.Code, w.Body, w.Header().Get("Retry-After"))
		}
	}
	if lines := book.Lines(); len(lines) != 1 || !strings.Contains(lines[0], "no more files can be opened") {
		t.Errorf("logged %q, want one line", lines)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("PUT", "/x", strings.NewReader("hello")))
	if w.Code != 201 {
		t.Errorf("when there are descriptors again: %d %q, want 201", w.Code, w.Body)
	}
}

// A disk that fills up in spite of all looks gives 507 and leaves nothing.
func TestDiskFullWhileWriting(t *testing.T) {
	dir := t.TempDir()
	h := newHandler(t, Config{Root: t.TempDir(), Upload: dir})
	r := httptest.NewRequest("PUT", "/x", io.LimitReader(zeros{}, 4<<20))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	withLimit(t, syscall.RLIMIT_FSIZE, func(l *syscall.Rlimit) { l.Cur = 1 << 20 }, func() { h.ServeHTTP(w, r) })
	if w.Code != 507 {
		t.Errorf("%d %q, want 507", w.Code, w.Body)
	}
	if got := namesIn(t, dir); len(got) != 0 {
		t.Errorf("it left %q", got)
	}
}

// So are those of a service, be it known by its address, its name or its socket.
func TestNoDescriptorsForTheService(t *testing.T) {
	for _, tc := range []struct {
		to, name string // the name is looked up, and of that there is but a text
	}{
		{"http://127.0.0.1:1", ""}, {"unix:/nowhere.sock", ""}, {"http://service.test", "service.test"}, {"https://service.test", "service.test"},
	} {
		var book testlog.Buffer
		h := newHandler(t, Config{To: tc.to, Logger: book.Logger(slog.LevelInfo)})
		if tc.name != "" {
			h.serve.(*service).dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "dial udp: socket: too many open files", Name: tc.name}}
			}
		}
		var answers []*httptest.ResponseRecorder
		withLimit(t, syscall.RLIMIT_NOFILE, noMore, func() {
			for range 100 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
				answers = append(answers, w)
			}
		})
		for _, w := range answers {
			if w.Code != 503 || w.Header().Get("Retry-After") == "" {
				t.Fatalf("%s: %d %q, Retry-After %q, want 503", tc.to, w.Code, w.Body, w.Header().Get("Retry-After"))
			}
		}
		if lines := book.Lines(); len(lines) != 1 || !strings.Contains(lines[0], "no more files can be opened") {
			t.Errorf("%s: logged %q, want one line", tc.to, lines)
		}
	}
}
