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
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/testlog"
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

// Files and folders are as open as the umask lets the owner and the group have them.
func TestModesOfUploads(t *testing.T) {
	fileMode, folderMode := modes(t)
	contentType, body := form("form.txt", "x")
	for _, links := range []bool{true, false} {
		for _, dav := range []bool{false, true} {
			root := t.TempDir()
			if err := os.MkdirAll(filepath.Join(root, "in"), 0o777); err != nil {
				t.Fatal(err)
			}
			h := newHandler(t, Config{Root: root, Upload: filepath.Join(root, "in"), DAV: dav})
			if !links {
				h.serve.(*folder).uploads.link = func(string, string) error { return syscall.EPERM }
			}
			send := func(method, target, body string, header ...string) {
				r := httptest.NewRequest(method, target, strings.NewReader(body))
				for i := 0; i < len(header); i += 2 {
					r.Header.Set(header[i], header[i+1])
				}
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != 201 {
					t.Errorf("links %t, WebDAV %t: %s %s: %d %q, want 201", links, dav, method, target, w.Code, w.Body)
				}
			}
			send("POST", "/", "x")
			send("POST", "/in/", body, "Content-Type", contentType)
			want := 2
			if dav {
				send("MKCOL", "/in/a", "")
				send("PUT", "/in/a/put.txt", "x")
				send("COPY", "/in/a", "", "Destination", "/in/b")
				send("LOCK", "/in/lock.txt", lockInfo("exclusive"))
				want += 5
			} else {
				send("PUT", "/in/a/b/c.txt", "x")
				want += 3
			}
			err := filepath.WalkDir(filepath.Join(root, "in"), func(name string, e os.DirEntry, err error) error {
				if err != nil || strings.HasSuffix(name, "in") {
					return err
				}
				info, err := e.Info()
				if mode := map[bool]os.FileMode{true: folderMode, false: fileMode}[e.IsDir()]; err == nil && info.Mode() != mode {
					t.Errorf("links %t, WebDAV %t: %s has the mode %v, want %v", links, dav, name, info.Mode(), mode)
				}
				want--
				return err
			})
			if err != nil || want != 0 {
				t.Errorf("links %t, WebDAV %t: %d missing, %v", links, dav, want, err)
			}
		}
	}
}

// modes returns those of a file and a folder that are made for the owner and the group.
func modes(t *testing.T) (file, folder os.FileMode) {
	t.Helper()
	dir := t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_CREATE|os.O_WRONLY, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o770); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]*os.FileMode{"file": &file, "folder": &folder} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		*mode = info.Mode()
	}
	return file, folder
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
		look    func() (disk, bool)
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
			look: shows(disk{free: 1 << 30, total: 1 << 40})},
		{name: "no room for more", max: 1 << 40, length: -1, body: io.LimitReader(zeros{}, 1<<20), want: 507,
			look: dwindling(disk{free: diskKeep + 1<<19, total: 1 << 40}, 1<<17)},
		{name: "no room at all", max: 1 << 40, length: -1, body: strings.NewReader("1"), want: 507, unread: true,
			look: shows(disk{free: diskKeep - 1, total: 1 << 40})},
		{name: "a small disk", max: 1 << 40, length: 900, body: strings.NewReader(strings.Repeat("x", 900)), want: 201,
			look: shows(disk{free: 950, total: 1000})},
		{name: "a small disk with no room", max: 1 << 40, length: 900, body: strings.NewReader(strings.Repeat("x", 900)), want: 507, unread: true,
			look: shows(disk{free: 949, total: 1000})},
		{name: "a disk of unknown size", max: 1 << 40, length: 900, body: strings.NewReader(strings.Repeat("x", 900)), want: 201,
			look: func() (disk, bool) { return disk{}, false }},
		{name: "no room for another file", max: 100, length: 5, body: strings.NewReader("12345"), want: 507, unread: true,
			look: shows(disk{free: 1 << 30, total: 1 << 40, freeFiles: filesKeep, totalFiles: 1 << 30})},
		{name: "no room for another empty file", max: 100, length: 0, body: strings.NewReader(""), want: 507, unread: true,
			look: shows(disk{free: 1 << 30, total: 1 << 40, freeFiles: 50, totalFiles: 1000})},
		{name: "room for another file", max: 100, length: 5, body: strings.NewReader("12345"), want: 201,
			look: shows(disk{free: 1 << 30, total: 1 << 40, freeFiles: 51, totalFiles: 1000})},
		{name: "no fixed number of files", max: 100, length: 5, body: strings.NewReader("12345"), want: 201,
			look: shows(disk{free: 1 << 30, total: 1 << 40})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHandler(t, Config{Root: root, Upload: dir, UploadMax: tc.max})
			u := h.serve.(*folder).uploads
			if tc.look != nil {
				u.room.look = tc.look
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
			if u.room.writing != 0 || u.room.making != 0 {
				t.Errorf("%d bytes and %d files of the disk are claimed still", u.room.writing, u.room.making)
			}
		})
	}
}

// shows is a disk that stays as it is.
func shows(d disk) func() (disk, bool) { return func() (disk, bool) { return d, true } }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A touched tells whether it was read.
type touched struct {
	io.Reader
	read bool
}

func (b *touched) Read(p []byte) (int, error) { b.read = true; return b.Reader.Read(p) }

// dwindling is a disk that has less by step at each look.
func dwindling(d disk, step int64) func() (disk, bool) {
	return func() (disk, bool) {
		d.free -= step
		return d, true
	}
}

// What uploads announce and do not send takes nothing from others.
func TestUploadsClaimWhatComes(t *testing.T) {
	const (
		idle = 50
		room = 1 << 20
		// What is being written counts until it is: here a byte of each at most.
		announced = room - idle
	)
	h := newHandler(t, Config{Root: t.TempDir(), Upload: t.TempDir(), UploadMax: 1 << 40})
	h.serve.(*folder).uploads.room.look = shows(disk{free: diskKeep + room, total: 1 << 40})
	send := func(body io.Reader) int {
		r := httptest.NewRequest("PUT", "/x", body)
		r.ContentLength = announced
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	var begun, done sync.WaitGroup
	goOn := make(chan struct{})
	begun.Add(idle)
	for range idle {
		waits := sync.OnceFunc(begun.Done)
		reads := 0
		body := readFunc(func(p []byte) (int, error) {
			if reads++; reads == 1 {
				return 1, nil
			}
			waits()
			<-goOn
			return 0, io.ErrUnexpectedEOF
		})
		// Each ends when goOn is closed; the test waits for all.
		done.Go(func() {
			defer waits()
			if got := send(body); got != 400 {
				t.Errorf("an upload that broke off: %d, want 400", got)
			}
		})
	}
	begun.Wait()
	if got := send(io.LimitReader(zeros{}, announced)); got != 201 {
		t.Errorf("an upload beside %d that send nothing: %d, want 201", idle, got)
	}
	close(goOn)
	done.Wait()
}

// However many write at once, the disk keeps its reserve.
func TestUploadsTogetherKeepTheReserve(t *testing.T) {
	const size = 1 << 30
	h := newHandler(t, Config{Root: t.TempDir(), Upload: t.TempDir()})
	u := h.serve.(*folder).uploads
	var mu sync.Mutex
	d := disk{free: diskKeep + 40<<20, total: size, freeFiles: 100, totalFiles: 1000}
	u.room.look = func() (disk, bool) {
		mu.Lock()
		defer mu.Unlock()
		return d, true
	}
	keep := min(diskKeep, int64(size/20))
	var writers sync.WaitGroup
	for range 16 {
		// Ends when there is no room; the test waits for it.
		writers.Go(func() {
			for {
				err := u.room.write(64<<10, func() error {
					mu.Lock()
					defer mu.Unlock()
					if d.free -= 64 << 10; d.free < keep {
						t.Errorf("%d bytes left, want %d", d.free, keep)
					}
					return nil
				})
				if err == nil {
					err = u.room.create(func() error {
						mu.Lock()
						defer mu.Unlock()
						if d.freeFiles > 70 { // 50 are kept, and 16 may be about to be made
							d.freeFiles--
						}
						return nil
					})
				}
				if err != nil {
					if !errors.Is(err, errDiskFull) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	writers.Wait()
	if d.free-keep >= 64<<10 {
		t.Errorf("%d bytes left, want all but %d used", d.free, keep)
	}
	for {
		if err := u.room.create(func() error { d.freeFiles--; return nil }); err != nil {
			if !errors.Is(err, errFilesFull) || d.freeFiles != 50 {
				t.Errorf("%v with %d files left, want errFilesFull at 50", err, d.freeFiles)
			}
			break
		}
	}
}

// What others write to the disk counts, within a moment.
func TestRoomLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disk{free: diskKeep + 10<<20, total: 1 << 40}
		r := room{look: func() (disk, bool) { return d, true }}
		nothing := func() error { return nil }
		if err := r.write(1, nothing); err != nil {
			t.Fatal(err)
		}
		d.free = 0
		<-time.After(lookAgain)
		if err := r.write(1, nothing); !errors.Is(err, errDiskFull) {
			t.Errorf("%v, want errDiskFull", err)
		}
	})
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
	if err := makeFIFO(filepath.Join(dir, partPrefix+"fifo")); err != nil {
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

// What was being replaced when c was killed is put back, and what was being made, or had
// been replaced, goes.
func TestReplacingIsSettledAtStart(t *testing.T) {
	dir := t.TempDir()
	const part = partPrefix + "abc"
	for _, tc := range []struct {
		name string
		left []string // before, and after
		want []string
	}{
		{"before the first rename", []string{part, "a/b", "a/b/x", "old", part + tempSuffix + "/x", "new"}, []string{"a/b/x", "old"}},
		{"between the two, a folder", []string{part, "a/b", "a/", "", part + oldSuffix + "/x", "old"}, []string{"a/b/x", "old"}},
		{"between the two, a file", []string{part, "a/b", "a/", "", part + oldSuffix, "old"}, []string{"a/b", "old"}},
		{"after the last", []string{part, "a/b", "a/b/x", "new", part + tempSuffix + "/x", "old"}, []string{"a/b/x", "new"}},
		{"after the last, and the new is deleted", []string{part, "a/b", "a/c", "new", part + tempSuffix + "/x", "old"}, []string{"a/c", "new"}},
		{"an upload, and nothing beside it", []string{part, "a/b"}, nil},
	} {
		write(t, dir, tc.left...)
		newHandler(t, Config{Root: t.TempDir(), Upload: dir})
		for i := 0; i < len(tc.want); i += 2 {
			if got, err := os.ReadFile(filepath.Join(dir, tc.want[i])); err != nil || string(got) != tc.want[i+1] {
				t.Errorf("%s: %s holds %q, %v, want %q", tc.name, tc.want[i], got, err, tc.want[i+1])
			}
		}
		if got := strings.Join(namesIn(t, dir), " "); strings.Contains(got, partPrefix) {
			t.Errorf("%s: it left %s", tc.name, got)
		}
		if _, err := os.Lstat(filepath.Join(dir, "a/b")); err == nil && !strings.HasPrefix(tc.want[0], "a/b") {
			t.Errorf("%s: what was replaced is there again", tc.name)
		}
		if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
	}
	// Of a process that still runs all stays.
	busy := newHandler(t, Config{Root: t.TempDir(), Upload: dir}).serve.(*folder).uploads
	p, err := busy.newPart()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, p.name+oldSuffix+"/x", "old", p.name+tempSuffix+"/x", "new")
	newHandler(t, Config{Root: t.TempDir(), Upload: dir})
	if got := namesIn(t, dir); len(got) != 3 {
		t.Errorf("of three that are in use %q are there", got)
	}
	p.discard()
}

// A replacing that fails leaves what was there.
func TestSwapThatFails(t *testing.T) {
	dir := t.TempDir()
	u := newHandler(t, Config{Root: t.TempDir(), Upload: dir}).serve.(*folder).uploads
	write(t, dir, "a/x", "old")
	if err := u.swap("none", "a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no such file", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a/x")); err != nil || string(got) != "old" {
		t.Errorf("what was there holds %q, %v", got, err)
	}
	if got := namesIn(t, dir); len(got) != 1 {
		t.Errorf("it left %q", got)
	}
}

// What is aside stays there while somebody else's has its name, or cannot be looked for.
func TestSwapWhosePlaceIsTaken(t *testing.T) {
	dir := t.TempDir()
	var book testlog.Buffer
	cfg := Config{Root: t.TempDir(), Upload: dir, Logger: book.Logger(slog.LevelWarn)}
	const part, kept = partPrefix + "abc", partPrefix + "abc" + oldSuffix + "/x"
	write(t, dir, part, "a", "a", "another's", kept, "old")
	for range 2 {
		newHandler(t, cfg)
		for name, want := range map[string]string{part: "a", "a": "another's", kept: "old"} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
				t.Errorf("%s holds %q, %v, want %q", name, got, err, want)
			}
		}
	}
	if n := book.Count("could not be put back"); n != 2 {
		t.Errorf("%d lines, want one of each start:\n%s", n, &book)
	}
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	newHandler(t, cfg)
	if got, err := os.ReadFile(filepath.Join(dir, "a/x")); err != nil || string(got) != "old" {
		t.Errorf("put back, it holds %q, %v", got, err)
	}
}

// What was replaced, and could not be removed, does not come back when the new is gone.
func TestReplacedDoesNotComeBack(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may remove everything")
	}
	dir := t.TempDir()
	u := newHandler(t, Config{Root: t.TempDir(), Upload: dir}).serve.(*folder).uploads
	write(t, dir, "a/closed/x", "old", "new/x", "new")
	if err := os.Chmod(filepath.Join(dir, "a/closed"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed, _ := filepath.Glob(filepath.Join(dir, "*/closed"))
		hidden, _ := filepath.Glob(filepath.Join(dir, ".*/closed"))
		for _, name := range append(closed, hidden...) {
			os.Chmod(name, 0o755)
		}
	})
	if err := u.swap("new", "a"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a/x")); err != nil || string(got) != "new" {
		t.Errorf("the new holds %q, %v", got, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	newHandler(t, Config{Root: t.TempDir(), Upload: dir})
	if _, err := os.Lstat(filepath.Join(dir, "a")); err == nil {
		t.Error("what was replaced is there again")
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
	f, err := dir.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, ok := lookAt(f)
	if !ok || d.free < 0 || d.free > d.total || d.freeFiles < 0 || d.freeFiles > d.totalFiles {
		t.Errorf("lookAt: %+v, %t", d, ok)
	}
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if !diskFull(&os.PathError{Op: "write", Path: "x", Err: err}) {
			t.Errorf("%v is not taken for a full disk", err)
		}
	}
}
