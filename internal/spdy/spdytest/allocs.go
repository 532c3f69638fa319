package spdytest

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Allocs runs benchmarks and fails t for each that allocates more often than
// testdata/allocs.txt of its package says: lines of a count of allocations an
// operation, a space, and the benchmark's name. One in twenty more is taken, and
// one at least, because pools are emptied now and then; half as many more of a
// hundred and above, which a large body costs with all its frames: one for each
// frame would be many times that.
//
// With UPDATE_ALLOCS=1 in the environment it writes that file. Under the race
// detector, which allocates too, it skips t.
func Allocs(t *testing.T, benchmarks map[string]func(*testing.B)) {
	if race {
		t.Skip("the race detector allocates too")
	}
	file := filepath.Join("testdata", "allocs.txt")
	update := os.Getenv("UPDATE_ALLOCS") != ""
	want := map[string]int64{}
	if !update {
		want = readAllocs(t, file)
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(benchmarks)) {
		r := testing.Benchmark(benchmarks[name])
		if r.N == 0 {
			t.Errorf("%s: the benchmark failed", name)
			continue
		}
		got := r.AllocsPerOp()
		fmt.Fprintf(&b, "%d %s\n", got, name)
		t.Logf("%s: %d", name, got)
		most, known := want[name]
		delete(want, name)
		switch {
		case update:
		case !known:
			t.Errorf("%s: not in %s", name, file)
		case got > most+margin(most):
			t.Errorf("%s: got %d allocations an operation, %s has %d", name, got, file, most)
		}
	}
	for name := range want {
		t.Errorf("%s: in %s, and no benchmark", name, file)
	}
	if update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func margin(most int64) int64 {
	if most >= 100 {
		return most / 2
	}
	return max(1, most/20)
}

func readAllocs(t *testing.T, file string) map[string]int64 {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	allocs := map[string]int64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		count, name, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || name == "" {
			t.Fatalf("%s: %q is not a count and a name", file, lines.Text())
		}
		allocs[name] = n
	}
	return allocs
}
