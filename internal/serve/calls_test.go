package serve

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fill takes all places.
func (c calls) fill() {
	for range cap(c.own) + cap(c.shared) {
		c.begin()
	}
}

// taken is how many are.
func (c calls) taken() int { return len(c.own) + len(c.shared) }

// empty gives back those that are taken.
func (c calls) empty() {
	for _, p := range []places{c.own, c.shared} {
		for range len(p) {
			p.end()
		}
	}
}

// Each call about a file waits for a place.
func TestCallsHavePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		write(t, root, "a.txt", "alpha", "b.txt", "beta", "c.txt", "gamma", "full/d.txt", "delta", "kept/e.txt", "epsilon", "empty/", "")
		if err := os.Symlink("a.txt", filepath.Join(root, "link")); err != nil {
			t.Fatal(err)
		}
		raw, err := os.OpenRoot(root)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		all := NewPlaces(1)[0].root
		tree, dir := &tree{raw: raw, calls: all}, uploadRoot{raw, all}
		open := func(name string, flag int) file {
			f, err := dir.OpenFile(name, flag, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.raw.Close() })
			return f
		}
		f, folder := open("a.txt", os.O_RDWR), open(".", os.O_RDONLY)
		// No call is about what another changes: they run in any order.
		toClose, toRead, toWrite := open("a.txt", os.O_RDONLY), open("a.txt", os.O_RDONLY), open("b.txt", os.O_RDWR)
		entries, err := open("kept", os.O_RDONLY).ReadDir(1)
		if err != nil {
			t.Fatal(err)
		}
		attributes := func(err error) error {
			if err == errNoAttributes {
				return nil
			}
			return err
		}
		rows := map[string]func() error{
			"tree.Stat":            func() error { _, err := tree.Stat("a.txt"); return err },
			"tree.open":            func() error { f, _, err := tree.open("a.txt"); f.raw.Close(); return err },
			"uploadRoot.OpenFile":  func() error { f, err := dir.OpenFile("a.txt", os.O_RDONLY, 0); f.raw.Close(); return err },
			"uploadRoot.Stat":      func() error { _, err := dir.Stat("a.txt"); return err },
			"uploadRoot.Lstat":     func() error { _, err := dir.Lstat("a.txt"); return err },
			"uploadRoot.Readlink":  func() error { _, err := dir.Readlink("link"); return err },
			"uploadRoot.Mkdir":     func() error { return dir.Mkdir("new", 0o700) },
			"uploadRoot.Remove":    func() error { return dir.Remove("empty") },
			"uploadRoot.RemoveAll": func() error { return dir.RemoveAll("full") },
			"uploadRoot.Rename":    func() error { return dir.Rename("c.txt", "moved.txt") },
			"uploadRoot.Link":      func() error { return dir.Link("a.txt", "linked.txt") },
			"file.Stat":            func() error { _, err := f.Stat(); return err },
			"file.Sync":            f.Sync,
			"file.Close":           toClose.Close,
			"file.Chmod":           func() error { return f.Chmod(0o600) },
			"file.Read":            func() error { _, err := toRead.Read(make([]byte, 1)); return err },
			"file.ReadAt":          func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
			"file.readAndLook":     func() error { _, _, err := f.readAndLook(make([]byte, 1), 0); return err },
			"file.Write":           func() error { _, err := toWrite.Write([]byte("x")); return err },
			"file.ReadDir":         func() error { _, err := folder.ReadDir(1); return err },
			"file.lock":            func() error { return f.lock(true) },
			"file.unlinked":        func() error { _, err := f.unlinked(); return err },
			"file.syncFolder":      folder.syncFolder,
			"file.attribute":       func() error { _, err := f.attribute(); return attributes(err) },
			"file.setAttribute":    func() error { return attributes(f.setAttribute(nil)) },
			"dirEntry.Info":        func() error { _, err := entries[0].Info(); return err },
		}
		for _, method := range methods(t, "calls.go", "file", "uploadRoot", "dirEntry") {
			if rows[method] == nil && !slices.Contains([]string{"uploadRoot.Name", "file.closeLast", "file.lookAtDisk"}, method) {
				t.Errorf("%s is not tried", method)
			}
		}
		all.fill()
		called := make(chan string, len(rows))
		for what, call := range rows {
			// Ends when there is a place; waited for below.
			go func() {
				if err := call(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				called <- what
			}()
		}
		synctest.Wait()
		for len(called) > 0 {
			t.Errorf("%s has not waited", <-called)
		}
		all.empty()
		synctest.Wait()
		if n := len(called); n != len(rows) {
			t.Errorf("%d of %d have ended", n, len(rows))
		}
		if n := all.taken(); n != 0 {
			t.Errorf("%d calls are under way at the end", n)
		}
	})
}

// methods returns the methods of those types that the file declares, as TYPE.METHOD.
func methods(t *testing.T, name string, types ...string) []string {
	t.Helper()
	source, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range source.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
			if of, ok := f.Recv.List[0].Type.(*ast.Ident); ok && slices.Contains(types, of.Name) {
				names = append(names, of.Name+"."+f.Name.Name)
			}
		}
	}
	return names
}

// Nothing else in this package calls the system about a file, but at its start.
func TestNothingPassesCalls(t *testing.T) {
	harmless := regexp.MustCompile(`^(os\.(Err\w+|O_\w+|File(Info|Mode)|PathSeparator|DevNull|SameFile|IsNotExist)|syscall\.E\w+|filepath\.(Clean|Ext|IsAbs|IsLocal|Rel|ToSlash))$`)
	atStart := []string{
		"particular.go: os.ReadFile", "service.go: os.Open", "serve.go: os.Stat", "serve.go: os.OpenRoot", "serve.go: os.Root",
		"upload.go: filepath.Abs", "upload.go: filepath.EvalSymlinks",
	}
	// Those that see to it, and what they call.
	inside := regexp.MustCompile(`^(calls|links|types_gen|.*_(unix|linux|darwin|bsd|windows|other|test))\.go$`)
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if inside.MatchString(name) {
			continue
		}
		source, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for n := range ast.Preorder(source) {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			of, _ := s.X.(*ast.Ident)
			switch {
			case s.Sel.Name == "raw":
				t.Errorf("%s uses what a file has in raw: call a method of calls.go", name)
			case of == nil || of.Name != "os" && of.Name != "syscall" && of.Name != "unix" && of.Name != "windows" && of.Name != "filepath":
			case harmless.MatchString(of.Name + "." + s.Sel.Name), slices.Contains(atStart, name+": "+of.Name+"."+s.Sel.Name):
			default:
				t.Errorf("%s uses %s.%s: call a method of calls.go, which has a place for it", name, of.Name, s.Sel.Name)
			}
		}
	}
}

// Where the disk does not answer, those that come wait without a thread each, whatever
// they want. One place is enough for all to go on: nobody who has it waits for another.
func TestStalledDisk(t *testing.T) {
	type row struct {
		method, target, body string
		header               http.Header
		want                 int
	}
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	for _, name := range []string{"one.txt", "two.txt"} {
		part, err := m.CreateFormFile("file", name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(part, name)
	}
	m.Close()
	to := func(target string) http.Header { return http.Header{"Destination": {target}} }
	reads := []row{
		{"GET", "/a.txt", "", nil, 200},
		{"GET", "/a.txt", "", http.Header{"Range": {"bytes=1-2"}}, 206},
		{"GET", "/page.html", "", http.Header{"Accept-Encoding": {"gzip"}}, 200},
		{"GET", "/unknown", "", nil, 200},
		{"GET", "/large.bin", "", nil, 200},
		{"GET", "/out.txt", "", nil, 200},
		{"GET", "/missing", "", nil, 404},
		{"GET", "/sub", "", nil, 301},
		{"GET", "/sub/", "", nil, 200},
		{"GET", "/sub/", "", http.Header{"Accept": {"application/json"}}, 200},
		{"GET", "/sub/?archive=tar", "", nil, 200},
		{"GET", "/sub/?archive=zip", "", nil, 200},
	}
	for _, tc := range []struct {
		name string
		cfg  Config
		rows []row
	}{
		{"uploads", Config{}, []row{
			{"PUT", "/in/new/folder/a.txt", "hello", nil, 201},
			{"PUT", "/in/old.txt", "hello", nil, 201},
			{"POST", "/", "hello", nil, 201},
			{"POST", "/in/", form.String(), http.Header{"Content-Type": {m.FormDataContentType()}}, 201},
		}},
		{"WebDAV", Config{DAV: true}, []row{
			{"PROPFIND", "/", "", http.Header{"Depth": {"1"}}, 207},
			{"PUT", "/in/new.txt", "hello", nil, 201},
			{"PUT", "/in/old.txt", "hello", nil, 204},
			{"MKCOL", "/in/made", "", nil, 201},
			{"COPY", "/sub", "", to("/in/copied"), 201},
			{"COPY", "/a.txt", "", to("/in/over.txt"), 204},
			{"MOVE", "/in/from", "", to("/in/into"), 201},
			{"DELETE", "/in/gone", "", nil, 204},
			{"LOCK", "/in/locked.txt", `<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`, nil, 201},
			{"PROPPATCH", "/in/props.txt", `<propertyupdate xmlns="DAV:"><set><prop><x xmlns="x:">y</x></prop></set></propertyupdate>`, nil, 207},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root, outside := t.TempDir(), t.TempDir()
				write(t, outside, "out.txt", "out")
				write(t, root, "a.txt", "alpha", "page.html", "plain", "page.html.gz", "coded", "unknown", "text", "large.bin", strings.Repeat("x", 1<<20),
					"404.html", "not here", "sub/b.txt", "beta", "sub/deep/c.txt", "gamma", "in/old.txt", "old", "in/over.txt", "over",
					"in/from/d.txt", "delta", "in/gone/e.txt", "epsilon", "in/props.txt", "zeta")
				for link, to := range map[string]string{"out.txt": filepath.Join(outside, "out.txt"), "sub/link.txt": filepath.Join(root, "a.txt")} {
					if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
						t.Fatal(err)
					}
				}
				cfg := tc.cfg
				cfg.Root, cfg.Upload, cfg.FollowLinks, cfg.Fallback = root, filepath.Join(root, "in"), true, "404.html"
				h := newHandler(t, cfg)
				d := h.serve.(*folder)
				// The clock of a bubble is behind that of the files.
				d.now = func() time.Time { return time.Now().AddDate(100, 0, 0) }
				read, write := d.root.calls, d.uploads.dir.calls
				read.fill()
				write.fill()
				rows := slices.Concat(reads, tc.rows)
				answered := make(chan string, len(rows))
				for _, row := range rows {
					// Ends when the disk answers; waited for below.
					go func() {
						r := httptest.NewRequest(row.method, row.target, strings.NewReader(row.body))
						for name, values := range row.header {
							r.Header[name] = values
						}
						w := httptest.NewRecorder()
						h.ServeHTTP(w, r)
						if w.Code != row.want {
							t.Errorf("%s %s: %d %q, want %d", row.method, row.target, w.Code, w.Body, row.want)
						}
						answered <- row.method + " " + row.target
					}()
				}
				synctest.Wait()
				for n := len(answered); n > 0; n-- {
					t.Errorf("%s has an answer from a disk that gives none", <-answered)
				}
				read.shared.end()
				write.shared.end()
				synctest.Wait()
				if n := len(answered); n != len(rows) {
					t.Errorf("with one place each %d of %d have an answer", n, len(rows))
				}
				for _, c := range []calls{read, write} {
					if all := cap(c.own) + cap(c.shared); c.taken() != all-1 {
						t.Errorf("%d places are taken at the end, want %d", c.taken(), all-1)
					}
					c.empty()
				}
				synctest.Wait()
			})
		})
	}
}

// A disk of uploads that does not answer keeps nobody from what is served.
func TestStalledUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		write(t, root, "a.txt", "alpha", "large.bin", strings.Repeat("x", 1<<20))
		h := newHandler(t, Config{Root: root, Upload: t.TempDir()})
		d := h.serve.(*folder)
		d.uploads.dir.calls.fill()
		if n := d.root.calls.taken(); n != 0 {
			t.Fatalf("uploads have taken %d places of what is served", n)
		}
		kept := make(chan int, 1)
		// Ends when the disk of uploads answers; waited for below.
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader("hello")))
			kept <- w.Code
		}()
		synctest.Wait()
		for _, target := range []string{"/a.txt", "/large.bin", "/", "/?archive=tar"} {
			if status, _ := getFile(h, target); status != 200 {
				t.Errorf("GET %s: %d, want 200", target, status)
			}
		}
		d.uploads.dir.calls.empty()
		if code := <-kept; code != 201 {
			t.Errorf("an upload when the disk answers again: %d, want 201", code)
		}
	})
}

// The threads are the process's: handlers that share places have no more together, however
// many they are, and the disks of some that do not answer leave the others theirs.
func TestHandlersSharePlaces(t *testing.T) {
	const handlers = 5
	synctest.Test(t, func(t *testing.T) {
		var of []*Handler
		for _, places := range NewPlaces(handlers) {
			root := t.TempDir()
			write(t, root, "a.txt", "alpha", "large.bin", strings.Repeat("x", 1<<20))
			of = append(of, newHandler(t, Config{Root: root, Upload: t.TempDir(), Places: places}))
		}
		last := of[handlers-1]
		for what, test := range map[string]struct {
			of   func(*folder) calls
			most int
			ask  func() int
		}{
			"downloads": {func(d *folder) calls { return d.root.calls }, maxCalls, func() int { status, _ := getFile(last, "/large.bin"); return status }},
			"uploads": {func(d *folder) calls { return d.uploads.dir.calls }, maxUploadCalls, func() int {
				w := httptest.NewRecorder()
				last.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader("hello")))
				return w.Code - 1
			}},
		} {
			taken := 0
			for _, h := range of[:handlers-1] {
				c := test.of(h.serve.(*folder))
				for range cap(c.own) + cap(c.shared) - len(c.shared) {
					c.begin()
					taken++
				}
			}
			if status := test.ask(); status != 200 {
				t.Errorf("%s: %d where the disks of the others do not answer", what, status)
			}
			if taken += cap(test.of(last.serve.(*folder)).own); taken > test.most || taken < test.most-handlers {
				t.Errorf("%s: %d calls may be under way, want %d", what, taken, test.most)
			}
		}
	})
}

// A handler comes to its end though the disk does not answer.
func TestCloseOnStalledDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Config{Root: t.TempDir(), Upload: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		h.serve.(*folder).root.calls.fill()
		h.serve.(*folder).uploads.dir.calls.fill()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}
