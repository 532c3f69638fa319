package serve

import (
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// treeOf lists what is under dir, with what the files hold.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		content := []byte("a folder")
		if !e.IsDir() {
			if content, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		fmt.Fprintf(&all, "%s: %s\n", name, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// A CA, and others, take what is in .well-known for the owner's word: whoever
// may upload must have no way to it, nor to other names that begin with a dot
// unless they were asked for.
func TestUploadsDoNotSpeakForTheHost(t *testing.T) {
	const token = wellKnown + "/acme-challenge/token"
	contentType, body := form("token", "mine")
	to := func(name string) string { return "Destination: http://example.test/" + name }
	type door struct {
		method, target, body string
		header               []string
	}
	for _, hidden := range []string{wellKnown, ".Well-KNOWN", ".other"} {
		challenge := "/" + hidden + "/acme-challenge/"
		doors := []door{
			{"PUT", challenge + "token", "mine", nil},
			{"PUT", "/" + hidden, "mine", nil},
			{"PUT", "/sub/" + hidden + "/token", "mine", nil},
			{"PUT", "/x/../" + strings.Replace(hidden, ".", "%2e", 1) + "/acme-challenge/token", "mine", nil},
			{"PUT", "/%E2%80%8B" + hidden + "/acme-challenge/token", "mine", nil},
			{"POST", challenge, body, []string{"Content-Type: " + contentType}},
			{"POST", challenge + "token", "mine", nil},
			{"DELETE", "/" + hidden + "/", "", nil},
			{"DELETE", challenge + "theirs", "", nil},
			{"MKCOL", "/" + hidden + "/", "", nil},
			{"MKCOL", challenge + "new/", "", nil},
			{"MKCOL", "/sub/" + hidden + "/", "", nil},
			{"COPY", "/up.txt", "", []string{to(token)}},
			{"COPY", "/up.txt", "", []string{to(hidden + "/acme-challenge/theirs"), "Overwrite: T"}},
			{"COPY", "/sub/", "", []string{to(hidden)}},
			{"MOVE", "/up.txt", "", []string{to(hidden + "/acme-challenge/token")}},
			{"MOVE", "/sub/", "", []string{to(hidden)}},
			{"MOVE", "/" + hidden + "/", "", []string{to("seen")}},
			{"LOCK", challenge + "token", lockInfo("exclusive"), nil},
			{"PROPPATCH", challenge + "theirs", "", nil},
		}
		for _, dotfiles := range []bool{false, true} {
			if dotfiles && hidden == ".other" {
				continue // asked for
			}
			for _, dav := range []bool{false, true} {
				for _, d := range doors {
					root := t.TempDir()
					write(t, root, "up.txt", "mine", "sub/token", "mine", hidden+"/acme-challenge/theirs", "the owner's")
					srv := start(t, Config{Root: root, Upload: root, DAV: dav, Dotfiles: dotfiles})
					known := filepath.Join(root, hidden)
					before := treeOf(t, known)
					a := ask(t, srv, d.method, d.target, d.body, d.header...)
					// A POST, and a PUT without WebDAV, are kept under a name of ours.
					if want := map[bool]int{true: 201, false: 403}[d.method == "POST" || d.method == "PUT" && !dav]; a.StatusCode != want && (dav || a.StatusCode != 405) {
						t.Errorf("dotfiles %t, WebDAV %t: %s %s %q: %d %q, want %d", dotfiles, dav, d.method, d.target, d.header, a.StatusCode, a.body, want)
					}
					if got := treeOf(t, known); got != before {
						t.Errorf("dotfiles %t, WebDAV %t: %s %s %q: it holds\n%swas\n%s", dotfiles, dav, d.method, d.target, d.header, got, before)
					}
					for _, name := range []string{"sub/" + hidden, "\u200b" + hidden} {
						if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
							t.Errorf("dotfiles %t, WebDAV %t: %s %s: it made %q", dotfiles, dav, d.method, d.target, name)
						}
					}
					if hidden != wellKnown {
						continue
					}
					if a := ask(t, srv, "GET", "/"+token, ""); a.StatusCode != 404 {
						t.Errorf("dotfiles %t, WebDAV %t: %s %s: then the token is %d %q", dotfiles, dav, d.method, d.target, a.StatusCode, a.body)
					}
					if a := ask(t, srv, "GET", challenge+"theirs", ""); a.body != "the owner's" {
						t.Errorf("what the owner put there: %d %q", a.StatusCode, a.body)
					}
				}
			}
		}
	}
}

// Nor is an upload the answer to all that is asked in .well-known.
func TestFallbackDoesNotSpeakForTheHost(t *testing.T) {
	root := t.TempDir()
	write(t, root, "index.html", "old", "404.html", "none")
	for _, fallback := range []string{"index.html", "404.html"} {
		srv := start(t, Config{Root: root, Upload: root, DAV: true, Fallback: fallback})
		if a := ask(t, srv, "PUT", "/"+fallback, "token.thumbprint"); a.StatusCode != 204 {
			t.Fatalf("%d %q", a.StatusCode, a.body)
		}
		for _, target := range []string{"/.well-known/acme-challenge/token", "/x/../.well-known/assetlinks.json", "/.well-known"} {
			if a := ask(t, srv, "GET", target, ""); a.StatusCode != 404 {
				t.Errorf("%s, GET %s: %d %q, want 404", fallback, target, a.StatusCode, a.body)
			}
		}
	}
}

// A page does not offer what is not kept there.
func TestNoUploadFormInWellKnown(t *testing.T) {
	root := t.TempDir()
	write(t, root, wellKnown+"/x", "", "sub/x", "")
	h := newHandler(t, Config{Root: root, Upload: root})
	for target, want := range map[string]bool{"/": true, "/sub/": true, "/.well-known/": false} {
		r := httptest.NewRequest("GET", target, nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := strings.Contains(w.Body.String(), `id="upload"`); got != want || w.Code != 200 {
			t.Errorf("%s: %d, a form: %t, want %t", target, w.Code, got, want)
		}
	}
}

// Windows has a second name for what is hidden by its first.
func TestShortNames(t *testing.T) {
	for name, want := range map[string]bool{
		"WELL-K~1": true, "well-k~1": true, "GIT~1": true, "SSH~12": true, "HTPASS~1": true, "A~1.TXT": true, "PHOTOS~9.JPG": true,
		"~1": false, "GIT~": false, "GIT~x": false, "GIT~1x": false, "~$doc.docx": false, "photos~1.jpeg": false, "longer-name~1": false, "a.txt~1": false, "": false, "photos": false,
	} {
		if got := isShortName(name); got != want {
			t.Errorf("isShortName(%q) is %t", name, got)
		}
	}
}
