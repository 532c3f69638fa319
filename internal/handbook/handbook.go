// Package handbook is the handbook of p and c: pages in Markdown, which the programs
// show as text (p help NAME) and P's admin port as HTML (/help/).
//
// A page is a file NAME.md. It begins with its title, "# Title", and its name stands in
// [Chapters]. It links to others as [names](names.md) or [so](names.md#heading). What it
// says of flags, log lines and commands is tried by this package's tests, so each fenced
// block says in its first line what it is:
//
//	sh                 commands, run one block after another, as they stand, in a folder
//	                   of the page's own, in which testdata/PAGE.sh was read before;
//	                   example.org, example.com, example.net and hosts below them are this
//	                   machine
//	sh runs            one command that goes on until the page's end, or until a block
//	                   that runs the same program in the same folder
//	sh fails           commands of which the last one is to fail
//	sh if=PROGRAM      commands that are run where that program is, also with runs or fails
//	sh WHY             commands that are looked at and not run; notHere has the reasons
//	output             what the block before printed, among other lines; ... is any text
//	log                lines of p's and c's log, as the source has them; ... is any text
//	toml FILE          a file, with any name, that commands after it use; also conf, json,
//	                   yaml and text
//	text               anything else
//
// Beside one of these, in=NAME is the folder it happens in: a machine of the page's story.
// Lines of blocks have 76 columns at most, for a terminal's 80.
package handbook

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.md
var files embed.FS

// chapters are the pages' names in their order.
var chapters = []struct {
	title string
	pages []string
}{
	{"First steps", []string{
		"start",
		"install",
		"two-machines",
	}},
	{"Names and secrets", []string{
		"names",
		"certificates",
		"tokens",
	}},
	{"What is served", []string{
		"files",
		"media",
		"service",
		"many-origins",
	}},
	{"In service", []string{
		"configuration",
		"monitoring",
		"upgrade",
		"cluster",
		"troubleshooting",
	}},
	{"Reference", []string{
		"design",
		"security",
		"flags",
		"limits",
		"api",
		"protocol",
		"comparison",
		"engine",
		"changelog",
	}},
}

// Chapter is some pages that belong together.
type Chapter struct {
	Title string
	Pages []Page
}

// Page is a page of the handbook.
type Page struct {
	Name  string // as in p help NAME and /help/NAME
	Title string
}

// Chapters returns the whole handbook in its order.
func Chapters() (all []Chapter) {
	for _, c := range chapters {
		chapter := Chapter{Title: c.title}
		for _, name := range c.pages {
			if p, ok := Find(name); ok {
				chapter.Pages = append(chapter.Pages, p)
			}
		}
		if len(chapter.Pages) > 0 {
			all = append(all, chapter)
		}
	}
	return all
}

// Pages returns all pages in their order.
func Pages() (all []Page) {
	for _, c := range Chapters() {
		all = append(all, c.Pages...)
	}
	return all
}

// Find returns the page of that name, false if there is none.
func Find(name string) (Page, bool) {
	first, _, _ := strings.Cut(source(name), "\n")
	title, ok := strings.CutPrefix(first, "# ")
	return Page{name, title}, ok
}

// source returns the file of a page, "" if there is none.
func source(name string) string {
	text, err := files.ReadFile(name + ".md")
	if err != nil {
		return ""
	}
	return string(text)
}

// Book is the handbook as a program's help shows it.
type Book struct{}

// Names returns the names of all pages in their order.
func (Book) Names() (names []string) {
	for _, p := range Pages() {
		names = append(names, p.Name)
	}
	return names
}

// Text returns a page for a terminal of 80 columns, false if there is none of that
// name. program is what shows others.
func (Book) Text(name, program string) (string, bool) {
	p, ok := Find(name)
	if !ok {
		return "", false
	}
	return p.Text(program), true
}

// Contents returns the list of all pages as text. program is what shows one.
func (Book) Contents(program string) string {
	var b strings.Builder
	for _, c := range Chapters() {
		fmt.Fprintf(&b, "%s:\n", c.Title)
		for _, p := range c.Pages {
			fmt.Fprintf(&b, "  %-16s%s\n", p.Name, p.Title)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s help NAME shows one of them. A browser shows them at /help/ of p's admin port.\n", program)
	return b.String()
}
