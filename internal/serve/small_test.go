package serve

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// setClock sets the clock by which h tells a file's age.
func setClock(h *Handler, ahead time.Duration) {
	h.serve.(*folder).now = func() time.Time { return time.Now().Add(ahead) }
}

// stopClock has that clock stand at a time from before the files of the test were
// written: none of them is at rest, however long the test takes.
func stopClock(h *Handler, at time.Time) { h.serve.(*folder).now = func() time.Time { return at } }

// smallOf returns what h has in memory of the file of that name.
func smallOf(h *Handler, name string) *smallContent { return h.serve.(*folder).small.files[name] }

func getFile(h *Handler, target string) (status int, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	return w.Code, w.Body.String()
}

// Whatever becomes of a file that is in memory, the next visitor sees it.
func TestSmallFileChangesWhileInMemory(t *testing.T) {
	const gone = "404: there is no such file here\n"
	for _, tc := range []struct {
		name   string
		change func(name string) error // of the file; b.txt and sub are beside it, secret.txt above
		want   int
		body   string
	}{
		{"not at all", func(name string) error { return nil }, 200, "alpha"},
		{"written over, same size", func(name string) error { return os.WriteFile(name, []byte("ALPHA"), 0o644) }, 200, "ALPHA"},
		{"written over, its time set back", func(name string) error {
			info, err := os.Stat(name)
			if err == nil {
				err = os.WriteFile(name, []byte("ALPHA"), 0o644)
			}
			if err == nil {
				err = os.Chtimes(name, info.ModTime(), info.ModTime())
			}
			return err
		}, 200, "ALPHA"},
		{"longer", func(name string) error { return os.WriteFile(name, []byte("alphabet"), 0o644) }, 200, "alphabet"},
		{"emptied", func(name string) error { return os.Truncate(name, 0) }, 200, ""},
		{"too large to be kept", func(name string) error { return os.Truncate(name, smallFile+1) }, 200, "alpha" + strings.Repeat("\x00", smallFile-4)},
		{"replaced", func(name string) error { return os.Rename(filepath.Join(filepath.Dir(name), "b.txt"), name) }, 200, "bravo"},
		{"removed", os.Remove, 404, gone},
		{"now a link inside", func(name string) error { return relink("b.txt", name) }, 200, "bravo"},
		{"now a link out", func(name string) error { return relink("../secret.txt", name) }, 404, gone},
		{"now a FIFO", func(name string) error {
			if err := os.Remove(name); err != nil {
				return err
			}
			return makeFIFO(name)
		}, 404, gone},
		{"now a folder", func(name string) error { return relink("sub", name) }, 301, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			top := t.TempDir()
			root := filepath.Join(top, "root")
			name := filepath.Join(root, "a.txt")
			write(t, top, "secret.txt", secret)
			write(t, root, "a.txt", "alpha", "b.txt", "bravo", "sub/x", "x")
			h := newHandler(t, Config{Root: root})
			setClock(h, time.Hour)
			if code, body := getFile(h, "/a.txt"); code != 200 || body != "alpha" {
				t.Fatalf("at first: %d %q", code, body)
			}
			if smallOf(h, "a.txt") == nil {
				t.Fatal("the file is not in memory")
			}
			// By the clock of h the file has been at rest for long. Let it be so
			// for a tick of the clock that stamps it, or the change may not show.
			awaitTick(t, root)
			if err := tc.change(name); err != nil {
				t.Fatal(err)
			}
			if code, body := getFile(h, "/a.txt"); code != tc.want || body != tc.body {
				t.Errorf("%d %.20q, want %d %.20q", code, body, tc.want, tc.body)
			}
			if code, _ := getFile(h, "/a.txt/"); code == 200 && tc.want != 301 {
				t.Error("with a slash at its end it is served")
			}
		})
	}
}

func relink(to, name string) error {
	if err := os.Remove(name); err != nil {
		return err
	}
	return os.Symlink(to, name)
}

// awaitTick returns once the clock that stamps the files of dir has moved.
func awaitTick(t *testing.T, dir string) {
	t.Helper()
	stampNow := func() time.Time {
		name := filepath.Join(dir, "clock")
		write(t, dir, "clock", "tick")
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return stampOf(info).inodeChanged
	}
	for first := stampNow(); !stampNow().After(first); {
	}
}

// What is in memory is what is sent, for keepSmall, and while the stamp shows no change.
func TestSmallFileIsSentFromMemory(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "alpha", "sub/index.html", "index")
	h := newHandler(t, Config{Root: root})
	clock := time.Hour
	setClock(h, clock)
	for target, name := range map[string]string{"/a.txt": "a.txt", "/sub/": "sub/index.html", "/sub/index.html": "sub/index.html"} {
		_, content := getFile(h, target)
		kept := smallOf(h, name)
		if kept == nil {
			t.Fatalf("%s is not in memory", name)
		}
		copy(kept.bytes, "XX")
		if _, body := getFile(h, target); body != "XX"+content[2:] {
			t.Errorf("GET %s: %q, want what is in memory", target, body)
		}
		clock += 2 * keepSmall
		setClock(h, clock)
		if _, body := getFile(h, target); body != content {
			t.Errorf("GET %s after %v: %q, want what is in the file, %q", target, keepSmall, body, content)
		}
	}
}

func TestSmallFileIsKeptOnlyAtRest(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "alpha", "limit.bin", strings.Repeat("x", smallFile), "over.bin", strings.Repeat("x", smallFile+1))
	for _, tc := range []struct {
		name string
		file string
		age  time.Duration
		want bool
	}{
		{"at rest", "a.txt", atRest, true},
		{"changed lately", "a.txt", atRest - 1, false},
		{"changed by a clock ahead of ours", "a.txt", -time.Hour, false},
		{"of the largest size", "limit.bin", time.Hour, true},
		{"larger", "over.bin", time.Hour, false},
	} {
		f, err := os.Open(filepath.Join(root, tc.file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		var s smallFiles
		got := s.read(tc.file, file{f, NewPlaces(1)[0].root}, info, entity{size: info.Size()}, stampOf(info).inodeChanged.Add(tc.age))
		if (got != nil) != tc.want || len(s.files) > 0 != tc.want {
			t.Errorf("%s: kept %t, %d in memory, want %t", tc.name, got != nil, len(s.files), tc.want)
		}
	}
	// It changes between the look and the reading.
	f, err := os.OpenFile(filepath.Join(root, "a.txt"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{4, 6} {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		var s smallFiles
		if s.read("a.txt", file{f, NewPlaces(1)[0].root}, info, entity{size: info.Size()}, time.Now().Add(time.Hour)) != nil || len(s.files) > 0 {
			t.Errorf("a file of 5 bytes that has %d now was kept", size)
		}
	}
}

// However many are asked for, by however many visitors, few are kept.
func TestSmallFilesInMemoryAreBounded(t *testing.T) {
	root := t.TempDir()
	const files = maxSmall + 100
	for i := range files {
		write(t, root, fmt.Sprint(i), fmt.Sprint(i))
	}
	h := newHandler(t, Config{Root: root})
	setClock(h, time.Hour)
	var visitors sync.WaitGroup
	for range 4 {
		// Ends when it has asked for each; the test waits for it.
		visitors.Go(func() {
			for i := range files {
				if code, body := getFile(h, fmt.Sprint("/", i)); code != 200 || body != fmt.Sprint(i) {
					t.Errorf("GET /%d: %d %q", i, code, body)
				}
			}
		})
	}
	visitors.Wait()
	if n := len(h.serve.(*folder).small.files); n == 0 || n > maxSmall {
		t.Errorf("%d files in memory, want some and at most %d", n, maxSmall)
	}
}
