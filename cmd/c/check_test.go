package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/originserver/proxytest"
)

// What is right is said step by step, all that is wrong in a line each, and nobody
// comes to be an origin by it.
func TestCheck(t *testing.T) {
	p := proxytest.Start(t)
	good := []string{"check", "--ca", p.CAFile, "--token-file", p.TokenFile}
	wrong, none, config := filepath.Join(p.Dir, "wrong"), filepath.Join(p.Dir, "none"), filepath.Join(p.Dir, "c.toml")
	for file, text := range map[string]string{
		wrong: "nonsense", config: "roto = 'x'\n[[origin]]\nname = 'a'\nroot = '" + none + "'\n[[origin]]\nname = 'b'\nto = 'x'\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		what   string
		args   []string
		status int
		stdout []string // the begin of each line, after "ok: "
		stderr []string // a part of each line, after "c: "
	}{
		{"all is right", []string{"--proxy", p.Addr, "-n", "films"}, 0, []string{"flags", "proxy " + p.Addr + ": 127.0.0.1 is", "proxy " + p.Addr + ": connected to",
			"proxy " + p.Addr + ": the certificate is for localhost", "proxy " + p.Addr + `: the token may register "films", which nobody`}, nil},
		{"offline", []string{"--offline"}, 0, []string{"flags"}, nil},
		{"a wrong token", []string{"--proxy", p.Addr, "--token-file", wrong}, 1, []string{"flags", "proxy", "proxy", "proxy"}, []string{"401"}},
		{"no service there", []string{"--proxy", p.Addr, "--to", "http://127.0.0.1:1"}, 1, []string{"flags", "proxy", "proxy", "proxy", "proxy"}, []string{"nobody listens there"}},
		{"no service there, nor asked", []string{"--offline", "--to", "http://127.0.0.1:1"}, 0, []string{"flags"}, nil},
		{"a service", []string{"--proxy", p.Addr, "--to", "http://" + p.Addr}, 0, []string{"flags", "the service http://" + p.Addr + " takes", "proxy", "proxy", "proxy", "proxy"}, nil},
		{"no proxy there", []string{"--proxy", "127.0.0.1:1", "--proxy", p.Addr}, 1, []string{"flags", "proxy 127.0.0.1:1: 127", "proxy", "proxy", "proxy", "proxy"}, []string{"127.0.0.1:1"}},
		{"much is wrong", []string{"--proxy", "x", "--token-file", none, "--ca", none, "--drain", "-1s", "--root", none}, 2, nil, []string{"--drain", "--root", "token file", "CA certificate"}},
		{"a limit below 0", []string{"--offline", "--upload-max", "-1"}, 2, nil, []string{"--upload-max"}},
		{"a limit of 0", []string{"--offline", "--upload-max", "0"}, 2, nil, []string{"--upload-max"}},
		{"an address", []string{"--proxy", "x"}, 2, nil, []string{"--proxy"}},
		{"a file and its origins", []string{"--config", config, "--root", "./testdata"}, 2, nil, []string{`:1: unknown key "roto"`, `origin "a": --root`, `origin "b": --to`}},
	} {
		var stdout, stderr bytes.Buffer
		args := append(slices.Clone(good), tt.args...)
		if !slices.Contains(args, "--to") {
			args = slices.Insert(args, len(good), "--root", p.Dir)
		}
		status := run(t.Context(), args, &stdout, &stderr)
		if status != tt.status || !begin(&stdout, "ok: ", tt.stdout, strings.HasPrefix) || !begin(&stderr, "c: ", tt.stderr, strings.Contains) {
			t.Errorf("%s: status %d,\n%s%s\nwant %d, %q and %q", tt.what, status, &stdout, &stderr, tt.status, tt.stdout, tt.stderr)
		}
	}
	if n := len(p.Registrations); n != 0 {
		t.Errorf("%d came in", n)
	}
}

// begin reports whether each line, less what all begin with, is as wanted.
func begin(text *bytes.Buffer, all string, want []string, is func(s, want string) bool) bool {
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	if text.Len() == 0 {
		lines = nil
	}
	return slices.EqualFunc(lines, want, func(line, want string) bool {
		rest, ok := strings.CutPrefix(line, all)
		return ok && is(rest, want)
	})
}
