// Command lint finds what go vet and staticcheck leave: words that are written
// twice, errors whose names do not say that they are, assertions and verbs that miss
// wrapped ones, and tests that do by hand what package testing does. golangci-lint
// has the same analyzers and a thousand packages more, which take minutes to compile.
//
// It is a module of its own, so that what it needs is nobody else's.
package main

import (
	"log"

	"github.com/Abirdcfly/dupword"
	errname "github.com/Antonboom/errname/pkg/analyzer"
	"github.com/ldez/usetesting"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/multichecker"
)

func main() {
	multichecker.Main(
		// Not all words: a frame is "ff ff" and a call is "from from to home".
		with(dupword.NewAnalyzer(), "keyword", "the,a,an,and,of,is,it,that,in,be,has,for,with"),
		errname.New(),
		// An io.Reader returns io.EOF itself, so that callers may compare it.
		with(errorlint.NewAnalyzer(), "comparison", "false"),
		// The name of a socket has to be shorter than that of a test's folder.
		with(usetesting.NewAnalyzer(), "osmkdirtemp", "false"),
	)
}

// with sets a flag of an analyzer.
func with(a *analysis.Analyzer, flag, value string) *analysis.Analyzer {
	if err := a.Flags.Set(flag, value); err != nil {
		log.Fatalf("%s: %v", a.Name, err)
	}
	return a
}
