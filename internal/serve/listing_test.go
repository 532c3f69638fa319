package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var linkPattern = regexp.MustCompile(`<li(?: class=[a-z])?><a href="([^"]*)">(.*?)</a> <time(?: datetime=(\S*?))?>(.*?)</time> <span(?: data-h="(.*?)")?> (.*?)</span>`)

func TestListingShowsAndLinksEveryName(t *testing.T) {
	root := t.TempDir()
	names := []string{
		"plain.txt", "two words.txt", " lead and trail ", "Ünïcödé 日本 🎬.mkv", "100%.txt", "%41.txt", "%2e%2e", "what?.txt", "a#b.txt", "line\nend.txt",
		`quo"te's.txt`, "<script>alert(1)", "a&amp;b", ":colon", "javascript:alert(1)", "http:", "back\\slash", "semi;colon", "plus+plus",
		"~tilde", "tab\there", "bidi\u202efdp.exe", "bad\xff\xfeutf8", "star*", "{{.Name}}", "`tick`", "a=b", "-rf", "at@at", "|pipe|", "[1]", "\x7fdel",
		"e\u0301.txt", "\u00e9.txt", "CON", "very" + strings.Repeat("long", 60),
	}
	for _, name := range names {
		write(t, root, name, "content of "+name)
	}
	srv := start(t, Config{Root: root})
	a := ask(t, srv, "GET", "/", "")
	if strings.Contains(a.body, "<script>alert") || strings.ContainsAny(a.body, "\u202e\x7f") || !utf8.ValidString(a.body) {
		t.Errorf("the listing holds a name as it is")
	}
	links := linkPattern.FindAllStringSubmatch(a.body, -1)
	if len(links) != len(names) {
		t.Errorf("%d links, want %d", len(links), len(names))
	}
	base, err := url.Parse("http://example.test/")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]bool)
	for _, l := range links {
		u, err := base.Parse(html.UnescapeString(l[1]))
		if err != nil || u.Host != "example.test" || u.Scheme != "http" {
			t.Errorf("link %q leads to %v, %v", l[1], u, err)
			continue
		}
		got[ask(t, srv, "GET", u.RequestURI(), "").body] = true
	}
	for _, name := range names {
		if !got["content of "+name] {
			t.Errorf("no link leads to %q", name)
		}
		if shown := string(appendText(nil, readable(name))); !strings.Contains(a.body, ">"+shown+"</a>") {
			t.Errorf("%q is not shown as %q", name, shown)
		}
	}
	if !strings.Contains(a.body, "line␊end.txt") || !strings.Contains(a.body, "tab␉here") {
		t.Errorf("control characters are not made visible")
	}
}

func TestListingOrderSizesAndDates(t *testing.T) {
	root := t.TempDir()
	when := time.Date(2024, 2, 29, 13, 5, 7, 0, time.UTC)
	write(t, root, "b.txt", strings.Repeat("x", 1234), "A.txt", "", "c/x", "x", "Z/x", "x", ".hidden", "x", "a.bin", strings.Repeat("x", 5))
	for _, name := range []string{"b.txt", "A.txt", "a.bin", "c", "Z"} {
		if err := os.Chtimes(filepath.Join(root, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("b.txt", filepath.Join(root, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	srv := start(t, Config{Root: root})
	rows := func(query string) (got []string) {
		for _, l := range linkPattern.FindAllStringSubmatch(ask(t, srv, "GET", "/"+query, "", "Accept: text/html").body, -1) {
			got = append(got, strings.Join([]string{l[1], l[2], l[5], l[6]}, " "))
			if l[3] != "2024-02-29T13:05:07Z" || l[4] != "29-Feb-2024 13:05" {
				t.Errorf("%s: dates %q and %q", l[1], l[3], l[4])
			}
		}
		return got
	}
	const folders, a, A, b, link = "c/ c/  -|Z/ Z/  -|", "a.bin a.bin 5 B 5|", "A.txt A.txt 0 B 0|", "b.txt b.txt 1.2 kB 1234|", "link.txt link.txt 1.2 kB 1234|"
	for query, want := range map[string]string{
		"":                      folders + a + A + b + link,
		"?sort=name":            folders + a + A + b + link,
		"?sort=-name":           "Z/ Z/  -|c/ c/  -|" + link + b + A + a,
		"?sort=size":            folders + A + a + b + link,
		"?sort=-size":           folders + b + link + a + A,
		"?sort=date":            folders + a + A + b + link,
		"?sort=nonsense":        folders + a + A + b + link,
		"?q=TXT":                A + b + link,
		"?q=TXT&sort=-size&x=%": b + link + A,
		"?q=nothing":            "",
	} {
		if got := strings.Join(rows(query), "|") + "|"; got != want && got != want+"|" {
			t.Errorf("%s: entries\n%s, want\n%s", query, got, want)
		}
	}
	if body := ask(t, srv, "GET", "/", "").body; !strings.Contains(body, "<p>2 folders, 4 files, 2.5 kB</p>") {
		t.Errorf("no sums")
	}
	if a := ask(t, srv, "GET", "/c/", ""); !strings.Contains(a.body, `<a href="../">../</a>`) || !strings.Contains(a.body, "<p>1 file, 1 B</p>") {
		t.Errorf("a folder's listing has no link up, or other sums")
	}
}

// The rules of programs that read a listing.
func TestListingIsReadByPrograms(t *testing.T) {
	root := t.TempDir()
	names := []string{
		"plain.txt", "two words.txt", "plus+plus & amp;.mkv", "C++/x", "a:b.mkv", "javascript:alert(1).txt", "100%.txt", "#1.txt", "what?.txt", "it's \"so\".txt",
		"-rf", "trailing.", "Ünï 日本.mkv", "semi;colon", "<b>.txt", "a=b,c@d!$'()*.txt", "~x", "[1].txt", "sub:folder/x",
	}
	for _, name := range names {
		write(t, root, name, "12345")
	}
	srv := start(t, Config{Root: root})
	body := ask(t, srv, "GET", "/", "").body
	for i, name := range names {
		if folder, _, ok := strings.Cut(name, "/"); ok {
			names[i] = folder + "/"
		}
	}
	var got []string
	// Kodi: a link of this form is an entry if its text, entities replaced, is its decoded
	// href, either without a slash at its end; what is up to the next link has date and size.
	item := regexp.MustCompile(`(?is)<a href="([^"]*)"[^>]*>\s*(.*?)\s*</a>(.+?)(?:<a|</tr|$)`)
	date := regexp.MustCompile(`([0-9]{2})-([A-Z][a-z]{2})-([0-9]{4}) ([0-9]{2}):([0-9]{2})`)
	size := regexp.MustCompile(` +([0-9]+)(B|K|M|G)?(\s|<|$)`)
	// lftp: the rest of the line, without its tags, begins with date and size.
	tags := regexp.MustCompile(`<[^>]*>`)
	line := regexp.MustCompile(`^ ?\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d +(-|\d+)\s*$`)
	for at := 0; ; {
		m := item.FindStringSubmatchIndex(body[at:])
		if m == nil {
			break
		}
		href, text, meta := body[at+m[2]:at+m[3]], body[at+m[4]:at+m[5]], body[at+m[6]:at+m[7]]
		at += m[7]
		decoded, err := url.PathUnescape(strings.TrimSuffix(href, "/"))
		if err != nil || decoded == ".." || decoded != strings.TrimSuffix(html.UnescapeString(text), "/") {
			t.Errorf("the link %q with the text %q is no entry", href, text)
			continue
		}
		if strings.ContainsAny(href, "+;:&'\"?#@") || strings.HasPrefix(href, "./") || strings.Contains(text, "&#") {
			t.Errorf("the link %q with the text %q is not understood by all", href, text)
		}
		if !date.MatchString(meta) {
			t.Errorf("%s: no date in %q", href, meta)
		}
		if m := size.FindStringSubmatch(meta); !strings.HasSuffix(href, "/") && (m == nil || m[1] != "5") {
			t.Errorf("%s: not the size in %q", href, meta)
		}
		rest, _, _ := strings.Cut(meta, "\n")
		if rest = tags.ReplaceAllString(rest, ""); !line.MatchString(rest) {
			t.Errorf("%s: the line goes on with %q", href, rest)
		}
		got = append(got, html.UnescapeString(text))
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("entries\n%q, want\n%q", got, names)
	}
	// Mirrors follow what is a link: nothing leads to the folder in another order, or to a file twice.
	for _, m := range regexp.MustCompile(`(?:href|src|formaction|action)="[^"]*"`).FindAllString(ask(t, srv, "GET", "/sub%3Afolder/", "").body, -1) {
		if m != `href="../"` && m != `href="x"` && m != `formaction="x"` {
			t.Errorf("there is %s", m)
		}
	}
}

func TestListingPath(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a b/<c>/d/x", "x")
	srv := start(t, Config{Root: root})
	for target, want := range map[string]string{
		"/":                            `<h1><b>example.test</b></h1>`,
		"/a%20b/%3Cc%3E/d/":            `<h1><a href="../../../">example.test</a><i>/</i><a href="../../">a b</a><i>/</i><a href="../">&lt;c&gt;</a><i>/</i><b>d</b></h1>`,
		"/a%20b/?q=%22%3Ex&sort=-date": `<input type="search" name="q" value="&#34;&gt;x" `,
		"/a%20b/?sort=-date":           `<input type="hidden" name="sort" value="-date">`,
		"/?sort=-size":                 `<button name="sort" value="size" class="descending" `,
		"/a%20b/":                      `<button name="sort" value="-date" class="none" `,
	} {
		if a := ask(t, srv, "GET", target, ""); a.StatusCode != 200 || !strings.Contains(a.body, want) {
			t.Errorf("GET %s: %d, no %s", target, a.StatusCode, want)
		}
	}
	if a := ask(t, srv, "GET", "/", "", "X-Forwarded-Host: photos.test:8443"); !strings.Contains(a.body, `<h1><b>photos.test</b></h1>`) {
		t.Errorf("behind another proxy the page has not the host that the visitor sees: %.300s", a.body)
	}
}

func TestListingAsJSON(t *testing.T) {
	root := t.TempDir()
	when := time.Date(2024, 2, 29, 13, 5, 7, 0, time.UTC)
	write(t, root, "a \"b\".txt", "12345", "bad\xff", "1", "c/x", "x", "empty/", "")
	for _, name := range []string{"a \"b\".txt", "bad\xff", "c", "empty"} {
		if err := os.Chtimes(filepath.Join(root, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	srv := start(t, Config{Root: root})
	const want = `[{c directory Thu, 29 Feb 2024 13:05:07 GMT 0 c/} {empty directory Thu, 29 Feb 2024 13:05:07 GMT 0 empty/} ` +
		`{a "b".txt file Thu, 29 Feb 2024 13:05:07 GMT 5 a%20%22b%22.txt} {bad� file Thu, 29 Feb 2024 13:05:07 GMT 1 bad%FF}]`
	type item struct {
		Name, Type, Mtime string
		Size              int64
		Href              string
	}
	for accept, json := range map[string]bool{
		"application/json": true, "application/json, text/plain, */*": true, "text/html;q=0.5, Application/JSON;q=0.6": true, "application/json ; q=0.1": true,
		"*/*": false, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false, "application/json;q=0": false,
		"text/html, application/json;q=0.9": false, "application/json;q=x": false, "application/jsonx": false, "text/html, application/json": false,
	} {
		a := ask(t, srv, "GET", "/", "", "Accept: "+accept)
		if got := a.Header.Get("Content-Type") == "application/json"; got != json || a.Header.Get("Vary") != "Accept" {
			t.Errorf("Accept: %s: %q, Vary %q, want JSON: %t", accept, a.Header.Get("Content-Type"), a.Header.Get("Vary"), json)
		}
		if !json {
			continue
		}
		var items []item
		if err := decodeJSON(a.body, &items); err != nil || fmt.Sprint(items) != want {
			t.Errorf("%v, %v, want\n%s", items, err, want)
		}
	}
	for target, want := range map[string]string{"/?q=b&sort=-size": `["a \"b\".txt" "bad�"]`, "/?q=none": "[]", "/empty/": "[]"} {
		var items []item
		err := decodeJSON(ask(t, srv, "GET", target, "", "Accept: application/json").body, &items)
		names := []string{}
		for _, i := range items {
			names = append(names, i.Name)
		}
		if err != nil || fmt.Sprintf("%q", names) != want {
			t.Errorf("GET %s: %q, %v, want %s", target, names, err, want)
		}
	}
}

func decodeJSON(text string, to any) error { return json.Unmarshal([]byte(text), to) }

// A listing is never taken for one that has not changed.
func TestListingHasNoValidator(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "alpha")
	srv := startAged(t, Config{Root: root})
	a := ask(t, srv, "GET", "/", "", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", "Range: bytes=0-1")
	if a.StatusCode != 200 || a.Header.Get("Last-Modified") != "" || a.Header.Get("Cache-Control") != "no-cache" || a.Header.Get("Accept-Ranges") != "" {
		t.Errorf("%d, %v, want 200 and no Last-Modified", a.StatusCode, a.Header)
	}
	if h := ask(t, srv, "HEAD", "/", ""); h.StatusCode != 200 || h.body != "" || h.Header.Get("Content-Type") != a.Header.Get("Content-Type") {
		t.Errorf("HEAD: %d %q", h.StatusCode, h.body)
	}
}

// Each name of a huge folder is there, and once, whatever fits into memory.
func TestListingOfAHugeFolder(t *testing.T) {
	root := t.TempDir()
	const files = 3_210
	for i := range files {
		write(t, root, fmt.Sprintf("%d", i*7919%files), "")
	}
	for _, held := range []int64{0, maxHeld} {
		h := newHandler(t, Config{Root: root})
		h.serve.(*folder).held.Store(held)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		seen := make(map[string]bool)
		var names []string
		for _, m := range linkPattern.FindAllStringSubmatch(w.Body.String(), -1) {
			seen[m[1]] = true
			names = append(names, m[1])
		}
		if len(seen) != files || len(names) != files || !strings.Contains(w.Body.String(), "<p>3210 files, 0 B</p>") {
			t.Errorf("%d names, %d different, want %d", len(names), len(seen), files)
		}
		if sorted := slices.IsSorted(names); sorted != (held == 0) {
			t.Errorf("sorted: %t, with %d entries in memory before", sorted, held)
		}
		if got := h.serve.(*folder).held.Load(); got != held {
			t.Errorf("%d entries are held at the end, %d before", got, held)
		}
	}
}

// Nobody's small listings, however slowly they are read, keep others from large ones.
func TestSmallListingsAreNotCounted(t *testing.T) {
	for _, tc := range []struct {
		files int
		want  int64
	}{{10, 0}, {listingBatch, 0}, {listingBatch + 10, 10}} {
		root := t.TempDir()
		for i := range tc.files {
			write(t, root, fmt.Sprint(i), "")
		}
		h := newHandler(t, Config{Root: root})
		most := int64(0)
		w := &countingWriter{ResponseRecorder: httptest.NewRecorder(), after: func(int) { most = max(most, h.serve.(*folder).held.Load()) }}
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 200 || most != tc.want {
			t.Errorf("of %d files: %d, and %d entries count, want %d", tc.files, w.Code, most, tc.want)
		}
	}
}

// A browser gets pages that lead to each other; who takes anything gets all at once.
func TestListingInPages(t *testing.T) {
	root := t.TempDir()
	const files = 2*pageRows + 5
	for i := range files {
		write(t, root, fmt.Sprintf("%04d.txt", i), "1")
	}
	write(t, root, "a&b=+ /x", "")
	srv := start(t, Config{Root: root})
	browser := "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	next := regexp.MustCompile(`<a rel="next" href="([^"]*)">`)
	for _, query := range []string{"", "?sort=-size&q=%30", "?q=.TXT"} {
		seen, pages := 0, 0
		for target := "/" + query; target != ""; pages++ {
			a := ask(t, srv, "GET", target, "", browser)
			rows := linkPattern.FindAllStringSubmatch(a.body, -1)
			seen += len(rows)
			if len(rows) > pageRows || pages > 5 {
				t.Fatalf("%s: %d rows, page %d", target, len(rows), pages)
			}
			if back := strings.Contains(a.body, `<a rel="prev" href="?page=`); back != (pages > 0) {
				t.Errorf("%s: a link back: %t", target, back)
			}
			target = ""
			if m := next.FindStringSubmatch(a.body); m != nil {
				target = "/" + html.UnescapeString(m[1])
			}
		}
		whole := linkPattern.FindAllString(ask(t, srv, "GET", "/"+query, "", "Accept: */*").body, -1)
		if seen != len(whole) || pages != (seen+pageRows-1)/pageRows {
			t.Errorf("%s: %d rows on %d pages, %d in all", query, seen, pages, len(whole))
		}
	}
	for query, want := range map[string]int{"?page=0": pageRows, "?page=-1": pageRows, "?page=x": pageRows, "?page=3": 6, "?page=99": 0, "?page=99999999999999999999": pageRows} {
		a := ask(t, srv, "GET", "/"+query, "", browser)
		if n := len(linkPattern.FindAllString(a.body, -1)); n != want || n == 0 && !strings.Contains(a.body, `rel="prev" href="?page=3"`) {
			t.Errorf("%s: %d rows, want %d", query, n, want)
		}
	}
	if a := ask(t, srv, "GET", "/?page=2", ""); len(linkPattern.FindAllString(a.body, -1)) != files+1 || strings.Contains(a.body, "rel=") ||
		strings.Contains(a.body, "formaction") || strings.Contains(a.body, "datetime=") || strings.Contains(a.body, "data-h=") || strings.Contains(a.body, "<li class=t") {
		t.Error("who does not ask for HTML by name does not get all, or gets what browsers want")
	}
	var items []struct{ Name string }
	if err := decodeJSON(ask(t, srv, "GET", "/?page=2", "", "Accept: application/json").body, &items); err != nil || len(items) != files+1 {
		t.Errorf("JSON: %d items, %v", len(items), err)
	}
}

// Nothing goes on for a visitor who left, at whatever point.
func TestListingEndsWithTheVisitor(t *testing.T) {
	root := t.TempDir()
	for i := range 2500 {
		write(t, root, fmt.Sprintf("a rather long name of a file that has no end, number %d", i), "")
	}
	h := newHandler(t, Config{Root: root})
	d := h.serve.(*folder)
	// The access log takes what returns for an answer.
	wantAborted := func(w http.ResponseWriter, r *http.Request) {
		t.Helper()
		if !aborts(h, w, r) {
			t.Error("there is an answer for a visitor who has left")
		}
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	wantAborted(w, httptest.NewRequestWithContext(left, "GET", "/", nil))
	if w.Body.Len() != 0 {
		t.Errorf("%d bytes for a visitor who had left", w.Body.Len())
	}
	ctx := &countedContext{Context: t.Context(), after: 2}
	w = httptest.NewRecorder()
	wantAborted(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	if w.Body.Len() != 0 || ctx.after < -2 {
		t.Errorf("%d bytes for a visitor who left while the folder was read; looked %d times more", w.Body.Len(), -1-ctx.after)
	}
	gone := &leaving{ResponseRecorder: httptest.NewRecorder(), after: listingPiece / 2}
	wantAborted(gone, httptest.NewRequest("GET", "/", nil))
	if n := gone.Body.Len(); n > 3*listingPiece {
		t.Errorf("%d bytes were written for a visitor who left after the first", n)
	}
	if n := d.held.Load(); n != 0 {
		t.Errorf("%d entries are held for nobody", n)
	}
}

// A countedContext has ended when it has been asked so many times.
type countedContext struct {
	context.Context
	after int
}

func (c *countedContext) Err() error {
	if c.after--; c.after < 0 {
		return context.Canceled
	}
	return nil
}

// A folder that cannot be read to its end does not look whole.
func TestListingThatFails(t *testing.T) {
	root := t.TempDir()
	write(t, root, "sub/x", "x")
	h := newHandler(t, Config{Root: root})
	d := h.serve.(*folder)
	f, _, err := d.open("sub")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	w := httptest.NewRecorder()
	d.sendListing(w, httptest.NewRequest("GET", "/sub/", nil), "sub", f)
	if w.Code == 200 || strings.Contains(w.Body.String(), "<ul>") {
		t.Errorf("a folder that cannot be read: %d %q", w.Code, w.Body)
	}
	l := &listing{ctx: t.Context(), d: d, name: "sub", dir: f, more: true}
	if err := l.write(jsonForm{}, &pieces{w: httptest.NewRecorder()}); err == nil {
		t.Error("a folder that fails after its first run is whole")
	}
}

// The page may run its own script and show what is beside it; a name in it may do nothing.
func TestListingPolicy(t *testing.T) {
	root := t.TempDir()
	srv := start(t, Config{Root: root, Upload: t.TempDir()})
	a := ask(t, srv, "GET", "/", "", "Accept: text/html")
	if !strings.Contains(a.body, uploadForm) {
		t.Error("with --upload there is no form")
	}
	if b := ask(t, start(t, Config{Root: root}), "GET", "/", "", "Accept: text/html"); strings.Contains(b.body, "upload") && strings.Contains(b.body, "<input type=\"file\"") {
		t.Error("without --upload there is a form")
	}
	policy := a.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q, want %q", policy, want)
		}
	}
	for tag, n := range map[string]int{"style": 1, "script": 2} {
		text := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(a.body, -1)
		if len(text) != n {
			t.Errorf("%d times %s, want %d", len(text), tag, n)
		}
		for _, m := range text {
			if !strings.Contains(policy, "'"+sourceHash(m[1])+"'") {
				t.Errorf("the hash of a %s is not in %q", tag, policy)
			}
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
}

func TestDownloadLink(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "alpha", "it's \"5%\" ü.txt", "x")
	h := newHandler(t, Config{Root: root})
	setClock(h, time.Hour)
	for target, want := range map[string]string{
		"/a.txt": "", "/a.txt?x=download": "", "/a.txt?download": `attachment; filename="a.txt"`, "/a.txt?x&download=1": `attachment; filename="a.txt"`,
		"/it%27s%20%225%25%22%20%C3%BC.txt?download": `attachment; filename="it's _5__ _.txt"; filename*=UTF-8''it%27s%20%225%25%22%20%C3%BC.txt`,
		"/absent?download":                           "", "/?download": "",
	} {
		for range 2 { // from the disk, then out of memory
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
			if got := w.Header().Get("Content-Disposition"); got != want {
				t.Errorf("GET %s: %q, want %q", target, got, want)
			}
			if want == "" {
				continue
			}
			u, _ := url.Parse(target)
			if _, params, err := mime.ParseMediaType(w.Header().Get("Content-Disposition")); err != nil || "/"+params["filename"] != u.Path {
				t.Errorf("GET %s: the name is read as %q, %v", target, params["filename"], err)
			}
		}
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 99_949: "99.9 kB", 99_960: "100 kB", 999_499: "999 kB", 999_500: "1.0 MB",
		1_500_000_000: "1.5 GB", 1 << 62: "4.6 EB",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("sizeText(%d) = %q, want %q", n, got, want)
		}
	}
}
