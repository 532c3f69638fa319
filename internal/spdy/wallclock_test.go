package spdy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Nothing but a date is made of the wall clock, which may be set back an hour: a
// peer that died meanwhile would not be missed for so long. Durations are those of
// time.Time's monotonic reading, which these methods drop. No test can set the
// clock, so the source is read.
func TestNoDurationsOfTheWallClock(t *testing.T) {
	drops := map[string]bool{"Unix": true, "UnixNano": true, "UnixMicro": true, "UnixMilli": true, "Round": true, "Truncate": true}
	found := 0
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !drops[sel.Sel.Name] {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
					return true // time.Unix makes a Time
				}
				if fn.Name.Name == "dateLocked" {
					found++
				} else {
					t.Errorf("%s: %s calls %s: use time.Since, or Time.Sub", name, fn.Name.Name, sel.Sel.Name)
				}
				return true
			})
		}
	}
	if found == 0 {
		t.Error("the Date of a response is no longer made in dateLocked")
	}
}
