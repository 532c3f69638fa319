package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// folder serves a folder with the file film.mp4, as c does.
func folder(t *testing.T, content []byte) http.Handler {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "film.mp4"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return serveFolder(t, dir)
}

func serveFolder(t *testing.T, dir string) http.Handler {
	t.Helper()
	s, err := serve.New(serve.Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// atRest serves a folder with n files of this content, which can be gone on with:
// one that was written a moment ago may be written on, and has no validator to go
// on with. The test goes on in parallel, and most of that time has passed when it
// does.
func atRest(t *testing.T, content []byte, n int) (h http.Handler, files []string) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		files = append(files, filepath.Join(dir, fmt.Sprintf("film%d.mp4", i)))
		if err := os.WriteFile(files[i], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h = serveFolder(t, dir)
	t.Parallel()
	for _, file := range files {
		waitFor(t, "the file to be at rest", func() bool {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("HEAD", "/"+filepath.Base(file), nil))
			return strings.HasPrefix(w.Header().Get("Etag"), `"`)
		})
	}
	return h, files
}

// begin fetches the first n bytes of a download and leaves the rest to come.
func begin(t *testing.T, rt http.RoundTripper, url, rng string, n int) (res *http.Response, head []byte) {
	t.Helper()
	ctx := deadline(t)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rng != "" {
		req.Header.Set("Range", rng)
	}
	if res, err = rt.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	res.Body = moving(ctx, res.Body)
	t.Cleanup(func() { res.Body.Close() })
	head = make([]byte, n)
	if _, err := io.ReadFull(res.Body, head); err != nil {
		t.Fatal(err)
	}
	return res, head
}

// A film goes on playing over its origin's reconnect.
func TestDownloadSurvivesReconnect(t *testing.T) {
	content := pattern(12 << 20)
	h, _ := atRest(t, content, 1)
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		for _, c := range []struct {
			name, rng string
			status    int
			want      []byte
		}{
			{"200", "", 200, content},
			{"206", "bytes=1000000-10999999", 206, content[1_000_000:11_000_000]},
			{"206 of the tail", "bytes=2000000-", 206, content[2_000_000:]},
		} {
			t.Run(c.name, func(t *testing.T) {
				origin := startC(t, x, h, nil)
				before := x.metric(`spdy_proxy_resumed_total{origin="@"}`)
				res, head := begin(t, rt, x.url("/film0.mp4"), c.rng, 100_000)
				if res.StatusCode != c.status {
					t.Fatalf("got %d, want %d", res.StatusCode, c.status)
				}
				origin.wire.cut()
				// Of its size from the start: under the race detector, each byte that a buffer
				// moves as it grows costs as much as the download does.
				body := bytes.NewBuffer(make([]byte, 0, len(c.want)+bytes.MinRead))
				body.Write(head)
				if _, err := body.ReadFrom(res.Body); err != nil {
					t.Fatalf("after %d bytes: %v", body.Len(), err)
				}
				same(t, "body", body.Bytes(), c.want)
				// Counted when the request is over for P, a little after A has its body.
				waitFor(t, "one more resumed", func() bool { return x.metric(`spdy_proxy_resumed_total{origin="@"}`) != before })
				origin.stop()
			})
		}
	})
}

// More than once, and by another process of C's too.
func TestDownloadSurvivesReconnects(t *testing.T) {
	content := pattern(16 << 20)
	x := startP(t, newFiles(t), nil)
	h, _ := atRest(t, content, 1)
	current := startC(t, x, h, nil)
	res, body := begin(t, transport(t, nil, false), x.url("/film0.mp4"), "", 50_000)
	for range 3 {
		current.crash()
		current = startC(t, x, h, nil)
		more := make([]byte, 3<<20)
		if _, err := io.ReadFull(res.Body, more); err != nil {
			t.Fatalf("after %d bytes: %v", len(body), err)
		}
		body = append(body, more...)
	}
	tail, err := readAll(res.Body, res.ContentLength)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "body", append(body, tail...), content)
}

// The connection is broken, if the validator does not match any more or there
// is none: a truncated body never looks complete.
func TestDownloadBreaks(t *testing.T) {
	content := pattern(12 << 20)
	// Each file is changed, and serves one download.
	films, files := atRest(t, content, 2*len(clients))
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc        // nil: the next of films
		change  func(file string) error // of the next of films
	}{
		{"the file was replaced by one of the same length", nil, func(file string) error {
			other := append([]byte("other"), content[5:]...)
			if err := os.WriteFile(file+".new", other, 0o600); err != nil {
				return err
			}
			return os.Rename(file+".new", file)
		}},
		{"the file is gone", nil, os.Remove},
		{"there is no validator", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			w.Write(content)
		}, nil},
		{"the validator is weak", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `W/"v1"`)
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			w.Write(content)
		}, nil},
		{"there is no length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"v1"`)
			w.Write(content[:100_000])
			http.NewResponseController(w).Flush()
			w.Write(content[100_000:])
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
				h, path, change := http.Handler(c.handler), "/film.mp4", func() error { return nil }
				if c.handler == nil {
					file := files[0]
					files = files[1:]
					h, path, change = films, "/"+filepath.Base(file), func() error { return c.change(file) }
				}
				origin := startC(t, x, h, nil)
				res, head := begin(t, rt, x.url(path), "", 100_000)
				if err := change(); err != nil {
					t.Fatal(err)
				}
				origin.wire.cut()
				tail, err := readAll(res.Body, res.ContentLength)
				if err == nil {
					t.Errorf("the body ended as if whole, after %d of %d bytes", len(head)+len(tail), len(content))
				}
				got := append(head, tail...)
				same(t, "what came", got, content[:len(got)])
				waitFor(t, "the request counted as aborted", func() bool {
					return x.metric(`spdy_proxy_requests_total{class="aborted",origin="@"}`) == "1"
				})
			})
		})
	}
}

// With no session within the hold, the connection is broken too.
func TestDownloadBreaksAfterHold(t *testing.T) {
	content := pattern(12 << 20)
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.Hold = 200 * time.Millisecond })
	h, _ := atRest(t, content, 1)
	origin := startC(t, x, h, nil)
	res, head := begin(t, transport(t, nil, false), x.url("/film0.mp4"), "", 100_000)
	origin.crash()
	start := time.Now()
	tail, err := readAll(res.Body, res.ContentLength)
	if err == nil {
		t.Errorf("the body ended as if whole, after %d of %d bytes", len(head)+len(tail), len(content))
	}
	if d := time.Since(start); d > x.cfg.Hold+patience/2 {
		t.Errorf("it took %v, want some more than the hold, %v", d, x.cfg.Hold)
	}
}
