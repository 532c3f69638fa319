package handbook_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The page's figures are those that were measured.
func TestFigures(t *testing.T) {
	results, err := os.ReadFile("../../integration-tests/bench/RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	measured := rows(string(results), "")
	_, figures, _ := strings.Cut(page(t, "comparison"), "## Figures")
	if !strings.Contains(string(results), "2026-11-27, in ") {
		t.Error("the results are of another day than the page says")
	}
	n := 0
	for _, row := range rows(figures, "") {
		n++
		if len(row) != 3 || !slices.ContainsFunc(measured, func(m []string) bool {
			return len(m) == 7 && m[1] == row[1] && strings.HasPrefix(m[6]+" ", row[2]+" ")
		}) {
			t.Errorf("no row of the results has %q", row)
		}
	}
	if n < 5 {
		t.Errorf("the page has %d figures", n)
	}
}
