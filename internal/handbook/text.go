package handbook

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/util"

	"github.com/amahi/spdy-proxy/internal/columns"
)

// Text returns the page for a terminal of 80 columns. program is what a reader calls for
// another page.
func (p Page) Text(program string) string {
	return plain(program, []byte(source(p.Name)))
}

func plain(program string, src []byte) string {
	w := &textWriter{src: src, program: program}
	w.blocks(parse(src), 0)
	return w.b.String()
}

// textWriter writes a tree as text.
type textWriter struct {
	src     []byte
	program string
	b       strings.Builder
}

// blocks writes what is in parent, with an empty line between them.
func (w *textWriter) blocks(parent ast.Node, indent int) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		if n.PreviousSibling() != nil {
			w.b.WriteString("\n")
		}
		w.block(n, indent)
	}
}

func (w *textWriter) block(n ast.Node, indent int) {
	switch n := n.(type) {
	case *ast.Heading:
		title := w.inline(n)
		w.b.WriteString(title + "\n")
		if n.Level <= 2 {
			w.b.WriteString(strings.Repeat(string("=-"[n.Level-1]), utf8.RuneCountInString(title)) + "\n")
		}
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		for i := range n.Lines().Len() {
			line := n.Lines().At(i)
			w.b.WriteString(strings.TrimRight(strings.Repeat(" ", indent+4)+string(line.Value(w.src)), " \n") + "\n")
		}
	case *ast.List:
		w.list(n, indent)
	case *ast.Blockquote:
		w.blocks(n, indent+4)
	case *east.Table:
		w.table(n, indent)
	case *ast.HTMLBlock, *ast.ThematicBreak:
	default:
		w.b.WriteString(columns.Wrap(w.inline(n), indent))
	}
}

func (w *textWriter) list(list *ast.List, indent int) {
	number := list.Start
	for item := list.FirstChild(); item != nil; item = item.NextSibling() {
		mark := "* "
		if list.IsOrdered() {
			mark = fmt.Sprintf("%d. ", number)
			number++
		}
		if item.PreviousSibling() != nil && !list.IsTight {
			w.b.WriteString("\n")
		}
		inner := textWriter{src: w.src, program: w.program}
		inner.blocks(item, indent+len(mark))
		body := inner.b.String()
		w.b.WriteString(strings.Repeat(" ", indent) + mark + body[min(len(body), indent+len(mark)):])
	}
}

// table writes a row as its first cell and, below it, the others, each with its column's
// title: a terminal is too narrow for most tables, and all look alike so.
func (w *textWriter) table(table *east.Table, indent int) {
	var titles []string
	for row := table.FirstChild(); row != nil; row = row.NextSibling() {
		var cells []string
		for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
			cells = append(cells, w.inline(cell))
		}
		if _, ok := row.(*east.TableHeader); ok {
			titles = cells
			continue
		}
		for i, cell := range cells {
			switch {
			case i == 0:
				w.b.WriteString(columns.Wrap(cell, indent))
			case cell == "":
			case titles[i] == "":
				w.b.WriteString(columns.Wrap(cell, indent+4))
			default:
				w.b.WriteString(columns.Wrap(titles[i]+": "+cell, indent+4))
			}
		}
	}
}

// inline returns what is in a block as one line.
func (w *textWriter) inline(parent ast.Node) string {
	var b strings.Builder
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			text := n.Segment.Value(w.src)
			if !n.IsRaw() {
				text = util.ResolveEntityNames(util.UnescapePunctuations(text))
			}
			b.Write(text)
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteString(" ")
			}
		case *ast.String:
			b.Write(n.Value)
		case *ast.CodeSpan:
			code := w.inline(n)
			if len(code) <= 40 {
				code = strings.ReplaceAll(code, " ", columns.Space)
			}
			b.WriteString(code)
		case *ast.AutoLink:
			b.Write(n.URL(w.src))
		case *ast.Link:
			b.WriteString(w.inline(n) + w.pointer(string(n.Destination)))
		default:
			b.WriteString(w.inline(n))
		}
	}
	return b.String()
}

// pointer says, behind a link's text, how to get there.
func (w *textWriter) pointer(destination string) string {
	if page, _, ok := linked(destination); ok {
		return " (" + strings.Join([]string{w.program, "help", page}, columns.Space) + ")"
	}
	if strings.HasPrefix(destination, "#") {
		return ""
	}
	return " (" + destination + ")"
}
