package control

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

// fakeP is a TLS server on loopback that records what it is sent and answers
// with a text.
type fakeP struct {
	addr string
	ca   *controltest.CA
	got  chan string // what each connection sent inside TLS, up to the request's end
}

// startFake starts a fakeP whose certificate is for the hosts. It answers a
// request with answer, or, if answer is empty, ends the connection.
func startFake(t *testing.T, answer string, hosts ...string) *fakeP {
	t.Helper()
	ca := controltest.NewCA(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, hosts...)}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeP{addr: ln.Addr().String(), ca: ca, got: make(chan string, 1)}
	done := make(chan struct{})
	// Ends when the listener is closed, for which the cleanup waits.
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.serve(c, answer)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return f
}

func (f *fakeP) serve(c net.Conn, answer string) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	var got strings.Builder
	req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &got)))
	if err == nil {
		io.Copy(io.Discard, req.Body)
	}
	f.got <- got.String()
	if err == nil {
		io.WriteString(c, answer)
	}
}

func (f *fakeP) dialer() *Dialer {
	return &Dialer{Addr: f.addr, Token: anyToken, Name: "films", Instance: "4f1c9a.0", TLS: &tls.Config{RootCAs: f.ca.Pool()}}
}

const ok200 = "HTTP/1.1 200 Connection Established\r\nContent-Length: 12\r\nSpdy-Proxy-Server: p-1\r\n\r\nHello from P"

func TestRequestIsTheContracts(t *testing.T) {
	f := startFake(t, ok200, "127.0.0.1")
	c, err := f.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := "PUT /films HTTP/1.1\r\nHost: " + f.addr + "\r\nAuthorization: Bearer " + anyToken +
		"\r\nSpdy-Proxy-Instance: 4f1c9a.0\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello from C"
	if got := <-f.got; got != want {
		t.Errorf("C sent\n%q\nwant\n%q", got, want)
	}
	if c.Server != "p-1" {
		t.Errorf("P's id %q, want p-1", c.Server)
	}
}

// What P tells of where visitors reach the origin, as far as it is fit for a log.
func TestDialTold(t *testing.T) {
	answer := strings.Replace(ok200, "\r\n\r\n", "\r\nSpdy-Proxy-Url: https://a.test/\r\nSpdy-Proxy-Url: javascript:alert(1)\r\nSpdy-Proxy-Url: http://b.test:81/\r\n"+
		"Spdy-Proxy-Url: /path\r\n"+strings.Repeat("Spdy-Proxy-Url: http://c.test/\r\n", 100)+"Spdy-Proxy-Warning: no\u009b1mdomain "+strings.Repeat("x", 300)+"\r\n\r\n", 1)
	f := startFake(t, answer, "127.0.0.1")
	c, err := f.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.URLs) != maxURLs || c.URLs[0] != "https://a.test/" || c.URLs[1] != "http://b.test:81/" || c.URLs[2] != "http://c.test/" {
		t.Errorf("URLs %q, want those of the web, %d at most", c.URLs, maxURLs)
	}
	if !strings.HasPrefix(c.Warning, "no") || len(c.Warning) > 200 || strings.Contains(c.Warning, "\u009b") {
		t.Errorf("warning %q, want a line", c.Warning)
	}
	<-f.got
}

// Bytes of the next protocol that came with the answer are read first, and the
// connection goes on after them.
func TestDialEarlyBytes(t *testing.T) {
	for _, early := range []string{"", "\x80\x03", strings.Repeat("z", 9000)} {
		f := startFake(t, ok200+early, "127.0.0.1")
		c, err := f.dialer().Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != early {
			t.Errorf("read %d bytes, %v; want the %d behind the answer", len(got), err, len(early))
		}
		c.Close()
		<-f.got
	}
}

func TestDialSkipsInterimAnswers(t *testing.T) {
	f := startFake(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+ok200, "127.0.0.1")
	c, err := f.dialer().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// No byte goes to a P that has not shown the right certificate.
func TestTokenStaysUntilVerified(t *testing.T) {
	tests := []struct {
		name   string
		hosts  []string
		change func(*Dialer)
	}{
		{"unknown CA", []string{"127.0.0.1"}, func(d *Dialer) { d.TLS.RootCAs = controltest.NewCA(t).Pool() }},
		{"another name", []string{"p.example"}, func(*Dialer) {}},
		{"another server name", []string{"127.0.0.1"}, func(d *Dialer) { d.TLS.ServerName = "p.example" }},
		{"a Config that would not verify", []string{"p.example"}, func(d *Dialer) { d.TLS.InsecureSkipVerify = true }},
	}
	for _, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+" "+tls.VersionName(version), func(t *testing.T) {
				f := startFake(t, ok200, tt.hosts...)
				d := f.dialer()
				d.TLS.MaxVersion = version
				tt.change(d)
				c, err := d.Dial(t.Context())
				if err == nil {
					c.Close()
				}
				e, ok := errors.AsType[*VerifyError](err)
				if !ok || e.Addr != f.addr {
					t.Errorf("Dial: %v, want a VerifyError", err)
				} else if !strings.Contains(e.Error(), "--ca") || strings.Contains(e.Error(), "\n") {
					t.Errorf("the error does not say what mends it in one line: %q", e)
				}
				if got := <-f.got; got != "" {
					t.Errorf("P was sent %q, want nothing", got)
				}
			})
		}
	}
	t.Run("another server name that the certificate bears", func(t *testing.T) {
		f := startFake(t, ok200, "p.example")
		d := f.dialer()
		d.TLS.ServerName = "p.example"
		c, err := d.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestDialRefused(t *testing.T) {
	date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	tests := []struct {
		name, answer string
		status       int
		least, most  time.Duration // Retry-After
		says         string
	}{
		{"401", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 8\r\n\r\nno token", 401, 0, 0, "no token"},
		{"403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403, 0, 0, `"films"`},
		{"429 in seconds", "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\n\r\n", 429, 7 * time.Second, 7 * time.Second, ""},
		{"503 at a date", "HTTP/1.1 503 No\r\nRetry-After: " + date + "\r\n\r\n", 503, 85 * time.Second, 90 * time.Second, ""},
		{"503 at a date that is over", "HTTP/1.1 503 No\r\nRetry-After: Mon, 02 Jan 2006 15:04:05 GMT\r\n\r\n", 503, 0, 0, ""},
		{"503 with nonsense", "HTTP/1.1 503 No\r\nRetry-After: -5\r\n\r\n", 503, 0, 0, ""},
		{"a redirect", "HTTP/1.1 301 Moved\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n", 301, 0, 0, ""},
		{"a web server", "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n", 405, 0, 0, "control port"},
		{"a switch", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, 0, 0, ""},
		{"a reason with escapes", "HTTP/1.1 400 Bad\r\nContent-Length: 12\r\n\r\na\x1b[31mb\nline", 400, 0, 0, "(a [31mb)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, tt.answer, "127.0.0.1")
			_, err := f.dialer().Dial(t.Context())
			e, ok := errors.AsType[*RefusedError](err)
			if !ok {
				t.Fatalf("Dial: %v, want a RefusedError", err)
			}
			if e.Status != tt.status || e.RetryAfter < tt.least || e.RetryAfter > tt.most {
				t.Errorf("status %d, Retry-After %v; want %d, %v to %v", e.Status, e.RetryAfter, tt.status, tt.least, tt.most)
			}
			text := e.Error()
			if !strings.Contains(text, tt.says) || !strings.Contains(text, f.addr) || strings.ContainsAny(text, "\r\n\x1b") {
				t.Errorf("error %q, want one line with %q and the address", text, tt.says)
			}
			if strings.Contains(text, secretInAll) {
				t.Errorf("error %q has the token in it", text)
			}
		})
	}
}

// What is not an answer of P's is an error that says so.
func TestDialBadAnswers(t *testing.T) {
	tests := []struct{ name, answer, says string }{
		{"none", "", "without an answer"},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-", "without an answer"},
		{"not HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n", "no answer"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\nHello from P", "Content-Length"},
		{"a short body", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nHello", "body"},
		{"a long body", "HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n" + strings.Repeat("x", 4097), "body"},
		{"an endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 64<<10), "more than"},
		{"interim answers without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), "100 Continue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, tt.answer, "127.0.0.1")
			c, err := f.dialer().Dial(t.Context())
			if err == nil {
				c.Close()
				t.Fatal("Dial succeeded")
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), f.addr) {
				t.Errorf("error %q, want one with %q and the address", err, tt.says)
			}
		})
	}
}

// TestDialTimeouts holds that a P that stands still at any step is given up.
func TestDialTimeouts(t *testing.T) {
	ca := controltest.NewCA(t)
	cert := ca.Issue(t, "p.example")
	tests := []struct {
		name  string
		steps func(c net.Conn) // what P does before it stands still
		want  time.Duration
	}{
		{"TLS", func(net.Conn) {}, 10 * time.Second},
		{"answer", func(c net.Conn) {
			// Ends with the connection.
			go io.Copy(io.Discard, tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}))
		}, 20 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := controltest.NewListener()
				// Ends with the connection of the one Dial.
				go func() {
					c, _ := ln.Accept()
					tt.steps(c)
				}()
				began := time.Now()
				d := &Dialer{Addr: "p.example:1444", Token: anyToken, TLS: &tls.Config{RootCAs: ca.Pool()},
					DialContext: func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }}
				if _, err := d.Dial(t.Context()); err == nil {
					t.Error("Dial succeeded")
				}
				if took := time.Since(began); took != tt.want {
					t.Errorf("given up after %v, want %v", took, tt.want)
				}
			})
		})
	}
	t.Run("TCP", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			d := &Dialer{Addr: "p.example:1444", TLS: &tls.Config{},
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}}
			if _, err := d.Dial(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial: %v, want the deadline", err)
			}
			if took := time.Since(began); took != 10*time.Second {
				t.Errorf("given up after %v, want 10 s", took)
			}
		})
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := controltest.NewListener()
		// Ends when the one Dial has connected.
		go ln.Accept()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		d := &Dialer{Addr: "p.example:1444", TLS: &tls.Config{},
			DialContext: func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }}
		began := time.Now()
		if _, err := d.Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v, want the context's error", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("ended after %v, want 3 s", took)
		}
	})
}

func TestDialNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, err = (&Dialer{Addr: addr, TLS: &tls.Config{}}).Dial(t.Context())
	if e, ok := errors.AsType[*net.OpError](err); !ok || e.Op != "dial" || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "does p run") {
		t.Errorf("Dial: %v, want the dial's error with the address, and what to look at", err)
	}
}

// A P that has no certificate yet, by ACME say, has its log say why.
func TestDialNoCertificateYet(t *testing.T) {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none yet") },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	// Ends with its one connection, or when the listener is closed; waited for below.
	go func() {
		defer close(done)
		if c, err := ln.Accept(); err == nil {
			c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	defer func() { ln.Close(); <-done }()
	d := &Dialer{Addr: ln.Addr().String(), TLS: &tls.Config{}, Token: "abc"}
	if _, err = d.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "P has no certificate for this name yet") {
		t.Errorf("Dial: %v, want that P has no certificate yet", err)
	}
}
