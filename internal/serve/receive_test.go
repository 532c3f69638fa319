package serve

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
)

// A PUT to a path in the upload folder is found under that path.
func TestPutThenGet(t *testing.T) {
	root := t.TempDir()
	write(t, root, "in/taken.txt", "mine", "in/old/", "")
	if err := os.Symlink("/", filepath.Join(root, "in/out")); err != nil {
		t.Fatal(err)
	}
	srv := start(t, Config{Root: root, Upload: filepath.Join(root, "in")})
	for _, tc := range []struct{ method, target, want string }{
		{"PUT", "/in/a.txt", "/in/a.txt"},
		{"PUT", "/in/a.txt", "/in/a%20%281%29.txt"},
		{"PUT", "/in/a.txt", "/in/a%20%282%29.txt"},
		{"PUT", "/in/taken.txt", "/in/taken%20%281%29.txt"},
		{"PUT", "/in/noext", "/in/noext"},
		{"PUT", "/in/noext", "/in/noext%20%281%29"},
		{"PUT", "/in/gr%C3%B6%C3%9Fer%20%231.tar.gz", "/in/gr%C3%B6%C3%9Fer%20%231.tar.gz"},
		{"PUT", "/in/old/b.txt", "/in/old/b.txt"},
		{"PUT", "/in/new/er/b.txt", "/in/new/er/b.txt"},
		{"PUT", "/in/page.html", "/in/page_html"},
		{"PUT", "/in/old", "/in/old%20%281%29"},
	} {
		a := ask(t, srv, tc.method, tc.target, tc.want)
		if got := a.Header.Get("Location"); a.StatusCode != 201 || got != tc.want {
			t.Errorf("%s %s: %d %q, Location %q, want %q", tc.method, tc.target, a.StatusCode, a.body, got, tc.want)
			continue
		}
		if got := ask(t, srv, "GET", tc.want, ""); got.body != tc.want {
			t.Errorf("GET %s: %d %q, want what was put", tc.want, got.StatusCode, got.body)
		}
	}
	if got := ask(t, srv, "GET", "/in/taken.txt", "").body; got != "mine" {
		t.Errorf("a file that was there now holds %q", got)
	}
	for _, target := range []string{"/in/taken.txt/x", "/in/out/x", "/in/out/tmp/x", "/in/" + strings.Repeat("x", 300) + "/y"} {
		if a := ask(t, srv, "PUT", target, "x"); a.StatusCode != 409 {
			t.Errorf("PUT %s: %d %q, want 409", target, a.StatusCode, a.body)
		}
	}
	// Elsewhere, and with POST, names are ours.
	for _, tc := range []struct{ method, target string }{
		{"PUT", "/b.txt"}, {"PUT", "/inn/b.txt"}, {"POST", "/in/b.txt"}, {"PUT", "/in/.hidden.txt"}, {"PUT", "/in/x/.hidden/b.txt"}, {"PUT", "/in/b.txt/"},
		{"PUT", "/in/" + strings.Repeat("x/", 100) + "b.txt"},
	} {
		a := ask(t, srv, tc.method, tc.target, "x")
		if name := strings.TrimSuffix(a.body, "\n"); a.StatusCode != 201 || len(name) < 26 || a.Header.Get("Location") != "/in/"+name {
			t.Errorf("%s %s: %d %q, Location %q, want a random name", tc.method, tc.target, a.StatusCode, a.body, a.Header.Get("Location"))
		}
	}
}

// The folders in the path of a PUT have names as safe as a file's; those that
// are there are what they are.
func TestPutIntoFolders(t *testing.T) {
	root := t.TempDir()
	write(t, root, "in/-old/", "", "in/old.php/", "", "in/file_php", "mine")
	srv := start(t, Config{Root: root, Upload: filepath.Join(root, "in")})
	random := regexp.MustCompile(`^/in/[a-z2-7]{26}$`)
	for _, tc := range []struct{ target, want string }{
		{"/in/-rf/x", "/in/_rf/x"},
		{"/in/-rf/-rf/y", "/in/_rf/_rf/y"},
		{"/in/_rf/z", "/in/_rf/z"},
		{"/in/a%0Ab%1B%5B2J/x", "/in/ab%5B2J/x"},
		{"/in/%E2%80%AEgpj.exe/x", "/in/gpj.exe/x"},
		{"/in/x.php/y", "/in/x_php/y"},
		{"/in/x.php/y", "/in/x_php/y%20%281%29"},
		{"/in/a/b.html/c/d.", "/in/a/b_html/c/d"},
		{"/in/bad%FF/x", "/in/bad_/x"},
		{"/in/" + strings.Repeat("x", 210) + "/y", "/in/" + strings.Repeat("x", maxUploadName) + "/y"},
		{"/in/-old/-x", "/in/-old/_x"},
		{"/in/old.php/new.php/x", "/in/old.php/new_php/x"},
		{"/in/new/%20/x", ""}, {"/in/%E2%80%AE/new/x", ""},
	} {
		a := ask(t, srv, "PUT", tc.target, tc.target)
		if got := a.Header.Get("Location"); a.StatusCode != 201 || got != tc.want && !(tc.want == "" && random.MatchString(got)) {
			t.Errorf("PUT %s: %d %q, Location %q, want %q", tc.target, a.StatusCode, a.body, got, tc.want)
		} else if got := ask(t, srv, "GET", got, ""); got.body != tc.target {
			t.Errorf("PUT %s, then GET: %d %q", tc.target, got.StatusCode, got.body)
		}
	}
	if a := ask(t, srv, "PUT", "/in/file.php/x", "x"); a.StatusCode != 409 {
		t.Errorf("a folder whose safe name is a file's: %d %q, want 409", a.StatusCode, a.body)
	}
	for _, name := range namesIn(t, filepath.Join(root, "in")) {
		if name != safeName(name) && name != "-old" && name != "old.php" || name == "new" {
			t.Errorf("it made %q", name)
		}
	}
}

// No upload is sent in the place of a file that is there.
func TestUploadBesideAFile(t *testing.T) {
	names := []string{"style.css", "app.wasm", "notes.txt", "data.json", "page.html", "a.js"}
	for name, send := range map[string]func(t *testing.T, srv *httptest.Server, name string) answer{
		"PUT": func(t *testing.T, srv *httptest.Server, name string) answer {
			return ask(t, srv, "PUT", "/"+name, "theirs")
		},
		"a form": func(t *testing.T, srv *httptest.Server, name string) answer {
			contentType, body := form(name, "theirs")
			return ask(t, srv, "POST", "/", body, "Content-Type: "+contentType)
		},
	} {
		root := t.TempDir()
		for _, plain := range names {
			write(t, root, plain, "mine")
		}
		srv := start(t, Config{Root: root, Upload: root})
		for _, plain := range names {
			for _, e := range encodings {
				if a := send(t, srv, plain+e.extension); a.StatusCode != 201 {
					t.Errorf("%s of %s%s: %d %q, want 201", name, plain, e.extension, a.StatusCode, a.body)
				}
			}
			if a := ask(t, srv, "GET", "/"+plain, "", "Accept-Encoding: gzip, br, zstd"); a.body != "mine" || a.Header.Get("Content-Encoding") != "" {
				t.Errorf("after %s: %s is %q, Content-Encoding %q", name, plain, a.body, a.Header.Get("Content-Encoding"))
			}
		}
	}
}

func TestSafeName(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt": "a.txt", "größer & mehr.jpg": "größer & mehr.jpg", "Episode: 1.mkv": "Episode: 1.mkv", "日本語.pdf": "日本語.pdf", "a": "a",
		"../../etc/passwd": "passwd", `C:\Users\me\x.doc`: "x.doc", "/abs": "abs", "a/": "", "": "", ".": "", "..": "", "...": "", "/": "",
		".bashrc": "bashrc", ".htaccess": "htaccess", " . x .": "x", "x.": "x", "-rf": "_rf", "a\x00b\nc\x1b[1m.txt": "abc[1m.txt",
		"gnp\u202etxt.exe": "gnptxt.exe", "zero\u200bwidth": "zerowidth", "bad\xff\xfe.txt": "bad_.txt", "\ufeffbom.txt": "bom.txt",
		"page.html": "page_html", "PAGE.HTM": "PAGE_HTM", "a.svg": "a_svg", "feed.xml": "feed_xml", "x.js": "x_js", "x.php": "x_php", "x.php.jpg": "x_php.jpg",
		"x.PHP .jpg": "x_PHP .jpg", "web.config": "web_config", "x.lnk": "x_lnk", "setup.exe": "setup.exe", "a.tar.gz": "a.tar.gz", "a.css": "a.css", "run.sh": "run.sh",
		strings.Repeat("x", 300) + ".txt":  strings.Repeat("x", 196) + ".txt",
		strings.Repeat("ö", 300) + ".jpeg": strings.Repeat("ö", 97) + ".jpeg",
		"x." + strings.Repeat("y", 300):    "x." + strings.Repeat("y", 198),
		// What lies so beside another file would be sent in its place.
		"a.css.gz": "a.css_gz", "A.CSS.GZ": "A.CSS_GZ", "a.json.br": "a.json_br", "app.wasm.zst": "app.wasm_zst", "b.a.txt.gz": "b.a.txt_gz",
		"a.gz": "a.gz", "a.css.gz.br": "a.css.gz.br", "film.mp4.gz": "film.mp4.gz", "css.gz": "css.gz", "page.html.gz": "page_html.gz",
		strings.Repeat("x", 193) + ".csszzz.gz": strings.Repeat("x", 193) + ".css_gz",
		// What is left of an extension that is cut counts as one.
		strings.Repeat("x", 195) + ".html" + strings.Repeat("y", 30): strings.Repeat("x", 195) + "_html",
		strings.Repeat("x", 191) + ".phpyyyyy.jpeg":                  strings.Repeat("x", 191) + "_php.jpeg",
		partPrefix + "x": partPrefix[1:] + "x",
		// Joiners are letters of some scripts, and a disguise elsewhere.
		"می\u200cخواهم.txt": "می\u200cخواهم.txt", "क\u094d\u200dष": "क\u094d\u200dष", "👨\u200d👩\u200d👧.png": "👨\u200d👩\u200d👧.png", "❤\ufe0f\u200d🔥": "❤\ufe0f\u200d🔥",
		"in\u200cvoice": "invoice", "ö\u200dx": "öx", "п\u200cх": "пх", "م\u200c\u200c\u200dی": "م\u200cی", "\u200c.x": "x", "a\u200d.txt": "a.txt",
	} {
		got := safeName(name)
		if got != want {
			t.Errorf("safeName(%q) is %q, want %q", name, got, want)
		}
		if again := safeName(got); again != got {
			t.Errorf("safeName(%q) is %q, want it as it is", got, again)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, name := range []string{"a.txt", "../x", "x.php.", ". .", "-", "a\u202e", strings.Repeat("ö.", 200), "\xff.html", strings.Repeat("x", 195) + ".html" + strings.Repeat("y", 30)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := safeName(name)
		if strings.ContainsAny(got, "/\\\x00\n") || strings.HasPrefix(got, ".") || strings.HasPrefix(got, "-") || len(got) > maxUploadName+1 || got != "" && !filepath.IsLocal(got) {
			t.Errorf("safeName(%q) is %q", name, got)
		}
		for _, part := range strings.Split(got, ".")[1:] {
			if acts("." + part) {
				t.Errorf("safeName(%q) is %q, which acts", name, got)
			}
		}
		if _, ok := codes(got); ok {
			t.Errorf("safeName(%q) is %q, which is sent for another file", name, got)
		}
	})
}

// form writes a form's body: pairs of a file's name and its content. A name
// that begins with "=" is that of a field.
func form(pairs ...string) (contentType, body string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		var part io.Writer
		if name, ok := strings.CutPrefix(pairs[i], "="); ok {
			part, _ = w.CreateFormField(name)
		} else {
			part, _ = w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="` + pairs[i] + `"`}})
		}
		io.WriteString(part, pairs[i+1])
	}
	w.Close()
	return w.FormDataContentType(), b.String()
}

type uploadAnswer struct {
	Files []keptFile
	Error string
}

func TestForm(t *testing.T) {
	root := t.TempDir()
	write(t, root, "in/taken.txt", "mine", "in/sub/", "", "beside/", "")
	srv := start(t, Config{Root: root, Upload: filepath.Join(root, "in")})
	contentType, body := form("=note", "ignored", "taken.txt", "one", "größer.jpg", "two", "", "", "../../page.html", "<script>", "taken.txt", "three", "...", "four")
	var got uploadAnswer
	a := ask(t, srv, "POST", "/in/", body, "Content-Type: "+contentType, "Accept: text/html;q=0.5, application/json")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != 201 || a.Header.Get("Content-Type") != "application/json" || got.Error != "" {
		t.Fatalf("%d %q, %v", a.StatusCode, a.body, err)
	}
	contents := []string{"one", "two", "<script>", "three", "four"}
	names := []string{"taken (1).txt", "größer.jpg", "page_html", "taken (2).txt"}
	for i, f := range got.Files {
		sum := sha256.Sum256([]byte(contents[i]))
		if i < len(names) && f.Name != names[i] || f.Size != int64(len(contents[i])) || f.Digest != digestText(sum[:]) {
			t.Errorf("file %d: %+v", i, f)
		}
		if got := ask(t, srv, "GET", f.Location, ""); got.body != contents[i] {
			t.Errorf("GET %s: %d %q, want %q", f.Location, got.StatusCode, got.body, contents[i])
		}
	}
	if len(got.Files) != len(contents) {
		t.Errorf("%d files, want %d", len(got.Files), len(contents))
	}
	contentType, body = form("a %22b%22.txt", "x")
	if a := ask(t, srv, "POST", "/in/", body, "Content-Type: "+contentType); a.body != "a \"b\".txt\n" {
		t.Errorf("a name with quotes: %d %q", a.StatusCode, a.body)
	}
	contentType, body = form("a.txt", "x")
	for _, tc := range []struct{ target, accept, location, body string }{
		{"/in/sub/", "*/*", "/in/sub/a.txt", "sub/a.txt\n"},
		{"/in/sub", "*/*", "/in/sub/a%20%281%29.txt", "sub/a (1).txt\n"},
		{"/in/none/", "*/*", "/in/a.txt", "a.txt\n"},
		{"/in/taken.txt", "*/*", "/in/a%20%281%29.txt", "a (1).txt\n"},
		{"/beside/", "*/*", "/in/a%20%282%29.txt", "a (2).txt\n"},
		{"/../x", "application/json;q=0", "/in/a%20%283%29.txt", "a (3).txt\n"},
		{"/in/", "text/html, */*", "/in/a%20%284%29.txt", `<a href="/in/a%20%284%29.txt">a (4).txt</a>`},
	} {
		a := ask(t, srv, "POST", tc.target, body, "Content-Type: "+contentType, "Accept: "+tc.accept)
		if a.StatusCode != 201 || a.Header.Get("Location") != tc.location || !strings.Contains(a.body, tc.body) {
			t.Errorf("POST %s: %d %q, Location %q, want %q and %q", tc.target, a.StatusCode, a.body, a.Header.Get("Location"), tc.body, tc.location)
		}
	}
	// Where the folder is not served, nobody is told a place.
	hidden := start(t, Config{Root: root, Upload: t.TempDir()})
	if a := ask(t, hidden, "POST", "/", body, "Content-Type: "+contentType, "Accept: application/json"); a.Header.Get("Location") != "" || strings.Contains(a.body, "location") {
		t.Errorf("an upload that nobody sees: %q, Location %q", a.body, a.Header.Get("Location"))
	}
}

// A form that is not whole is refused, and tells what of it was kept.
func TestFormRefused(t *testing.T) {
	contentType, two := form("a.txt", "alpha", "b.txt", "0123456789")
	_, field := form("=note", "x")
	_, none := form("", "")
	_, long := form("a.txt", "alpha", "=note", strings.Repeat("x", 1<<20), "b.txt", "beta")
	boundary := contentType[strings.Index(contentType, "=")+1:]
	other := func(body string) string { // with the boundary of contentType
		return strings.ReplaceAll(body, body[2:strings.Index(body, "\r\n")], boundary)
	}
	for _, tc := range []struct {
		name, contentType string
		body              io.Reader
		length            int64 // announced, if not 0
		look              func() (disk, bool)
		max               int64
		want              int
		kept              []string
	}{
		{name: "whole", body: strings.NewReader(two), want: 201, kept: []string{"a.txt", "b.txt"}},
		{name: "a long field", body: strings.NewReader(other(long)), want: 201, kept: []string{"a.txt", "b.txt"}},
		{name: "a file too long", body: strings.NewReader(two), max: 9, want: 413, kept: []string{"a.txt"}},
		{name: "cut", body: strings.NewReader(two[:len(two)-20-len(boundary)]), want: 400, kept: []string{"a.txt"}},
		{name: "cut before the end", body: strings.NewReader(two[:len(two)-4]), want: 400, kept: []string{"a.txt", "b.txt"}},
		{name: "shorter than announced", body: strings.NewReader(two), length: 1 << 20, want: 400, kept: []string{"a.txt", "b.txt"}},
		{name: "broken off", body: io.MultiReader(strings.NewReader(two[:len(two)-20-len(boundary)]), iotest.ErrReader(errors.New("reset"))), want: 400, kept: []string{"a.txt"}},
		{name: "standing still", body: io.MultiReader(strings.NewReader(two[:20]), iotest.ErrReader(os.ErrDeadlineExceeded)), want: 408},
		{name: "no file", body: strings.NewReader(other(field)), want: 400},
		{name: "no file chosen", body: strings.NewReader(other(none)), want: 400},
		{name: "no form", body: strings.NewReader("hello"), want: 400},
		{name: "nothing", body: strings.NewReader(""), want: 400},
		{name: "no boundary", contentType: "multipart/form-data", body: strings.NewReader(two), want: 400},
		{name: "a part without a colon", body: strings.NewReader("--" + boundary + "\r\nnonsense\r\n\r\nx\r\n--" + boundary + "--\r\n"), want: 400},
		{name: "a head without an end", body: io.MultiReader(strings.NewReader("--"+boundary+"\r\nX: "), io.LimitReader(zeros{}, 1<<30)), want: 400},
		{name: "many lines of a head", body: io.MultiReader(strings.NewReader("--"+boundary+"\r\n"), strings.NewReader(strings.Repeat("X: y\r\n", 1<<20))), want: 400},
		{name: "a preamble without an end", body: io.LimitReader(zeros{}, 1<<30), want: 400},
		{name: "no room", body: strings.NewReader(two), want: 507, look: shows(disk{free: diskKeep - 1, total: 1 << 40})},
		{name: "no room for files", body: strings.NewReader(two), want: 507, look: shows(disk{free: 1 << 40, total: 1 << 41, totalFiles: 1000})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			h := newHandler(t, Config{Root: t.TempDir(), Upload: dir, UploadMax: tc.max})
			if tc.look != nil {
				h.serve.(*folder).uploads.room.look = tc.look
			}
			body := &counted{Reader: tc.body}
			r := httptest.NewRequest("POST", "/", body)
			r.ContentLength = -1
			if tc.length != 0 {
				r.ContentLength = tc.length
			}
			r.Header.Set("Content-Type", contentType)
			if tc.contentType != "" {
				r.Header.Set("Content-Type", tc.contentType)
			}
			r.Header.Set("Accept", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var got uploadAnswer
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != tc.want || (w.Code != 201) != strings.HasPrefix(got.Error, fmt.Sprint(tc.want, ": ")) {
				t.Errorf("%d %q %v, want %d", w.Code, w.Body, err, tc.want)
			}
			var told []string
			for _, f := range got.Files {
				told = append(told, f.Name)
			}
			if names := namesIn(t, dir); !slices.Equal(names, tc.kept) || !slices.Equal(told, tc.kept) {
				t.Errorf("kept %q, told %q, want %q", names, told, tc.kept)
			}
			if body.n > 2<<20 {
				t.Errorf("%d bytes were read", body.n)
			}
		})
	}
}

type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// Another site's page must not make its visitors upload.
func TestUploadsFromOtherSites(t *testing.T) {
	dir := t.TempDir()
	srv := start(t, Config{Root: t.TempDir(), Upload: dir})
	contentType, body := form("a.txt", "x")
	for _, tc := range []struct {
		header []string
		want   int
	}{
		{nil, 201}, // no browser
		{[]string{"Sec-Fetch-Site: same-origin", "Origin: http://example.test"}, 201},
		{[]string{"Sec-Fetch-Site: none"}, 201},
		{[]string{"Origin: http://example.test"}, 201},
		{[]string{"Origin: https://shown.test", "X-Forwarded-Host: shown.test"}, 201},
		{[]string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.test"}, 403},
		{[]string{"Sec-Fetch-Site: same-site", "Origin: http://other.example.test"}, 403},
		{[]string{"Origin: http://evil.test"}, 403},
		{[]string{"Origin: null"}, 403},
		{[]string{"Origin: http://example.test", "X-Forwarded-Host: shown.test"}, 403},
	} {
		for _, method := range []string{"POST", "PUT"} {
			if a := ask(t, srv, method, "/", body, append(tc.header, "Content-Type: "+contentType)...); a.StatusCode != tc.want {
				t.Errorf("%s with %q: %d %q, want %d", method, tc.header, a.StatusCode, a.body, tc.want)
			}
		}
	}
}

// However many send one name at once, each is kept and none replaces another,
// with links and without.
func TestOneNameAtOnce(t *testing.T) {
	for _, links := range []bool{true, false} {
		dir := t.TempDir()
		h := newHandler(t, Config{Root: t.TempDir(), Upload: dir})
		if !links {
			h.serve.(*folder).uploads.link = func(string, string) error { return syscall.EPERM }
		}
		var senders sync.WaitGroup
		const n = 120
		for i := range n {
			// Ends with its answer; the test waits for all.
			senders.Go(func() {
				contentType, body := form("a.txt", fmt.Sprint(i))
				r := httptest.NewRequest("POST", "/", strings.NewReader(body))
				r.Header.Set("Content-Type", contentType)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				got, err := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(w.Body.String(), "\n")))
				if w.Code != 201 || err != nil || string(got) != fmt.Sprint(i) {
					t.Errorf("%d: %d %q, kept %q, %v", i, w.Code, w.Body, got, err)
				}
			})
		}
		senders.Wait()
		if names := namesIn(t, dir); len(names) != n || !slices.Contains(names, "a.txt") || !slices.Contains(names, "a (99).txt") {
			t.Errorf("links %t: %d files, want %d: %q", links, len(names), n, names)
		}
	}
}

func TestUploadsHere(t *testing.T) {
	root := t.TempDir()
	write(t, root, "in/sub/", "")
	here := func(cfg Config, name string) bool { return newHandler(t, cfg).serve.(*folder).uploadsHere(name) }
	for _, tc := range []struct {
		upload, name string
		want         bool
	}{
		{"", ".", false},
		{t.TempDir(), ".", true}, {t.TempDir(), "in/sub", true},
		{filepath.Join(root, "in"), ".", false}, {filepath.Join(root, "in"), "in", true}, {filepath.Join(root, "in"), "in/sub", true}, {filepath.Join(root, "in"), "inn", false},
		{root, ".", true}, {root, "in", true},
	} {
		if got := here(Config{Root: root, Upload: tc.upload}, tc.name); got != tc.want {
			t.Errorf("upload folder %q: uploadsHere(%q) is %t", tc.upload, tc.name, got)
		}
	}
}

// What the script looks for is in the form, and what it shows is text.
func TestUploadForm(t *testing.T) {
	for _, has := range []string{`id="upload"`, `method="post"`, `enctype="multipart/form-data"`, `type="file"`, "multiple", "<progress", "<output"} {
		if !strings.Contains(uploadForm, has) {
			t.Errorf("the form has no %s", has)
		}
	}
	for _, has := range []string{`getElementById("upload")`, `querySelector("input[type=file]")`, `querySelector("progress")`, `querySelector("output")`} {
		if !strings.Contains(uploadScript, has) {
			t.Errorf("the script has no %s", has)
		}
	}
	if strings.Contains(uploadScript, "innerHTML") || strings.Contains(uploadScript, "</script") {
		t.Error("the script makes markup of names")
	}
}
