package handbook

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"

	"github.com/amahi/spdy-proxy/internal/columns"
)

// Each file is a page of the list, once, and has a title.
func TestList(t *testing.T) {
	var listed []string
	for _, c := range chapters {
		listed = append(listed, c.pages...)
	}
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("the files are not found: %v", err)
	}
	for _, file := range names {
		name := strings.TrimSuffix(file, ".md")
		if n := len(slices.DeleteFunc(slices.Clone(listed), func(s string) bool { return s != name })); n != 1 {
			t.Errorf("%s is in the list of chapters %d times, want once", file, n)
		}
	}
	for _, name := range listed {
		if p, ok := Find(name); !ok || p.Title == "" {
			t.Errorf(`%s.md is in the list of chapters and does not begin with "# Title"`, name)
		}
	}
	titles := map[string]string{}
	for _, p := range Pages() {
		if other := titles[p.Title]; other != "" {
			t.Errorf("%s and %s have the same title", other, p.Name)
		}
		titles[p.Title] = p.Name
	}
}

// headings returns the fragments that links to a page may have.
func headings(p Page) (all []string) {
	html, _ := p.HTML()
	for _, m := range regexp.MustCompile(`<h[1-6] id="([^"]+)"`).FindAllStringSubmatch(string(html), -1) {
		all = append(all, "#"+m[1])
	}
	return all
}

// badLinks returns what is wrong with the links of a page.
func badLinks(p Page) (bad []string) {
	doc, src := p.parsed()
	ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			to := string(n.Destination)
			page, heading, ok := linked(to)
			if strings.HasPrefix(to, "#") {
				page, heading, ok = p.Name, to, true
			}
			other, found := Find(page)
			switch {
			case strings.HasPrefix(to, "https://"):
			case !ok:
				bad = append(bad, fmt.Sprintf("%s: a link leads to another page, NAME.md, or to https://", to))
			case !found:
				bad = append(bad, fmt.Sprintf("%s: there is no such page", to))
			case heading != "" && !slices.Contains(headings(other), heading):
				bad = append(bad, fmt.Sprintf("%s: there is no such heading; there are %s", to, strings.Join(headings(other), " ")))
			}
		case *ast.Image, *ast.RawHTML, *ast.HTMLBlock:
			bad = append(bad, fmt.Sprintf("%s: a page has neither pictures nor HTML, which a terminal cannot show", n.Kind()))
		case *ast.Heading:
			if n.Level == 1 && n.PreviousSibling() != nil || n.Level > 3 {
				bad = append(bad, fmt.Sprintf("%q: below the title there are headings of two levels", n.Lines().Value(src)))
			}
		}
		return ast.WalkContinue, nil
	})
	return bad
}

func TestLinks(t *testing.T) {
	for _, p := range Pages() {
		for _, bad := range badLinks(p) {
			t.Errorf("%s.md: %s", p.Name, bad)
		}
	}
}

// A page fits a terminal.
func TestTextFits(t *testing.T) {
	for _, p := range Pages() {
		text := p.Text("p")
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns.Width {
				t.Errorf("%s: a line of %d columns: %q", p.Name, n, line)
			}
		}
		if strings.Contains(text, columns.Space) {
			t.Errorf("%s: a mark of ours is in its text", p.Name)
		}
	}
}

// A block is some lines of a page that are set apart.
type block struct {
	page  string
	line  int // of its first line, from 1
	kind  string
	words []string // what follows the kind, in=NAME apart
	in    string   // folder, "" for the page's own
	text  string
}

func (b block) String() string { return fmt.Sprintf("%s.md:%d", b.page, b.line) }

// has reports whether a word follows the block's kind.
func (b block) has(word string) bool { return slices.Contains(b.words, word) }

// blocks returns a page's fenced blocks.
func blocks(p Page) (all []block) {
	doc, src := p.parsed()
	ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		fence, ok := n.(*ast.FencedCodeBlock)
		if !ok || !entering {
			return ast.WalkContinue, nil
		}
		b := block{page: p.Name, text: string(fence.Lines().Value(src))}
		if fence.Lines().Len() > 0 {
			b.line = strings.Count(string(src[:fence.Lines().At(0).Start]), "\n") + 1
		}
		if fence.Info != nil {
			for i, word := range strings.Fields(string(fence.Info.Value(src))) {
				dir, ok := strings.CutPrefix(word, "in=")
				switch {
				case i == 0:
					b.kind = word
				case ok:
					b.in = dir
				default:
					b.words = append(b.words, word)
				}
			}
		}
		all = append(all, b)
		return ast.WalkContinue, nil
	})
	return all
}

func allBlocks() (all []block) {
	for _, p := range Pages() {
		all = append(all, blocks(p)...)
	}
	return all
}

// notHere is why commands cannot be run by a test.
var notHere = map[string]string{
	"checkout": "make in the repository, which builds what the test has built",
	"internet": "needs names, certificates or programs from the internet",
	"root":     "changes the machine",
	"systemd":  "needs a running systemd: make packages-test runs them in one",
	"desktop":  "needs a person at a screen",
	"package":  "needs a package that the test's machine may not have",
	"other":    "commands of other programs, shown for comparison",
}

// fault returns what is wrong with how a block is written, "" if nothing is.
func (b block) fault() string {
	var allowed []string
	switch b.kind {
	case "sh":
		allowed = []string{"runs", "fails"}
		for why := range notHere {
			allowed = append(allowed, why)
		}
		words := 0
		for _, w := range b.words {
			if strings.HasPrefix(w, "if=") {
				allowed = append(allowed, w)
			} else {
				words++
			}
		}
		if words > 1 {
			return "commands have one word at most beside in= and if="
		}
	case "output", "log":
	case "text", "toml", "conf", "json", "yaml", "http":
		if len(b.words) > 1 || b.kind != "text" && b.kind != "http" && len(b.words) == 0 {
			return "a file has one name: the word behind " + b.kind
		}
		allowed = b.words
	default:
		return fmt.Sprintf("%q is no kind of block: the package comment has them", b.kind)
	}
	for _, w := range b.words {
		if !slices.Contains(allowed, w) {
			return fmt.Sprintf("%q is not a word for %s", w, b.kind)
		}
	}
	for line := range strings.Lines(b.text) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > columns.Width-4 || strings.Contains(line, "\t") {
			return fmt.Sprintf("%q has a tab, or more than %d columns", line, columns.Width-4)
		}
	}
	return ""
}

func TestBlocks(t *testing.T) {
	for _, b := range allBlocks() {
		if fault := b.fault(); fault != "" {
			t.Errorf("%v: %s", b, fault)
		}
	}
	// The test can fail.
	for _, b := range []block{{kind: ""}, {kind: "bash"}, {kind: "sh", words: []string{"later"}}, {kind: "sh", words: []string{"runs", "fails"}}, {kind: "toml"}, {kind: "text", text: strings.Repeat("x", 77)}} {
		if b.fault() == "" {
			t.Errorf("%+v is taken", b)
		}
	}
}

// How each kind of Markdown becomes text.
func TestText(t *testing.T) {
	var files [2]string
	for i, name := range []string{"testdata/text.md", "testdata/text.txt"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = string(b)
	}
	if got, want := plain("p", []byte(files[0])), files[1]; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
