package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/webdav"

	"github.com/amahi/spdy-proxy/internal/testlog"
)

// davServer serves a root with an upload folder "in" and a file in each.
func davServer(t *testing.T, cfg Config) (srv *httptest.Server, root string) {
	t.Helper()
	root = t.TempDir()
	write(t, root, "top.txt", "top", "in/old.txt", "old", "in/dir/x.txt", "x", ".hidden", "no", "in/.hidden", "no", "in/"+partPrefix+"x", "no")
	cfg.Root, cfg.DAV = root, true
	if cfg.Upload != "" {
		cfg.Upload = filepath.Join(root, cfg.Upload)
	}
	return start(t, cfg), root
}

// hrefs returns what a multistatus names.
func hrefs(body string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`<D:href>([^<]*)</D:href>`).FindAllStringSubmatch(body, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return names
}

func TestDAVForReading(t *testing.T) {
	srv, root := davServer(t, Config{})
	if err := os.Symlink("/etc", filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("top.txt", filepath.Join(root, "größer & mehr")); err != nil {
		t.Fatal(err)
	}
	a := ask(t, srv, "PROPFIND", "/", "", "Depth: 1")
	if want := []string{"/", "/gr%C3%B6%C3%9Fer%20&amp;%20mehr", "/in/", "/top.txt"}; a.StatusCode != 207 || !slices.Equal(hrefs(a.body), want) {
		t.Errorf("%d %q, want 207 and %q", a.StatusCode, hrefs(a.body), want)
	}
	if a := ask(t, srv, "PROPFIND", "/top.txt", "", "Depth: 0"); a.StatusCode != 207 || !slices.Equal(hrefs(a.body), []string{"/top.txt"}) ||
		!strings.Contains(a.body, "<D:getcontentlength>3</D:getcontentlength>") || !strings.Contains(a.body, "text/plain; charset=utf-8") {
		t.Errorf("of a file: %d %s", a.StatusCode, a.body)
	}
	for _, tc := range []struct {
		method, target string
		want           int
		header         []string
	}{
		{"PROPFIND", "/", 403, nil}, {"PROPFIND", "/", 403, []string{"Depth: infinity"}},
		{"PROPFIND", "/none", 404, []string{"Depth: 0"}}, {"PROPFIND", "/.hidden", 404, []string{"Depth: 0"}}, {"PROPFIND", "/out/", 404, []string{"Depth: 0"}},
		{"PROPFIND", "/in/" + partPrefix + "x", 404, []string{"Depth: 0"}},
		{"GET", "/top.txt", 200, nil}, {"HEAD", "/top.txt", 200, nil}, {"OPTIONS", "/", 200, nil}, {"POST", "/", 200, nil},
		{"PUT", "/in/a", 405, nil}, {"DELETE", "/in/old.txt", 405, nil}, {"MKCOL", "/a", 405, nil}, {"MOVE", "/top.txt", 405, []string{"Destination: /b"}},
		{"COPY", "/top.txt", 405, []string{"Destination: /b"}}, {"LOCK", "/top.txt", 405, nil}, {"PROPPATCH", "/top.txt", 405, nil}, {"UNLOCK", "/top.txt", 405, nil},
	} {
		if a := ask(t, srv, tc.method, tc.target, "", tc.header...); a.StatusCode != tc.want || a.StatusCode == 405 && a.Header.Get("Allow") != davMethods {
			t.Errorf("%s %s %q: %d %q, Allow %q, want %d", tc.method, tc.target, tc.header, a.StatusCode, a.body, a.Header.Get("Allow"), tc.want)
		}
	}
	if a := ask(t, srv, "OPTIONS", "/", ""); a.Header.Get("Dav") != "1" {
		t.Errorf("DAV: %q, want class 1", a.Header.Get("Dav"))
	}
	// Without the flag there is no such thing.
	plain := start(t, Config{Root: root})
	if a := ask(t, plain, "PROPFIND", "/", "", "Depth: 1"); a.StatusCode != 405 || a.Header.Get("Dav") != "" {
		t.Errorf("without --dav: %d", a.StatusCode)
	}
}

func TestDAVForWriting(t *testing.T) {
	begun := time.Now()
	srv, root := davServer(t, Config{Upload: "in", UploadMax: 100})
	to := func(target string) string { return "Destination: http://example.test" + target }
	for i, tc := range []struct {
		method, target, body string
		header               []string
		want                 int
	}{
		{"PUT", "/in/new.txt", "new", nil, 201},
		{"PUT", "/in/old.txt", "newer", nil, 204},
		{"PUT", "/in/none/x.txt", "x", nil, 409},
		{"PUT", "/in/dir", "x", nil, 403},
		{"PUT", "/in/old.txt/x", "x", nil, 409},
		{"MKCOL", "/in/old.txt/x/", "", nil, 409},
		{"LOCK", "/in/old.txt/x", lockInfo("exclusive"), nil, 409},
		{"COPY", "/in/old.txt", "", []string{to("/in/none/x.txt")}, 409},
		{"COPY", "/in/dir/", "", []string{to("/in/none/x/")}, 409},
		{"MOVE", "/in/dir/", "", []string{to("/in/none/x/")}, 409},
		{"MOVE", "/in/dir/", "", []string{to("/in/old.txt/x/")}, 409},
		{"PUT", "/in/" + strings.Repeat("x", 256), "x", nil, 403},
		{"PUT", "/in/page.html", "<p>", nil, 201},
		{"PUT", "/in/long", strings.Repeat("x", 101), nil, 413},
		{"PUT", "/in/old.txt", "part", []string{"Content-Range: bytes 0-3/10"}, 400},
		{"PUT", "/in/old.txt", "x", []string{"If-None-Match: *"}, 412},
		{"PUT", "/in/other.txt", "x", []string{"If-None-Match: *"}, 201},
		{"PUT", "/in/none.txt", "x", []string{"If-Match: *"}, 412},
		{"PUT", "/in/old.txt", "x", []string{`If-Match: "another"`}, 412},
		{"PUT", "/in/old.txt", "newest", []string{"If-Match: *"}, 204},
		{"MKCOL", "/in/made/", "", nil, 201},
		{"MKCOL", "/in/made", "", nil, 405},
		{"MKCOL", "/in/none/x/", "", nil, 409},
		{"COPY", "/in/old.txt", "", []string{to("/in/made/copy.txt")}, 201},
		{"COPY", "/top.txt", "", []string{to("/in/top.txt")}, 201},
		{"COPY", "/in/old.txt", "", []string{to("/in/top.txt"), "Overwrite: F"}, 412},
		{"COPY", "/in/old.txt", "", []string{to("/in/top.txt"), "Overwrite: f"}, 412},
		{"MOVE", "/in/old.txt", "", []string{to("/in/top.txt"), "Overwrite: F"}, 412},
		{"MOVE", "/in/old.txt", "", []string{to("/in/top.txt"), "Overwrite: false"}, 412},
		{"COPY", "/in/old.txt", "", []string{to("/in/top.txt"), "Overwrite: F, F"}, 412},
		{"COPY", "/in/old.txt", "", []string{to("/in/twin.txt"), "Depth: INFINITY"}, 201},
		{"COPY", "/in/old.txt", "", []string{to("/in/triplet.txt")}, 201},
		{"MOVE", "/in/twin.txt", "", []string{to("/in/triplet.txt"), "Depth: Infinity"}, 204},
		{"DELETE", "/in/triplet.txt", "", nil, 204},
		{"COPY", "/in/dir/", "", []string{to("/in/made/dir/")}, 201},
		{"MOVE", "/in/top.txt", "", []string{"Destination: /in/made/moved.txt"}, 201},
		{"MOVE", "/in/made/moved.txt", "", []string{to("/in/new.txt"), "Overwrite: T"}, 204},
		{"DELETE", "/in/other.txt", "", nil, 204},
		{"DELETE", "/in/other.txt", "", nil, 404},
		{"DELETE", "/in/made/dir", "", nil, 204},
		{"LOCK", "/in/locked.txt", `<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`, []string{"Timeout: Infinite"}, 201},
		{"PUT", "/in/locked.txt", "x", nil, 423},
		{"UNLOCK", "/in/locked.txt", "", []string{"Lock-Token: <none>"}, 409},
		// What may not be.
		{"PUT", "/top.txt", "x", nil, 403}, {"PUT", "/new.txt", "x", nil, 403}, {"DELETE", "/top.txt", "", nil, 403}, {"MKCOL", "/new/", "", nil, 403},
		{"MOVE", "/top.txt", "", []string{to("/in/x")}, 403}, {"COPY", "/top.txt", "", []string{to("/x")}, 403}, {"MOVE", "/in/old.txt", "", []string{to("/x")}, 403},
		{"LOCK", "/top.txt", "", nil, 403}, {"PROPPATCH", "/top.txt", "", nil, 403},
		{"DELETE", "/in/", "", nil, 403}, {"MOVE", "/in/", "", []string{to("/in/x")}, 403}, {"COPY", "/in/", "", []string{to("/in/x")}, 403},
		{"COPY", "/in/dir/", "", []string{to("/in/dir/sub/")}, 403}, {"MOVE", "/in/dir/x.txt", "", []string{to("/in/dir"), "Overwrite: T"}, 403},
		{"COPY", "/in/old.txt", "", []string{to("/in/")}, 403}, {"COPY", "/in/old.txt", "", nil, 400}, {"COPY", "/in/old.txt", "", []string{"Destination: %zz"}, 400},
		{"COPY", "/in/old.txt", "", []string{"Destination: http://elsewhere.test/in/x"}, 502},
		{"MOVE", "/in/none.txt", "", []string{to("/in/old.txt"), "Overwrite: T"}, 404},
		{"PUT", "/in/.hidden", "x", nil, 403}, {"MKCOL", "/in/.dir/", "", nil, 403}, {"MOVE", "/in/old.txt", "", []string{to("/in/.x")}, 403}, {"DELETE", "/in/.hidden", "", nil, 403},
		{"PUT", "/in/a%2Fb", "x", nil, 403},
		{"PUT", "/in/x", "x", []string{"Origin: http://evil.test"}, 403}, {"DELETE", "/in/old.txt", "", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"PROPPATCH", "/in/old.txt", "<x>" + strings.Repeat("y", maxDAVBody), nil, 413},
		{"PROPFIND", "/in/old.txt", `<D:propfind xmlns:D="DAV:"><D:prop><b:c xmlns:b=""/></D:prop></D:propfind>`, []string{"Depth: 0"}, 400},
		{"PROPFIND", "/in/old.txt", `<propfind`, []string{"Depth: 0"}, 400},
	} {
		if a := ask(t, srv, tc.method, tc.target, tc.body, tc.header...); a.StatusCode != tc.want || a.err != nil {
			t.Errorf("%d: %s %s %q: %d %q %v, want %d", i, tc.method, tc.target, tc.header, a.StatusCode, a.body, a.err, tc.want)
		} else if a.StatusCode >= 400 && !strings.HasPrefix(a.body, fmt.Sprintf("%d: ", a.StatusCode)) {
			t.Errorf("%d: %s %s: %d with %q, want a line that begins with it", i, tc.method, tc.target, a.StatusCode, a.body)
		}
	}
	for name, want := range map[string]string{
		"top.txt": "top", "in/old.txt": "newest", "in/new.txt": "top", "in/dir/x.txt": "x", "in/made/copy.txt": "newest", "in/page.html": "<p>", "in/.hidden": "no", "in/locked.txt": "",
	} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, want)
		}
	}
	if got, want := namesIn(t, filepath.Join(root, "in")), []string{".hidden", "dir", "locked.txt", "made", "new.txt", "old.txt", "page.html"}; !slices.Equal(got, want) {
		t.Errorf("the upload folder holds %q, want %q", got, want)
	}
	if a := ask(t, srv, "OPTIONS", "/in/", ""); a.Header.Get("Dav") != "1, 2" || a.Header.Get("Allow") != davWriteMethods {
		t.Errorf("OPTIONS: %v", a.Header)
	}
	if a := ask(t, srv, "OPTIONS", "/", ""); a.Header.Get("Dav") != "1" {
		t.Errorf("OPTIONS of what is not written: %v", a.Header)
	}
	stopClock(srv.Config.Handler.(*Handler), begun)
	if find := ask(t, srv, "PROPFIND", "/in/dir/x.txt", "", "Depth: 0"); !strings.Contains(find.body, `<D:getetag>W/"`) {
		t.Errorf("of a file that may still change: %s, want a weak tag", find.body)
	}
	setClock(srv.Config.Handler.(*Handler), time.Hour)
	get, find := ask(t, srv, "GET", "/in/dir/x.txt", ""), ask(t, srv, "PROPFIND", "/in/dir/x.txt", "", "Depth: 0")
	if tag := get.Header.Get("Etag"); tag == "" || !strings.Contains(find.body, "<D:getetag>"+tag+"</D:getetag>") {
		t.Errorf("GET says %q, PROPFIND %s", tag, find.body)
	}
}

// Names stay as they are, so one that deceives is refused; folders that are there stay usable.
func TestDAVNames(t *testing.T) {
	for _, dotfiles := range []bool{false, true} {
		srv, root := davServer(t, Config{Upload: "in", Dotfiles: dotfiles})
		write(t, root, "in/-old/x.txt", "x", "in/old.php/", "", "in/-file", "old", "tree/a", "a", "tree/x.php/b", "b")
		to := func(target string) string { return "Destination: " + target }
		want := map[bool]int{true: 201, false: 403}
		before := namesIn(t, filepath.Join(root, "in"))
		for _, bad := range []string{"-rf", "a%0Ab%1B%5B2J", "%E2%80%AEgpj.exe", "in%E2%80%8Cvoice", "a%FF", "x.php", "x.php.", "x%20", strings.Repeat("x", 201), ".x.php", ".-x"} {
			for _, tc := range []struct {
				method, target string
				header         []string
				folder         bool
			}{
				{"MKCOL", "/in/" + bad, nil, true}, {"COPY", "/in/dir/", []string{to("/in/" + bad + "/")}, true}, {"MOVE", "/in/dir/", []string{to("/in/" + bad)}, true},
				{"PUT", "/in/" + bad, nil, false}, {"COPY", "/top.txt", []string{to("/in/" + bad)}, false}, {"MOVE", "/in/old.txt", []string{to("/in/" + bad)}, false}, {"LOCK", "/in/" + bad, nil, false},
			} {
				// What a browser or a server would run has its name, as a file: that is what WebDAV is for.
				kept := !tc.folder && (strings.Contains(bad, "x.php") || bad == "x%20" || len(bad) > 200) && (dotfiles || bad[0] != '.')
				body := ""
				if tc.method == "LOCK" {
					body = lockInfo("shared")
				}
				a := ask(t, srv, tc.method, tc.target, body, tc.header...)
				if a.StatusCode != want[kept] {
					t.Errorf("dotfiles %t: %s %s %q: %d %q, want %d", dotfiles, tc.method, tc.target, tc.header, a.StatusCode, a.body, want[kept])
				}
				if a.StatusCode == 403 && !strings.HasPrefix(a.body, "403: ") {
					t.Errorf("dotfiles %t: %s %s: %q, want what is wrong", dotfiles, tc.method, tc.target, a.body)
				}
				if kept {
					name, _ := url.PathUnescape(bad)
					if err := os.Rename(filepath.Join(root, "in", name), filepath.Join(root, "in/old.txt")); err != nil {
						t.Error(err)
					}
					if lock := a.Header.Get("Lock-Token"); lock != "" {
						ask(t, srv, "UNLOCK", tc.target, "", "Lock-Token: "+lock)
					}
				}
			}
		}
		if got := namesIn(t, filepath.Join(root, "in")); !slices.Equal(got, before) {
			t.Errorf("dotfiles %t: the folder holds %q, want %q", dotfiles, got, before)
		}
		for _, tc := range []struct {
			method, target string
			header         []string
			want           int
		}{
			{"PUT", "/in/-old/y.txt", nil, 201}, {"MKCOL", "/in/old.php/sub/", nil, 201}, {"PUT", "/in/old.php/sub/y", nil, 201}, {"PUT", "/in/-file", nil, 204},
			{"MOVE", "/in/-old/", []string{to("/in/new/")}, 201}, {"MKCOL", "/in/%DB%8C%E2%80%8C%DB%8C/", nil, 201}, {"MKCOL", "/in/R.E.M./", nil, 201},
			{"MKCOL", "/in/.Trash/", nil, want[dotfiles]}, {"PUT", "/in/._x", nil, want[dotfiles]},
			{"COPY", "/tree/", []string{to("/in/tree/")}, 403}, // it would make a folder x.php
		} {
			if a := ask(t, srv, tc.method, tc.target, "", tc.header...); a.StatusCode != tc.want {
				t.Errorf("dotfiles %t: %s %s %q: %d %q, want %d", dotfiles, tc.method, tc.target, tc.header, a.StatusCode, a.body, tc.want)
			}
		}
		if got := namesIn(t, filepath.Join(root, "in")); slices.Contains(got, "tree") || strings.Contains(strings.Join(got, " "), partPrefix) {
			t.Errorf("dotfiles %t: a copy that was refused left something of %q", dotfiles, got)
		}
	}
}

// No folder is made deeper than those that an upload makes, nor moved deeper than it was.
func TestDAVDepth(t *testing.T) {
	srv, root := davServer(t, Config{Upload: "in"})
	deep := "/in" + strings.Repeat("/x", maxUploadDepth)
	for n := range maxUploadDepth {
		if a := ask(t, srv, "MKCOL", "/in"+strings.Repeat("/x", n+1), ""); a.StatusCode != 201 {
			t.Fatalf("MKCOL, %d deep: %d %q, want 201", n+1, a.StatusCode, a.body)
		}
	}
	for _, tc := range []struct {
		method, target string
		header         []string
		want           int
	}{
		{"MKCOL", deep + "/y", nil, 403}, {"PUT", deep + "/y", nil, 201}, {"PUT", deep + "/z/y", nil, 409},
		{"COPY", "/in/x/", []string{"Destination: /in/copy/"}, 201}, {"COPY", "/in/x/", []string{"Destination: /in/copy/"}, 204},
		{"COPY", "/in/x/", []string{"Destination: /in/dir/x/"}, 403}, {"COPY", "/in/x/", []string{"Destination: " + deep + "/z"}, 403},
		{"COPY", "/in/dir/", []string{"Destination: " + deep + "/z"}, 403}, {"COPY", "/in/dir/", []string{"Destination: " + deep + "/z", "Depth: 0"}, 403},
		{"MOVE", "/in/dir/", []string{"Destination: " + deep + "/z"}, 403}, {"MOVE", "/in/copy/", []string{"Destination: /in/dir/copy/"}, 403},
		{"MOVE", "/in/copy/x/", []string{"Destination: /in/dir/copy/"}, 201}, {"MOVE", "/in/copy/", []string{"Destination: /in/moved/"}, 201},
		{"MOVE", "/in/dir/copy/", []string{"Destination: /in/x/y/"}, 201},
	} {
		if a := ask(t, srv, tc.method, tc.target, "", tc.header...); a.StatusCode != tc.want {
			t.Errorf("%s %s %q: %d %q, want %d", tc.method, tc.target, tc.header, a.StatusCode, a.body, tc.want)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "in/x/y"+strings.Repeat("/x", maxUploadDepth-2), "y")); err != nil {
		t.Errorf("the copy is not whole: %v", err)
	}
	// What the owner has made deeper stays movable, but for deeper.
	write(t, root, "in/deep"+strings.Repeat("/x", maxUploadDepth)+"/y", "y")
	for _, tc := range []struct {
		target string
		want   int
	}{{"/in/x/a/", 403}, {"/in/a/", 201}} {
		if a := ask(t, srv, "MOVE", "/in/deep/", "", "Destination: "+tc.target); a.StatusCode != tc.want {
			t.Errorf("MOVE to %s: %d %q, want %d", tc.target, a.StatusCode, a.body, tc.want)
		}
	}
}

// A file is replaced whole, or it stays; and links lead nobody out.
func TestDAVKeepsWhatWasThere(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, root, "in/a", "alpha", "in/b", "beta")
	write(t, outside, "secret", "secret")
	for link, to := range map[string]string{"in/out": outside, "in/file": filepath.Join(outside, "secret"), "in/b2": "b"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, method, target string
		body                 io.Reader
		length               int64
		look                 func() (disk, bool)
		want                 int
	}{
		{"broken off", "PUT", "/in/a", io.MultiReader(strings.NewReader("new"), iotest.ErrReader(errors.New("reset"))), -1, nil, 400},
		{"standing still", "PUT", "/in/a", io.MultiReader(strings.NewReader("new"), iotest.ErrReader(os.ErrDeadlineExceeded)), -1, nil, 408},
		{"shorter than announced", "PUT", "/in/a", strings.NewReader("new"), 10, nil, 400},
		{"too long", "PUT", "/in/a", io.LimitReader(zeros{}, 2000), -1, nil, 413},
		{"no room", "PUT", "/in/a", strings.NewReader("new"), -1, shows(disk{total: 1 << 40}), 507},
		{"no room for a copy", "COPY", "/in/b", nil, 0, shows(disk{total: 1 << 40}), 507},
		{"no room for a folder", "MKCOL", "/in/new", nil, 0, shows(disk{free: 1 << 39, total: 1 << 40, totalFiles: 1000}), 507},
		{"through a link", "PUT", "/in/out/secret", strings.NewReader("x"), 1, nil, 409},
		{"through another", "PUT", "/in/out/new", strings.NewReader("x"), 1, nil, 409},
		{"a folder through one", "MKCOL", "/in/out/new", nil, 0, nil, 409},
		{"onto a link", "PUT", "/in/file", strings.NewReader("x"), 1, nil, 403},
		{"onto a link that stays inside", "PUT", "/in/b2", strings.NewReader("x"), 1, nil, 403},
		{"in a linked folder", "DELETE", "/in/out/secret", nil, 0, nil, 404},
		{"a linked folder", "COPY", "/in/out", nil, 0, nil, 404},
	} {
		h := newHandler(t, Config{Root: root, Upload: filepath.Join(root, "in"), UploadMax: 1000, DAV: true})
		if tc.look != nil {
			h.serve.(*folder).uploads.room.look = tc.look
		}
		r := httptest.NewRequest(tc.method, tc.target, tc.body)
		r.ContentLength = tc.length
		r.Header.Set("Destination", "/in/a")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.want || tc.want == 507 && !strings.HasPrefix(w.Body.String(), "507: ") {
			t.Errorf("%s: %d %q, want %d", tc.name, w.Code, w.Body, tc.want)
		}
		for name, want := range map[string]string{filepath.Join(root, "in/a"): "alpha", filepath.Join(root, "in/b"): "beta", filepath.Join(outside, "secret"): "secret"} {
			if got, err := os.ReadFile(name); err != nil || string(got) != want {
				t.Errorf("%s: %s holds %q, %v", tc.name, name, got, err)
			}
		}
		if got := namesIn(t, filepath.Join(root, "in")); len(got) != 5 {
			t.Errorf("%s: it left %q", tc.name, got)
		}
	}
}

// What is replaced, be it a file, a folder or a link, is replaced whole, or it stays:
// for a name that may not be, for want of room, and for one that is too deep.
func TestDAVReplacesWholeOrNot(t *testing.T) {
	noFiles := func(after int) func() (disk, bool) {
		return func() (disk, bool) {
			d := disk{free: 1 << 39, total: 1 << 40, totalFiles: 1000}
			if after--; after >= 0 {
				d.freeFiles = 1000
			}
			return d, true
		}
	}
	noBytes := shows(disk{total: 1 << 40})
	for _, tc := range []struct {
		name, method, from string
		look               func() (disk, bool)
		want               int
		read               string // of what is in the place afterwards, where that is changed
	}{
		{"a file", "COPY", "/in/new.txt", nil, 204, ""}, {"a file", "MOVE", "/in/new.txt", nil, 204, ""},
		{"a folder", "COPY", "/in/new/", nil, 204, "/sub/x.txt"}, {"a folder", "MOVE", "/in/new/", nil, 204, "/sub/x.txt"},
		{"a folder from elsewhere", "COPY", "/new/", nil, 204, "/sub/x.txt"},
		{"a folder with a bad name in it", "COPY", "/bad/", nil, 403, ""}, {"one with a bad file", "COPY", "/badfile/", nil, 403, ""},
		{"a deep one", "COPY", "/deep/", nil, 403, ""}, {"what is not there", "COPY", "/none/", nil, 404, ""}, {"what is not there", "MOVE", "/in/none", nil, 404, ""},
		{"no room for a file", "COPY", "/in/new.txt", noBytes, 507, ""}, {"no room for a folder", "COPY", "/new/", noBytes, 507, ""},
		{"no room in its midst", "COPY", "/new/", noFiles(4), 507, ""}, {"no room for anything", "COPY", "/new/", noFiles(0), 507, ""},
	} {
		for _, onto := range []string{"file", "folder", "link", "folderlink", "nothing"} {
			srv, root := davServer(t, Config{Upload: "in"})
			write(t, root, "in/new.txt", "new", "in/new/sub/x.txt", "new", "in/new/y.txt", "new", "new/sub/x.txt", "new", "new/y.txt", "new",
				"bad/a", "x", "bad/x.php/a", "x", "badfile/a", "x", "badfile/z/-z", "x", "deep"+strings.Repeat("/x", maxUploadDepth)+"/y", "y",
				"in/file", "old", "in/folder/sub/x.txt", "old", "in/folder/z/y", "old")
			for link, to := range map[string]string{"in/link": "old.txt", "in/folderlink": "dir"} {
				if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
					t.Fatal(err)
				}
			}
			before := snapshot(t, filepath.Join(root, "in"))
			if tc.look != nil {
				srv.Config.Handler.(*Handler).serve.(*folder).uploads.room.look = tc.look
			}
			want := tc.want
			if onto == "nothing" && want == 204 {
				want = 201
			}
			a := ask(t, srv, tc.method, tc.from, "", "Destination: /in/"+onto, "Overwrite: T")
			if a.StatusCode != want {
				t.Errorf("%s %s onto a %s: %d %q, want %d", tc.method, tc.name, onto, a.StatusCode, a.body, want)
			}
			after := snapshot(t, filepath.Join(root, "in"))
			if want >= 400 {
				if !maps.Equal(before, after) {
					t.Errorf("%s %s onto a %s: the folder holds %q, before it held %q", tc.method, tc.name, onto, after, before)
				}
				continue
			}
			if got := after[onto+tc.read]; got != "new" {
				t.Errorf("%s %s onto a %s: it holds %q", tc.method, tc.name, onto, got)
			}
			for name := range after {
				if strings.Contains(name, partPrefix) || strings.HasPrefix(name, "folder/z") && onto == "folder" {
					t.Errorf("%s %s onto a %s: it left %s", tc.method, tc.name, onto, name)
				}
			}
			if after["old.txt"] != "old" || after["dir/x.txt"] != "x" {
				t.Errorf("%s %s onto a %s: it changed what a link leads to: %q", tc.method, tc.name, onto, after)
			}
		}
	}
}

// snapshot tells what is in a folder: the content of each file, the target of each link.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var content []byte
		switch rel, _ := filepath.Rel(dir, name); {
		case e.Type() == os.ModeSymlink:
			all[rel], err = os.Readlink(name)
		case e.IsDir():
			all[rel] = "a folder"
		default:
			content, err = os.ReadFile(name)
			all[rel] = string(content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A link that is moved onto what it leads to would lead to itself; and one that leads
// out is not there for visitors, but is the owner's.
func TestDAVMoveOfALinkOntoItsTarget(t *testing.T) {
	srv, root := davServer(t, Config{Upload: "in"})
	for link, to := range map[string]string{"in/link": "old.txt", "in/out": "/etc/passwd", "in/gone": "none"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, filepath.Join(root, "in"))
	for _, tc := range []struct{ method, from, to string }{
		{"MOVE", "/in/link", "/in/old.txt"}, {"COPY", "/in/link", "/in/old.txt"},
		{"MOVE", "/in/old.txt", "/in/out"}, {"COPY", "/in/old.txt", "/in/out"}, {"MOVE", "/in/old.txt", "/in/gone"}, {"MOVE", "/in/dir/", "/in/gone"},
		{"COPY", "/in/dir/", "/in/out"}, {"MOVE", "/in/dir/", "/in/out"},
	} {
		for _, overwrite := range []string{"T", "F"} {
			want := 403
			a := ask(t, srv, tc.method, tc.from, "", "Destination: "+tc.to, "Overwrite: "+overwrite)
			if after := snapshot(t, filepath.Join(root, "in")); a.StatusCode != want || !maps.Equal(before, after) {
				t.Errorf("%s %s to %s: %d %q, want %d; the folder holds %q", tc.method, tc.from, tc.to, a.StatusCode, a.body, want, after)
			}
		}
	}
}

// Where links may lead out, no visitor chooses to what: one that goes up is not moved to
// where it leads elsewhere.
func TestDAVMoveOfALinkThatLeadsUp(t *testing.T) {
	srv, root := davServer(t, Config{Upload: "in", FollowLinks: true})
	write(t, root, "in/a/b/c/", "", "in/x.txt", "the owner's", "in/d/", "")
	write(t, filepath.Dir(root), "x.txt", "nobody's")
	for link, to := range map[string]string{"up": "../../x.txt", "c/abs": filepath.Join(root, "in/x.txt"), "c/here": "abs"} {
		if err := os.Symlink(to, filepath.Join(root, "in/a/b", link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		from, to string
		want     int
	}{
		{"/in/a/b/up", "/in/up", 403}, {"/in/a/b", "/in/b", 403}, {"/in/a", "/in/d/a", 403},
		{"/in/a/b/c", "/in/c", 201}, {"/in/a/b/up", "/in/a/b/up2", 201}, {"/in/a", "/in/e", 201}, // they lead where they led
	} {
		if a := ask(t, srv, "MOVE", tc.from, "", "Destination: "+tc.to); a.StatusCode != tc.want {
			t.Errorf("%s to %s: %d %q, want %d", tc.from, tc.to, a.StatusCode, a.body, tc.want)
		}
	}
	for name, want := range map[string]int{"/in/up": 404, "/in/b/up": 404, "/in/e/b/up2": 200, "/in/c/here": 200} {
		if a := ask(t, srv, "GET", name, ""); a.StatusCode != want || want == 200 && a.body != "the owner's" {
			t.Errorf("%s: %d %q, want %d", name, a.StatusCode, a.body, want)
		}
	}
}

// What the system says of a change is told to the visitor as what it is, and to the
// owner in one line where it is his to mend.
func TestDAVFailuresOfTheSystem(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
		line string
	}{
		{syscall.EACCES, 403, ""}, {syscall.EPERM, 403, ""}, {syscall.ENAMETOOLONG, 403, ""}, {syscall.ENOENT, 409, ""}, {syscall.ENOTDIR, 409, ""}, {syscall.ELOOP, 409, ""},
		{errors.New("path escapes from parent"), 409, ""}, {syscall.ENOSPC, 507, "an upload was refused"}, {syscall.EDQUOT, 507, "an upload was refused"},
		{syscall.EMFILE, 503, "no more files can be opened"}, {syscall.EXDEV, 403, "an upload could not be kept"}, {syscall.EBUSY, 403, "an upload could not be kept"},
		{syscall.EROFS, 500, "an upload could not be kept"}, {syscall.EIO, 500, "an upload could not be kept"},
	} {
		var book testlog.Buffer
		root := t.TempDir()
		write(t, root, "in/", "")
		h := newHandler(t, Config{Root: root, Upload: filepath.Join(root, "in"), DAV: true, Logger: book.Logger(slog.LevelInfo)})
		for _, method := range []string{"PUT", "MKCOL", "DELETE", "MOVE", "COPY", "LOCK", "PROPPATCH"} {
			op := &davOp{method: method}
			op.failed(&os.PathError{Op: "renameat", Path: "a", Err: tc.err})
			answer := httptest.NewRecorder()
			w := &davWriter{ResponseWriter: answer, v: h.serve.(*folder).dav, r: httptest.NewRequest(method, "/in/a", nil), op: op}
			w.WriteHeader(http.StatusMethodNotAllowed) // as the library says for most
			if answer.Code != tc.want || !strings.HasPrefix(answer.Body.String(), fmt.Sprintf("%d: ", tc.want)) {
				t.Errorf("%s, %v: %d %q, want %d", method, tc.err, answer.Code, answer.Body, tc.want)
			}
		}
		if lines := book.Lines(); tc.line == "" && len(lines) != 0 || tc.line != "" && (len(lines) != 1 || !strings.Contains(lines[0], tc.line)) {
			t.Errorf("%v: logged %q, want %q once", tc.err, lines, tc.line)
		}
	}
}

// Where c may not write, the answer says so: 405 for MKCOL would mean that the folder is there.
func TestDAVWhereNothingMayBeWritten(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	srv, root := davServer(t, Config{Upload: "in"})
	write(t, root, "in/closed/x.txt", "x")
	if err := os.Chmod(filepath.Join(root, "in/closed"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "in/closed"), 0o755) })
	before := snapshot(t, filepath.Join(root, "in"))
	for _, tc := range []struct{ method, target, to, body string }{
		{"MKCOL", "/in/closed/new/", "", ""}, {"PUT", "/in/closed/new", "", "x"}, {"PUT", "/in/closed/x.txt", "", "x"}, {"DELETE", "/in/closed/x.txt", "", ""},
		{"MOVE", "/in/closed/x.txt", "/in/x", ""}, {"MOVE", "/in/old.txt", "/in/closed/x", ""}, {"COPY", "/in/old.txt", "/in/closed/x", ""},
		{"COPY", "/in/dir/", "/in/closed/d/", ""}, {"LOCK", "/in/closed/new", "", lockInfo("exclusive")},
	} {
		for range 2 { // a LOCK that is refused holds none
			a := ask(t, srv, tc.method, tc.target, tc.body, "Destination: "+tc.to, "Overwrite: T")
			if after := snapshot(t, filepath.Join(root, "in")); a.StatusCode != 403 || !maps.Equal(before, after) {
				t.Errorf("%s %s: %d %q, want 403; the folder holds %q", tc.method, tc.target, a.StatusCode, a.body, after)
			}
		}
	}
}

// What somebody else has put there meanwhile is not replaced by who wants to replace
// nothing.
func TestDAVMakesAndReplacesNothing(t *testing.T) {
	for _, tc := range []struct {
		method, path, body string
		want               int
	}{{"PUT", "/in/a", "new", 412}, {"LOCK", "/in/a", lockInfo("exclusive"), 201}, {"COPY", "/b", "", 412}} {
		root := t.TempDir()
		write(t, root, "in/", "", "b", "new")
		h := newHandler(t, Config{Root: root, Upload: filepath.Join(root, "in"), DAV: true})
		h.serve.(*folder).uploads.room.look = func() (disk, bool) {
			write(t, root, "in/a", "another") // when it was seen that nothing is there
			return disk{}, false
		}
		r := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
		r.Header.Set("If-None-Match", "*")
		r.Header.Set("Destination", "/in/a")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := snapshot(t, filepath.Join(root, "in")); w.Code != tc.want || len(got) != 2 || got["a"] != "another" {
			t.Errorf("%s: %d %q, the folder holds %q, want %d and what was put there", tc.method, w.Code, w.Body, got, tc.want)
		}
	}
}

// A copy of a folder that is moved away meanwhile has not all of it, and replaces nothing.
func TestDAVCopyOfAFolderThatIsMoved(t *testing.T) {
	for _, read := range []bool{false, true} { // it was opened before
		root := t.TempDir()
		write(t, root, "in/from/a/x", "new", "in/from/b/x", "new", "in/to/x", "old")
		h := newHandler(t, Config{Root: root, Upload: filepath.Join(root, "in"), DAV: true})
		h.serve.(*folder).uploads.room.look = func() (disk, bool) {
			made, _ := filepath.Glob(filepath.Join(root, "in", partPrefix+"*"+tempSuffix, "?"))
			if len(made) != 1 {
				return disk{}, false
			}
			// One of the two has been made, and what is in it is being.
			first := filepath.Base(made[0])
			moved := first
			if !read {
				moved = map[string]string{"a": "b", "b": "a"}[first]
			}
			os.Rename(filepath.Join(root, "in/from", moved), filepath.Join(root, "moved"))
			return disk{}, false
		}
		r := httptest.NewRequest("COPY", "/in/from/", nil)
		r.Header.Set("Destination", "/in/to/")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got, err := os.ReadFile(filepath.Join(root, "in/to/x")); w.Code != 409 || !strings.Contains(w.Body.String(), errMovedAway.Error()) || err != nil || string(got) != "old" {
			t.Errorf("opened before: %v: %d %q, what was to be replaced holds %q, %v", read, w.Code, w.Body, got, err)
		}
	}
}

// A copy has what an archive of the folder has: no link to a folder, which may be
// its own, and nothing that is not served.
func TestDAVCopyOfAFolder(t *testing.T) {
	srv, root := davServer(t, Config{Upload: "in"})
	write(t, root, "tree/a.txt", "alpha", "tree/sub/b.txt", "beta", "tree/.hidden", "no", "tree/"+wellKnown+"/x", "no")
	for link, to := range map[string]string{"ubuntu": ".", "up": "..", "sub/up": "../../tree", "l.txt": "a.txt", "gone": "none", "out": "/etc", "out.txt": "/etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(root, "tree", link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := makeFIFO(filepath.Join(root, "tree/fifo")); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, srv, "COPY", "/tree/", "", "Destination: /in/tree/"); a.StatusCode != 201 {
		t.Errorf("%d %q, want 201", a.StatusCode, a.body)
	}
	if a := ask(t, srv, "COPY", "/tree/ubuntu/", "", "Destination: /in/link/"); a.StatusCode != 201 {
		t.Errorf("of a link, named as such: %d %q, want 201", a.StatusCode, a.body)
	}
	for _, dir := range []string{"in/tree", "in/link"} {
		if got, want := namesIn(t, filepath.Join(root, dir)), []string{"a.txt", "l.txt", "sub"}; !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", dir, got, want)
		}
		if got, want := namesIn(t, filepath.Join(root, dir, "sub")), []string{"b.txt"}; !slices.Equal(got, want) {
			t.Errorf("%s/sub holds %q, want %q", dir, got, want)
		}
		if got, err := os.ReadFile(filepath.Join(root, dir, "l.txt")); err != nil || string(got) != "alpha" {
			t.Errorf("%s/l.txt holds %q, %v", dir, got, err)
		}
	}
	if got := hrefs(ask(t, srv, "PROPFIND", "/tree/", "", "Depth: 1").body); !slices.Contains(got, "/tree/ubuntu/") {
		t.Errorf("a list has %q, want the link to the folder in it", got)
	}
}

// What a disk does not give for the moment is not left out of a copy, which may replace
// what is whole.
func TestDAVCopyLeavesOutWhatIsNotThere(t *testing.T) {
	for err, want := range map[error]bool{
		errNotFound: true, errors.New("path escapes from parent"): true, errors.New("EvalSymlinks: too many links"): true,
		syscall.ENOENT: true, syscall.ENOTDIR: true, syscall.ELOOP: true,
		syscall.EIO: false, syscall.EACCES: false, syscall.EMFILE: false, syscall.ENOTCONN: false, syscall.ETIMEDOUT: false, syscall.EINVAL: false, fs.ErrClosed: false,
	} {
		if got := leadsNowhere(&fs.PathError{Op: "openat", Path: "a", Err: err}); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// A link in the name of either does not hide that one holds the other: a copy would
// have no end, and what is replaced would take the source with it.
func TestDAVCopyIntoItselfByALink(t *testing.T) {
	srv, root := davServer(t, Config{Upload: "in"})
	write(t, root, "in/a/b/x.txt", "x", "in/a/z.txt", "z", "in/other/", "")
	for link, to := range map[string]string{"whole": "in", "in/l": "a/b", "in/m": "a"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		method, from, to string
		want             int
	}{
		{"COPY", "/whole/", "/in/other/", 403}, {"COPY", "/whole/a/", "/in/a/new/", 403}, {"COPY", "/in/a/", "/in/l/new/", 403}, {"COPY", "/in/m/", "/in/l/new/", 403},
		{"COPY", "/in/l/", "/in/a/", 403}, {"COPY", "/in/l/x.txt", "/in/a/b", 403}, {"MOVE", "/in/l/x.txt", "/in/a", 403}, {"MOVE", "/in/m/b/", "/in/a/", 403},
		{"COPY", "/in/l/", "/in/other/l/", 201}, {"COPY", "/whole/a/z.txt", "/in/other/z.txt", 201}, {"MOVE", "/in/l/x.txt", "/in/m/x.txt", 201},
	} {
		if a := ask(t, srv, tc.method, tc.from, "", "Destination: "+tc.to); a.StatusCode != tc.want {
			t.Errorf("%s %s to %s: %d %q, want %d", tc.method, tc.from, tc.to, a.StatusCode, a.body, tc.want)
		}
	}
	if got, want := namesIn(t, filepath.Join(root, "in/a")), []string{"b", "x.txt", "z.txt"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
	if got, want := namesIn(t, filepath.Join(root, "in/other")), []string{"l", "z.txt"}; !slices.Equal(got, want) {
		t.Errorf("the other holds %q, want %q", got, want)
	}
}

// Properties of people's programs stay with the file, and go where it goes.
func TestDAVProperties(t *testing.T) {
	srv, root := davServer(t, Config{Upload: "in"})
	f, err := os.Open(filepath.Join(root, "in/old.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := writeAttribute(f, nil); err != nil {
		t.Skipf("this file system has no extended attributes: %v", err)
	}
	patch := `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><c xmlns="urn:mine">blue &amp; green</c></D:prop></D:set></D:propertyupdate>`
	if a := ask(t, srv, "PROPPATCH", "/in/old.txt", patch); a.StatusCode != 207 || !strings.Contains(a.body, "200 OK") {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	find := `<D:propfind xmlns:D="DAV:"><D:prop><c xmlns="urn:mine"/></D:prop></D:propfind>`
	has := func(target string, want bool) {
		t.Helper()
		a := ask(t, srv, "PROPFIND", target, find, "Depth: 0")
		if got := strings.Contains(a.body, "blue &amp; green"); got != want {
			t.Errorf("%s has the property: %t, want %t\n%s", target, got, want, a.body)
		}
	}
	has("/in/old.txt", true)
	ask(t, srv, "PUT", "/in/old.txt", "new content")
	has("/in/old.txt", true)
	ask(t, srv, "COPY", "/in/old.txt", "", "Destination: /in/copy.txt")
	has("/in/copy.txt", true)
	ask(t, srv, "MOVE", "/in/old.txt", "", "Destination: /in/moved.txt")
	has("/in/moved.txt", true)
	ask(t, srv, "PUT", "/in/old.txt", "another")
	has("/in/old.txt", false)
	ask(t, srv, "COPY", "/in/old.txt", "", "Destination: /in/moved.txt") // which is replaced, with its properties
	has("/in/moved.txt", false)
	big := strings.ReplaceAll(patch, "blue", strings.Repeat("x", maxDAVBody-1000))
	if a := ask(t, srv, "PROPPATCH", "/in/old.txt", big); a.StatusCode != 207 || !strings.Contains(a.body, "507") {
		t.Errorf("too many: %d %.300s, want 507 inside", a.StatusCode, a.body)
	}
}

func TestDAVLocksAreBounded(t *testing.T) {
	root := t.TempDir()
	write(t, root, "in/a", "alpha")
	h := newHandler(t, Config{Root: root, Upload: filepath.Join(root, "in"), DAV: true})
	send := func(method, target, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Timeout", "Infinite, Second-4100000000")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	locks, now := h.serve.(*folder).dav.locks, time.Now()
	var last string
	for i := range maxDAVLocks {
		var err error
		if last, err = locks.Create(now, webdav.LockDetails{Root: fmt.Sprint("/other", i), Duration: maxDAVLock}); err != nil {
			t.Fatal(err)
		}
	}
	if w := send("LOCK", "/in/a", lockInfo("exclusive")); w.Code != 503 {
		t.Errorf("one lock too many: %d %s", w.Code, w.Body)
	}
	if w := send("PUT", "/in/b", "x"); w.Code != 201 {
		t.Errorf("a PUT while there are many locks: %d %s", w.Code, w.Body)
	}
	for _, body := range []io.Reader{nil, http.NoBody, strings.NewReader("")} {
		r := httptest.NewRequest("LOCK", "/in/a", body)
		r.ContentLength = -1
		r.Header.Set("If", "(<"+last+">)")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 200 || !strings.Contains(w.Body.String(), last) {
			t.Errorf("more time for one that is held: %d %s, want 200", w.Code, w.Body)
		}
	}
	if _, err := locks.Refresh(now, last, 0); err != nil {
		t.Error(err)
	}
	if w := send("LOCK", "/in/a", lockInfo("exclusive")); w.Code != 200 || !strings.Contains(w.Body.String(), "Second-3600") {
		t.Errorf("when one has ended: %d %s, want a lock for an hour", w.Code, w.Body)
	}
}

func lockInfo(scope string) string {
	return `<?xml version="1.0"?><L:lockinfo xmlns:L="DAV:"><L:lockscope><L:` + scope + `/></L:lockscope><L:locktype><L:write/></L:locktype><L:owner>shared</L:owner></L:lockinfo>`
}

// What RFC 4918, 6.2, 7 and 10.4 say of locks, and of conditions in general.
func TestDAVLocks(t *testing.T) {
	srv, _ := davServer(t, Config{Upload: "in"})
	var tokens []string
	lock := func(target, scope string, want int, header ...string) {
		t.Helper()
		a := ask(t, srv, "LOCK", target, lockInfo(scope), header...)
		if a.StatusCode != want || want < 300 && !strings.Contains(a.body, "<D:"+scope+"/>") {
			t.Errorf("LOCK of %s, %s: %d %s, want %d", target, scope, a.StatusCode, a.body, want)
		}
		tokens = append(tokens, strings.Trim(a.Header.Get("Lock-Token"), "<>"))
	}
	do := func(method, target string, want int, header ...string) {
		t.Helper()
		if a := ask(t, srv, method, target, "", header...); a.StatusCode != want {
			t.Errorf("%s %s %q: %d %s, want %d", method, target, header, a.StatusCode, a.body, want)
		}
	}
	lock("/in/old.txt", "exclusive", 200)
	lock("/in/old.txt", "exclusive", 423)
	lock("/in/old.txt", "shared", 423)
	lock("/in/", "exclusive", 423) // a part of it is locked
	do("PUT", "/in/old.txt", 423)
	do("PUT", "/in/old.txt", 412, "If: (<urn:uuid:guessed>)")
	do("PUT", "/in/old.txt", 204, "If: (<"+tokens[0]+">)")
	do("LOCK", "/in/old.txt", 200, "If: (<"+tokens[0]+">)") // refreshed
	do("UNLOCK", "/in/old.txt", 204, "Lock-Token: <"+tokens[0]+">")
	do("PUT", "/in/old.txt", 204)

	tokens = nil
	lock("/in/old.txt", "shared", 200)
	lock("/in/old.txt", "shared", 200)
	lock("/in/old.txt", "exclusive", 423)
	do("PUT", "/in/old.txt", 423)
	do("PUT", "/in/old.txt", 204, "If: (<"+tokens[1]+">)")
	do("UNLOCK", "/in/old.txt", 204, "Lock-Token: <"+tokens[1]+">")
	do("PUT", "/in/old.txt", 423)
	do("DELETE", "/in/old.txt", 204, "If: (<"+tokens[0]+">)")
	do("PUT", "/in/old.txt", 201) // the lock went with what was locked

	tokens = nil
	lock("/in/dir/", "exclusive", 200)
	do("PUT", "/in/dir/x.txt", 423)
	do("PUT", "/in/dir/new.txt", 423)
	do("PUT", "/in/dir/new.txt", 201, "If: <http://example.test/in/dir/new.txt> (<"+tokens[0]+">)")
	do("MOVE", "/in/dir/new.txt", 423, "Destination: /in/out.txt")
	do("MOVE", "/in/dir/new.txt", 201, "Destination: /in/out.txt", "If: (<"+tokens[0]+">)")
	do("UNLOCK", "/in/dir/", 204, "Lock-Token: <"+tokens[0]+">")

	// What holds something that is locked stays, and is not replaced.
	tokens = nil
	lock("/in/dir/x.txt", "shared", 200)
	lock("/in/dir/x.txt", "shared", 200)
	do("MKCOL", "/in/other/", 201)
	do("DELETE", "/in/dir/", 423)
	do("MOVE", "/in/dir/", 423, "Destination: /in/moved/")
	do("COPY", "/in/other/", 423, "Destination: /in/dir/")
	do("MOVE", "/in/other/", 423, "Destination: /in/dir/", "Overwrite: T")
	do("COPY", "/in/dir/", 204, "Destination: /in/other/") // from it may be copied
	do("DELETE", "/in/other/", 204)
	do("MOVE", "/in/dir/", 201, "Destination: /in/moved/", "If: <http://example.test/in/dir/x.txt> (<"+tokens[0]+">)")
	do("DELETE", "/in/moved/", 204) // locks do not move (RFC 4918, 7.5)
	do("MKCOL", "/in/dir/", 201)
	do("PUT", "/in/dir/x.txt", 201)

	setClock(srv.Config.Handler.(*Handler), time.Hour) // or there is no tag to name
	tag := ask(t, srv, "GET", "/in/dir/x.txt", "").Header.Get("Etag")
	do("PUT", "/in/dir/x.txt", 412, `If: (["another"])`)
	do("PUT", "/in/dir/x.txt", 412, "If: (Not ["+tag+"])")
	do("PUT", "/in/dir/x.txt", 412, "If: (["+tag+"] <urn:uuid:none>)")
	do("PUT", "/in/dir/x.txt", 400, "If: nonsense")
	do("PUT", "/in/dir/x.txt", 412, "If: "+strings.Repeat(`(["another"])`, maxIfLists))
	do("PUT", "/in/dir/x.txt", 400, "If: "+strings.Repeat(`(["another"])`, maxIfLists+1))
	do("PUT", "/in/dir/x.txt", 204, `If: (["another"]) (Not <DAV:no-lock> [`+tag+"])")
}

// A list ends with its visitor, and does not look whole.
func TestDAVEndsWithTheVisitor(t *testing.T) {
	root := t.TempDir()
	for i := range 2000 {
		write(t, root, fmt.Sprintf("%d", i), "x")
	}
	h := newHandler(t, Config{Root: root, DAV: true})
	ctx, cancel := context.WithCancel(t.Context())
	w := &countingWriter{ResponseRecorder: httptest.NewRecorder(), after: func(n int) {
		if n == 3 {
			cancel()
		}
	}}
	r := httptest.NewRequestWithContext(ctx, "PROPFIND", "/", nil)
	r.Header.Set("Depth", "1")
	if !aborts(h, w, r) {
		t.Error("what was cut looks whole")
	}
	if n := len(hrefs(w.Body.String())); n > 200 {
		t.Errorf("%d of 2000 were listed", n)
	}
}

// One who left before there was an answer gets none, which the access log would have.
func TestDAVForNobody(t *testing.T) {
	srv, _ := davServer(t, Config{Upload: "in"})
	left, cancel := context.WithCancel(t.Context())
	cancel()
	for _, depth := range []string{"0", "1"} {
		r := httptest.NewRequestWithContext(left, "PROPFIND", "/in/", nil)
		r.Header.Set("Depth", depth)
		w := &countingWriter{ResponseRecorder: httptest.NewRecorder(), after: func(int) {}}
		if aborted := aborts(srv.Config.Handler, w, r); !aborted || w.writes != 0 {
			t.Errorf("Depth %s: aborted %t, %d writes, want it aborted and none", depth, aborted, w.writes)
		}
	}
}

// What folders hold takes bounded memory, for however many a list is made, and
// however slowly they read it; what is small is listed in any case.
func TestDAVListsAreBounded(t *testing.T) {
	root := t.TempDir()
	const files = listingBatch + listingBatch/2
	for i := range files {
		write(t, root, fmt.Sprintf("big/%d", i), "")
	}
	for i := range listingBatch {
		write(t, root, fmt.Sprintf("small/%d", i), "")
	}
	write(t, root, "few/a", "", "in/big/old", "")
	h := newHandler(t, Config{Root: root, Upload: filepath.Join(root, "in"), DAV: true})
	held := &h.serve.(*folder).held
	for _, tc := range []struct {
		method, target string
		before         int64
		want           int
		entries        int64 // that are counted meanwhile
	}{
		{"PROPFIND", "/big/", 0, 207, files - listingBatch}, {"PROPFIND", "/small/", 0, 207, 0}, {"PROPFIND", "/small/", maxHeld, 207, 0}, {"PROPFIND", "/big/", maxHeld, 503, 0},
		{"COPY", "/few/", maxHeld, 201, 0}, {"COPY", "/big/", maxHeld, 204, 0}, // a copy holds no list
	} {
		held.Store(tc.before)
		r := httptest.NewRequest(tc.method, tc.target, nil)
		r.Header.Set("Depth", "1")
		if tc.method == "COPY" {
			r.Header.Set("Depth", "infinity")
			r.Header.Set("Destination", "/in"+tc.target)
		}
		most := int64(0)
		w := &countingWriter{ResponseRecorder: httptest.NewRecorder(), after: func(int) { most = max(most, held.Load()-tc.before) }}
		h.ServeHTTP(w, r)
		if w.Code != tc.want || (w.Header().Get("Retry-After") != "") != (tc.want == 503) || most != tc.entries {
			t.Errorf("%s %s, %d held before: %d %.100q, %v, %d held more; want %d and %d", tc.method, tc.target, tc.before, w.Code, w.Body, w.Header(), most, tc.want, tc.entries)
		}
		if listed := len(hrefs(w.Body.String())) - 1; tc.want == 207 && listed != listingBatch+int(tc.entries) {
			t.Errorf("%s: %d are listed, want %d", tc.target, listed, listingBatch+int(tc.entries))
		}
		if n := held.Load(); n != tc.before {
			t.Errorf("%s %s: %d entries are held at the end, %d before", tc.method, tc.target, n, tc.before)
		}
	}
}

// A folder that is larger than all that may be held is listed when nobody else holds anything.
func TestDAVListAlone(t *testing.T) {
	for _, tc := range []struct {
		own, all int64
		want     bool
	}{
		{0, 2 * maxHeld, false}, {1, maxHeld, false}, {1, maxHeld + 1, true}, {maxHeld + 1, maxHeld + 1, false}, {2 * maxHeld, 2 * maxHeld, false},
		{2 * maxHeld, 2*maxHeld + 1, true},
	} {
		if got := crowded(tc.own, tc.all); got != tc.want {
			t.Errorf("with %d of %d entries a list is one too many: %t, want %t", tc.own, tc.all, got, tc.want)
		}
	}
}
