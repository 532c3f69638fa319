package handbook_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// texts are what the source can say: the literal parts of a text, in order, with
// anything between two of them, before the first and after the last if that is "".
type text struct {
	parts []string
	at    token.Position
}

// pattern matches what a text becomes.
func (t text) pattern() *regexp.Regexp {
	quoted := make([]string, len(t.parts))
	for i, part := range t.parts {
		quoted[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile("^" + strings.Join(quoted, ".*") + "$")
}

func (t text) String() string { return strings.Join(t.parts, "...") }

// verbs are what fmt puts something in the place of.
var verbs = regexp.MustCompile(`%[-+# 0-9.]*[a-zA-Z]`)

// textOf returns what an expression says, false if it has no literal. named has what the
// names of constants and of errors stand for.
func textOf(e ast.Expr, named map[string]string) (parts []string, ok bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return []string{"", ""}, false
		}
		s, err := strconv.Unquote(e.Value)
		if err != nil {
			return nil, false
		}
		return verbs.Split(s, -1), true
	case *ast.BinaryExpr:
		left, okLeft := textOf(e.X, named)
		right, okRight := textOf(e.Y, named)
		if len(left) == 0 || len(right) == 0 {
			return nil, false
		}
		joined := append(slices.Clone(left[:len(left)-1]), left[len(left)-1]+right[0])
		return append(joined, right[1:]...), okLeft || okRight
	case *ast.CallExpr:
		switch name := callee(e); {
		case name == "Sprintf", name == "New", name == "Errorf":
			return textOf(e.Args[0], named)
		case name == "Error" && len(e.Args) == 0:
			return textOf(e.Fun.(*ast.SelectorExpr).X, named)
		}
	case *ast.Ident:
		if s, ok := named[e.Name]; ok {
			return verbs.Split(s, -1), true
		}
	}
	return []string{"", ""}, false
}

// callee returns the last name of what is called.
func callee(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// source is the files of one folder, tests aside.
type source struct {
	dir   string
	fset  *token.FileSet
	files []*ast.File
	named map[string]string // what package-level names stand for
}

// load parses the Go files of each folder below one, tests aside, those that skip says
// aside.
func load(t *testing.T, root string, skip func(dir string) bool) (all []source) {
	t.Helper()
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if base := d.Name(); base == "testdata" || base == "node_modules" || skip(filepath.ToSlash(dir)) {
			return fs.SkipDir
		}
		s := source{dir: filepath.ToSlash(dir), fset: token.NewFileSet(), named: map[string]string{}}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			f, err := parser.ParseFile(s.fset, filepath.Join(dir, e.Name()), nil, parser.ParseComments)
			if err != nil {
				return err
			}
			s.files = append(s.files, f)
		}
		for _, f := range s.files {
			for _, d := range f.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, spec := range g.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
						for i, name := range v.Names {
							if parts, ok := textOf(v.Values[i], nil); ok {
								s.named[name.Name] = strings.Join(parts, "%v")
							}
						}
					}
				}
			}
		}
		if len(s.files) > 0 {
			all = append(all, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// each calls f for each node of s.
func (s source) each(f func(n ast.Node)) {
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool { f(n); return true })
	}
}

// page returns a page's text.
func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name + ".md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows returns the rows of all tables whose header has that as its first cell, as cells
// without the space around them.
func rows(text, first string) (all [][]string) {
	in := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			in = false
			continue
		}
		var cells []string
		for _, cell := range strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "\x00"), "|"), "|") {
			cells = append(cells, strings.ReplaceAll(strings.TrimSpace(cell), "\x00", "|"))
		}
		switch {
		case cells[0] == first:
			in = true
		case in && strings.Trim(cells[0], "-: ") != "":
			all = append(all, cells)
		}
	}
	return all
}

// code returns what is between the first two backquotes.
func code(cell string) string {
	_, rest, _ := strings.Cut(cell, "`")
	inside, _, _ := strings.Cut(rest, "`")
	return inside
}

// number returns what a constant of s is, as its expression says: a number, or a time in
// nanoseconds.
func (s source) number(t *testing.T, name string) int64 {
	t.Helper()
	var value ast.Expr
	s.each(func(n ast.Node) {
		if v, ok := n.(*ast.ValueSpec); ok {
			for i, id := range v.Names {
				if id.Name == name && i < len(v.Values) {
					value = v.Values[i]
				}
			}
		}
	})
	if value == nil {
		t.Errorf("%s: there is no constant %s", s.dir, name)
		return 0
	}
	n, ok := constant.Int64Val(constant.ToInt(s.eval(t, value)))
	if !ok {
		t.Errorf("%s: %s is no whole number", s.dir, name)
	}
	return n
}

var units = map[string]int64{"Nanosecond": 1, "Microsecond": 1e3, "Millisecond": 1e6, "Second": 1e9, "Minute": 60e9, "Hour": 3600e9}

func (s source) eval(t *testing.T, e ast.Expr) constant.Value {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return s.eval(t, e.X)
	case *ast.BinaryExpr:
		x, y := s.eval(t, e.X), s.eval(t, e.Y)
		switch e.Op {
		case token.SHL:
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n))
		case token.QUO:
			return constant.BinaryOp(x, token.QUO_ASSIGN, y)
		}
		return constant.BinaryOp(x, e.Op, y)
	case *ast.SelectorExpr:
		if n, ok := units[e.Sel.Name]; ok {
			return constant.MakeInt64(n)
		}
	case *ast.Ident:
		return constant.MakeInt64(s.number(t, e.Name))
	}
	t.Errorf("%s: an expression that is not understood at %v", s.dir, s.fset.Position(e.Pos()))
	return constant.MakeInt64(0)
}
