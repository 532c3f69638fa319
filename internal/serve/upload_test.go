package serve

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
)

// namesIn lists the files in dir, unfinished uploads among them.
func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestUploadIsKept(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	srv := start(t, Config{Root: root, Upload: dir})
	big := strings.Repeat("0123456789abcdef", 1<<16)
	seen := make(map[string]bool)
	for _, tc := range []struct{ method, target, body, ext string }{
		{"POST", "/", "hello", ""},
		{"PUT", "/", "hello", ""},
		{"PUT", "/film.mp4", big, ".mp4"},
		{"PUT", "/deep/er/Photo.JPG", "x", ".jpg"},
		{"POST", "/empty.txt", "", ".txt"},
		{"PUT", "/run.sh", "#!/bin/sh", ""},
		{"PUT", "/page.html", "<script>", ""},
		{"PUT", "/a.svg", "<svg>", ""},
		{"PUT", "/../../evil.txt", "x", ".txt"},
		{"PUT", "/x.txt%2f..%2fy", "x", ""},
		{"PUT", "/x.php", "x", ""},
		{"PUT", "/.bashrc", "x", ""},
		{"PUT", "/.txt", "x", ".txt"},
	} {
		a := ask(t, srv, tc.method, tc.target, tc.body)
		name := strings.TrimSuffix(a.body, "\n")
		if a.StatusCode != http.StatusCreated || !regexp.MustCompile(`^[a-z2-7]{26}(\.[a-z0-9]+)?$`).MatchString(name) || filepath.Ext(name) != tc.ext {
			t.Errorf("%s %s: %d %q, want 201 and a random name with the extension %q", tc.method, tc.target, a.StatusCode, a.body, tc.ext)
			continue
		}
		if seen[name] {
			t.Errorf("%s %s: the name %s was given before", tc.method, tc.target, name)
		}
		seen[name] = true
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != tc.body {
			t.Errorf("%s %s: kept %d bytes, %v, want %d", tc.method, tc.target, len(got), err, len(tc.body))
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s %s: mode %v, %v, want 0600", tc.method, tc.target, info.Mode(), err)
		}
		sum := sha256.Sum256([]byte(tc.body))
		if got, want := a.Header.Get("X-Received-Digest"), "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":"; got != want {
			t.Errorf("%s %s: digest %q, want %q", tc.method, tc.target, got, want)
		}
		if a.Header.Get("Location") != "" {
			t.Errorf("%s %s: Location %q, but the folder is not served", tc.method, tc.target, a.Header.Get("Location"))
		}
	}
	if got := namesIn(t, dir); len(got) != len(seen) {
		t.Errorf("the folder holds %d files, want %d: %q", len(got), len(seen), got)
	}
	if got := namesIn(t, root); len(got) != 0 {
		t.Errorf("the root got files: %q", got)
	}
}

func TestUploadFolderUnderTheRoot(t *testing.T) {
	for _, tc := range []struct {
		upload, want string
		dotfiles     bool
	}{
		{".", "/", false}, {"in box", "/in%20box/", false}, {"a/b", "/a/b/", false}, {".in", "", false}, {".in", "/.in/", true}, {"../beside", "", false},
	} {
		root := filepath.Join(t.TempDir(), "root")
		write(t, root, "./", "", tc.upload+"/", "", "../beside/", "")
		srv := start(t, Config{Root: root, Upload: filepath.Join(root, tc.upload), Dotfiles: tc.dotfiles})
		a := ask(t, srv, "PUT", "/x.txt", "hello")
		name := strings.TrimSuffix(a.body, "\n")
		want := tc.want
		if want != "" {
			want += name
		}
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("upload into %s: Location %q, want %q", tc.upload, got, want)
		}
		if want != "" {
			if a := ask(t, srv, "GET", want, ""); a.body != "hello" {
				t.Errorf("GET %s: %d %q", want, a.StatusCode, a.body)
			}
		}
	}
}

func TestUploadRefused(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	for _, tc := range []struct {
		name    string
		max     int64
		space   func() (int64, int64, bool)
		length  int64 // announced; -1: unknown
		body    io.Reader
		header  string
		want    int
		unread  bool // the body was not touched
		message string
	}{
		{name: "announced over the maximum", max: 10, length: 11, body: strings.NewReader("12345678901"), want: 413, unread: true, message: "10 bytes"},
		{name: "over the maximum", max: 10, length: -1, body: strings.NewReader("12345678901"), want: 413, message: "10 bytes"},
		{name: "shorter than announced", max: 100, length: 20, body: strings.NewReader("1234567890"), want: 400},
		{name: "longer than announced", max: 100, length: 5, body: strings.NewReader("1234567890"), want: 400},
		{name: "cut", max: 100, length: -1, body: io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(errors.New("reset"))), want: 400},
		{name: "standing still", max: 100, length: -1, body: io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(os.ErrDeadlineExceeded)), want: 408},
		{name: "a part of a file", max: 100, length: 5, body: strings.NewReader("12345"), header: "bytes 0-4/10", want: 400, unread: true},
		{name: "no room for what is announced", max: 1 << 40, length: 1 << 30, body: strings.NewReader("1"), want: 507, unread: true,
			space: func() (int64, int64, bool) { return 1 << 30, 1 << 40, true }},
		{name: "no room for more", max: 1 << 40, length: -1, body: io.LimitReader(zeros{}, 1<<20), want: 507,
			space: dwindling(diskKeep+1<<19, 1<<17)},
		{name: "no room at all", max: 1 << 40, length: -1, body: strings.NewReader("1"), want: 507, unread: true,
			space: func() (int64, int64, bool) { return diskKeep - 1, 1 << 40, true }},
		{name: "a small disk", max: 1 << 40, length: 900, body: strings.NewReader(strings.Repeat("x", 900)), want: 201,
			space: func() (int64, int64, bool) { return 950, 1000, true }},
		{name: "a small disk with no room", max: 1 << 40, length: 900, body: strings.NewReader(strings.Repeat("x", 900)), want: 507, unread: true,
			space: func() (int64, int64, bool) { return 949, 1000, true }},
		{name: "a disk of unknown size", max: 1 << 40, length: 900, body: strings.NewReader(strings.Repeat("x", 900)), want: 201,
			space: func() (int64, int64, bool) { return 0, 0, false }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHandler(t, Config{Root: root, Upload: dir, UploadMax: tc.max})
			u := h.serve.(*folder).uploads
			if tc.space != nil {
				u.space = tc.space
			}
			before := namesIn(t, dir)
			body := &touched{Reader: tc.body}
			r := httptest.NewRequest("PUT", "/x", body)
			r.ContentLength = tc.length
			if tc.header != "" {
				r.Header.Set("Content-Range", tc.header)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.want || !strings.Contains(w.Body.String(), tc.message) || strings.Contains(w.Body.String(), dir) {
				t.Errorf("%d %q, want %d and %q", w.Code, w.Body, tc.want, tc.message)
			}
			if tc.unread && body.read {
				t.Error("the body was read")
			}
			after := namesIn(t, dir)
			if tc.want != 201 && len(after) != len(before) {
				t.Errorf("it left something behind: %q", after)
			}
			if u.claimed != 0 {
				t.Errorf("%d bytes of the disk are claimed still", u.claimed)
			}
		})
	}
}

// dwindling is a disk that has less by step at each look.
func dwindling(free, step int64) func() (int64, int64, bool) {
	return func() (int64, int64, bool) {
		free -= step
		return free, 1 << 40, true
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A touched tells whether it was read.
type touched struct {
	io.Reader
	read bool
}

func (b *touched) Read(p []byte) (int, error) { b.read = true; return b.Reader.Read(p) }

// Each of two uploads would fit, but not both.
func TestUploadsShareTheRoom(t *testing.T) {
	h := newHandler(t, Config{Root: t.TempDir(), Upload: t.TempDir()})
	h.serve.(*folder).uploads.space = func() (int64, int64, bool) { return diskKeep + 150, 1 << 40, true }
	send := func(length int64, body io.Reader) int {
		r := httptest.NewRequest("PUT", "/x", body)
		r.ContentLength = length
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	firstRead, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := readFunc(func(p []byte) (int, error) {
		once.Do(func() { close(firstRead) })
		<-goOn
		return 0, io.ErrUnexpectedEOF
	})
	done := make(chan int)
	// Ends when goOn is closed; the test waits for its answer.
	go func() { done <- send(100, first) }()
	<-firstRead
	if got := send(100, strings.NewReader(strings.Repeat("x", 100))); got != 507 {
		t.Errorf("the second upload: %d, want 507", got)
	}
	close(goOn)
	if got := <-done; got != 400 {
		t.Errorf("the first upload, cut: %d, want 400", got)
	}
	if got := send(100, strings.NewReader(strings.Repeat("x", 100))); got != 201 {
		t.Errorf("an upload after the first: %d, want 201", got)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestUploadByAClientThatLeaves(t *testing.T) {
	dir := t.TempDir()
	h := newHandler(t, Config{Root: t.TempDir(), Upload: dir})
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n%s", strings.Repeat("x", 100_000))
	conn.Close()
	<-done
	if got := namesIn(t, dir); len(got) != 0 {
		t.Errorf("it left %q", got)
	}
}

func TestUploadFolderIsCleanedAtStart(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, partPrefix+"old", "of a crash", "mine.txt", "keep", partPrefix+"folder/x", "keep", ".other", "keep")
	if err := os.Symlink("mine.txt", filepath.Join(dir, partPrefix+"link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, partPrefix+"fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy := newHandler(t, Config{Root: t.TempDir(), Upload: dir}).serve.(*folder).uploads
	p, err := busy.newPart()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, partPrefix+"old", "of a crash")
	newHandler(t, Config{Root: t.TempDir(), Upload: dir})
	got := strings.Join(namesIn(t, dir), " ")
	for _, name := range []string{p.name, "mine.txt", ".other", partPrefix + "folder", partPrefix + "link"} {
		if !strings.Contains(got, name) {
			t.Errorf("%s is gone", name)
		}
	}
	if strings.Contains(got, partPrefix+"old") {
		t.Errorf("what a crash left is still there: %s", got)
	}
	p.discard()
	if _, err := os.Lstat(filepath.Join(dir, p.name)); err == nil {
		t.Error("a discarded part is still there")
	}
}

// A part that is taken for a leftover before it is locked must not be lost.
func TestUploadsAndCleaningAtOnce(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	h := newHandler(t, Config{Root: t.TempDir(), Upload: dir, Logger: log})
	u := h.serve.(*folder).uploads
	stop := make(chan struct{})
	var cleaning sync.WaitGroup
	// Ends when stop is closed; the test waits for it.
	cleaning.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := u.clean(); err != nil {
					t.Errorf("clean: %v", err)
				}
			}
		}
	})
	const n = 200
	for i := range n {
		r := httptest.NewRequest("PUT", "/x", strings.NewReader("hello"))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 201 {
			t.Errorf("upload %d: %d %q", i, w.Code, w.Body)
		}
	}
	close(stop)
	cleaning.Wait()
	if got := namesIn(t, dir); len(got) != n {
		t.Errorf("%d files, want %d", len(got), n)
	}
}

func TestDiskSpace(t *testing.T) {
	dir, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	free, total, ok := diskSpace(dir)
	if !ok || free < 0 || free > total {
		t.Errorf("diskSpace: %d of %d, %t", free, total, ok)
	}
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if !diskFull(&os.PathError{Op: "write", Path: "x", Err: err}) {
			t.Errorf("%v is not taken for a full disk", err)
		}
	}
}

// A disk that fills up in spite of all looks gives 507 and leaves nothing.
func TestDiskFullWhileWriting(t *testing.T) {
	dir := t.TempDir()
	h := newHandler(t, Config{Root: t.TempDir(), Upload: dir})
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limited := old
	limited.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
		t.Skipf("no limit of file sizes can be set: %v", err)
	}
	r := httptest.NewRequest("PUT", "/x", io.LimitReader(zeros{}, 4<<20))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if w.Code != 507 {
		t.Errorf("%d %q, want 507", w.Code, w.Body)
	}
	if got := namesIn(t, dir); len(got) != 0 {
		t.Errorf("it left %q", got)
	}
}
