package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

// buffer collects what a program prints.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// setup is a folder with all that c needs, and a P for it on a loopback port.
type setup struct {
	dir, addr string
	regs      chan *control.Registration
}

func newSetup(t *testing.T) *setup {
	t.Helper()
	dir := t.TempDir()
	ca := controltest.NewCA(t)
	ca.WriteCA(t, dir, "ca.pem")
	write(t, filepath.Join(dir, "token"), "sesame *\n")
	write(t, filepath.Join(dir, "hello.txt"), "hello\n")
	tokens, err := control.TokenSource{File: filepath.Join(dir, "token")}.Load()
	if err != nil {
		t.Fatal(err)
	}
	cert := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "localhost", "127.0.0.1")}}
	s := &setup{dir: dir, regs: make(chan *control.Registration, 4)}
	server := &control.Server{
		TLS: func() *tls.Config { return cert }, Auth: control.NewAuth(tokens), ID: "p",
		Handle: func(r *control.Registration) { s.regs <- r },
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	done := make(chan struct{})
	// Ends at Close, below.
	go func() { server.Serve(ln); close(done) }()
	t.Cleanup(func() { server.Close(); <-done })
	return s
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs c, and returns its standard error and what stops it and returns
// its exit status.
func start(t *testing.T, args ...string) (stderr *buffer, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stderr = new(buffer)
	status := make(chan int, 1)
	// Ends when ctx does, in stop.
	go func() { status <- run(ctx, args, io.Discard, stderr) }()
	stop = sync.OnceValue(func() int { cancel(); return <-status })
	t.Cleanup(func() { stop() })
	return stderr, stop
}

// get asks C, over the connection that it made, for a path.
func get(t *testing.T, r *control.Registration, path string) (status int, body string) {
	t.Helper()
	s := (&spdy.Config{}).NewClientSession(r.Conn)
	done := make(chan struct{})
	// Ends with the session; waited for when the test ends.
	go func() { s.Serve(); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://p"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "id=secret-cookie")
	resp, err := s.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestServesAFolder(t *testing.T) {
	s := newSetup(t)
	stderr, stop := start(t, "--proxy", s.addr, "--ca", filepath.Join(s.dir, "ca.pem"), "--token-file", filepath.Join(s.dir, "token"),
		"-r", s.dir, "-n", "Films", "-s")
	r := <-s.regs
	if r.Name != "films" || !strings.HasSuffix(r.Instance, ".0") {
		t.Errorf("registered as %q, instance %q; want films and the slot 0", r.Name, r.Instance)
	}
	if status, body := get(t, r, "/hello.txt"); status != 200 || body != "hello\n" {
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

// Files with secrets that others may read are said, each once.
func TestSecretsOpenToOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this system has no such modes")
	}
	s := newSetup(t)
	token := filepath.Join(s.dir, "token")
	certFile, keyFile := controltest.Write(t, controltest.NewCA(t).Issue(t, "c"), s.dir, "c")
	for _, file := range []string{token, keyFile} {
		if err := os.Chmod(file, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--proxy", s.addr, "--ca", filepath.Join(s.dir, "ca.pem"), "--client-cert", certFile, "--client-key", keyFile, "-r", s.dir}
	stderr, stop := start(t, append(args, "--token-file", token)...)
	<-s.regs
	stop()
	text := stderr.String()
	if strings.Count(text, "level=WARN") != 2 || strings.Count(text, "chmod 600 "+token) != 1 || strings.Count(text, "chmod 600 "+keyFile) != 1 {
		t.Errorf("standard error\n%s\nwants a warning for the token file and one for the key", text)
	}

	t.Setenv("SPDY_PROXY_TOKEN", "sesame")
	stderr, stop = start(t, args...)
	<-s.regs
	stop()
	if text := stderr.String(); strings.Contains(text, "token file") {
		t.Errorf("with a token from the environment, standard error\n%s\nspeaks of a file", text)
	}
}

// A service that says something that it was not asked for: what net/http has to
// say about it is in the log's format, and for debugging.
func TestUnsolicitedResponse(t *testing.T) {
	s := newSetup(t)
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
	stderr, stop := start(t, "--proxy", s.addr, "--ca", filepath.Join(s.dir, "ca.pem"), "--token-file", filepath.Join(s.dir, "token"),
		"--to", "http://"+ln.Addr().String(), "--log-level", "debug")
	if status, body := get(t, <-s.regs, "/"); status != 200 || body != "hi" {
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
	s := newSetup(t)
	_, stop := start(t, "--proxy", s.addr, "--ca", filepath.Join(s.dir, "ca.pem"), "--token-file", filepath.Join(s.dir, "token"),
		"-r", s.dir, "--cors", "--cache-control", "no-store", "--fallback", "hello.txt", "--follow-links")
	if status, body := get(t, <-s.regs, "/missing"); status != 200 || body != "hello\n" {
		t.Errorf("got %d %q for a missing path, want 200 and the fallback", status, body)
	}
	if status := stop(); status != 0 {
		t.Errorf("exit status %d after a stop, want 0", status)
	}
}

// All that a container gives it is the environment.
func TestEnvironment(t *testing.T) {
	s := newSetup(t)
	t.Setenv("SPDY_PROXY_PROXY", s.addr+","+s.addr)
	t.Setenv("SPDY_PROXY_CA", filepath.Join(s.dir, "ca.pem"))
	t.Setenv("SPDY_PROXY_TOKEN", "sesame")
	t.Setenv("SPDY_PROXY_ROOT", filepath.Join(s.dir, "none"))
	t.Setenv("SPDY_PROXY_CONNECTIONS", "2")
	_, stop := start(t, "--root", s.dir)
	for range 4 {
		r := <-s.regs
		if r.Name != "" {
			t.Errorf("registered as %q, want the default origin", r.Name)
		}
		if status, body := get(t, r, "/hello.txt"); status != 200 || body != "hello\n" {
			t.Errorf("got %d %q, want 200 and the file", status, body)
		}
	}
	if status := stop(); status != 0 {
		t.Errorf("exit status %d after a stop, want 0", status)
	}
}

func TestBadStart(t *testing.T) {
	s := newSetup(t)
	good := []string{"--ca", filepath.Join(s.dir, "ca.pem"), "--token-file", filepath.Join(s.dir, "token"), "--root", s.dir}
	none := filepath.Join(s.dir, "none")
	tests := []struct {
		name string
		args []string // after the good ones
		says []string
	}{
		{"root and service", []string{"--to", "http://localhost:8080"}, []string{"--root", "--to"}},
		{"root missing", []string{"--root", none}, []string{none, "make"}},
		{"CA missing", []string{"--ca", none}, []string{none, "make"}},
		{"token missing", []string{"--token-file", none}, []string{none, "make"}},
		{"token without a name", []string{"--token-file", filepath.Join(s.dir, "hello.txt")}, []string{"hello.txt", "line 1"}},
		{"certificate without key", []string{"--client-cert", none}, []string{"client certificate"}},
		{"proxy without port", []string{"--proxy", "localhost"}, []string{"--proxy", "HOST:PORT"}},
		{"name", []string{"--name", "a.b"}, []string{"--name"}},
		{"connections", []string{"--connections", "0"}, []string{"--connections"}},
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
			var stderr buffer
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
