package serve

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const secret = "nobody may read this"

// jail makes a root with one of everything that must not be served, beside a secret.
func jail(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	write(t, top, "secret.txt", secret, "outside/secret.txt", secret, "root2/secret.txt", secret)
	write(t, root,
		"a.txt", "alpha", "sub/b.txt", "beta", ".well-known/x", "known", ".hidden", secret, ".git/config", secret, "sub/.env", secret,
		"..x", secret, partPrefix+"x", secret)
	for name, to := range map[string]string{
		"link-in":              "a.txt",
		"sub/link-up":          "../a.txt",
		"link-folder":          "sub",
		"link-out":             "../secret.txt",
		"sub/link-out":         "../../secret.txt",
		"link-out-folder":      "../outside",
		"link-absolute":        filepath.Join(top, "secret.txt"),
		"link-absolute-in":     filepath.Join(root, "a.txt"),
		"link-out-and-in":      "../root/a.txt",
		"link-absolute-folder": filepath.Join(root, "sub"),
		"link-root":            "/",
		"link-proc":            "/proc/self/environ",
		"link-dangling":        "nothing",
		"link-loop":            "link-loop",
		"link-to-link-out":     "link-out",
		"link-device":          "/dev/zero",
		"index-out/x":          "",
		"link-sibling-name":    "../root2/secret.txt",
	} {
		if to == "" {
			write(t, root, name, "x")
			continue
		}
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../secret.txt", filepath.Join(root, "index-out", "index.html")); err != nil {
		t.Fatal(err)
	}
	if err := makeFIFO(filepath.Join(root, "fifo")); err != nil {
		t.Fatal(err)
	}
	makeSocket(t, root)
	return root
}

func TestNothingOutsideTheRootIsServed(t *testing.T) {
	srv := start(t, Config{Root: jail(t)})
	for _, target := range []string{
		"/../secret.txt", "/sub/../../secret.txt", "/..", "/../", "/./../a.txt", "/sub/../..", "/sub/../../root/a.txt",
		"/sub/../.hidden", "/.git/./config", "/sub/../link-out", "/sub/../link-root/etc/passwd",
		"/%2e%2e/secret.txt", "/%2e%2e%2fsecret.txt", "/..%2fsecret.txt", "/..%2Fsecret.txt", "/%2E%2E/%2E%2E/secret.txt",
		"/.%2e/secret.txt", "/sub%2fb.txt", "/%2fetc/passwd", "/%2f%2fetc%2fpasswd", "/%252e%252e/secret.txt",
		"/..%5csecret.txt", `/..\secret.txt`, "/..%00/secret.txt", "/a.txt%00", "/a.txt%00.html", "/%c0%ae%c0%ae/secret.txt",
		"/..;/secret.txt", "/sub/%2e%2e/%2e%2e/secret.txt", "//../secret.txt", "/a.txt/../../secret.txt", "/a.txt/x",
		"/link-out", "/sub/link-out", "/link-out-folder/", "/link-out-folder/secret.txt", "/link-absolute", "/link-root/", "/link-root/etc/passwd", "/link-proc", "/link-dangling", "/link-loop", "/link-to-link-out",
		"/link-sibling-name", "/link-device", "/fifo", "/socket", "/fifo/", "/a.txt/",
		"/.hidden", "/.git/config", "/.git/", "/.git", "/sub/.env", "/..x", "/link-folder/.env", "/%2ehidden", "/%2egit/config",
		"/" + partPrefix + "x", "/" + strings.Repeat("n", 300), "/" + strings.Repeat("n/", 3000), "/absent",
	} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			a := ask(t, srv, method, target, "")
			if a.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: status %d, want 404", method, target, a.StatusCode)
			}
			if strings.Contains(a.body, secret) || strings.Contains(a.body, "root:") || strings.Contains(a.body, os.TempDir()) {
				t.Errorf("%s %s: the body tells too much: %q", method, target, a.body)
			}
		}
	}
	a := ask(t, srv, "GET", "/index-out/", "")
	if a.StatusCode != http.StatusOK || strings.Contains(a.body, secret) || strings.Contains(a.body, "index.html") {
		t.Errorf("a folder whose index.html leads out: %d %q, want a listing without it", a.StatusCode, a.body)
	}
}

func TestFilesInsideTheRootAreServed(t *testing.T) {
	srv := start(t, Config{Root: jail(t)})
	for target, want := range map[string]string{
		"/a.txt": "alpha", "//a.txt": "alpha", "/sub/b.txt": "beta", "/sub//b.txt": "beta", "/%61.txt": "alpha", "/a.txt?x=/../..": "alpha",
		"/link-in": "alpha", "/sub/link-up": "alpha", "/link-folder/b.txt": "beta",
		// Dot segments, as apt sends them for a flat repository.
		"/./a.txt": "alpha", "/sub/../a.txt": "alpha", "/sub/./b.txt": "beta", "/absent/../sub/b.txt": "beta", "/.git/../a.txt": "alpha",
		"/%2e/a.txt": "alpha", "/sub/%2e%2e/a.txt": "alpha", "/sub/x/../../a.txt": "alpha", "/a.txt/../sub/b.txt": "beta",
		// Links whose target is inside, however they say it.
		"/link-absolute-in": "alpha", "/link-out-and-in": "alpha", "/link-absolute-folder/b.txt": "beta", "/link-absolute-folder/../a.txt": "alpha",
		"/.well-known/x": "known",
	} {
		if a := ask(t, srv, "GET", target, ""); a.StatusCode != 200 || a.body != want {
			t.Errorf("GET %s: %d %q, want 200 %q", target, a.StatusCode, a.body, want)
		}
	}
}

func TestDotfilesFlag(t *testing.T) {
	srv := start(t, Config{Root: jail(t), Dotfiles: true})
	for target, want := range map[string]int{
		"/.hidden": 200, "/.git/config": 200, "/.git/": 200, "/..x": 200,
		"/../secret.txt": 404, "/..": 404, "/./.hidden": 200, "/sub/../../secret.txt": 404, "/" + partPrefix + "x": 404,
	} {
		if a := ask(t, srv, "GET", target, ""); a.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", target, a.StatusCode, want)
		}
	}
	if a := ask(t, srv, "GET", "/", ""); !strings.Contains(a.body, `".hidden"`) || strings.Contains(a.body, partPrefix) {
		t.Errorf("the listing does not show .hidden, or shows an unfinished upload")
	}
}

// Names that change between a file, a link out and a link in must never give the secret.
func TestLinkSwappedWhileServing(t *testing.T) {
	root := jail(t)
	srv := start(t, Config{Root: root})
	inside, outside := filepath.Join(root, "inside"), filepath.Join(root, "outside")
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	// Ends when stop is closed; the test waits for it.
	swapping.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			to := []string{"a.txt", "../secret.txt", "fifo", "sub"}[i%4]
			os.Symlink(to, inside)
			os.Rename(inside, filepath.Join(root, "swapped"))
			os.Symlink([]string{"sub", "../outside"}[i%2], outside)
			os.Rename(outside, filepath.Join(root, "swapped-folder"))
		}
	})
	seen := make(map[int]int)
	for i := range 600 {
		target := []string{"/swapped", "/swapped-folder/b.txt", "/swapped-folder/secret.txt"}[i%3]
		resp, err := srv.Client().Get(srv.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		seen[resp.StatusCode]++
		if strings.Contains(string(body), secret) {
			t.Fatalf("GET %s gave the secret", target)
		}
		if resp.StatusCode != 200 && resp.StatusCode != 404 {
			t.Errorf("GET %s: status %d, want 200 or 404", target, resp.StatusCode)
		}
	}
	close(stop)
	swapping.Wait()
	if seen[200] == 0 || seen[404] == 0 {
		t.Errorf("statuses %v: the swapping was never seen", seen)
	}
}

func TestRootMovedAwayIsStillTheSame(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	write(t, root, "a.txt", "alpha")
	srv := start(t, Config{Root: root})
	if err := os.Rename(root, filepath.Join(top, "moved")); err != nil {
		t.Fatal(err)
	}
	write(t, root, "a.txt", secret)
	if a := ask(t, srv, "GET", "/a.txt", ""); a.body != "alpha" {
		t.Errorf("body %q, want that of the folder that was opened", a.body)
	}
}

func TestUnreadableFile(t *testing.T) {
	if os.Getuid() == 0 {
		// Root reads everything, so ask for the answer alone.
		d := &folder{log: slog.New(slog.DiscardHandler)}
		w := httptest.NewRecorder()
		d.refuse(w, httptest.NewRequest("GET", "/x", nil), &fs.PathError{Op: "openat", Path: "/home/me/x", Err: syscall.EACCES})
		if w.Code != 403 || strings.Contains(w.Body.String(), "/home") {
			t.Errorf("no permission: %d %q, want 403 without a path", w.Code, w.Body)
		}
		return
	}
	root := t.TempDir()
	write(t, root, "closed.txt", "x", "folder/x", "x")
	for _, name := range []string{"closed.txt", "folder"} {
		if err := os.Chmod(filepath.Join(root, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "folder"), 0o755) })
	srv := start(t, Config{Root: root})
	for _, target := range []string{"/closed.txt", "/folder/", "/folder/x"} {
		if a := ask(t, srv, "GET", target, ""); a.StatusCode != 403 || strings.Contains(a.body, root) {
			t.Errorf("GET %s: %d %q, want 403 without a path", target, a.StatusCode, a.body)
		}
	}
}

func TestFailuresOfTheSystem(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{syscall.EACCES, 403}, {syscall.EPERM, 403}, {syscall.ENOENT, 404}, {syscall.ENOTDIR, 404}, {syscall.ELOOP, 404},
		{syscall.ENAMETOOLONG, 404}, {syscall.ENXIO, 404}, {syscall.EMFILE, 503}, {syscall.ENFILE, 503}, {syscall.EIO, 500},
		{errors.New("path escapes from parent"), 404},
	} {
		d := newHandler(t, Config{Root: t.TempDir()}).serve.(*folder)
		w := httptest.NewRecorder()
		d.refuse(w, httptest.NewRequest("GET", "/x", nil), &fs.PathError{Op: "openat", Path: "/home/me/x", Err: tc.err})
		if w.Code != tc.want || strings.Contains(w.Body.String(), "/home") || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%v: %d %q, want %d and one line without a path", tc.err, w.Code, w.Body, tc.want)
		}
	}
}

func TestMethods(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	write(t, root, "a.txt", "alpha")
	plain, upload := start(t, Config{Root: root}), start(t, Config{Root: root, Upload: dir})
	for _, tc := range []struct {
		srv            *httptest.Server
		method, target string
		want           int
		allow          string
	}{
		{plain, "GET", "/a.txt", 200, ""},
		{plain, "HEAD", "/a.txt", 200, ""},
		{plain, "POST", "/a.txt", 200, ""},
		{plain, "PUT", "/a.txt", 405, "GET, HEAD, OPTIONS, POST"},
		{plain, "DELETE", "/a.txt", 405, "GET, HEAD, OPTIONS, POST"},
		{plain, "PATCH", "/absent", 405, "GET, HEAD, OPTIONS, POST"},
		{plain, "PROPFIND", "/", 405, "GET, HEAD, OPTIONS, POST"},
		{plain, "OPTIONS", "/a.txt", 204, "GET, HEAD, OPTIONS, POST"},
		{upload, "OPTIONS", "/", 204, "GET, HEAD, OPTIONS, POST, PUT"},
		{upload, "DELETE", "/a.txt", 405, "GET, HEAD, OPTIONS, POST, PUT"},
		{upload, "GET", "/a.txt", 200, ""},
	} {
		a := ask(t, tc.srv, tc.method, tc.target, "")
		if a.StatusCode != tc.want || a.Header.Get("Allow") != tc.allow {
			t.Errorf("%s %s: %d, Allow %q, want %d, %q", tc.method, tc.target, a.StatusCode, a.Header.Get("Allow"), tc.want, tc.allow)
		}
		if tc.method == "HEAD" && (a.body != "" || a.Header.Get("Content-Length") != "5") {
			t.Errorf("HEAD: body %q, length %q, want none and 5", a.body, a.Header.Get("Content-Length"))
		}
	}
}

func TestPostWithoutUpload(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "alpha")
	srv := start(t, Config{Root: root})
	digest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	for _, tc := range []struct {
		target, body string
		want         int
		answer       string
	}{
		{"/a.txt", "", 200, "alpha"},
		{"/a.txt", "hello", 200, "alpha"},
		{"/a.txt", big, 200, "alpha"},
		{"/absent", "hello", 404, "404: there is no such file here\n"},
	} {
		a := ask(t, srv, "POST", tc.target, tc.body)
		if a.StatusCode != tc.want || a.body != tc.answer {
			t.Errorf("POST %s: %d %q, want %d %q", tc.target, a.StatusCode, a.body, tc.want, tc.answer)
		}
		if got, want := a.Header.Get("X-Received-Length"), fmt.Sprint(len(tc.body)); got != want {
			t.Errorf("POST %s: X-Received-Length %q, want %q", tc.target, got, want)
		}
		if got, want := a.Header.Get("X-Received-Digest"), digest(tc.body); got != want {
			t.Errorf("POST %s: X-Received-Digest %q, want %q", tc.target, got, want)
		}
	}
	if a := ask(t, srv, "POST", "/a.txt", "x", "Range: bytes=1-2"); a.StatusCode != 206 || a.body != "lp" {
		t.Errorf("POST with a range: %d %q, want the answer of GET, 206 lp", a.StatusCode, a.body)
	}
}

func TestPostWithABodyCutShort(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "alpha")
	h := newHandler(t, Config{Root: root})
	r := httptest.NewRequest("POST", "/a.txt", strings.NewReader("four"))
	r.ContentLength = 10
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 400 || w.Header().Get("X-Received-Digest") != "" {
		t.Errorf("a body of 4 of 10 bytes: %d, digest %q, want 400 and none", w.Code, w.Header().Get("X-Received-Digest"))
	}
}

func TestRanges(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "0123456789", "empty", "")
	srv := startAged(t, Config{Root: root})
	tag := ask(t, srv, "HEAD", "/a.txt", "").Header.Get("ETag")
	date := ask(t, srv, "HEAD", "/a.txt", "").Header.Get("Last-Modified")
	if tag == "" || strings.HasPrefix(tag, "W/") || date == "" {
		t.Fatalf("ETag %q, Last-Modified %q, want a strong one and a date", tag, date)
	}
	for _, tc := range []struct {
		name, target string
		header       []string
		want         int
		body, part   string
	}{
		{"first bytes", "/a.txt", []string{"Range: bytes=0-3"}, 206, "0123", "bytes 0-3/10"},
		{"from there on", "/a.txt", []string{"Range: bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{"last bytes", "/a.txt", []string{"Range: bytes=-2"}, 206, "89", "bytes 8-9/10"},
		{"beyond the end", "/a.txt", []string{"Range: bytes=5-99"}, 206, "56789", "bytes 5-9/10"},
		{"all after the end", "/a.txt", []string{"Range: bytes=10-"}, 416, "", "bytes */10"},
		{"If-Range with this tag", "/a.txt", []string{"Range: bytes=0-0", "If-Range: " + tag}, 206, "0", "bytes 0-0/10"},
		{"If-Range with another tag", "/a.txt", []string{"Range: bytes=0-0", `If-Range: "other"`}, 200, "0123456789", ""},
		{"If-Range with a weak tag", "/a.txt", []string{"Range: bytes=0-0", "If-Range: W/" + tag}, 200, "0123456789", ""},
		{"If-Range with this date", "/a.txt", []string{"Range: bytes=0-0", "If-Range: " + date}, 206, "0", "bytes 0-0/10"},
		{"If-Range with an older date", "/a.txt", []string{"Range: bytes=0-0", "If-Range: Mon, 02 Jan 2006 15:04:05 GMT"}, 200, "0123456789", ""},
		{"If-None-Match", "/a.txt", []string{"If-None-Match: " + tag}, 304, "", ""},
		{"If-None-Match of several", "/a.txt", []string{`If-None-Match: "x", ` + tag}, 304, "", ""},
		{"If-None-Match of another", "/a.txt", []string{`If-None-Match: "x"`}, 200, "0123456789", ""},
		{"If-Modified-Since", "/a.txt", []string{"If-Modified-Since: " + date}, 304, "", ""},
		{"If-Modified-Since long ago", "/a.txt", []string{"If-Modified-Since: Mon, 02 Jan 2006 15:04:05 GMT"}, 200, "0123456789", ""},
		{"If-Match of another", "/a.txt", []string{`If-Match: "x"`}, 412, "", ""},
		{"more than the file", "/a.txt", []string{"Range: bytes=0-8,1-9"}, 200, "0123456789", ""},
		{"too many parts", "/a.txt", []string{"Range: bytes=0-0" + strings.Repeat(",1-1", maxRanges)}, 200, "0123456789", ""},
		{"of an empty file", "/empty", []string{"Range: bytes=0-"}, 200, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := ask(t, srv, "GET", tc.target, "", tc.header...)
			if a.StatusCode != tc.want || a.Header.Get("Content-Range") != tc.part {
				t.Errorf("%d, Content-Range %q, want %d, %q", a.StatusCode, a.Header.Get("Content-Range"), tc.want, tc.part)
			}
			if a.StatusCode < 300 && a.body != tc.body {
				t.Errorf("body %q, want %q", a.body, tc.body)
			}
		})
	}
	t.Run("several", func(t *testing.T) {
		a := ask(t, srv, "GET", "/a.txt", "", "Range: bytes=0-1,4-5,-1")
		kind, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if a.StatusCode != 206 || err != nil || kind != "multipart/byteranges" {
			t.Fatalf("%d %q, want 206 multipart/byteranges", a.StatusCode, a.Header.Get("Content-Type"))
		}
		var got []string
		parts := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
		for {
			p, err := parts.NextPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(p)
			got = append(got, p.Header.Get("Content-Range")+" "+string(b))
		}
		if want := "bytes 0-1/10 01|bytes 4-5/10 45|bytes 9-9/10 9"; strings.Join(got, "|") != want {
			t.Errorf("parts %q, want %q", got, want)
		}
	})
}

// A request without conditions is answered by us, one with conditions that
// change nothing by net/http, and a small file out of memory: the same answer.
func TestWholeFileIsAnsweredAsByNetHTTP(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "0123456789", "empty.mp4", "", "README", "hello", "epoch.txt", "x", "future.txt", "y", "index.html", "<p>index",
		"big.bin", strings.Repeat("0123456789", smallFile))
	for name, at := range map[string]time.Time{"epoch.txt": time.Unix(0, 0), "future.txt": time.Now().Add(time.Hour)} {
		if err := os.Chtimes(filepath.Join(root, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	read, kept := newHandler(t, Config{Root: root}), newHandler(t, Config{Root: root})
	setClock(read, -time.Hour) // nothing is at rest
	setClock(kept, time.Hour)
	get := func(h http.Handler, method, target, key, value string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, nil)
		if key != "" {
			r.Header.Set(key, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, target := range []string{"/", "/a.txt", "/empty.mp4", "/README", "/epoch.txt", "/future.txt", "/big.bin"} {
			for _, h := range []http.Handler{read, kept} {
				want := get(h, method, target, "Range", "")
				if want.Code != 200 || want.Header().Get("Etag") != "" != (h == kept) {
					t.Fatalf("%s %s: status %d, ETag %q, want 200", method, target, want.Code, want.Header().Get("Etag"))
				}
				for key, value := range map[string]string{
					"": "", "Range": "", "If-None-Match": `"other"`, "If-Match": "*", "If-Modified-Since": "Mon, 02 Jan 2006 15:04:05 GMT",
					"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT",
				} {
					got := get(h, method, target, key, value)
					if got.Code != 200 || !reflect.DeepEqual(got.Header(), want.Header()) || got.Body.String() != want.Body.String() {
						t.Errorf("%s %s, %q, in memory %t: %d %v %.20q, want %v %.20q", method, target, key, h == kept,
							got.Code, got.Header(), got.Body, want.Header(), want.Body)
					}
				}
			}
		}
	}
	if n := len(kept.serve.(*folder).small.files); n != 6 {
		t.Errorf("%d files in memory, want the 6 small ones", n)
	}
	if n := len(read.serve.(*folder).small.files); n != 0 {
		t.Errorf("%d files in memory that were not at rest, want none", n)
	}
}

func TestETag(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(root, "a.txt")
	write(t, root, "a.txt", "alpha", "b.txt", "bravo")
	srv := startAged(t, Config{Root: root})
	tag := func() string { return ask(t, srv, "HEAD", "/a.txt", "").Header.Get("ETag") }
	first := tag()
	if again := tag(); again != first {
		t.Errorf("the tag of a file at rest went from %s to %s", first, again)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{first: "at first"}
	for _, change := range []struct {
		name string
		make func() error
	}{
		{"longer", func() error { return os.WriteFile(name, []byte("alphabet"), 0o644) }},
		{"other content of that size", func() error { return os.WriteFile(name, []byte("alphabeT"), 0o644) }},
		{"and the old time set back", func() error {
			if err := os.WriteFile(name, []byte("alphaBET"), 0o644); err != nil {
				return err
			}
			return os.Chtimes(name, info.ModTime(), info.ModTime())
		}},
		{"another file in its place", func() error { return os.Rename(filepath.Join(root, "b.txt"), name) }},
	} {
		awaitTick(t, root)
		if err := change.make(); err != nil {
			t.Fatal(err)
		}
		now := tag()
		if before, ok := seen[now]; ok {
			t.Errorf("%s: the tag %s is that of %q", change.name, now, before)
		}
		seen[now] = change.name
	}
}

func TestContentTypes(t *testing.T) {
	root := t.TempDir()
	want := map[string]string{
		"README": "text/plain; charset=utf-8", "page": "text/plain; charset=utf-8", "a.tar.gz": "application/gzip", "A.MP4": "video/mp4", "a.unknown": "application/octet-stream",
	}
	for line := range strings.Lines(`video/mp4 mp4 m4v
		video/x-matroska mkv mk3d
		video/x-msvideo avi
		video/webm webm
		video/mp2t ts mts m2t m2ts
		video/x-ms-vob vob
		video/x-f4v f4v
		video/quicktime mov
		video/iso.segment m4s
		audio/mpeg mp3
		audio/mp4 m4a m4b
		audio/flac flac
		audio/ogg ogg oga opus spx
		audio/x-wavpack wv
		audio/x-ape ape
		audio/x-dsf dsf
		audio/x-scpls pls
		audio/wav wav
		application/ogg ogx
		application/xspf+xml xspf
		application/vnd.apple.mpegurl m3u8
		application/dash+xml mpd
		application/x-subrip;&charset=utf-8 srt
		text/vtt;&charset=utf-8 vtt
		application/vnd.comicbook+zip cbz
		application/vnd.comicbook-rar cbr
		image/vnd.djvu djvu
		application/vnd.amazon.mobi8-ebook azw3
		application/epub+zip epub
		application/x-fictionbook+xml fb2
		application/vnd.google-earth.kml+xml kml
		application/gpx+xml gpx
		font/collection ttc
		font/woff2 woff2
		image/heic heic
		image/jxl jxl
		image/avif avif
		image/x-adobe-dng dng
		image/x-canon-cr2 cr2
		image/jpeg jpg jpeg
		image/svg+xml svg
		text/html html htm
		text/xml xml
		application/xhtml+xml xhtml
		application/rss+xml rss
		text/javascript;&charset=utf-8 js mjs cjs
		text/css;&charset=utf-8 css
		text/plain;&charset=utf-8 txt log
		text/markdown;&charset=utf-8 md
		application/json json
		application/wasm wasm
		application/pdf pdf
		application/zip zip
		application/vnd.debian.binary-package deb
		application/x-iso9660-image iso
		application/zstd zst
	`) {
		fields := strings.Fields(line)
		for _, ext := range fields[min(1, len(fields)):] {
			want["a."+ext] = strings.ReplaceAll(fields[0], "&", " ")
		}
	}
	for name := range want {
		write(t, root, name, "<html><script>alert(1)</script>")
	}
	write(t, root, "a.unknown", "\x00\x01\x02", "README", "hello")
	srv := start(t, Config{Root: root})
	for name, want := range want {
		a := ask(t, srv, "GET", "/"+name, "")
		if got := a.Header.Get("Content-Type"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: a browser may guess another type", name)
		}
	}
	for ext := range inert {
		if types[ext] == "" {
			t.Errorf("uploads keep the extension %s, which has no type", ext)
		}
	}
}

func TestFolders(t *testing.T) {
	root := t.TempDir()
	write(t, root, "with/index.html", "<p>index", "without/x.txt", "x", "a:b/x", "x", "sp ace%?#/x", "x", "index-is-folder/index.html/", "")
	listed, unlisted := start(t, Config{Root: root}), start(t, Config{Root: root, NoListing: true})
	for _, tc := range []struct {
		srv            *httptest.Server
		target         string
		want           int
		location, body string
	}{
		{listed, "/with/", 200, "", "<p>index"},
		{listed, "/with/index.html", 200, "", "<p>index"},
		{listed, "/with", 301, "./with/", ""},
		{listed, "/with?q=%20", 301, "./with/?q=%20", ""},
		{listed, "//with", 301, "./with/", ""},
		{listed, "/a:b", 301, "./a:b/", ""},
		{listed, "/sp%20ace%25%3f%23", 301, "./sp%20ace%25%3F%23/", ""},
		{listed, "/without/", 200, "", "x.txt"},
		{listed, "/index-is-folder/", 200, "", "index.html"},
		{listed, "/", 200, "", "without"},
		{unlisted, "/with/", 200, "", "<p>index"},
		{unlisted, "/with", 301, "./with/", ""},
		{unlisted, "/without/", 404, "", ""},
		{unlisted, "/without", 404, "", ""},
		{unlisted, "/", 404, "", ""},
		{unlisted, "/without/x.txt", 200, "", "x"},
	} {
		a := ask(t, tc.srv, "GET", tc.target, "")
		if a.StatusCode != tc.want || a.Header.Get("Location") != tc.location || !strings.Contains(a.body, tc.body) {
			t.Errorf("GET %s: %d, Location %q, body %q, want %d, %q, %q", tc.target, a.StatusCode, a.Header.Get("Location"), a.body, tc.want, tc.location, tc.body)
		}
		if tc.location != "" {
			base, err := url.Parse("http://example.test" + tc.target)
			if err != nil {
				t.Fatal(err)
			}
			to, err := base.Parse(a.Header.Get("Location"))
			if err != nil || to.Host != "example.test" {
				t.Errorf("GET %s leads to %v, %v, want the same host", tc.target, to, err)
				continue
			}
			if a := ask(t, tc.srv, "GET", to.RequestURI(), ""); a.StatusCode != 200 {
				t.Errorf("GET %s leads to %s: %d, want 200", tc.target, to, a.StatusCode)
			}
		}
	}
}

// FuzzPath asks for any path and header: whatever it is, nothing outside the root comes back.
func FuzzPath(f *testing.F) {
	top := f.TempDir()
	root := filepath.Join(top, "root")
	for name, content := range map[string]string{"secret.txt": secret, "root/a.txt": "alpha", "root/sub/b.txt": "beta", "root/.env": secret} {
		full := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.Symlink("../secret.txt", filepath.Join(root, "out")); err != nil {
		f.Fatal(err)
	}
	if err := os.Symlink("..", filepath.Join(root, "up")); err != nil {
		f.Fatal(err)
	}
	h, err := New(Config{Root: root})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.Close() })
	for _, p := range []string{"/a.txt", "/sub/", "/sub", "/out", "/up/secret.txt", "/../secret.txt", "/%2e%2e%2fsecret.txt", "/.env", "//", "/a.txt%00", "/sub%5c..%5c..%5csecret.txt"} {
		f.Add(p, "bytes=0-1")
	}
	f.Fuzz(func(t *testing.T, target, ranges string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL, r.RequestURI = u, target
		r.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200, 206, 301, 404, 416:
		default:
			t.Errorf("%q: status %d", target, w.Code)
		}
		body := w.Body.String()
		if strings.Contains(body, secret) || strings.Contains(body, "nobody") || strings.Contains(body, top) {
			t.Errorf("%q, range %q: %q", target, ranges, body)
		}
		if to := w.Header().Get("Location"); to != "" && !strings.HasPrefix(to, "./") {
			t.Errorf("%q leads to %q", target, to)
		}
	})
}
