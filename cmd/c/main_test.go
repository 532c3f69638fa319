package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/cli"
	"github.com/amahi/spdy-proxy/internal/cli/clitest"
	"github.com/amahi/spdy-proxy/internal/originserver/proxytest"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// The contract's table of c's flags, with their defaults.
func TestFlags(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	var o options
	fs := cli.NewFlags("c")
	o.flags(fs)
	want := map[string]string{
		"proxy": "[localhost:1444]", "connections": "1", "spread": "2", "no-follow": "false", "ca": "certs/ca.pem", "server-name": "", "client-cert": "", "client-key": "",
		"token-file": "certs/token", "name": "", "root": "./testdata", "to": "", "to-host": "", "to-ca": "", "upload": "", "upload-max": "1073741824", "dav": "false",
		"dotfiles": "false", "no-listing": "false", "follow-links": "false", "cors": "false", "cache-control": "", "fallback": "",
		"access-log": "", "access-log-format": "", "inspect": "",
		"keepalive": "15s", "drain": "30s", "spdy-debug": "false", "pid-file": "",
		"join": "", "state": "state",
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
	for short, name := range map[string]string{"n": "name", "r": "root", "s": "spdy-debug"} {
		if f := fs.ShorthandLookup(short); f == nil || f.Name != name {
			t.Errorf("-%s is not --%s", short, name)
		}
	}
}

// start runs c, and returns its standard error and what stops it and returns
// its exit status.
func start(t *testing.T, args ...string) (stderr *testlog.Buffer, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stderr = new(testlog.Buffer)
	status := make(chan int, 1)
	// Ends when ctx does, in stop.
	go func() { status <- run(ctx, args, io.Discard, stderr) }()
	stop = sync.OnceValue(func() int { cancel(); return <-status })
	t.Cleanup(func() {
		status := stop()
		if t.Failed() {
			t.Logf("c ended with status %d, and said\n%s", status, stderr)
		}
	})
	return stderr, stop
}

func TestServesAFolder(t *testing.T) {
	p := proxytest.Start(t)
	stderr, stop := start(t, "--proxy", p.Addr, "--ca", p.CAFile, "--token-file", p.TokenFile,
		"-r", p.Dir, "-n", "Films", "-s")
	r := p.Next(t)
	if r.Name != "films" || !strings.HasSuffix(r.Instance, ".0") {
		t.Errorf("registered as %q, instance %q; want films and the slot 0", r.Name, r.Instance)
	}
	if status, body := proxytest.Get(t, r, "/hello.txt"); status != 200 || body != "hello\n" {
		t.Errorf("got %d %q, want 200 and the file", status, body)
	}
	if status := stop(); status != 0 {
		t.Errorf("exit status %d after a stop, want 0", status)
	}
	text := stderr.String()
	for _, want := range []string{"spdy 0: recv SYN_STREAM", "spdy 0: send SYN_REPLY", "GOAWAY", "msg=connected", "msg=disconnected"} {
		if !strings.Contains(text, want) {
			t.Errorf("standard error\n%s\nwants %q", text, want)
		}
	}
	for _, secret := range []string{"sesame", "secret-cookie"} {
		if strings.Contains(text, secret) {
			t.Errorf("standard error shows %q:\n%s", secret, text)
		}
	}
}

// A service that says something that it was not asked for: what net/http has to
// say about it is in the log's format, and for debugging.
func TestUnsolicitedResponse(t *testing.T) {
	p := proxytest.Start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan struct{})
	// Ends when c closes its connection.
	go func() {
		defer close(ended)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		io.WriteString(conn, "HTTP/1.1 200 \u009b31m\r\n\r\n")
		io.Copy(io.Discard, conn)
	}()
	stderr, stop := start(t, "--proxy", p.Addr, "--ca", p.CAFile, "--token-file", p.TokenFile,
		"--to", "http://"+ln.Addr().String(), "--log-level", "debug")
	if status, body := proxytest.Get(t, p.Next(t), "/"); status != 200 || body != "hi" {
		t.Errorf("got %d %q, want 200 and hi", status, body)
	}
	<-ended
	stop()
	said := false
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "time=") || strings.Contains(line, "\u009b") {
			t.Errorf("a line that is not the log's: %q", line)
		}
		said = said || strings.Contains(line, `level=DEBUG msg="Unsolicited response`)
	}
	if !said {
		t.Errorf("nothing was said of it:\n%s", stderr.String())
	}
}

func TestFlagsAboutFiles(t *testing.T) {
	p := proxytest.Start(t)
	_, stop := start(t, "--proxy", p.Addr, "--ca", p.CAFile, "--token-file", p.TokenFile,
		"-r", p.Dir, "--cors", "--cache-control", "no-store", "--fallback", "hello.txt", "--follow-links")
	if status, body := proxytest.Get(t, p.Next(t), "/missing"); status != 200 || body != "hello\n" {
		t.Errorf("got %d %q for a missing path, want 200 and the fallback", status, body)
	}
	if status := stop(); status != 0 {
		t.Errorf("exit status %d after a stop, want 0", status)
	}
}

// All that a container gives it is the environment.
func TestEnvironment(t *testing.T) {
	p := proxytest.Start(t)
	t.Setenv("SPDY_PROXY_PROXY", p.Addr+","+p.Addr)
	t.Setenv("SPDY_PROXY_CA", p.CAFile)
	t.Setenv("SPDY_PROXY_TOKEN", "sesame")
	t.Setenv("SPDY_PROXY_ROOT", filepath.Join(p.Dir, "none"))
	t.Setenv("SPDY_PROXY_CONNECTIONS", "2")
	_, stop := start(t, "--root", p.Dir)
	for range 4 {
		r := p.Next(t)
		if r.Name != "" {
			t.Errorf("registered as %q, want the default origin", r.Name)
		}
		if status, body := proxytest.Get(t, r, "/hello.txt"); status != 200 || body != "hello\n" {
			t.Errorf("got %d %q, want 200 and the file", status, body)
		}
	}
	if status := stop(); status != 0 {
		t.Errorf("exit status %d after a stop, want 0", status)
	}
}

// A configuration file says it all; what to serve may be overridden.
func TestConfigFile(t *testing.T) {
	p := proxytest.Start(t)
	file := filepath.Join(p.Dir, "c.toml")
	text := fmt.Sprintf("proxy = [%q]\nca = %q\ntoken-file = %q\nname = 'films'\nto = 'http://127.0.0.1:9'\n", p.Addr, p.CAFile, p.TokenFile)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stop := start(t, "--config", file, "--root", p.Dir)
	r := p.Next(t)
	if r.Name != "films" {
		t.Errorf("registered as %q, want films", r.Name)
	}
	if status, body := proxytest.Get(t, r, "/hello.txt"); status != 200 || body != "hello\n" {
		t.Errorf("got %d %q, want 200 and the file", status, body)
	}
	if status := stop(); status != 0 {
		t.Errorf("exit status %d after a stop, want 0", status)
	}
}

// A port that another program has is free later, which another start may find: status 1.
func TestInspectorsPortInUse(t *testing.T) {
	p := proxytest.Start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var stderr testlog.Buffer
	status := run(t.Context(), []string{"--proxy", p.Addr, "--ca", p.CAFile, "--token-file", p.TokenFile, "--root", p.Dir, "--inspect", ln.Addr().String()}, io.Discard, &stderr)
	if text := stderr.String(); status != 1 || strings.Count(text, "\n") != 1 || !strings.Contains(text, "another program listens there") {
		t.Errorf("status %d, standard error %q; want 1 and one line", status, text)
	}
}

func TestBadStart(t *testing.T) {
	p := proxytest.Start(t)
	good := []string{"--ca", p.CAFile, "--token-file", p.TokenFile, "--root", p.Dir}
	none, config, tables := filepath.Join(p.Dir, "none"), filepath.Join(p.Dir, "c.toml"), filepath.Join(p.Dir, "tables.toml")
	for file, text := range map[string]string{config: "roott = 'x'\n", tables: "[[origin]]\nroot = '.'\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		args []string // after the good ones
		says []string
	}{
		{"root and service", []string{"--to", "http://localhost:8080"}, []string{"--root", "--to"}},
		{"a mistyped key", []string{"--config", config}, []string{config + `:1: unknown key "roott"; did you mean "root"?`}},
		{"a folder beside tables", []string{"--config", tables}, []string{"--root", "[[origin]]"}},
		{"root missing", []string{"--root", none}, []string{none, "create it, or"}},
		{"CA missing", []string{"--ca", none}, []string{none, "missing"}},
		{"token missing", []string{"--token-file", none}, []string{none, "missing"}},
		{"token file is a folder", []string{"--token-file", p.Dir}, []string{p.Dir}},
		{"certificate without key", []string{"--client-cert", none}, []string{"client certificate"}},
		{"proxy that is a URL", []string{"--proxy", "https://example.org"}, []string{"--proxy", "HOST:PORT"}},
		{"a folder without its flag", []string{p.Dir}, []string{"is not a command of c: a folder goes behind --root, ", "c --help"}},
		{"proxy without port", []string{"--proxy", "localhost"}, []string{"--proxy", "HOST:PORT"}},
		{"name", []string{"--name", "a_b"}, []string{"--name"}},
		{"connections", []string{"--connections", "0"}, []string{"--connections"}},
		{"spread", []string{"--spread", "-1"}, []string{"--spread"}},
		{"keepalive", []string{"--keepalive", "-1s"}, []string{"--keepalive"}},
		{"drain", []string{"--drain", "-1s"}, []string{"--drain"}},
		{"upload-max", []string{"--upload-max", "0"}, []string{"--upload-max"}},
		{"WebDAV without listings", []string{"--dav", "--no-listing"}, []string{"--dav", "--no-listing"}},
		{"cache-control", []string{"--cache-control", "a\nb"}, []string{"--cache-control"}},
		{"fallback missing", []string{"--fallback", "none.html"}, []string{"--fallback", "none.html"}},
		{"upload missing", []string{"--upload", none}, []string{none}},
		{"a flag of p", []string{"--front", "x"}, []string{"--front", "c --help"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stderr testlog.Buffer
			// A start that is not refused ends with the context, with status 0.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			status := run(ctx, append(append([]string(nil), good...), tt.args...), io.Discard, &stderr)
			text := stderr.String()
			if status != 2 || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "c: ") {
				t.Errorf("status %d, standard error %q; want 2 and one line", status, text)
			}
			for _, want := range tt.says {
				if !strings.Contains(text, want) {
					t.Errorf("standard error %q, want %q in it", text, want)
				}
			}
		})
	}
}

// What help prints fits a terminal, of every command.
func TestHelp(t *testing.T) { clitest.HelpFits(t, run) }
