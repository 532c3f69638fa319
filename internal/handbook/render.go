package handbook

import (
	"bytes"
	"html/template"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// markdown reads pages, and writes them as HTML without a style attribute, which the
// admin port's content policy would not let pass. HTML in a page is left out.
func markdown() goldmark.Markdown {
	return goldmark.New(
		goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	)
}

func parse(src []byte) ast.Node { return markdown().Parser().Parse(text.NewReader(src)) }

// parsed returns the page as a tree, and the text that it refers to.
func (p Page) parsed() (ast.Node, []byte) {
	src := []byte(source(p.Name))
	return parse(src), src
}

// linked returns the page that a link leads to, and the heading in it, as "#heading" or
// "". It is false for a link to somewhere else.
func linked(destination string) (page, heading string, ok bool) {
	file, heading, found := strings.Cut(destination, "#")
	if found {
		heading = "#" + heading
	}
	page, ok = strings.CutSuffix(file, ".md")
	return page, heading, ok && !strings.Contains(page, "/")
}

// HTML returns the page for /help/, without what stands around it.
func (p Page) HTML() (template.HTML, error) {
	doc, src := p.parsed()
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := n.(*ast.Link); ok && entering {
			if page, heading, ok := linked(string(link.Destination)); ok {
				link.Destination = []byte("/help/" + page + heading)
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := markdown().Renderer().Render(&b, src, doc); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil // of our own pages
}
