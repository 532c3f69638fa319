package spdy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// newCertificate makes a certificate for localhost, and the pool that trusts it.
func newCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		// Far around any clock, that of a synctest bubble too.
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:  time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:      true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// pipeListener is a listener whose connections are in memory, so that a server
// can be tested in a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipeListener() *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.close(); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dial returns the client's end of a new connection.
func (l *pipeListener) dial() (net.Conn, error) {
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	select {
	case l.conns <- b:
		return a, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// alpnTest is an http.Server with TLS in a bubble.
type alpnTest struct {
	*testing.T
	srv    *http.Server
	ln     *pipeListener
	pool   *x509.CertPool
	served chan error // what ServeTLS returned
}

// startALPN runs srv, configured with conf, until the end of t's bubble.
func startALPN(t *testing.T, srv *http.Server, conf *spdy.Config) *alpnTest {
	t.Helper()
	cert, pool := newCertificate(t)
	if srv.TLSConfig == nil {
		srv.TLSConfig = new(tls.Config)
	}
	srv.TLSConfig.Certificates = []tls.Certificate{cert}
	srv.ErrorLog = log.New(io.Discard, "", 0)
	if err := spdy.ConfigureServer(srv, conf); err != nil {
		t.Fatal(err)
	}
	a := &alpnTest{T: t, srv: srv, ln: newPipeListener(), pool: pool, served: make(chan error, 1)}
	// Ends when the server is shut down or closed; the bubble waits for it.
	go func() { a.served <- srv.ServeTLS(a.ln, "", "") }()
	t.Cleanup(func() { srv.Close() })
	return a
}

// handshake connects and offers protocols.
func (a *alpnTest) handshake(offer ...string) *tls.Conn {
	a.Helper()
	raw, err := a.ln.dial()
	if err != nil {
		a.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{RootCAs: a.pool, ServerName: "localhost", NextProtos: offer})
	if err := c.Handshake(); err != nil {
		raw.Close()
		a.Fatalf("TLS with %q: %v", offer, err)
	}
	return c
}

// session returns a client session that negotiated conf's version. Serve's error
// goes to the channel.
func (a *alpnTest) session(conf *spdy.Config) (*spdy.Session, chan error) {
	a.Helper()
	version := spdy.SPDY31
	if conf != nil {
		version = conf.Version
	}
	c := a.handshake(version.String())
	if got := c.ConnectionState().NegotiatedProtocol; got != version.String() {
		a.Fatalf("negotiated %q, want %q", got, version)
	}
	s := conf.NewClientSession(c)
	ended := make(chan error, 1)
	// Ends with the session; the bubble waits for it.
	go func() { ended <- s.Serve() }()
	return s, ended
}

// get returns the response to GET path, and its body. It may be called from any
// goroutine.
func (a *alpnTest) get(rt http.RoundTripper, path string) (*http.Response, string) {
	a.Helper()
	resp, err := rt.RoundTrip(request(a, "GET", path, nil))
	if err != nil {
		a.Errorf("GET %s: %v", path, err)
		return nil, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.Errorf("GET %s: body: %v", path, err)
	}
	return resp, string(body)
}

func TestConfigureServerNegotiates(t *testing.T) {
	protocols := func(http1, http2 bool) *http.Protocols {
		p := new(http.Protocols)
		p.SetHTTP1(http1)
		p.SetHTTP2(http2)
		return p
	}
	none := map[string]func(*http.Server, *tls.Conn, http.Handler){}
	for _, test := range []struct {
		name  string
		srv   *http.Server
		offer []string
		want  string // "-": TLS fails
	}{
		{"all", &http.Server{}, []string{"http/1.1", "spdy/3", "spdy/3.1", "h2"}, "h2"},
		{"SPDY before HTTP/1.1", &http.Server{}, []string{"http/1.1", "spdy/3", "spdy/3.1"}, "spdy/3.1"},
		{"SPDY/3", &http.Server{}, []string{"spdy/3"}, "spdy/3"},
		{"HTTP/1.1", &http.Server{}, []string{"http/1.1"}, "http/1.1"},
		{"no ALPN", &http.Server{}, nil, ""},
		{"unknown", &http.Server{}, []string{"spdy/2"}, "-"},
		{"the caller's list", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"http/1.1", "spdy/3.1"}}},
			[]string{"spdy/3.1", "http/1.1"}, "http/1.1"},
		{"a list without h2", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"http/1.1", "spdy/3.1"}}},
			[]string{"h2", "spdy/3.1"}, "spdy/3.1"},
		{"a list without HTTP/1.1", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"spdy/3.1"}}},
			[]string{"http/1.1"}, "-"},
		{"a list with HTTP/2 turned off", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"h2", "spdy/3.1"}}, TLSNextProto: none},
			[]string{"http/1.1", "h2"}, "-"},
		{"Protocols without any, as net/http reads it", &http.Server{Protocols: new(http.Protocols)}, []string{"http/1.1", "h2"}, "http/1.1"},
		{"a list without SPDY", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}},
			[]string{"spdy/3.1", "http/1.1"}, "http/1.1"},
		{"HTTP/2 turned off", &http.Server{TLSNextProto: none}, []string{"h2", "spdy/3.1"}, "spdy/3.1"},
		{"Protocols without HTTP/2", &http.Server{Protocols: protocols(true, false)}, []string{"h2", "spdy/3.1"}, "spdy/3.1"},
		{"Protocols with HTTP/2", &http.Server{Protocols: protocols(true, true), TLSNextProto: none}, []string{"h2", "spdy/3.1"}, "h2"},
		{"Protocols without HTTP/1.1", &http.Server{Protocols: protocols(false, true)}, []string{"http/1.1"}, ""}, // net/http closes it
	} {
		t.Run(test.name, func(t *testing.T) {
			test.srv.Handler = http.NotFoundHandler()
			synctest.Test(t, func(t *testing.T) {
				a := startALPN(t, test.srv, nil)
				raw, err := a.ln.dial()
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				c := tls.Client(raw, &tls.Config{RootCAs: a.pool, ServerName: "localhost", NextProtos: test.offer})
				got := "-"
				if err := c.Handshake(); err == nil {
					got = c.ConnectionState().NegotiatedProtocol
				}
				if got != test.want {
					t.Errorf("client offers %q: negotiated %q, want %q", test.offer, got, test.want)
				}
			})
		})
	}
}

// What a list leaves out is not spoken either with a client that negotiates
// nothing.
func TestConfigureServerListHolds(t *testing.T) {
	none := map[string]func(*http.Server, *tls.Conn, http.Handler){}
	for _, test := range []struct {
		name string
		srv  *http.Server
		want string
	}{
		{"SPDY alone", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"spdy/3.1"}}}, ""},
		{"HTTP/2 alone", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"h2"}}}, ""},
		{"HTTP/2 that is turned off", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"h2", "spdy/3.1"}}, TLSNextProto: none}, ""},
		{"no list", &http.Server{}, "HTTP/1.1 404 Not Found"},
		{"no list, Protocols without any", &http.Server{Protocols: new(http.Protocols)}, "HTTP/1.1 404 Not Found"},
		{"with HTTP/1.1", &http.Server{TLSConfig: &tls.Config{NextProtos: []string{"spdy/3.1", "http/1.1"}}}, "HTTP/1.1 404 Not Found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.srv.Handler = http.NotFoundHandler()
			synctest.Test(t, func(t *testing.T) {
				a := startALPN(t, test.srv, nil)
				c := a.handshake()
				defer c.Close()
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
				answer, _ := io.ReadAll(c)
				if line, _, _ := strings.Cut(string(answer), "\r\n"); line != test.want {
					t.Errorf("HTTP/1.1 without ALPN: got %q, want %q", line, test.want)
				}
			})
		})
	}
}

// One handler, by each protocol: the request looks like net/http's.
func TestConfigureServerServes(t *testing.T) { synctest.Test(t, testConfigureServerServes) }

func testConfigureServerServes(t *testing.T) {
	type key struct{}
	var srv *http.Server
	conns := make(chan net.Conn, 10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || !r.TLS.HandshakeComplete {
			t.Errorf("%s: r.TLS is %v", r.Proto, r.TLS)
		}
		if got := r.Context().Value(http.ServerContextKey); got != srv {
			t.Errorf("%s: ServerContextKey is %v, want the server", r.Proto, got)
		}
		if got := r.Context().Value(key{}); got != "from ConnContext" {
			t.Errorf("%s: ConnContext's value is %v", r.Proto, got)
		}
		if r.Header.Get(":host") != "" {
			t.Errorf("%s: pseudo headers in r.Header: %v", r.Proto, r.Header)
		}
		io.WriteString(w, r.TLS.NegotiatedProtocol)
	})
	srv = &http.Server{
		Handler: handler,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			conns <- c
			return context.WithValue(ctx, key{}, "from ConnContext")
		},
	}
	a := startALPN(t, srv, nil)
	for _, proto := range []string{"h2", "http/1.1"} {
		tr := &http.Transport{
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return a.ln.dial() },
			TLSClientConfig:   &tls.Config{RootCAs: a.pool, ServerName: "localhost", NextProtos: []string{proto}},
			ForceAttemptHTTP2: proto == "h2",
		}
		req := request(a, "GET", "/", nil)
		req.URL.Scheme = "https"
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: %v", proto, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != proto {
			t.Errorf("body %q, %v, want %q", body, err, proto)
		}
		tr.CloseIdleConnections()
	}
	for _, v := range []spdy.Version{spdy.SPDY31, spdy.SPDY3} {
		var mu sync.Mutex
		windows := 0 // WINDOW_UPDATEs for the session
		s, _ := a.session(&spdy.Config{Version: v, Trace: func(f spdy.FrameInfo) {
			if !f.Sent && f.StreamID == 0 && f.Type.String() == "WINDOW_UPDATE" {
				mu.Lock()
				windows++
				mu.Unlock()
			}
		}})
		if _, body := a.get(s, "/"); body != v.String() {
			t.Errorf("body %q, want %q", body, v)
		}
		mu.Lock()
		if got, want := windows > 0, v == spdy.SPDY31; got != want {
			t.Errorf("%v: session window: %t, want %t", v, got, want)
		}
		mu.Unlock()
		s.Close()
	}
	if got := len(conns); got != 4 {
		t.Errorf("ConnContext was called %d times for 4 connections", got)
	}
}

func TestConfigureServerShutdown(t *testing.T) { synctest.Test(t, testConfigureServerShutdown) }

func testConfigureServerShutdown(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(started)
			<-release
		}
		io.WriteString(w, "done")
	})}
	a := startALPN(t, srv, nil)
	busy, busyEnded := a.session(nil)
	idle, idleEnded := a.session(nil)
	a.get(idle, "/")
	answer := make(chan string, 1)
	go func() {
		_, body := a.get(busy, "/slow")
		answer <- body
	}()
	<-started
	down := make(chan error, 1)
	go func() { down <- srv.Shutdown(context.Background()) }()
	if err := <-idleEnded; err != nil {
		t.Errorf("idle session: Serve: %v", err)
	}
	<-busy.GoingAway()
	if _, err := busy.RoundTrip(request(t, "GET", "/", nil)); !spdy.Retryable(err) {
		t.Errorf("request during Shutdown: %v, want one that may be sent again", err)
	}
	synctest.Wait()
	select {
	case err := <-down:
		t.Errorf("Shutdown returned %v while a request was open", err)
	default:
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("body %q, want %q", got, "done")
	}
	if err := <-busyEnded; err != nil {
		t.Errorf("busy session: Serve: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-a.served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("ServeTLS: %v", err)
	}
}

func TestConfigureServerClose(t *testing.T) { synctest.Test(t, testConfigureServerClose) }

func testConfigureServerClose(t *testing.T) {
	ended := make(chan struct{})
	started := make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(ended)
	})}
	a := startALPN(t, srv, nil)
	s, _ := a.session(nil)
	failed := make(chan error, 1)
	go func() {
		_, err := s.RoundTrip(request(t, "GET", "/", nil))
		failed <- err
	}()
	<-started
	srv.Close()
	if err := <-failed; err == nil {
		t.Error("a request outlived Server.Close")
	}
	<-ended
	s.Close()
}

func TestConfigureServerConnState(t *testing.T) { synctest.Test(t, testConfigureServerConnState) }

func testConfigureServerConnState(t *testing.T) {
	var mu sync.Mutex
	var states []http.ConnState
	release := make(chan struct{})
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-release
			}
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, s)
		},
	}
	a := startALPN(t, srv, nil)
	s, _ := a.session(nil)
	slow := make(chan struct{})
	go func() {
		a.get(s, "/slow")
		close(slow)
	}()
	synctest.Wait()
	a.get(s, "/")
	close(release)
	<-slow
	s.Close()
	synctest.Wait()
	mu.Lock()
	defer mu.Unlock()
	want := []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateActive, http.StateIdle, http.StateClosed}
	if !slices.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
}

func TestConfigureServerTimeouts(t *testing.T) {
	const limit = time.Minute
	t.Run("IdleTimeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := &http.Server{IdleTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-time.After(2 * limit) // a request is under way: not idle
			})}
			a := startALPN(t, srv, nil)
			s, ended := a.session(nil)
			a.get(s, "/")
			last := time.Now()
			if err := <-ended; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if got := time.Since(last); got != limit {
				t.Errorf("the session ended %v after the last request, want %v", got, limit)
			}
		})
	})
	t.Run("ReadTimeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			failed := make(chan error, 1)
			srv := &http.Server{ReadTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := io.ReadAll(r.Body)
				failed <- err
			})}
			a := startALPN(t, srv, nil)
			s, _ := a.session(nil)
			body, never := io.Pipe()
			start := time.Now()
			if resp, err := s.RoundTrip(request(a, "POST", "/", body)); err != nil {
				t.Error(err)
			} else {
				resp.Body.Close()
			}
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != limit {
				t.Errorf("reading the body: %v after %v, want %v after %v", err, time.Since(start), os.ErrDeadlineExceeded, limit)
			}
			never.Close()
			s.Close()
		})
	})
	t.Run("WriteTimeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			failed := make(chan error, 1)
			srv := &http.Server{WriteTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := w.Write(make([]byte, 1<<20))
				failed <- err
			})}
			a := startALPN(t, srv, nil)
			s, _ := a.session(nil)
			start := time.Now()
			resp, err := s.RoundTrip(request(a, "GET", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != limit {
				t.Errorf("writing the body that nobody reads: %v after %v, want a deadline after %v", err, time.Since(start), limit)
			}
			if n, err := io.Copy(io.Discard, resp.Body); err == nil || n == 1<<20 {
				t.Errorf("the cut response ends after %d bytes with %v, want an error", n, err)
			}
			resp.Body.Close()
			s.Close()
		})
	})
}

func TestConfigureServerMaxHeaderBytes(t *testing.T) {
	synctest.Test(t, testConfigureServerMaxHeaderBytes)
}

func testConfigureServerMaxHeaderBytes(t *testing.T) {
	srv := &http.Server{MaxHeaderBytes: 4 << 10, Handler: http.NotFoundHandler()}
	a := startALPN(t, srv, nil)
	s, _ := a.session(nil)
	defer s.Close()
	req := request(a, "GET", "/", nil)
	req.Header.Set("X-Big", strings.Repeat("x", 5<<10))
	_, err := s.RoundTrip(req)
	if se, ok := errors.AsType[*spdy.StreamError](err); !ok || !se.Remote || se.Status != spdy.FrameTooLarge {
		t.Errorf("header of 5 KiB: %v, want FRAME_TOO_LARGE of the peer", err)
	}
}

func TestConfigureServerRefuses(t *testing.T) {
	if err := spdy.ConfigureServer(nil, nil); err == nil {
		t.Error("nil server: no error")
	}
	srv := new(http.Server)
	if err := spdy.ConfigureServer(srv, nil); err != nil {
		t.Fatal(err)
	}
	if err := spdy.ConfigureServer(srv, nil); err == nil {
		t.Error("configured twice: no error")
	}
	shared := &tls.Config{NextProtos: []string{"spdy/3.1"}}
	if err := spdy.ConfigureServer(&http.Server{TLSConfig: shared}, nil); err != nil || len(shared.NextProtos) != 1 {
		t.Errorf("shared tls.Config: %v, NextProtos %q, want them as they were", err, shared.NextProtos)
	}
}
