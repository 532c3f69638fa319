package control

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// The tokens of the tests. They all contain "sesame", which no log may.
const (
	anyToken    = "sesame-any"
	filmsToken  = "sesame-films"
	wrongToken  = "sesame-wrong"
	tokenFile   = anyToken + " *\n" + filmsToken + " films @ # a comment\n"
	secretInAll = "sesame"
)

func tokens(t testing.TB, text string) *Tokens {
	t.Helper()
	parsed, err := ParseTokens(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// port is a Server that listens.
type port struct {
	*Server
	ca   *controltest.CA
	addr string
	log  *testlog.Buffer
	regs chan *Registration
}

// startPort starts a Server on ln, or on a loopback port if ln is nil: net.Pipe has
// neither the half-close nor the reset that refusals are about.
// When the test ends it is closed, and its log searched for secrets.
func startPort(t testing.TB, ln net.Listener, change func(*Server)) *port {
	t.Helper()
	ca := controltest.NewCA(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "localhost", "127.0.0.1")}}
	p := &port{ca: ca, log: new(testlog.Buffer), regs: make(chan *Registration, 16)}
	p.Server = &Server{
		TLS:    func() *tls.Config { return cfg },
		Auth:   NewAuth(tokens(t, tokenFile)),
		ID:     "test-p",
		Handle: func(r *Registration) (func(), error) { return func() { p.regs <- r }, nil },
		Logger: slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(p.Server)
	}
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	p.addr = ln.Addr().String()
	served := make(chan error, 1)
	// Ends at Close, below.
	go func() { served <- p.Serve(ln) }()
	t.Cleanup(func() {
		p.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v after Close, want nil", err)
		}
		for {
			select {
			case r := <-p.regs:
				r.Conn.NetConn().Close()
				continue
			default:
			}
			break
		}
		if text := p.log.String(); strings.Contains(text, secretInAll) {
			t.Errorf("a token was logged:\n%s", text)
		}
	})
	return p
}

// dialTLS returns a TLS connection to the port.
func (p *port) dialTLS(t testing.TB) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", p.addr, &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.NetConn().Close() })
	return c
}

// dialer returns a Dialer that the port lets in.
func (p *port) dialer() *Dialer {
	return &Dialer{Addr: p.addr, Token: anyToken, Instance: "test.0", TLS: &tls.Config{RootCAs: p.ca.Pool(), ServerName: "localhost"}}
}

// ask sends text and returns all of the answer, up to the connection's end.
func (p *port) ask(t testing.TB, text string) string {
	t.Helper()
	c := p.dialTLS(t)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("sending the request: %v", err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("reading the answer: %v, after %q", err, answer)
	}
	return string(answer)
}

// put is a whole request as the contract has it.
func put(path, token string) string {
	return "PUT " + path + " HTTP/1.1\r\nHost: localhost:1444\r\nAuthorization: Bearer " + token +
		"\r\nSpdy-Proxy-Instance: 4f1c9a.0\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello from C"
}
