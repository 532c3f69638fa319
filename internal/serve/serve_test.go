package serve

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/testabort"
)

// start serves cfg over HTTP/1.1 until the test ends. What is logged goes to the test's output.
func start(t *testing.T, cfg Config) *httptest.Server {
	t.Helper()
	h := newHandler(t, cfg)
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

// startAged is start with a clock by which each file is at rest.
func startAged(t *testing.T, cfg Config) *httptest.Server {
	t.Helper()
	srv := start(t, cfg)
	setClock(srv.Config.Handler.(*Handler), time.Hour)
	return srv
}

// aborts serves a request, and reports whether its answer was broken off, as it is for a
// visitor who has left.
func aborts(h http.Handler, w http.ResponseWriter, r *http.Request) bool {
	return testabort.Aborts(func() { h.ServeHTTP(w, r) })
}

func newHandler(t *testing.T, cfg Config) *Handler {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatalf("New(%+v): %v", cfg, err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return h
}

// An answer is a response with its body read. err is what ended the body early.
type answer struct {
	*http.Response
	body string
	err  error
}

// ask sends one request, with the target exactly as written, and further
// header lines of the form "Name: value".
func ask(t *testing.T, srv *httptest.Server, method, target, body string, header ...string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n", method, target)
	if body != "" || method == "POST" || method == "PUT" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	for _, line := range header {
		head += line + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"+body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: no answer: %v", method, target, err)
	}
	got, err := io.ReadAll(resp.Body)
	return answer{resp, string(got), err}
}

// write makes files: pairs of a name under dir, and its content. A name that ends in a slash makes a folder.
func write(t testing.TB, dir string, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		name := filepath.Join(dir, pairs[i])
		if strings.HasSuffix(pairs[i], "/") {
			if err := os.MkdirAll(name, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(pairs[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewRefusesWhatCannotBeServed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "x", wellKnown+"/in/", "")
	file, missing, known := filepath.Join(dir, "file"), filepath.Join(dir, "missing"), filepath.Join(dir, wellKnown, "in")
	t.Chdir(dir)
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"nothing", Config{}, "--root"},
		{"a folder and a service", Config{Root: dir, To: "http://localhost:1"}, "exclude each other"},
		{"uploads to a service", Config{To: "http://localhost:1", Upload: dir}, "--upload does not go with --to"},
		{"dotfiles of a service", Config{To: "http://localhost:1", Dotfiles: true}, "--dotfiles"},
		{"no listing of a service", Config{To: "http://localhost:1", NoListing: true}, "--no-listing"},
		{"WebDAV of a service", Config{To: "http://localhost:1", DAV: true}, "--dav"},
		{"WebDAV without listings", Config{Root: dir, DAV: true, NoListing: true}, "--dav"},
		{"links of a service", Config{To: "http://localhost:1", FollowLinks: true}, "--follow-links"},
		{"CORS of a service", Config{To: "http://localhost:1", CORS: true}, "--cors"},
		{"a cache's rule of a service", Config{To: "http://localhost:1", CacheControl: "no-store"}, "--cache-control"},
		{"a fallback of a service", Config{To: "http://localhost:1", Fallback: "index.html"}, "--fallback"},
		{"much of a service", Config{To: "http://localhost:1", CORS: true, DAV: true}, "--to http://localhost:1: leave out --dav, --cors"},
		{"two headers in one", Config{Root: dir, CacheControl: "no-store\r\nX: y"}, "--cache-control"},
		{"a missing fallback", Config{Root: dir, Fallback: "missing"}, "no such file"},
		{"a fallback outside", Config{Root: dir, Fallback: "../file"}, "in the folder"},
		{"a fallback that is a folder", Config{Root: dir, Fallback: "."}, "no such file"},
		{"a missing root", Config{Root: missing}, "no such folder; create it, or"},
		{"a root in a missing folder", Config{Root: filepath.Join(missing, "in")}, "no such folder; create it, or"},
		{"the samples' root, missing", Config{Root: "./testdata"}, "no such folder; create it (in a checkout, make fills it), or"},
		{"a root that is a file", Config{Root: file}, "not a folder"},
		{"a missing upload folder", Config{Root: dir, Upload: missing}, "no such folder; create it, or"},
		{"an upload folder that is a file", Config{Root: dir, Upload: file}, "not a folder"},
		{"uploads that speak for the host", Config{Root: dir, Upload: known}, "speaks for the whole host"},
		{"uploads that do, with dotfiles", Config{Root: dir, Upload: known, Dotfiles: true}, "speaks for the whole host"},
		{"a negative maximum", Config{Root: dir, Upload: dir, UploadMax: -1}, "--upload-max"},
		{"no scheme", Config{To: "localhost:3000"}, "give http://"},
		{"an unknown scheme", Config{To: "ftp://localhost"}, "give http://"},
		{"no host", Config{To: "http://"}, "no host"},
		{"only a port", Config{To: "http://:80"}, "no host"},
		{"a path", Config{To: "http://localhost/app"}, "no path"},
		{"a query", Config{To: "http://localhost?x"}, "no path"},
		{"a password", Config{To: "http://a:b@localhost"}, "password"},
		{"not a URL", Config{To: "http://local host:x"}, "not a URL"},
		{"no socket", Config{To: "unix:"}, "no path of a socket"},
		{"a socket's path too long", Config{To: "unix:/" + strings.Repeat("s", 200)}, "103 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, err := New(tc.cfg)
			if err == nil {
				h.Close()
				t.Fatalf("New(%+v) succeeded", tc.cfg)
			}
			if got := err.Error(); !strings.Contains(got, tc.want) || strings.Contains(got, "\n") {
				t.Errorf("error %q, want one line with %q", got, tc.want)
			}
		})
	}
}

func TestNewTakes(t *testing.T) {
	dir := t.TempDir()
	for _, cfg := range []Config{
		{Root: dir},
		{Root: dir, Upload: dir},
		{To: "http://localhost:3000"}, {To: "http://[::1]:3000/"}, {To: "https://localhost"},
		{To: "unix:/run/app.sock"}, {To: "unix:///run/app.sock"}, {To: "unix:app.sock"},
	} {
		h, err := New(cfg)
		if err != nil {
			t.Errorf("New(%+v): %v", cfg, err)
			continue
		}
		h.Close()
	}
}
