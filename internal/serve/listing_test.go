package serve

import (
	"fmt"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var linkPattern = regexp.MustCompile(`<li><a href="([^"]*)"><bdi>(.*?)</bdi></a>(?: <span class="size">(.*?)</span>)? <time datetime="(.*?)">(.*?)</time></li>`)

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
	if strings.Contains(a.body, "<script>") || strings.ContainsAny(a.body, "\u202e\x7f") || !utf8.ValidString(a.body) {
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
		if shown := html.EscapeString(readable(name)); !strings.Contains(strings.ReplaceAll(a.body, "&#43;", "+"), shown) {
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
	var got []string
	for _, l := range linkPattern.FindAllStringSubmatch(ask(t, srv, "GET", "/", "").body, -1) {
		got = append(got, l[1]+" "+l[2]+" "+l[3])
		if l[4] != "2024-02-29T13:05:07Z" || l[5] != "2024-02-29 13:05 UTC" {
			t.Errorf("%s: dates %q and %q", l[1], l[4], l[5])
		}
	}
	want := []string{"./c/ c/ ", "./Z/ Z/ ", "./a.bin a.bin 5 B", "./A.txt A.txt 0 B", "./b.txt b.txt 1.2 kB", "./link.txt link.txt 1.2 kB"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("entries\n%q, want\n%q", got, want)
	}
	if a := ask(t, srv, "GET", "/c/", ""); !strings.Contains(a.body, `<a href="../">..</a>`) {
		t.Errorf("a folder's listing has no link up: %s", a.body)
	}
}

func TestListingIsConditional(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.txt", "alpha")
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"a.txt", "."} {
		if err := os.Chtimes(filepath.Join(root, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	srv := start(t, Config{Root: root})
	a := ask(t, srv, "GET", "/", "")
	tag, date := a.Header.Get("ETag"), a.Header.Get("Last-Modified")
	if tag == "" || date == "" {
		t.Fatalf("ETag %q, Last-Modified %q, want both", tag, date)
	}
	for _, header := range []string{"If-None-Match: " + tag, "If-Modified-Since: " + date} {
		if a := ask(t, srv, "GET", "/", "", header); a.StatusCode != 304 {
			t.Errorf("%s: %d, want 304", header, a.StatusCode)
		}
	}
	// The folder's own time does not move when a file in it does.
	write(t, root, "a.txt", "alphabet")
	for _, header := range []string{"If-None-Match: " + tag, "If-Modified-Since: " + date} {
		if a := ask(t, srv, "GET", "/", "", header); a.StatusCode != 200 || !strings.Contains(a.body, "8 B") {
			t.Errorf("%s, after a change of a file: %d, want 200 and its new size", header, a.StatusCode)
		}
	}
}

func TestListingOfAHugeFolder(t *testing.T) {
	l := &listing{}
	for i := range maxListed + 5 {
		l.Entries = append(l.Entries, entry{name: fmt.Sprintf("%06d", maxListed+5-i), Folder: i == 3})
	}
	l.cut()
	if len(l.Entries) != maxListed || !l.More || !l.Entries[0].Folder || l.Entries[1].name != "000001" {
		t.Errorf("%d entries, more: %t, first %+v, want %d, the folder first", len(l.Entries), l.More, l.Entries[0], maxListed)
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
