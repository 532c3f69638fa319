// Command platforms finds what does not compile for another system, tests included:
// platforms GOOS/GOARCH... looks at the module of the current folder for each. It reads
// types from the sources; go vet, which finds more, compiles every dependency for each
// system before, and that takes half an hour of one core.
package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	failed := false
	for _, platform := range os.Args[1:] {
		goos, goarch, _ := strings.Cut(platform, "/")
		all, err := packages.Load(&packages.Config{
			Mode:  packages.LoadAllSyntax,
			Tests: true,
			Env:   append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "GOARM=7", "CGO_ENABLED=0"),
		}, "./...")
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", platform, err)
			os.Exit(1)
		}
		packages.Visit(all, nil, func(p *packages.Package) {
			for _, err := range p.Errors {
				fmt.Fprintf(os.Stderr, "%s: %v\n", platform, err)
				failed = true
			}
		})
	}
	if failed {
		os.Exit(1)
	}
}
