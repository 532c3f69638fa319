package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the packages' configuration sets, or shows in a comment, is known.
func TestPackagedConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../internal/packaging/etc/p.toml")
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"as it is": string(text), "with all that it shows": regexp.MustCompile(`(?m)^#(\S)`).ReplaceAllString(string(text), "$1")} {
		file := filepath.Join(t.TempDir(), "p.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), []string{"config", "--config", file}, &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), "# file") {
			t.Errorf("%s: status %d, %s\n%s", what, status, &stderr, &stdout)
		}
	}
}
