package spdy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

func upstreamHandlerRequest(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/path", func(w http.ResponseWriter, r *http.Request) {
		for name, want := range map[string]string{
			spdy.HEADER_METHOD: "GET", spdy.HEADER_PATH: "/path?q=1", spdy.HEADER_VERSION: "HTTP/1.1",
			spdy.HEADER_HOST: "a.test", spdy.HEADER_SCHEME: "https",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("Header.Get(%q): %q, want %q", name, got, want)
			}
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) != 0 {
			t.Errorf("body %q, %v, want none", body, err)
		}
		fmt.Fprint(w, r.Method, " ", r.Proto, " ", r.ProtoMajor, r.ProtoMinor, " ", r.URL, " ", r.RequestURI, " ", r.Host, " ",
			r.RemoteAddr, " ", r.ContentLength, " ", r.Header["X-Two"])
	})
	h.p.Send(req(1, "/path?q=1", spdytest.Pair{Name: "x-two", Value: "a\x00b"}))
	h.wantResponse("a GET", 1, "200", fmt.Sprint("GET HTTP/1.1 1 1 /path?q=1 /path?q=1 a.test ", h.end.RemoteAddr(), " 0 [a b]"))
	h.finish()
}

func upstreamWriteHeader(t *testing.T) {
	h := upstreamServer(t)
	late := make(chan error, 1)
	h.mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") })
	h.mux.HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x")
		w.Header().Set("Date", "long ago")
		w.WriteHeader(404)
		w.WriteHeader(500)
		w.Header().Set("X-Late", "1")
		io.WriteString(w, "x")
	})
	h.mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		_, err := w.Write([]byte("x"))
		late <- err
	})
	h.p.Send(req(1, "/plain"))
	m := h.wantResponse("/plain", 1, "200", "x")
	for name, want := range map[string]string{"content-type": "text/html; charset=utf-8", ":status": "200 OK"} {
		if got, _ := m.head.Get(name); got != want {
			t.Errorf("/plain: %s is %q, want %q", name, got, want)
		}
	}
	date, _ := m.head.Get("date")
	if _, err := http.ParseTime(date); err != nil {
		t.Errorf("/plain: Date %q", date)
	}
	h.p.Send(req(3, "/own"))
	m = h.wantResponse("/own", 3, "404", "x")
	for name, want := range map[string]string{"content-type": "text/x", "date": "long ago", ":status": "404 Not Found", "x-late": ""} {
		if got, _ := m.head.Get(name); got != want {
			t.Errorf("/own: %s is %q, want %q", name, got, want)
		}
	}
	h.p.Send(req(5, "/late"))
	synctest.Wait()
	h.p.Send(rst(5, spdy.Cancel))
	if err := <-late; err == nil {
		t.Error("Write after the stream's end: no error")
	}
	h.alive(7)
	h.finish()
}

// The end of a handler ends the response, once, with FIN on DATA. A response
// without a body has it on SYN_REPLY (the conformance list, 106), where the
// library of 2015 never put it.
func upstreamEnd(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	h.mux.HandleFunc("/flushed", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		synctest.Wait()
	})
	h.p.Send(req(1, "/flushed"))
	h.p.Want("a handler that ends later", rep200(1, 0), data(1, "x"), data(1, "", fin))
	h.p.Send(req(3, "/ok"))
	// Its end may be in a frame of its own: a handler's Write does not wait for it here.
	h.wantResponse("a short answer", 3, "200", "ok")
	h.p.Send(req(5, "/empty"))
	h.p.Want("no answer", rep200(5, fin))
	h.p.WantIdle("nothing more")
	h.finish()
}

// certificateFiles writes a certificate and its key, for functions that take
// names of files.
func certificateFiles(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	cert, pool := newCertificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

// upstreamListenAndServeTLS needs real sockets: that is what it is about.
func upstreamListenAndServeTLS(t *testing.T) {
	certFile, keyFile, pool := certificateFiles(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q", r.TLS.NegotiatedProtocol, r.Header.Get(spdy.HEADER_HOST))
	})
	served := make(chan error, 1)
	go func() { served <- spdy.ServeTLS(ln, certFile, keyFile, handler) }()
	for _, test := range []struct {
		offer []string
		want  string
	}{
		{[]string{"http/1.1", "spdy/3", "spdy/3.1"}, "spdy/3.1"},
		{[]string{"h2", "spdy/3"}, "spdy/3"},
		{[]string{"h2", "http/1.1"}, "http/1.1"},
		{nil, ""},
	} {
		conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: test.offer})
		if err != nil {
			t.Fatal(err)
		}
		var body []byte
		if strings.HasPrefix(test.want, "spdy/") {
			c, err := spdy.NewClientConn(conn)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(request(t, "GET", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(resp.Body)
			c.Close()
		} else {
			tr := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
			r := request(t, "GET", "/", nil)
			r.URL.Scheme = "https"
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
			tr.CloseIdleConnections()
		}
		host := ""
		if strings.HasPrefix(test.want, "spdy/") {
			host = "origin.test:80"
		}
		if want := fmt.Sprintf("%s %q", test.want, host); string(body) != want {
			t.Errorf("client offers %q: got %q, want %q", test.offer, body, want)
		}
	}
	ln.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the listener's end: %v, want %v", err, net.ErrClosed)
	}

	// All three say what is wrong with an address or a file.
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	addr := busy.Addr().String()
	for name, err := range map[string]error{
		"ListenAndServe":                    spdy.ListenAndServe(addr, handler),
		"ListenAndServeTLS":                 spdy.ListenAndServeTLS(addr, certFile, keyFile, handler),
		"ListenAndServeTLSSpdyOnly":         spdy.ListenAndServeTLSSpdyOnly(addr, certFile, keyFile, handler),
		"ListenAndServeTLS, no file":        spdy.ListenAndServeTLS("127.0.0.1:0", "none.pem", keyFile, handler),
		"ListenAndServeTLSSpdyOnly, no key": spdy.ListenAndServeTLSSpdyOnly("127.0.0.1:0", certFile, "", handler),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// upstreamSpdyOnly needs real sockets. Its server picks its own listener, so
// that the port has to be known before.
func upstreamSpdyOnly(t *testing.T) {
	certFile, keyFile, pool := certificateFiles(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.NegotiatedProtocol) })
	for _, test := range []struct {
		name  string
		own   []string // TLSConfig.NextProtos
		offer []string
		want  string // "-": TLS fails
	}{
		{"spdy/3.1", nil, []string{"spdy/3", "spdy/3.1"}, "spdy/3.1"},
		{"spdy/3", nil, []string{"spdy/3"}, "spdy/3"},
		{"no ALPN", nil, nil, ""},
		{"not SPDY", nil, []string{"h2"}, "-"},
		{"a list of its own", []string{"x-spdy"}, []string{"spdy/3.1", "x-spdy"}, "x-spdy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			free.Close()
			s := &spdy.Server{Addr: free.Addr().String(), Handler: handler, TLSConfig: &tls.Config{NextProtos: test.own}}
			served := make(chan error, 1)
			go func() { served <- s.ListenAndServeTLSSpdyOnly(certFile, keyFile) }()
			raw := dialWhenUp(t, s.Addr, served)
			conn := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: test.offer})
			defer conn.Close()
			got := "-"
			if err := conn.Handshake(); err == nil {
				c, err := spdy.NewClientConn(conn)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				resp, err := c.Do(request(t, "GET", "/", nil))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				got = string(body)
			}
			if got != test.want {
				t.Errorf("client offers %q: %q, want %q", test.offer, got, test.want)
			}
			s.Close()
			if err := <-served; !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v, want %v", err, net.ErrClosed)
			}
		})
	}
}

// dialWhenUp connects to a server that is about to listen.
func dialWhenUp(t *testing.T, addr string, served <-chan error) net.Conn {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c
		}
		select {
		case err := <-served:
			t.Fatal(err)
		case <-t.Context().Done():
			t.Fatal(err)
		case <-again.C:
		}
	}
}

// temporary is an error of Accept that passes.
type temporary struct{ error }

func (temporary) Timeout() bool { return false }

func (temporary) Temporary() bool { return true }

// flakyListener fails n times before each connection.
type flakyListener struct {
	net.Listener
	mu    sync.Mutex
	n     int
	times []time.Time // of the failures
}

func (l *flakyListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	fail := l.n > 0
	l.n--
	if fail {
		l.times = append(l.times, time.Now())
	}
	l.mu.Unlock()
	if fail {
		return nil, temporary{errors.New("too many open files")}
	}
	return l.Listener.Accept()
}

func upstreamAccept(t *testing.T) {
	t.Run("temporary errors", bubble(func(t *testing.T) {
		pipes := newPipeListener()
		ln := &flakyListener{Listener: pipes, n: 12}
		s := &spdy.Server{Handler: http.NotFoundHandler()}
		served := make(chan error, 1)
		start := time.Now()
		go func() { served <- s.Serve(ln) }()
		raw, err := pipes.dial()
		if err != nil {
			t.Fatal(err)
		}
		c, _ := spdy.NewClientConn(raw)
		if pinged, err := c.Ping(time.Second); !pinged {
			t.Errorf("Ping: %v", err)
		}
		pause := 5 * time.Millisecond
		at := start
		for i, got := range ln.times {
			if !got.Equal(at) {
				t.Errorf("failure %d came after %v, want %v", i+1, got.Sub(start), at.Sub(start))
			}
			at = at.Add(pause)
			pause = min(2*pause, time.Second)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v, want %v", err, net.ErrClosed)
		}
		if pinged, err := c.Ping(time.Second); !pinged {
			t.Errorf("Ping after the server's Close: %v; running sessions go on", err)
		}
		c.Close()
	}))
	t.Run("lasting error", func(t *testing.T) {
		ln := newPipeListener()
		ln.Close()
		if err := new(spdy.Server).Serve(ln); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v, want %v", err, net.ErrClosed)
		}
	})
}
