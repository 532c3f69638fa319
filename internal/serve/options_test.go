package serve

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFallback(t *testing.T) {
	root := jail(t)
	write(t, root, "app.html", "<p>the application", "404.html", "<p>nothing here")
	app, page := start(t, Config{Root: root, Fallback: "./app.html"}), start(t, Config{Root: root, Fallback: "404.html"})
	unlisted := start(t, Config{Root: root, Fallback: "app.html", NoListing: true})
	for _, tc := range []struct {
		srv            *httptest.Server
		target         string
		want           int
		body, typeIsIt string
	}{
		{app, "/users/7", 200, "<p>the application", "text/html"},
		{app, "/a.txt/x", 200, "<p>the application", "text/html"},
		{app, "/sub/" + strings.Repeat("x", 300), 200, "<p>the application", "text/html"}, // longer than a name of a file can be
		{app, "/a.txt", 200, "alpha", "text/plain; charset=utf-8"},
		{app, "/sub", 301, "", ""},
		{unlisted, "/sub/", 200, "<p>the application", "text/html"},
		{unlisted, "/sub", 200, "<p>the application", "text/html"},
		// What is hidden stays so, whether it is there or not.
		{app, "/.hidden", 404, "404: there is no such file here\n", "text/plain; charset=utf-8"},
		{app, "/.absent", 404, "404: there is no such file here\n", "text/plain; charset=utf-8"},
		{app, "/link-out", 404, "404: there is no such file here\n", "text/plain; charset=utf-8"},
		{app, "/../secret.txt", 404, "404: there is no such file here\n", "text/plain; charset=utf-8"},
		{page, "/users/7", 404, "<p>nothing here", "text/html"},
		{page, "/.hidden", 404, "<p>nothing here", "text/html"},
		{page, "/404.html", 200, "<p>nothing here", "text/html"},
		{page, "/a.txt", 200, "alpha", "text/plain; charset=utf-8"},
	} {
		for _, header := range []string{"X: y", "Range: bytes=0-1", "If-None-Match: *"} {
			a := ask(t, tc.srv, "GET", tc.target, "", header)
			if header != "X: y" && tc.want == 200 {
				continue // a file as others
			}
			if a.StatusCode != tc.want || a.body != tc.body || a.Header.Get("Content-Type") != tc.typeIsIt {
				t.Errorf("GET %s, %s: %d %q %q, want %d %q", tc.target, header, a.StatusCode, a.body, a.Header.Get("Content-Type"), tc.want, tc.body)
			}
			if tc.want == 404 && (a.Header.Get("ETag") != "" || a.Header.Get("Last-Modified") != "") {
				t.Errorf("GET %s: what is not there has a validator", tc.target)
			}
		}
	}
	if a := ask(t, page, "HEAD", "/users/7", ""); a.StatusCode != 404 || a.body != "" || a.Header.Get("Content-Length") != "15" {
		t.Errorf("HEAD: %d, length %q", a.StatusCode, a.Header.Get("Content-Length"))
	}
	// Removed while c runs, it is missed like anything else.
	if err := os.Remove(filepath.Join(root, "404.html")); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, page, "GET", "/users/7", ""); a.StatusCode != 404 || a.body != "404: there is no such file here\n" {
		t.Errorf("without its file: %d %q", a.StatusCode, a.body)
	}
}

func TestCORSAndCacheControl(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "alpha", "sub/x", "x")
	plain, open := startAged(t, Config{Root: root}), startAged(t, Config{Root: root, CORS: true, CacheControl: "max-age=60"})
	for range 2 { // from the disk, then out of memory
		for target, cached := range map[string]string{"/a.txt": "max-age=60", "/sub/": "no-cache", "/absent": ""} {
			a := ask(t, open, "GET", target, "", "Origin: https://example.test")
			if a.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "Content-Range") {
				t.Errorf("%s: %v, want any origin", target, a.Header)
			}
			if got := a.Header.Get("Cache-Control"); got != cached {
				t.Errorf("%s: Cache-Control %q, want %q", target, got, cached)
			}
			a = ask(t, plain, "GET", target, "", "Origin: https://example.test")
			if a.Header.Get("Access-Control-Allow-Origin") != "" || target == "/a.txt" && a.Header.Get("Cache-Control") != "" {
				t.Errorf("%s without the flags: %v", target, a.Header)
			}
		}
		if a := ask(t, open, "GET", "/a.txt", "", "Range: bytes=0-1"); a.StatusCode != 206 || a.Header.Get("Cache-Control") != "max-age=60" {
			t.Errorf("a range: %d, Cache-Control %q", a.StatusCode, a.Header.Get("Cache-Control"))
		}
	}
	a := ask(t, open, "OPTIONS", "/a.txt", "", "Origin: https://example.test", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: range")
	if a.StatusCode != 204 || a.Header.Get("Access-Control-Allow-Methods") != "GET, HEAD" || !strings.Contains(a.Header.Get("Access-Control-Allow-Headers"), "Range") {
		t.Errorf("a preflight: %d %v", a.StatusCode, a.Header)
	}
}

func TestPrecompressed(t *testing.T) {
	root := t.TempDir()
	write(t, root, "app.js", "0123456789", "app.js.br", "brotli!", "app.js.gz", "gzip!", "app.js.zst", "zstd!", "only.css", "plain", "only.css.gz", "gzip!",
		"stale.js", "new", "stale.js.gz", "old", "film.mp4", "film", "film.mp4.gz", "gzip!", "none.js", "none", "gone.js.gz", "gzip!", "dir.js/x", "x", "dir.js.gz", "gzip!",
		"index.html", "<p>plain", "index.html.gz", "gzip!")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(root, "stale.js.gz"), old, old); err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, Config{Root: root})
	setClock(h, time.Hour)
	ask := func(target string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", target, nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for range 2 { // from the disk, then out of memory
		for _, tc := range []struct{ target, accept, coding, body string }{
			{"/app.js", "gzip, deflate, br, zstd", "br", "brotli!"},
			{"/app.js", "gzip, deflate, zstd", "zstd", "zstd!"},
			{"/app.js", "gzip", "gzip", "gzip!"},
			{"/app.js", "GZIP", "gzip", "gzip!"},
			{"/app.js", "br;q=0.5, gzip;q=0.8", "gzip", "gzip!"},
			{"/app.js", "br;q=0, *", "zstd", "zstd!"},
			{"/app.js", "*;q=0", "", "0123456789"},
			{"/app.js", "gzip;q=0", "", "0123456789"},
			{"/app.js", "gzip;q=0.5, identity", "", "0123456789"},
			{"/app.js", "gzip;q=2", "", "0123456789"},
			{"/app.js", "deflate", "", "0123456789"},
			{"/app.js", "", "", "0123456789"},
			{"/only.css", "br, gzip", "gzip", "gzip!"},
			{"/stale.js", "gzip", "", "new"},
			{"/none.js", "gzip", "", "none"},
			{"/", "gzip", "gzip", "gzip!"},
		} {
			w := ask(tc.target, "Accept-Encoding", tc.accept)
			if w.Code != 200 || w.Body.String() != tc.body || w.Header().Get("Content-Encoding") != tc.coding || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s, Accept-Encoding %q: %d %q, Content-Encoding %q, Vary %q, want %q %q", tc.target, tc.accept, w.Code, w.Body, w.Header().Get("Content-Encoding"), w.Header().Get("Vary"), tc.coding, tc.body)
			}
			if kind := w.Header().Get("Content-Type"); !strings.HasPrefix(kind, "text/") {
				t.Errorf("%s, Accept-Encoding %q: type %q, want that of the file itself", tc.target, tc.accept, kind)
			}
		}
		for target, want := range map[string]int{"/film.mp4": 200, "/app.js.gz": 200, "/gone.js": 404, "/dir.js": 301} {
			if w := ask(target, "Accept-Encoding", "gzip"); w.Code != want || w.Header().Get("Content-Encoding") != "" {
				t.Errorf("%s: %d, Content-Encoding %q, want %d and none", target, w.Code, w.Header().Get("Content-Encoding"), want)
			}
		}
	}
	plain, coded := ask("/app.js").Header().Get("ETag"), ask("/app.js", "Accept-Encoding", "gzip").Header().Get("ETag")
	if plain == "" || coded == "" || plain == coded {
		t.Fatalf("ETags %s and %s, want two", plain, coded)
	}
	for _, tc := range []struct {
		headers []string
		want    int
		body    string
	}{
		{[]string{"Range", "bytes=0-1"}, 206, "01"}, // as the name says: nothing tells that the visitor had the other
		{[]string{"Range", "bytes=0-1", "If-Range", plain}, 206, "01"},
		{[]string{"Range", "bytes=0-1", "If-Range", coded}, 206, "gz"},
		{[]string{"Range", "bytes=0-1", "If-Range", `"other"`}, 200, "0123456789"},
		{[]string{"If-None-Match", coded}, 304, ""},
		{[]string{"If-None-Match", plain}, 200, "gzip!"},
		{[]string{"If-Match", coded}, 200, "gzip!"},
		{[]string{"If-Match", `"other"`}, 412, ""},
	} {
		w := ask("/app.js", append(tc.headers, "Accept-Encoding", "gzip")...)
		if w.Code != tc.want || w.Body.String() != tc.body {
			t.Errorf("%q: %d %q, want %d %q", tc.headers, w.Code, w.Body, tc.want, tc.body)
		}
	}
	// The whole way, with a client that asks for gzip and undoes it: it must be told.
	srv := httptest.NewServer(h)
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/film.mp4")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Uncompressed || resp.ContentLength != 4 {
		t.Errorf("a film: uncompressed %t, length %d", resp.Uncompressed, resp.ContentLength)
	}
}
