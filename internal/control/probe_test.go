package control

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

func TestProbe(t *testing.T) {
	serving := 0
	p := startPort(t, nil, func(s *Server) {
		s.Serving = func(string) int { return serving }
		s.Reach = func(name, host string) ([]string, string) {
			if name == "films" {
				return []string{"https://films.test/", "https://films.example/"}, ""
			}
			return nil, "there is no way to " + host
		}
	})
	probe := func(change func(*Dialer)) (said string, err error) {
		d := p.dialer()
		change(d)
		var lines []string
		err = d.Probe(t.Context(), func(found string) { lines = append(lines, found) })
		return strings.Join(lines, "\n"), err
	}
	host, port, _ := net.SplitHostPort(p.addr)
	steps := []string{host + " is " + host, "connected to " + p.addr, "the certificate is for localhost, " + host + ", until 2"}
	for _, tt := range []struct {
		what   string
		change func(*Dialer)
		serves int
		steps  int
		says   string // the last step
		status int    // of the refusal
		err    string
	}{
		{what: "nobody serves", change: func(*Dialer) {}, steps: 3, says: "the token may register the default origin, which nobody serves now\nno visitor reaches it: there is no way to " + host},
		{what: "one serves", change: func(d *Dialer) { d.Name = "films" }, serves: 1, steps: 3, says: `may register "films", whose requests are shared with the connection that it has now` + "\nvisitors reach it at https://films.test/ and https://films.example/"},
		{what: "more serve", change: func(d *Dialer) { d.Name = "films" }, serves: 3, steps: 3, says: "shared with the 3 connections"},
		{what: "a wrong token", change: func(d *Dialer) { d.Token = wrongToken }, steps: 3, status: 401, err: "first token of C's token file"},
		{what: "another's name", change: func(d *Dialer) { d.Token, d.Name = filmsToken, "wiki" }, steps: 3, status: 403, err: `add "wiki" to the token's line`},
		{what: "another CA", change: func(d *Dialer) { d.TLS = &tls.Config{RootCAs: controltest.NewCA(t).Pool()} }, steps: 2, err: "see --ca"},
		{what: "another name of P", change: func(d *Dialer) { d.TLS.ServerName = "elsewhere.test" }, steps: 2, err: "elsewhere.test"},
		{what: "a closed port", change: func(d *Dialer) { d.Addr = net.JoinHostPort(host, "1") }, steps: 1, err: "refused"},
		{what: "no such name", change: func(d *Dialer) { d.Addr = "nowhere.invalid:" + port }, err: "nowhere.invalid"},
	} {
		serving = tt.serves
		said, err := probe(tt.change)
		want := strings.Join(steps[:tt.steps], "\n")
		if !strings.HasPrefix(said, want) || !strings.Contains(said, tt.says) {
			t.Errorf("%s: said\n%s\nwant\n%s\nand %q", tt.what, said, want, tt.says)
		}
		refused, _ := errors.AsType[*RefusedError](err)
		switch {
		case tt.err == "" && err != nil, tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: got %v, want %q", tt.what, err, tt.err)
		case tt.status != 0 && (refused == nil || refused.Status != tt.status):
			t.Errorf("%s: got %v, want a refusal with %d", tt.what, err, tt.status)
		}
	}
	if len(p.regs) > 0 {
		t.Error("who only asks came in")
	}
}

// A P that knows no such question, and what is no P at all.
func TestProbeOthers(t *testing.T) {
	ca := controltest.NewCA(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	answers := make(chan string, 1)
	// Ends when ln is closed.
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(conn))
			io.WriteString(conn, <-answers)
			conn.Close()
		}
	}()
	for answer, want := range map[string]string{
		"HTTP/1.1 405 Method Not Allowed\r\nAllow: PUT\r\nContent-Length: 0\r\n\r\n": "of a version that cannot be asked",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                               "is this the control port of a spdy-proxy?",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno":                      "404 Not Found (no)",
		"SSH-2.0-OpenSSH\r\n": "no answer",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n": "no answer",
	} {
		answers <- answer
		d := &Dialer{Addr: ln.Addr().String(), Token: anyToken, TLS: &tls.Config{RootCAs: ca.Pool()}}
		var last string
		err := d.Probe(t.Context(), func(found string) { last = found })
		if err != nil {
			last = err.Error()
		}
		if !strings.Contains(last, want) || strings.Contains(last, "\n") {
			t.Errorf("%.40q: got %.200q, want %q", answer, last, want)
		}
	}
}
