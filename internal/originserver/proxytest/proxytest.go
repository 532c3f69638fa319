// Package proxytest makes what tests of C need: a folder to serve, and a P that
// takes its connections on a loopback port.
package proxytest

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

// Tokens of P's.
const (
	Token   = "sesame"     // for any name
	Named   = "open-named" // for the name named alone
	Expired = "open-late"  // of an invitation for films, which nobody has used in time
)

// Proxy is a control port.
type Proxy struct {
	Addr          string                     // HOST:PORT of the control port
	Registrations chan *control.Registration // of the Cs that came
	Dir           string                     // holds the files below, which C may serve as well

	CAFile    string // what P's certificate is verified against
	TokenFile string // with Token
	HelloFile string // hello.txt, with "hello\n"
}

// Start starts a P that ends with the test.
func Start(t *testing.T) *Proxy {
	t.Helper()
	dir := t.TempDir()
	ca := controltest.NewCA(t)
	p := &Proxy{
		Registrations: make(chan *control.Registration, 4), Dir: dir,
		CAFile: ca.WriteCA(t, dir, "ca.pem"), TokenFile: write(t, dir, "token", Token+" *\n"+Named+" named\n"+Expired+" films join-by=2026-01-02T03:04:05Z\n"), HelloFile: write(t, dir, "hello.txt", "hello\n"),
	}
	tokens, err := control.TokenSource{File: p.TokenFile}.Load()
	if err != nil {
		t.Fatal(err)
	}
	cert := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "localhost", "127.0.0.1")}}
	server := &control.Server{
		TLS: func() *tls.Config { return cert }, Auth: control.NewAuth(tokens), ID: "p",
		Handle: func(r *control.Registration) (func(), error) { return func() { p.Registrations <- r }, nil },
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Addr = ln.Addr().String()
	done := make(chan struct{})
	// Ends at Close, below.
	go func() { server.Serve(ln); close(done) }()
	t.Cleanup(func() { server.Close(); <-done })
	return p
}

// Next returns the next C that comes. Nothing takes a minute: the test fails where none
// comes, as one that has ended does not.
func (p *Proxy) Next(t *testing.T) *control.Registration {
	t.Helper()
	select {
	case r := <-p.Registrations:
		return r
	case <-time.After(time.Minute):
		t.Fatal("no C has come to the proxy")
		return nil
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Get asks C for a path, over the connection that it made, with a Cookie.
func Get(t *testing.T, r *control.Registration, path string) (status int, body string) {
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
