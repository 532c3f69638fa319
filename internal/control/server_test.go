package control

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// TestRefusals holds the rows of the control port's table that keep a C out.
func TestRefusals(t *testing.T) {
	auth := "Authorization: Bearer " + anyToken + "\r\n"
	head := func(line, fields string) string { return line + " HTTP/1.1\r\nHost: p\r\n" + fields + "\r\n" }
	tests := []struct {
		name    string
		request string
		status  int
		header  string // "Name: value" that the answer must have
	}{
		{"401 no token", head("PUT /", ""), 401, "WWW-Authenticate: Bearer"},
		{"401 unknown token", put("/", wrongToken), 401, "WWW-Authenticate: Bearer"},
		{"401 the beginning of a token", put("/", anyToken[:len(anyToken)-1]), 401, "WWW-Authenticate: Bearer"},
		{"401 empty token", head("PUT /", "Authorization: Bearer \r\n"), 401, "WWW-Authenticate: Bearer"},
		{"401 another scheme", head("PUT /", "Authorization: Basic "+anyToken+"\r\n"), 401, "WWW-Authenticate: Bearer"},
		{"401 two tokens", head("PUT /", auth+auth), 401, "WWW-Authenticate: Bearer"},
		{"401 is judged before the name", put("/-not-a-name-", wrongToken), 401, "WWW-Authenticate: Bearer"},
		{"401 is judged before the size", head("PUT /", "Content-Length: 99999\r\n"), 401, "WWW-Authenticate: Bearer"},

		{"403 a name that the token may not have", put("/music", filmsToken), 403, ""},

		{"400 underscore", put("/a_b", anyToken), 400, ""},
		{"400 begins with a hyphen", put("/-a", anyToken), 400, ""},
		{"400 ends with a hyphen", put("/a-", anyToken), 400, ""},
		{"403 a host name, for a token of labels", put("/a.b", anyToken), 403, ""},
		{"400 an address", put("/127.0.0.1", anyToken), 400, ""},
		{"400 an empty label", put("/a..b", anyToken), 400, ""},
		{"400 an A-label that is none", put("/xn--a", anyToken), 400, ""},
		{"400 a name like another", put("/xn--pypal-4ve", anyToken), 400, ""},
		{"400 64 characters", put("/"+strings.Repeat("a", 64), anyToken), 400, ""},
		{"400 a second slash", put("/a/", anyToken), 400, ""},
		{"400 two slashes", put("//", anyToken), 400, ""},
		{"400 an encoded name", put("/%61", anyToken), 400, ""},
		{"400 a query", put("/a?b", anyToken), 400, ""},
		{"400 the default origin's sign", put("/@", anyToken), 400, ""},
		{"400 absolute form", put("http://p/a", anyToken), 400, ""},
		{"400 star", put("*", anyToken), 400, ""},
		{"400 a bad name is judged before the token's names", put("/a_b", filmsToken), 400, ""},
		{"400 instance too long", head("PUT /", auth+"Spdy-Proxy-Instance: "+strings.Repeat("x", 65)+"\r\n"), 400, ""},
		{"400 instance with a space", head("PUT /", auth+"Spdy-Proxy-Instance: a b\r\n"), 400, ""},
		{"400 not HTTP", "\x80\x03\x00\x01\x00\x00\x00\x12 garbage\r\n\r\n", 400, ""},
		{"400 not HTTP/1", "PUT / HTTP/9\r\n\r\n", 400, ""},
		{"400 broken chunks", head("PUT /", auth+"Transfer-Encoding: chunked\r\n") + "zz\r\n", 400, ""},

		{"405 GET", head("GET /", ""), 405, "Allow: PUT"},
		{"405 GET with a good token", head("GET /", auth), 405, "Allow: PUT"},
		{"405 whatever the path", head("POST /-not-a-name-", ""), 405, "Allow: PUT"},
		{"405 CONNECT", head("CONNECT p:1", ""), 405, "Allow: PUT"},
		{"405 OPTIONS without a token", head("OPTIONS /films", ""), 405, "Allow: PUT"},
		{"405 the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405, "Allow: PUT"},

		{"200 to who asks", head("OPTIONS /films", auth), 200, "Spdy-Proxy-Serving: 0"},
		{"400 to who asks for a bad name", head("OPTIONS /a_b", auth), 400, ""},
		{"401 to who asks with a wrong token", strings.Replace(put("/", wrongToken), "PUT", "OPTIONS", 1), 401, "WWW-Authenticate: Bearer"},
		{"403 to who asks for another's name", strings.Replace(put("/wiki", filmsToken), "PUT", "OPTIONS", 1), 403, ""},

		{"413 announced", head("PUT /", auth+"Content-Length: 4097\r\n") + strings.Repeat("x", 4097), 413, ""},
		{"413 announced, not sent", head("PUT /", auth+"Content-Length: 999999999\r\n"), 413, ""},
		{"413 chunked", head("PUT /", auth+"Transfer-Encoding: chunked\r\n") + "1001\r\n" + strings.Repeat("x", 0x1001) + "\r\n0\r\n\r\n", 413, ""},

		{"431 a head over 16 KiB", head("PUT /", auth+"X: "+strings.Repeat("x", 20<<10)+"\r\n"), 431, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startPort(t, nil, nil)
			text := p.ask(t, tt.request)
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
			if err != nil {
				t.Fatalf("the answer %q: %v", text, err)
			}
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d; answer:\n%s", resp.StatusCode, tt.status, text)
			}
			if name, value, _ := strings.Cut(tt.header, ": "); resp.Header.Get(name) != value {
				t.Errorf("%s: %q, want %q", name, resp.Header.Get(name), value)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || strings.Count(string(body), "\n") != 1 {
				t.Errorf("body %q, %v; want one line", body, err)
			}
			if len(p.regs) != 0 {
				t.Error("it was let in all the same")
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	auth := "Authorization: Bearer " + anyToken + "\r\n"
	tests := []struct {
		name, request        string
		wantName, wantInst   string
		wantEarly, wantFirst string
	}{
		{name: "the default origin", request: put("/", anyToken), wantInst: "4f1c9a.0"},
		{name: "a name, kept lower", request: put("/FiLms-2", anyToken), wantName: "films-2", wantInst: "4f1c9a.0"},
		{name: "a name of 63", request: put("/"+strings.Repeat("a", 63), anyToken), wantName: strings.Repeat("a", 63), wantInst: "4f1c9a.0"},
		{name: "a token of two names", request: put("/films", filmsToken), wantName: "films", wantInst: "4f1c9a.0"},
		{name: "a token of the default origin", request: put("/", filmsToken), wantInst: "4f1c9a.0"},
		{name: "no body, no instance", request: "PUT / HTTP/1.1\r\nHost: p\r\n" + auth + "\r\n"},
		{name: "a scheme in lower case", request: "PUT / HTTP/1.1\r\nHost: p\r\nauthorization: bearer " + anyToken + "\r\n\r\n"},
		{name: "a body of 4 KiB", request: "PUT / HTTP/1.1\r\nHost: p\r\n" + auth + "Content-Length: 4096\r\n\r\n" + strings.Repeat("x", 4096)},
		{name: "bytes behind the body", request: put("/", anyToken) + "\x80\x03early", wantInst: "4f1c9a.0", wantEarly: "\x80\x03early"},
		{name: "bytes behind a chunked body", request: "PUT / HTTP/1.1\r\nHost: p\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n" +
			"5\r\nHello\r\n0\r\n\r\n\x80\x03early", wantEarly: "\x80\x03early"},
		{name: "more than one read behind the body", request: put("/", anyToken) + strings.Repeat("z", 9000), wantInst: "4f1c9a.0", wantEarly: strings.Repeat("z", 9000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startPort(t, nil, nil)
			c := p.dialTLS(t)
			io.WriteString(c, tt.request)
			const want = "HTTP/1.1 200 Connection Established\r\nContent-Type: text/plain; charset=utf-8\r\n" +
				"Content-Length: 12\r\nSpdy-Proxy-Server: test-p\r\n\r\nHello from P"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
				t.Fatalf("answer %q, %v\nwant   %q", got, err, want)
			}
			r := <-p.regs
			if r.Name != tt.wantName || r.Instance != tt.wantInst {
				t.Errorf("name %q, instance %q; want %q, %q", r.Name, r.Instance, tt.wantName, tt.wantInst)
			}
			if r.RemoteAddr.String() != c.LocalAddr().String() {
				t.Errorf("remote address %v, want %v", r.RemoteAddr, c.LocalAddr())
			}
			if !p.Auth.Valid(r.Credential, r.Name) {
				t.Error("the credential is not valid for the name it was let in under")
			}

			// The connection is now a plain one, both ways: what came early first.
			io.WriteString(c, "late")
			wantAll := tt.wantEarly + "late"
			all := make([]byte, len(wantAll))
			if _, err := io.ReadFull(r.Conn, all); err != nil || string(all) != wantAll {
				t.Errorf("after the handshake P read %q, %v; want %q", all, err, wantAll)
			}
			io.WriteString(r.Conn, "from P")
			if err := r.Conn.CloseWrite(); err != nil {
				t.Errorf("CloseWrite: %v", err)
			}
			if back, err := io.ReadAll(c); err != nil || string(back) != "from P" {
				t.Errorf("after the answer C read %q, %v; want %q and the end", back, err, "from P")
			}
			if v := r.Conn.ConnectionState().Version; v < tls.VersionTLS12 {
				t.Errorf("TLS version %x", v)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	p := startPort(t, nil, nil)
	c := p.dialTLS(t)
	io.WriteString(c, "PUT / HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer "+anyToken+"\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	br := bufio.NewReader(c)
	if line, err := br.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v; want 100 Continue", line, err)
	}
	io.WriteString(c, "Hello")
	if r := <-p.regs; r.Conn.early != nil {
		t.Errorf("early bytes %q, want none", r.Conn.early)
	}
}

func TestStopping503(t *testing.T) {
	p := startPort(t, nil, nil)
	p.Stop()
	_, err := p.dialer().Dial(t.Context())
	e, ok := errors.AsType[*RefusedError](err)
	if !ok || e.Status != 503 || e.RetryAfter != time.Second {
		t.Errorf("got %v, want a 503 with a Retry-After of 1 s", err)
	}
	// Who has no token is not told.
	d := p.dialer()
	d.Token = wrongToken
	if _, err := d.Dial(t.Context()); !isRefused(err, 401) {
		t.Errorf("a wrong token at a P that stops: %v, want 401", err)
	}
}

func isRefused(err error, status int) bool {
	e, ok := errors.AsType[*RefusedError](err)
	return ok && e.Status == status
}

// Handle decides last.
func TestHandleRefuses(t *testing.T) {
	refusals := map[string]error{
		"full":   &RefusalError{Status: 429, RetryAfter: 1500 * time.Millisecond, Reason: "this token has too many origins"},
		"broken": errors.New("no table"),
	}
	p := startPort(t, nil, func(s *Server) {
		s.Handle = func(r *Registration) (func(), error) { return func() { r.Conn.Close() }, refusals[r.Name] }
	})
	d := p.dialer()
	d.Name = "full"
	_, err := d.Dial(t.Context())
	if e, ok := errors.AsType[*RefusedError](err); !ok || e.Status != 429 || e.RetryAfter != 2*time.Second || e.Reason != "this token has too many origins" {
		t.Errorf("got %v, want 429 after 2 s with its reason", err)
	}
	d.Name = "broken"
	if _, err := d.Dial(t.Context()); !isRefused(err, 503) {
		t.Errorf("got %v, want 503", err)
	}
	d.Name = "free"
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// watched notes each Write.
type watched struct {
	net.Conn
	note func(string)
}

func (w watched) Write(p []byte) (int, error) {
	w.note("written to")
	return w.Conn.Write(p)
}

// A C is handed over before it is told that it is in, and served after: whoever
// has the 200 is known.
func TestHandledBeforeItIsTold(t *testing.T) {
	var mu sync.Mutex
	var notes []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		notes = append(notes, s)
	}
	served := make(chan struct{})
	p := startPort(t, nil, func(s *Server) {
		s.Wrap = func(c net.Conn) net.Conn { return watched{c, note} }
		s.Handle = func(r *Registration) (func(), error) {
			note("handled")
			return func() { note("served"); r.Conn.Close(); close(served) }, nil
		}
	})
	c, err := p.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-served
	mu.Lock()
	defer mu.Unlock()
	i := slices.Index(notes, "handled")
	if want := []string{"handled", "written to", "served"}; i < 0 || len(notes) < i+3 || !slices.Equal(notes[i:i+3], want) {
		t.Errorf("got %q, want %q in it", notes, want)
	}
}

// A C that still sends while it is refused gets the answer all the same, not a
// reset. What it sends is read for a second, in which a busy machine may not come
// to send it all: here that second passes when nobody has anything to do.
func TestRefusalIsNotLost(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, p *port, ln *controltest.Listener) {
		near, far := spdytest.Pipe(spdytest.PipeConfig{Buffer: 64 << 10})
		if err := ln.Take(far); err != nil {
			t.Fatal(err)
		}
		c := tls.Client(near, &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost"})
		defer near.Close()
		sent := make(chan error, 1)
		// Ends when all is sent or the connection is gone, for which the test waits.
		go func() {
			_, err := io.WriteString(c, "PUT / HTTP/1.1\r\nHost: p\r\nContent-Length: 3000000\r\n\r\n"+strings.Repeat("x", 3000000))
			sent <- err
		}()
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 401 ") {
			t.Errorf("got %.60q, %v; want a whole 401", answer, err)
		}
		if err := <-sent; err != nil {
			t.Errorf("sending while being refused: %v", err)
		}
	})
}

// Each attempt that comes to nothing is told once, with the name that was asked for,
// which the log has too, and what C says it is.
func TestTold(t *testing.T) {
	told := make(chan Refusal, 16)
	p := startPort(t, nil, func(s *Server) { s.OnRefused = func(r Refusal) string { told <- r; return "" } })
	auth := "Authorization: Bearer " + anyToken + "\r\n"
	for _, c := range []struct {
		request string
		want    Refusal // without the address and the reason
	}{
		{put("/Films", wrongToken), Refusal{Name: "films", Named: true, Status: 401, Kind: "token"}},
		{put("/", wrongToken), Refusal{Named: true, Status: 401, Kind: "token"}},
		{put("/no_name", wrongToken), Refusal{Status: 401, Kind: "token"}},
		{put("/music", filmsToken), Refusal{Name: "music", Named: true, Status: 403, Kind: "not_allowed"}},
		{put("/a_b", anyToken), Refusal{Status: 400, Kind: "name"}},
		{"GET /films HTTP/1.1\r\nHost: p\r\n\r\n", Refusal{Name: "films", Status: 405, Kind: "method"}},
		{"PUT / HTTP/1.1\r\nHost: p\r\n" + auth + "Content-Length: 99999\r\n\r\n", Refusal{Named: true, Status: 413, Kind: "too_large"}},
		{"PUT / HTTP/1.1\r\nHost: p\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n2000\r\n" + strings.Repeat("x", 0x2000) + "\r\n0\r\n\r\n", Refusal{Named: true, Status: 413, Kind: "too_large"}},
		{"PUT /films HTTP/1.1\r\nHost: p\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", Refusal{Name: "films", Named: true, Status: 400, Kind: "no_request"}},
		{"nonsense\r\n\r\n", Refusal{Kind: "no_request"}},
	} {
		p.ask(t, c.request)
		r := <-told
		if r.RemoteAddr == nil || r.Reason == "" {
			t.Errorf("%.30q: nothing is said of where from, or why: %+v", c.request, r)
		}
		r.RemoteAddr, r.Reason = nil, ""
		if r != c.want {
			t.Errorf("%.30q: told %+v, want %+v", c.request, r, c.want)
		}
	}
	plain, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	io.WriteString(plain, "GET / HTTP/1.1\r\n\r\n")
	if r := <-told; r.Kind != "tls" || r.Status != 0 {
		t.Errorf("no TLS: told %+v", r)
	}
	silent, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	silent.Close()
	if r := <-told; r.Kind != "tls" || r.Reason != "it left before TLS was complete" {
		t.Errorf("one that leaves: told %+v", r)
	}
	leaving := p.dialTLS(t)
	io.WriteString(leaving, "PUT /films HTTP/1.1\r\nHost: p\r\n"+auth+"Content-Length: 12\r\n\r\nHello")
	leaving.Close()
	if r := <-told; r.Kind != "no_request" || r.Name != "films" || r.Reason == "" {
		t.Errorf("one that leaves within its body: told %+v", r)
	}
	if !strings.Contains(p.log.String(), `origin=films answer="401 Unauthorized`) {
		t.Errorf("the log does not say whose 401 it was:\n%s", p.log.String())
	}
	d := p.dialer()
	d.Agent = "c/v1\n2"
	conn, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if r := <-p.regs; r.Agent != "c/v1 2" {
		t.Errorf("C is %q, want c/v1 2", r.Agent)
	}
	if len(told) != 0 {
		t.Errorf("told too much: %+v", <-told)
	}
}

func TestNoAuth(t *testing.T) {
	p := startPort(t, nil, func(s *Server) { s.Auth = NoAuth() })
	d := p.dialer()
	d.Token, d.Name = "", "Anything"
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r := <-p.regs; r.Name != "anything" || r.Credential != (Credential{}) {
		t.Errorf("registered %q with %v, want anything without a credential", r.Name, r.Credential)
	}
}

func TestTLS(t *testing.T) {
	p := startPort(t, nil, nil)
	base := tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost"}
	tests := []struct {
		name   string
		change func(*tls.Config)
		ok     bool
		proto  string
	}{
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false, ""},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true, ""},
		{"TLS 1.3", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, true, ""},
		{"ALPN http/1.1", func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, true, "http/1.1"},
		{"ALPN without http/1.1", func(c *tls.Config) { c.NextProtos = []string{"h2"} }, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := base.Clone()
			tt.change(cfg)
			c, err := tls.Dial("tcp", p.addr, cfg)
			if err != nil {
				if tt.ok {
					t.Fatal(err)
				}
				return
			}
			defer c.Close()
			if !tt.ok {
				t.Fatal("the handshake succeeded")
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != tt.proto {
				t.Errorf("ALPN %q, want %q", got, tt.proto)
			}
			io.WriteString(c, put("/", anyToken))
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "HTTP/1.1 200 Connection Established\r\n" {
				t.Errorf("got %q, %v", line, err)
			}
		})
	}
}

func TestClientCA(t *testing.T) {
	clients, others := controltest.NewCA(t), controltest.NewCA(t)
	dir := t.TempDir()
	p := startPort(t, nil, func(s *Server) {
		own := s.TLS()
		cert := issued(t, own)
		cfg, err := ServerTLS{
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
			ClientCAFile:   clients.WriteCA(t, dir, "clients.pem"),
		}.Load()
		if err != nil {
			t.Fatal(err)
		}
		s.TLS = func() *tls.Config { return cfg }
	})
	caFile := p.ca.WriteCA(t, dir, "ca.pem")
	load := func(cert *controltest.CA) *Dialer {
		f := ClientTLS{CAFile: caFile, ServerName: "localhost"}
		if cert != nil {
			f.CertFile, f.KeyFile = controltest.Write(t, cert.Issue(t, "c"), dir, "c")
		}
		cfg, err := f.Load()
		if err != nil {
			t.Fatal(err)
		}
		d := p.dialer()
		d.TLS = cfg
		return d
	}
	for name, ca := range map[string]*controltest.CA{"none": nil, "another CA's": others} {
		if _, err := load(ca).Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "--client-cert") {
			t.Errorf("certificate %s: %v, want an error that names --client-cert", name, err)
		}
	}
	if len(p.regs) != 0 {
		t.Error("a C without the certificate was handed over")
	}
	c, err := load(clients).Dial(t.Context())
	if err != nil {
		t.Fatalf("with a certificate of the client CA: %v", err)
	}
	c.Close()
}

// issued returns the certificate of a configuration.
func issued(t testing.TB, cfg *tls.Config) tls.Certificate {
	t.Helper()
	if len(cfg.Certificates) != 1 {
		t.Fatalf("%d certificates, want 1", len(cfg.Certificates))
	}
	return cfg.Certificates[0]
}

// A new certificate is used for the next connection, the open ones stay.
func TestReload(t *testing.T) {
	other := controltest.NewCA(t)
	newCert := other.Issue(t, "localhost")
	var current chan *tls.Config
	p := startPort(t, nil, func(s *Server) {
		first := s.TLS()
		current = make(chan *tls.Config, 1)
		current <- first
		s.TLS = func() *tls.Config { c := <-current; current <- c; return c }
	})
	old, err := p.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	r := <-p.regs

	<-current
	current <- &tls.Config{Certificates: []tls.Certificate{newCert}}
	if _, err := p.dialer().Dial(t.Context()); !isVerify(err) {
		t.Errorf("after the change the old CA gives %v, want a VerifyError", err)
	}
	d := p.dialer()
	d.TLS.RootCAs = other.Pool()
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatalf("after the change, with the new CA: %v", err)
	}
	c.Close()

	io.WriteString(old, "x")
	if _, err := r.Conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("the connection from before: %v", err)
	}

	p.Auth.Set(tokens(t, filmsToken+" films\n"))
	if p.Auth.Valid(r.Credential, r.Name) {
		t.Error("a credential that is gone is still valid")
	}
	if _, err := p.dialer().Dial(t.Context()); err == nil {
		t.Error("a token that is gone lets in")
	}
}

func isVerify(err error) bool { _, ok := errors.AsType[*VerifyError](err); return ok }

// inBubble runs a port on a listener in memory, in a bubble where time is ours.
func inBubble(t *testing.T, change func(*Server), f func(t *testing.T, p *port, ln *controltest.Listener)) {
	synctest.Test(t, func(t *testing.T) {
		ln := controltest.NewListener()
		f(t, startPort(t, ln, change), ln)
	})
}

// lifetime returns how long P keeps a connection on which no more is sent.
func lifetime(c net.Conn) time.Duration {
	began := time.Now()
	io.Copy(io.Discard, c)
	return time.Since(began)
}

// TestSlowLoris holds that each step has 10 s, and not 10 s a byte.
func TestSlowLoris(t *testing.T) {
	tlsConn := func(t *testing.T, p *port, raw net.Conn) *tls.Conn {
		c := tls.Client(raw, &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost"})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	// drip sends text, a byte a second, until the connection is gone.
	drip := func(c net.Conn, text string) {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(time.Second) // of the bubble
		}
	}
	long := put("/", anyToken) + strings.Repeat("x", 100)
	headEnd := strings.Index(long, "\r\n\r\n") + 4
	for _, step := range []string{"silent before TLS", "garbage before TLS, dripping", "silent after TLS", "head dripping", "silent body", "body dripping"} {
		t.Run(step, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, p *port, ln *controltest.Listener) {
				raw, err := ln.Dial()
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				began := time.Now()
				done := make(chan time.Duration, 1)
				// watch ends when P closes the connection, for which the test waits.
				watch := func(c net.Conn) { done <- lifetime(c) }
				switch step {
				case "silent before TLS":
					go watch(raw)
				case "garbage before TLS, dripping":
					go watch(raw)
					// The head of a handshake record of 256 bytes that never come.
					drip(raw, "\x16\x03\x01\x01\x00"+strings.Repeat("\x01", 100))
				case "silent after TLS":
					go watch(tlsConn(t, p, raw))
				case "head dripping":
					c := tlsConn(t, p, raw)
					go watch(c)
					drip(c, long)
				case "silent body":
					c := tlsConn(t, p, raw)
					io.WriteString(c, long[:headEnd])
					go watch(c)
				case "body dripping":
					c := tlsConn(t, p, raw)
					io.WriteString(c, long[:headEnd])
					go watch(c)
					drip(c, long[headEnd:headEnd+11])
				}
				<-done
				if held := time.Since(began); held < 9*time.Second || held > 11*time.Second {
					t.Errorf("P held the connection for %v, want 10 s", held)
				}
				if len(p.regs) != 0 {
					t.Error("it was let in")
				}
			})
		})
	}
}

// bubbleDialer returns a Dialer to the port of a bubble, from an address.
func (p *port) bubbleDialer(ln *controltest.Listener, from string) *Dialer {
	d := p.dialer()
	d.Addr = "localhost:1444"
	d.DialContext = func(context.Context, string, string) (net.Conn, error) { return ln.DialFrom(from) }
	return d
}

// try registers with a token, and leaves again.
func (p *port) try(t *testing.T, d *Dialer, token string) error {
	t.Helper()
	d.Token = token
	c, err := d.Dial(t.Context())
	if err == nil {
		c.NetConn().Close()
		(<-p.regs).Conn.NetConn().Close()
	}
	return err
}

func TestTooManyRefused429(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, p *port, ln *controltest.Listener) {
		d := p.bubbleDialer(ln, "192.0.2.7:1")
		guess := func() error { return p.try(t, d, wrongToken) }
		for i := range refusedBurst {
			if err := guess(); !isRefused(err, 401) {
				t.Fatalf("attempt %d: %v, want 401", i, err)
			}
		}
		err := guess()
		e, ok := errors.AsType[*RefusedError](err)
		if !ok || e.Status != 429 || e.RetryAfter <= 0 || e.RetryAfter > refusedInterval {
			t.Fatalf("one more: %v, want 429 with a Retry-After of at most %v", err, refusedInterval)
		}
		// Whoever knows a token is let in, and told what is wrong, whatever others
		// behind that address do.
		for range 3 {
			if err := p.try(t, d, anyToken); err != nil {
				t.Fatalf("the right token from an address with too many wrong ones: %v, want it let in", err)
			}
			if err := guess(); !isRefused(err, 429) {
				t.Fatalf("a wrong one after the right one: %v, want 429 as before", err)
			}
			d.Name = "music"
			if err := p.try(t, d, filmsToken); !isRefused(err, 403) {
				t.Fatalf("a name that a known token may not have: %v, want 403", err)
			}
			d.Name = ""
		}
		time.Sleep(e.RetryAfter) // of the bubble
		if err := guess(); !isRefused(err, 401) {
			t.Errorf("one wrong after the pause: %v, want 401", err)
		}
		if err := guess(); !isRefused(err, 429) {
			t.Errorf("a second wrong after the pause: %v, want 429", err)
		}
		time.Sleep(time.Hour) // of the bubble
		// What a known token is refused for is nobody's guess at a token.
		for i := range 2 * refusedBurst {
			d.Name = "not_a_name"
			if err := p.try(t, d, anyToken); !isRefused(err, 400) {
				t.Fatalf("bad name %d: %v, want 400", i, err)
			}
			d.Name = "music"
			if err := p.try(t, d, filmsToken); !isRefused(err, 403) {
				t.Fatalf("forbidden name %d: %v, want 403", i, err)
			}
		}
		d.Name = ""
		for i := range refusedBurst {
			if err := guess(); !isRefused(err, 401) {
				t.Fatalf("an hour later, attempt %d: %v, want 401", i, err)
			}
		}
	})
}

// Whoever has a /48 has 65 536 times a /64.
func TestTooManyRefusedOfANetwork(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, p *port, ln *controltest.Listener) {
		guesses := refusedBurst * netFactor
		for i := range guesses {
			if err := p.try(t, p.bubbleDialer(ln, fmt.Sprintf("[2001:db8:1:%x::1]:1", i)), wrongToken); !isRefused(err, 401) {
				t.Fatalf("attempt %d: %v, want 401", i, err)
			}
		}
		if err := p.try(t, p.bubbleDialer(ln, "[2001:db8:1:ffff::1]:1"), wrongToken); !isRefused(err, 429) {
			t.Errorf("one more of that /48: %v, want 429", err)
		}
		if err := p.try(t, p.bubbleDialer(ln, "[2001:db8:1:ffff::1]:1"), anyToken); err != nil {
			t.Errorf("the right token from that /48: %v", err)
		}
		if err := p.try(t, p.bubbleDialer(ln, "[2001:db8:2::1]:1"), wrongToken); !isRefused(err, 401) {
			t.Errorf("from another /48: %v, want 401", err)
		}
		// A flood of guesses is a line a minute of each kind, with a count.
		time.Sleep(time.Minute)
		synctest.Wait()
		text := p.log.String()
		if n := strings.Count(text, "level=WARN"); n != 3 || strings.Count(text, fmt.Sprint("times=", guesses)) != 1 {
			t.Errorf("%d warnings of %d guesses, want 3, one of them with times=%d:\n%s", n, guesses+2, guesses, text)
		}
	})
}

// silent opens connections on which nothing is sent, and returns how to end them.
func silent(t *testing.T, ln *controltest.Listener, n int, from func(i int) string) (end func()) {
	t.Helper()
	var conns []net.Conn
	for i := range n {
		c, err := ln.DialFrom(from(i))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	synctest.Wait()
	return func() {
		for _, c := range conns {
			c.Close()
		}
	}
}

// However many silent connections there are, and wherever they come from, a C
// gets in, from the same address as they too.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		silent int
		from   func(i int) string
		c      string
	}{
		{"64 behind the same address", 64, func(i int) string { return fmt.Sprint("192.0.2.7:", i+1) }, "192.0.2.7:9999"},
		{"512 behind the same address", 512, func(i int) string { return fmt.Sprint("192.0.2.7:", i+1) }, "192.0.2.7:9999"},
		{"512 from eight", 512, func(i int) string { return fmt.Sprintf("192.0.2.%d:%d", i%8, i+1) }, "198.51.100.1:1"},
		{"2000 from as many", 2000, func(i int) string { return fmt.Sprintf("10.%d.%d.1:1", i/256, i%256) }, "198.51.100.1:1"},
		{"2000 from one /48", 2000, func(i int) string { return fmt.Sprintf("[2001:db8:1:%x::1]:1", i) }, "[2001:db8:1:ffff::1]:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, p *port, ln *controltest.Listener) {
				defer silent(t, ln, tt.silent, tt.from)()
				if n := p.pending.size(); n > defaultMaxPending {
					t.Errorf("%d unfinished handshakes, want %d at most", n, defaultMaxPending)
				}
				began := time.Now()
				if err := p.try(t, p.bubbleDialer(ln, tt.c), anyToken); err != nil {
					t.Fatalf("beside %d silent connections: %v", tt.silent, err)
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v, want 0", took)
				}
				// One line, and one more at the end of the minute.
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := strings.Count(p.log.String(), "level=WARN msg=\"control port: crowded"); tt.silent > defaultMaxPending && n != 2 || n > 2 {
					t.Errorf("%d lines say that it was crowded, want 2:\n%.2000s", n, p.log)
				}
			})
		})
	}
}

// Cs that come at the same moment, from as many networks, do not put each other out,
// though there are many more of them than places.
func TestHerd(t *testing.T) {
	inBubble(t, func(s *Server) { s.MaxPending = 2 * modestPart }, func(t *testing.T, p *port, ln *controltest.Listener) {
		const herd = 200
		failed := make(chan error, herd)
		for i := range herd {
			// Ends with the attempt, which the dialer's limits end.
			go func() { failed <- p.try(t, p.bubbleDialer(ln, fmt.Sprintf("10.%d.%d.1:1", i/256, i%256)), anyToken) }()
		}
		for range herd {
			if err := <-failed; err != nil {
				t.Errorf("one of many: %v", err)
			}
		}
	})
}

// Guesses that wait for the token file take the turn of nobody who has a good token, and
// are answered in time.
func TestGuessesTakeNoTurns(t *testing.T) {
	inBubble(t, func(s *Server) {
		s.Auth.Refused = func(ctx context.Context) { <-ctx.Done() }
	}, func(t *testing.T, p *port, ln *controltest.Listener) {
		guesses := 2 * runtime.GOMAXPROCS(0)
		failed := make(chan error, guesses)
		for i := range guesses {
			// Ends with the attempt, which the server's limit ends.
			go func() { failed <- p.try(t, p.bubbleDialer(ln, fmt.Sprintf("10.1.%d.1:1", i)), wrongToken) }()
		}
		synctest.Wait()
		began := time.Now()
		if err := p.try(t, p.bubbleDialer(ln, "10.2.1.1:1"), anyToken); err != nil || time.Since(began) > 0 {
			t.Errorf("beside guesses that wait: %v, after %v", err, time.Since(began))
		}
		for range guesses {
			if err := <-failed; err == nil {
				t.Error("a guess is let in")
			}
		}
	})
}

// Who takes nothing of what P writes takes the turn of nobody, and may be put out for
// another, whatever that is: TLS writes by itself within a read, too.
func TestWritesTakeNoTurns(t *testing.T) {
	for _, tt := range []struct {
		what  string
		shake bool          // TLS's handshake comes first
		ends  time.Duration // when P gives up
		send  func(c *tls.Conn)
	}{
		{"P's part of the handshake", false, defaultTimeout, func(c *tls.Conn) {
			tls.Client(helloOnly{c.NetConn()}, &tls.Config{ServerName: "localhost"}).Handshake()
		}},
		{"an answer", true, drainTime, func(c *tls.Conn) { io.WriteString(c, "this is no request\r\n\r\n") }},
		{"an alert", true, defaultTimeout, func(c *tls.Conn) { c.NetConn().Write(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...)) }},
	} {
		t.Run(tt.what, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, p *port, ln *controltest.Listener) {
				for i := range runtime.GOMAXPROCS(0) {
					raw, err := ln.DialFrom(fmt.Sprintf("10.1.%d.1:1", i))
					if err != nil {
						t.Fatal(err)
					}
					defer raw.Close()
					c := tls.Client(raw, &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost"})
					if tt.shake {
						if err := c.Handshake(); err != nil {
							t.Fatal(err)
						}
					}
					tt.send(c)
				}
				synctest.Wait()
				if n := len(p.turns); n > 0 {
					t.Errorf("%d turns are taken by who writes, want none", n)
				}
				p.pending.mu.Lock()
				for _, x := range p.pending.waiting {
					if x.awaits.IsZero() {
						t.Errorf("%s is not awaited", x.site.addr)
					}
				}
				p.pending.mu.Unlock()
				began := time.Now()
				if err := p.try(t, p.bubbleDialer(ln, "10.2.1.1:1"), anyToken); err != nil || time.Since(began) > 0 {
					t.Errorf("beside those who take nothing: %v, after %v", err, time.Since(began))
				}
				time.Sleep(tt.ends)
				synctest.Wait()
				if n := p.pending.size(); n > 0 {
					t.Errorf("%d are there after %v, want none", n, tt.ends)
				}
			})
		})
	}
}

// helloOnly is the connection of a peer that sends what begins TLS and takes nothing.
type helloOnly struct{ net.Conn }

func (helloOnly) Read([]byte) (int, error) { return 0, io.EOF }

// Those who are in do not count.
func TestPendingEndsWithTheHandshake(t *testing.T) {
	p := startPort(t, nil, func(s *Server) { s.MaxPending = 1 })
	for i := range 5 {
		c, err := p.dialer().Dial(t.Context())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		// Its place is free when Handle has returned, a moment after the answer.
		r := <-p.regs
		defer r.Conn.Close()
		for p.pending.size() != 0 {
			select {
			case <-t.Context().Done():
				t.Fatal("the place was not given back")
			case <-time.After(time.Millisecond):
			}
		}
	}
}

func TestAcceptErrorsAreWaitedOut(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, p *port, ln *controltest.Listener) {
		began := time.Now()
		fail := &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
		for i, want := range []time.Duration{0, 5, 15, 35, 75, 155, 315, 635, 1275, 2275, 3275} {
			ln.Fail(fail)
			if got := time.Since(began); got != want*time.Millisecond {
				t.Errorf("accept %d came after %v, want %v ms", i, got, int(want))
			}
		}
		c, err := ln.Dial()
		if err != nil {
			t.Fatalf("Serve gave up: %v", err)
		}
		c.Close()
		synctest.Wait()
		// The pauses have started over.
		again := time.Now()
		ln.Fail(fail)
		ln.Fail(fail)
		if got := time.Since(again); got != 5*time.Millisecond {
			t.Errorf("a pause after an accept: %v, want 5 ms", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if text := p.log.String(); strings.Count(text, "level=ERROR") != 2 || strings.Count(text, "times=1\n") != 1 {
			t.Errorf("the log of two rows of failures\n%s\nwants an error, and another with times=1", text)
		}
	})
}

func TestCloseEndsWhatIsPending(t *testing.T) {
	p := startPort(t, nil, nil)
	raw, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	mid := p.dialTLS(t)
	io.WriteString(mid, put("/", anyToken)[:40])
	in, err := p.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := <-p.regs

	p.Close()
	p.Close()
	raw.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := raw.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent connection after Close: %v, want its end", err)
	}
	io.WriteString(in, "x")
	if _, err := r.Conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("a connection that was handed over, after Close: %v", err)
	}
	if _, err := net.Dial("tcp", p.addr); err == nil {
		t.Error("the port still listens")
	}
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	if err := p.Serve(ln); err != nil {
		t.Errorf("Serve after Close: %v, want nil", err)
	}
}

func TestLogOfRefusals(t *testing.T) {
	p := startPort(t, nil, nil)
	d := p.dialer()
	d.Token = wrongToken
	d.Dial(t.Context())
	if text := p.log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN") || !strings.Contains(text, "401 Unauthorized") {
		t.Errorf("a wrong token gave the log\n%s\nwant one warning with 401", text)
	}
	// Scans may fill no disk.
	for range 20 {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
		io.Copy(io.Discard, c)
		c.Close()
	}
	p.Close()
	if text := p.log.String(); strings.Count(text, "level=WARN") != 3 || strings.Count(text, "times=19\n") != 1 {
		t.Errorf("after a wrong token and 20 scans the log has\n%s\nwant 3 warnings, one of them with times=19", text)
	}
}

// A JSON log has the address as text, as the text log does.
func TestJSONLogOfRefusals(t *testing.T) {
	log := new(testlog.Buffer)
	p := startPort(t, nil, func(s *Server) {
		s.Handle = func(*Registration) (func(), error) { return nil, errors.New("full") }
		s.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
	io.Copy(io.Discard, c)
	d := p.dialer()
	d.Dial(t.Context()) // not admitted
	d.Token = wrongToken
	for range refusedBurst + 1 { // 401, then 429
		d.Dial(t.Context())
	}
	p.Close()
	seen := map[string]bool{}
	for line := range strings.Lines(log.String()) {
		var entry struct {
			Msg    string
			Remote any
			Answer any
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		text, _ := entry.Remote.(string)
		if _, err := netip.ParseAddrPort(text); err != nil {
			t.Errorf("remote is %v, want HOST:PORT as text, in %s", entry.Remote, line)
		}
		answer, _, _ := strings.Cut(fmt.Sprint(entry.Answer), " ")
		seen[entry.Msg+": "+answer] = true
	}
	for _, want := range []string{
		"control port: TLS handshake failed: <nil>", "control port: refused: 503", "control port: refused: 401", "control port: refused: 429",
	} {
		if !seen[want] {
			t.Errorf("no line %q among %v", want, slices.Sorted(maps.Keys(seen)))
		}
	}
}

// That an origin is refused is in the log with its name, however many others are refused
// at the same time, and once.
func TestLogOfARefusedOrigin(t *testing.T) {
	refused := map[string]bool{}
	p := startPort(t, nil, func(s *Server) {
		s.OnRefused = func(r Refusal) string { // one at a time, below
			if r.Name != "films" || refused[r.Name] {
				return ""
			}
			refused[r.Name] = true
			return "refused"
		}
	})
	for _, path := range []string{"/strange", "/films", "/films", "/other"} {
		p.ask(t, put(path, wrongToken))
	}
	p.Close()
	var lines []string
	for line := range strings.Lines(p.log.String()) {
		if _, said, ok := strings.Cut(line, `msg="control port: refused"`); ok && strings.Contains(line, "level=WARN") {
			_, said, _ = strings.Cut(said, " origin=")
			lines = append(lines, strings.TrimSpace(said))
		}
	}
	const answer = ` answer="401 Unauthorized: no token, or not one that this proxy knows"`
	want := []string{"strange" + answer, "films" + answer + " state=refused"}
	if len(lines) < 2 || !slices.Equal(lines[:2], want) {
		t.Errorf("the log has %q, want %q first", lines, want)
	}
	if n := strings.Count(p.log.String(), "state=refused"); n != 1 {
		t.Errorf("the state is said %d times, want once", n)
	}
}

// Whoever gets a connection may read from it at once: a session that is closed does.
func TestHandleReadsAtOnce(t *testing.T) {
	read := make(chan []byte, 1)
	p := startPort(t, nil, func(s *Server) {
		s.Handle = func(r *Registration) (func(), error) {
			// Ends with the connection, which the test closes.
			go func() {
				b, _ := io.ReadAll(r.Conn)
				read <- b
			}()
			return nil, nil
		}
	})
	c, err := p.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "hello")
	c.CloseWrite()
	if got := <-read; string(got) != "hello" {
		t.Errorf("read %q", got)
	}
	c.NetConn().Close()
}

// What has come to another port is one of the unfinished handshakes.
func TestTakeIsBounded(t *testing.T) {
	p := startPort(t, nil, func(s *Server) { s.MaxPending, s.Timeout = 1, time.Hour }) // silence alone would end it
	p.init()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan struct{})
	// Ends when both connections are closed, or handed over; waited for below.
	go func() {
		defer close(taken)
		var taking sync.WaitGroup
		for {
			conn, err := ln.Accept()
			if err != nil {
				break
			}
			taking.Go(func() {
				tc := tls.Server(conn, p.Config())
				if tc.HandshakeContext(context.Background()) == nil && tc.ConnectionState().NegotiatedProtocol == Protocol {
					p.Take(tc)
				}
			})
		}
		taking.Wait()
	}()
	conf := &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost", NextProtos: []string{Protocol}}
	silent, err := tls.Dial("tcp", ln.Addr().String(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// Once it is one of them, the next puts it out.
	for p.pending.size() == 0 {
		runtime.Gosched()
	}
	d := p.dialer()
	d.Addr = ln.Addr().String()
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.NetConn().Close()
	silent.SetDeadline(time.Now().Add(time.Minute))
	if n, err := silent.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent one: %d bytes, %v; want that it is dropped", n, err)
	}
	silent.Close()
	ln.Close()
	<-taken
}

func FuzzHead(f *testing.F) {
	f.Add([]byte(put("/", anyToken)))
	f.Add([]byte("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte(put("/FiLms", filmsToken)))
	f.Add([]byte(put("/Photos.Example.com", anyToken)))
	f.Add([]byte(put("/%61?b#c", anyToken)))
	f.Add([]byte("PUT http://p/a HTTP/1.0\r\nAuthorization: bearer  " + anyToken + "\r\nSpdy-Proxy-Instance: a b\r\nContent-Length: 5000\r\n\r\n"))
	f.Add([]byte("PUT * HTTP/1.1\r\nAuthorization: Bearer " + anyToken + "\r\nAuthorization: Bearer x\r\nExpect: 100-continue\r\n\r\n"))
	f.Add([]byte("\x80\x03\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		s := &Server{Auth: NewAuth(tokens(t, tokenFile))}
		s.init()
		reg := &Registration{RemoteAddr: &net.TCPAddr{}}
		if r := s.judge(t.Context(), req, reg, site{"k", "k"}); r == nil {
			if !bytes.Contains(data, []byte("sesame-")) {
				t.Error("let in without a token")
			}
			if name, err := originname.ParseNamed(reg.Name); reg.Name != "" && (err != nil || string(name) != reg.Name) {
				t.Errorf("let in as %q", reg.Name)
			}
		} else if r.Status < 400 || r.Reason == "" || strings.ContainsAny(r.Reason, "\r\n") {
			t.Errorf("refused with %+v", r)
		}
		readBody(io.Discard, req)
	})
}
