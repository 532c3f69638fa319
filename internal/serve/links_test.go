package serve

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The owner is told of each link that leaves, once, whatever visitors ask for.
func TestLinkThatLeavesIsToldOfOnce(t *testing.T) {
	root := jail(t)
	var log bytes.Buffer
	h := newHandler(t, Config{Root: root, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 3 {
		for _, target := range []string{"/link-out", "/link-out-folder/", fmt.Sprintf("/link-out-folder/%d/x", i), "/link-out-folder/secret.txt", "/link-absolute", "/"} {
			getFile(h, target)
		}
		if code, _ := getFile(h, "/link-absolute-in"); code != 200 {
			t.Errorf("an absolute link that stays inside: %d, want 200", code)
		}
	}
	for _, link := range []string{"link-out", "link-out-folder", "link-absolute"} {
		if n := strings.Count(log.String(), "level=WARN msg=\"this link leaves the folder and is not served; --follow-links serves it\" link="+link+"\n"); n != 1 {
			t.Errorf("%d lines tell of %s, want 1 in\n%s", n, link, &log)
		}
	}
	if strings.Contains(log.String(), "link-absolute-in") || strings.Contains(log.String(), "/x") {
		t.Errorf("lines of links that stay, or of names that visitors made up:\n%s", &log)
	}
}

func TestLinesAboutLinksAreBounded(t *testing.T) {
	root := t.TempDir()
	for i := range maxWarned + 50 {
		if err := os.Symlink("/", filepath.Join(root, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	h := newHandler(t, Config{Root: root, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	getFile(h, "/")
	if n := bytes.Count(log.Bytes(), []byte("\n")); n != maxWarned {
		t.Errorf("%d lines, want %d", n, maxWarned)
	}
}

func TestFollowLinks(t *testing.T) {
	root := jail(t)
	srv := start(t, Config{Root: root, FollowLinks: true})
	for target, want := range map[string]int{
		"/link-out": 200, "/sub/link-out": 200, "/link-out-folder/": 200, "/link-out-folder/secret.txt": 200, "/link-out-folder": 301,
		"/link-absolute": 200, "/link-absolute-in": 200, "/link-to-link-out": 200, "/a.txt": 200, "/link-in": 200,
		"/link-out-folder/absent": 404, "/link-device": 404, "/link-dangling": 404, "/link-loop": 404, "/fifo": 404,
		"/../secret.txt": 404, "/link-out-folder/../../secret.txt": 404, "/.hidden": 404, "/%2e%2e/secret.txt": 404,
	} {
		if a := ask(t, srv, "GET", target, ""); a.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", target, a.StatusCode, want)
		}
	}
	if a := ask(t, srv, "GET", "/link-out-folder/secret.txt", ""); a.body != secret {
		t.Errorf("body %q", a.body)
	}
	if a := ask(t, srv, "GET", "/", ""); !strings.Contains(a.body, "link-out-folder/") || strings.Contains(a.body, "link-dangling") {
		t.Errorf("the listing does not show what a link leads to: %s", a.body)
	}
}

// An archive and WebDAV show what a GET gives; what is written stays in the
// upload folder, wherever links lead.
func TestLinksInArchivesAndByWebDAV(t *testing.T) {
	for _, follow := range []bool{false, true} {
		root := jail(t)
		in := filepath.Join(root, "in")
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
		outside := t.TempDir()
		for name, target := range map[string]string{"out": outside, "inside": filepath.Join(root, "a.txt"), "up": filepath.Join(root, "sub")} {
			if err := os.Symlink(target, filepath.Join(in, name)); err != nil {
				t.Fatal(err)
			}
		}
		srv := start(t, Config{Root: root, DAV: true, Upload: in, FollowLinks: follow})
		archive, find := ask(t, srv, "GET", "/?archive=tar", ""), ask(t, srv, "PROPFIND", "/", "", "Depth: 1")
		for _, body := range []string{archive.body, find.body} {
			if !strings.Contains(body, "/link-absolute-in") || strings.Contains(body, "/link-to-link-out") != follow || strings.Contains(body, "link-dangling") {
				t.Errorf("follow %v: %.4000q", follow, body)
			}
		}
		before := ask(t, srv, "GET", "/a.txt", "").body
		for _, name := range []string{"out/x", "up/x", "inside"} {
			if a := ask(t, srv, "PUT", "/in/"+name, "written"); a.StatusCode < 400 {
				t.Errorf("follow %v: a PUT to %s: %d", follow, name, a.StatusCode)
			}
			// In place of a link that is named itself, a COPY makes a file.
			if a := ask(t, srv, "COPY", "/link-in", "", "Destination: /in/"+name); a.StatusCode < 400 && name != "inside" {
				t.Errorf("follow %v: a COPY to %s: %d", follow, name, a.StatusCode)
			}
		}
		if after := ask(t, srv, "GET", "/a.txt", "").body; after != before {
			t.Errorf("follow %v: a.txt holds %q", follow, after)
		}
		if names := namesIn(t, outside); len(names) > 0 {
			t.Errorf("follow %v: outside is %q", follow, names)
		}
		if _, err := os.Stat(filepath.Join(root, "sub", "x")); err == nil {
			t.Errorf("follow %v: x was written out of the upload folder", follow)
		}
	}
}
