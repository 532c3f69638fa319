package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/cli/clitest"
)

// The contract's table of p's flags, with their defaults.
func TestFlags(t *testing.T) {
	var o options
	fs := cli.NewFlags("p")
	o.flags(fs)
	want := map[string]string{
		"front": "localhost:1443", "control": "localhost:1444", "admin": "localhost:1445",
		"tls": "false", "alpn": "[h2,http/1.1,spdy/3.1]", "cert": "[certs/p.pem]", "key": "[certs/p.key]",
		"client-ca": "", "http": "", "hsts": "0s", "acme-email": "", "acme-ca": "", "acme-ca-root": "", "acme-dns-exec": "", "state": "state",
		"no-auth": "false", "domain": "[]", "public-url": "", "hold": "10s", "response-timeout": "1m0s", "stall": "1m0s",
		"max-header-bytes": "65536", "trusted-proxy": "[]", "proxy-protocol": "[]", "htpasswd": "", "access-log": "", "access-log-format": "", "pprof": "false",
		"admin-host": "[]", "admin-token-file": "", "metrics-origins": "1000",
		"token-file": "certs/token", "keepalive": "15s", "drain": "30s", "spdy-debug": "false", "pid-file": "",
		"cluster": "", "cluster-join": "[]", "cluster-url": "", "peer": "", "peer-advertise": "", "cluster-ca": "", "cluster-cert": "", "cluster-key": "",
		"site": "", "public-control": "",
	}
	fs.VisitAll(func(f *pflag.Flag) {
		w, ok := want[f.Name]
		if !ok {
			t.Errorf("--%s is not in the table", f.Name)
		}
		if f.DefValue != w {
			t.Errorf("--%s: default %q, want %q", f.Name, f.DefValue, w)
		}
		delete(want, f.Name)
	})
	for name := range want {
		t.Errorf("there is no --%s", name)
	}
	for short, name := range map[string]string{"t": "tls", "s": "spdy-debug"} {
		if f := fs.ShorthandLookup(short); f == nil || f.Name != name {
			t.Errorf("-%s is not --%s", short, name)
		}
	}
}

// Exit status 2 for a bad flag, file or address, with one line that says what
// would mend it; 0 for help and version; 1 for a port in use.
func TestExitStatus(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		stderr string // part of its one line; "" for none
		stdout string
	}{
		{"help", []string{"-h"}, 0, "", "--max-header-bytes"},
		{"version", []string{"--version"}, 0, "", "p "},
		{"an unknown flag", []string{"--nonsense"}, 2, "nonsense", ""},
		{"an argument", []string{"something"}, 2, "something", ""},
		{"a bad duration", []string{"--hold", "soon"}, 2, "--hold", ""},
		{"a bad address", []string{"--front", "nowhere"}, 2, `--front "nowhere"`, ""},
		{"a missing certificate", []string{"--cert", missing}, 2, missing, ""},
		{"--no-auth for everybody", []string{"--no-auth", "--control", ":0"}, 2, "--no-auth", ""},
		{"a pid file in no folder", []string{"--pid-file", filepath.Join(missing, "pid")}, 2, "--pid-file", ""},
		{"a bad format", []string{"--access-log-format", "xml"}, 2, "--access-log-format", ""},
		{"a peer port alone", []string{"--peer", "127.0.0.1:0"}, 2, "--cluster", ""},
		{"a cluster without a peer port", []string{"--cluster", "127.0.0.1:0"}, 2, "--peer", ""},
		{"a cluster on all addresses", []string{"--cluster", ":0", "--peer", ":1", "--cluster-ca", missing, "--cluster-cert", missing, "--cluster-key", missing}, 2, "--peer-advertise", ""},
		{"a cluster without its files", []string{"--cluster", "127.0.0.1:0", "--peer", "127.0.0.1:1", "--cluster-ca", missing, "--cluster-cert", missing, "--cluster-key", missing}, 2, missing, ""},
		{"two buses", []string{"--cluster", "127.0.0.1:0", "--cluster-url", "nats://127.0.0.1:1"}, 2, "--cluster-url", ""},
		{"a bad bus", []string{"--cluster-url", "http://user:sesame@127.0.0.1:1"}, 2, "--cluster-url", ""},
		{"nobody to join", []string{"--cluster", "127.0.0.1:0", "--cluster-join", "nowhere", "--peer", "127.0.0.1:1", "--cluster-ca", missing, "--cluster-cert", missing, "--cluster-key", missing}, 2, "nowhere", ""},
		{"a bad log level", []string{"--log-level", "loud"}, 2, "--log-level", ""},
	} {
		var stdout, stderr bytes.Buffer
		status := run(context.Background(), c.args, &stdout, &stderr)
		if status != c.status {
			t.Errorf("%s: exit status %d, want %d", c.name, status, c.status)
		}
		if !strings.Contains(stdout.String(), c.stdout) {
			t.Errorf("%s: standard output %q, want %q", c.name, stdout.String(), c.stdout)
		}
		lines := strings.Count(stderr.String(), "\n")
		if c.stderr == "" && lines > 0 || c.stderr != "" && (lines != 1 || !strings.Contains(stderr.String(), c.stderr)) {
			t.Errorf("%s: standard error %q, want one line with %q", c.name, stderr.String(), c.stderr)
		}
	}
}

// What help prints fits a terminal, of every command.
func TestHelp(t *testing.T) { clitest.HelpFits(t, run) }
