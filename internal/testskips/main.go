// Command testskips reads what go test -json writes from standard input, prints what go
// test says without -json, and adds each test that was skipped, with why, as a line to the
// file that is its argument. Its exit status is 1 if a test failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ./... | testskips FILE")
		os.Exit(2)
	}
	f, err := os.OpenFile(os.Args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testskips:", err)
		os.Exit(2)
	}
	failed, err := read(os.Stdin, os.Stdout, f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testskips:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// event is a line of go test -json (go doc test2json; ImportPath is go build's).
type event struct {
	Action, Package, Test, Output string
}

// where is what a test's log line begins with.
var where = regexp.MustCompile(`(?m)^ +[\w-]+\.go:\d+: `)

// read prints to out what failed and how each package did, and to skipped what was skipped.
func read(in io.Reader, out, skipped io.Writer) (failed bool, err error) {
	said := make(map[string]map[string]string) // by package and test, of those that have not ended
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return failed, nil
		}
		if err != nil && err != io.EOF {
			return failed, err
		}
		var e event
		if json.Unmarshal(line, &e) != nil { // go test's own words
			out.Write(line)
			continue
		}
		tests := said[e.Package]
		if tests == nil {
			tests = make(map[string]string)
			said[e.Package] = tests
		}
		switch {
		case e.Action == "output" && strings.HasPrefix(e.Output, "-test.shuffle "):
			tests[""] = e.Output // shown if something fails
		case e.Action == "build-output", e.Action == "output" && e.Test == "":
			if e.Output != "PASS\n" {
				io.WriteString(out, e.Output)
			}
		case e.Action == "output":
			if !strings.HasPrefix(e.Output, "=== ") {
				tests[e.Test] += e.Output
			}
		case e.Action == "build-fail", e.Action == "fail" && e.Test == "":
			failed = true
			// Those that had begun when the program ended.
			for _, name := range slices.Sorted(maps.Keys(tests)) {
				io.WriteString(out, tests[name])
			}
			delete(said, e.Package)
		case e.Action == "fail":
			failed = true
			io.WriteString(out, tests[e.Test])
			delete(tests, e.Test)
		case e.Action == "skip" && strings.HasPrefix(e.Test, "Fuzz") && strings.Contains(e.Test, "/"):
			delete(tests, e.Test) // an input that says nothing, on every machine
		case e.Action == "skip" && e.Test != "":
			why, _, _ := strings.Cut(tests[e.Test], "--- SKIP: ")
			if at := where.FindAllStringIndex(why, -1); at != nil {
				why = why[at[len(at)-1][1]:]
			}
			why, _, _ = strings.Cut(strings.TrimSpace(why), "\n")
			if why == "" {
				why = "it does not say why"
			}
			fmt.Fprintf(skipped, "%s %s: %s\n", strings.TrimPrefix(e.Package, "github.com/amahi/"), e.Test, why)
			delete(tests, e.Test)
		case e.Action == "pass":
			delete(tests, e.Test)
		}
	}
}
