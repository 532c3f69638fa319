package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
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

// The two ways to certificates that the packages' configuration shows are each enough: an
// address for ACME, and files, here of the test.
func TestPackagedCertificates(t *testing.T) {
	text, err := os.ReadFile("../../internal/packaging/etc/p.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what, keys string // that are no comments
		says       string
	}{
		{"ACME", "front|tls|http|control|domain|acme-email", "ok: certificates by ACME"},
		{"files", "front|tls|http|control|domain|cert|key", "ok: certificate "},
	} {
		dir := t.TempDir()
		if tt.what == "files" {
			controltest.Write(t, controltest.NewCA(t).Issue(t, "example.org"), dir, "p")
		}
		here := strings.NewReplacer("/etc/spdy-proxy", dir, "/var/lib/spdy-proxy/p", dir, "/run/spdy-proxy/p", dir).Replace(string(text))
		here = regexp.MustCompile(`(?m)^#((?:`+tt.keys+`) =)`).ReplaceAllString(here, "$1")
		file := filepath.Join(dir, "p.toml")
		if err := os.WriteFile(file, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		for _, args := range [][]string{{"token", "add", "photos"}, {"check"}} {
			if status := run(t.Context(), append(args, "--config", file), &stdout, &stderr); status != 0 {
				t.Errorf("%s: p %s: status %d, %s", tt.what, args[0], status, &stderr)
			}
		}
		if !strings.Contains(stdout.String(), tt.says) {
			t.Errorf("%s: want %q in\n%s%s", tt.what, tt.says, &stdout, &stderr)
		}
	}
}
