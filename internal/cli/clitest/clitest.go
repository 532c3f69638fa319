// Package clitest holds what is the same for every program: its tests call it.
package clitest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// HelpFits checks that what help prints fits a terminal, and that its paragraphs end as
// sentences do, of every command of the program that run is.
func HelpFits(t *testing.T, run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	t.Helper()
	help := func(args ...string) string {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), args, &stdout, &stderr); status != 0 {
			t.Errorf("%q: exit status %d, %q", args, status, stderr.String())
		}
		for line := range strings.Lines(stdout.String()) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("%q: a line of more than 80 columns: %q", args, line)
			}
		}
		for block := range strings.SplitSeq(strings.TrimSpace(stdout.String()), "\n\n") {
			if first, _, _ := strings.Cut(block, "\n"); !strings.HasPrefix(block, "Usage:") && !strings.HasSuffix(first, ":") && !strings.HasSuffix(block, ".") {
				t.Errorf("%q: a paragraph that is no sentence: %q", args, block)
			}
		}
		return stdout.String()
	}
	var below func(text string, path []string)
	below = func(text string, path []string) {
		_, list, _ := strings.Cut(text, "\nCommands:\n")
		list, _, _ = strings.Cut(list, "\n\n")
		for line := range strings.Lines(list) {
			if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(line, "   ") {
				command := append(slices.Clone(path), words[0])
				below(help(append(command, "--help")...), command)
			}
		}
	}
	below(help("--help"), nil)
}
