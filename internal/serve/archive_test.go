package serve

import (
	"archive/tar"
	"archive/zip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unzip returns the content of each entry by its name; folders end in a slash.
func unzip(t *testing.T, data string) map[string]string {
	t.Helper()
	r, err := zip.NewReader(strings.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, f := range r.File {
		content, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(content) // checks the sum
		if err != nil {
			t.Fatal(err)
		}
		got[f.Name] = string(b)
	}
	return got
}

func untar(t *testing.T, data string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	for r := tar.NewReader(strings.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uname != "" || h.Gname != "" || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s tells its owner: %+v", h.Name, h)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(b)
	}
}

func TestArchive(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, outside, "secret", "secret")
	long := strings.Repeat("long", 40) + ".txt"
	write(t, root, "top.txt", "top", "films/a.txt", "alpha", "films/empty/", "", "films/größer & mehr.txt", "beta", "films/"+long, "gamma",
		"films/deep/er/x", "x", "films/.hidden", "no", "films/.dir/x", "no", "films/"+partPrefix+"x", "no", "films/big", strings.Repeat("0123456789", 100_000))
	for link, to := range map[string]string{"films/out": filepath.Join(outside, "secret"), "films/up": "..", "films/in": "../top.txt", "films/gone": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"films/": "", "films/a.txt": "alpha", "films/empty/": "", "films/größer & mehr.txt": "beta", "films/" + long: "gamma",
		"films/deep/": "", "films/deep/er/": "", "films/deep/er/x": "x", "films/in": "top", "films/big": strings.Repeat("0123456789", 100_000),
	}
	srv := start(t, Config{Root: root})
	for format, unpack := range map[string]func(*testing.T, string) map[string]string{"zip": unzip, "tar": untar} {
		a := ask(t, srv, "GET", "/films/?archive="+format, "")
		if a.StatusCode != 200 || a.err != nil {
			t.Fatalf("%s: %d %v", format, a.StatusCode, a.err)
		}
		if got := a.Header.Get("Content-Disposition"); got != `attachment; filename="films.`+format+`"` {
			t.Errorf("%s: Content-Disposition %q", format, got)
		}
		if got := unpack(t, a.body); !maps.Equal(got, want) {
			for name, content := range got {
				if want[name] != content {
					t.Errorf("%s: %q holds %d bytes", format, name, len(content))
				}
			}
			t.Errorf("%s: %d entries, want %d", format, len(got), len(want))
		}
		if a := ask(t, srv, "HEAD", "/films/?archive="+format, ""); a.StatusCode != 200 || a.body != "" || a.Header.Get("Content-Type") == "" {
			t.Errorf("HEAD of %s: %d %q %v", format, a.StatusCode, a.body, a.Header)
		}
	}
	if a := ask(t, srv, "GET", "/films?archive=zip", ""); a.StatusCode != 301 || a.Header.Get("Location") != "./films/?archive=zip" {
		t.Errorf("without the slash: %d, Location %q", a.StatusCode, a.Header.Get("Location"))
	}
	if got := unzip(t, ask(t, srv, "GET", "/?archive=zip", "").body); got["files/top.txt"] != "top" || got["files/films/a.txt"] != "alpha" {
		t.Errorf("of the root: %v", maps.Keys(got))
	}
	for _, target := range []string{"/top.txt?archive=zip", "/films/?archive=rar"} {
		if a := ask(t, srv, "GET", target, ""); a.StatusCode != 200 || a.Header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d, Content-Disposition %q, want it as without", target, a.StatusCode, a.Header.Get("Content-Disposition"))
		}
	}
	if a := ask(t, start(t, Config{Root: root, NoListing: true}), "GET", "/films/?archive=zip", ""); a.StatusCode != 404 {
		t.Errorf("where folders are not listed: %d, want 404", a.StatusCode)
	}
	if got := unzip(t, ask(t, start(t, Config{Root: root, Dotfiles: true}), "GET", "/films/?archive=zip", "").body); got["films/.hidden"] != "no" || len(got) != len(want)+3 {
		t.Errorf("with dotfiles: %d entries, want %d", len(got), len(want)+3)
	}
}

// Nothing goes on for a visitor who has left, and what is cut does not look whole.
func TestArchiveEndsWithTheVisitor(t *testing.T) {
	root := t.TempDir()
	for i := range 300 {
		write(t, root, fmt.Sprintf("%d/", i), "")
	}
	h := newHandler(t, Config{Root: root})
	ctx, cancel := context.WithCancel(t.Context())
	w := &countingWriter{ResponseRecorder: httptest.NewRecorder(), after: func(n int) {
		if n == 10 {
			cancel()
		}
	}}
	if !aborts(h, w, httptest.NewRequestWithContext(ctx, "GET", "/?archive=tar", nil)) {
		t.Error("what was cut looks whole")
	}
	if w.writes > 20 {
		t.Errorf("%d writes, 10 of them for a visitor", w.writes)
	}
}

// What archives hold open does not use up what others need, however deep the folders
// are; and no number of them keeps others from the archive of a usual tree.
func TestArchivesHoldFewFoldersOpen(t *testing.T) {
	root := t.TempDir()
	write(t, root, "usual"+strings.Repeat("/x", usualDepth-1)+"/a.txt", "alpha", "deep"+strings.Repeat("/x", usualDepth)+"/a.txt", "alpha")
	h := newHandler(t, Config{Root: root})
	nested := &h.serve.(*folder).nested
	whole := func(target string) bool {
		return !aborts(h, httptest.NewRecorder(), httptest.NewRequest("GET", target+"?archive=tar", nil))
	}
	for _, tc := range []struct {
		open        int64
		usual, deep bool
	}{{0, true, true}, {maxNested - 1, true, true}, {maxNested, true, false}} {
		nested.Store(tc.open)
		if usual, deep := whole("/usual/"), whole("/deep/"); usual != tc.usual || deep != tc.deep {
			t.Errorf("with %d folders open: whole %t and %t, want %t and %t", tc.open, usual, deep, tc.usual, tc.deep)
		}
		if n := nested.Load(); n != tc.open {
			t.Errorf("%d folders count as open at the end, %d before", n, tc.open)
		}
	}
}

type countingWriter struct {
	*httptest.ResponseRecorder
	writes int
	after  func(int)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	w.after(w.writes)
	return w.ResponseRecorder.Write(p)
}

func TestArchiveOfAFileThatShrinks(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a", strings.Repeat("x", 1<<20))
	h := newHandler(t, Config{Root: root})
	w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
	w.after = func(int) {
		if w.Body.Len() == 1024 { // both headers, and no content
			os.Truncate(filepath.Join(root, "a"), 100)
		}
	}
	if !aborts(h, w, httptest.NewRequest("GET", "/?archive=tar", nil)) {
		t.Error("an archive whose file is short looks whole")
	}
}
