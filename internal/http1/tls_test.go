package http1

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy/spdytest"
)

// What TLS chooses is served here or by the http.Server behind, by sockets: its
// handshake is crypto/tls's.
func TestTLS(t *testing.T) {
	keyPair, cert := selfSigned(t)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	hs := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Proto, " ", r.TLS != nil && r.TLS.HandshakeComplete)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{keyPair}, NextProtos: []string{"h2", "http/1.1", "other"}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	s := New(hs)
	s.Next = map[string]func(*tls.Conn){"other": func(conn *tls.Conn) {
		fmt.Fprint(conn, conn.ConnectionState().NegotiatedProtocol)
		conn.Close()
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(ln) }() // ends with Shutdown
	for protos, want := range map[string]string{"h2": "HTTP/2.0 true", "http/1.1": "HTTP/1.1 true", "": "HTTP/1.1 true"} {
		config := &tls.Config{RootCAs: roots, ServerName: "a"}
		if protos != "" {
			config.NextProtos = []string{protos}
		}
		tr := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(protos != "h2")
		tr.Protocols.SetHTTP2(protos == "h2")
		for range 2 {
			res, err := tr.RoundTrip(must(http.NewRequest("GET", "https://"+ln.Addr().String(), nil)))
			if err != nil {
				t.Errorf("%q: %v", protos, err)
				break
			}
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != want {
				t.Errorf("%q: got %q, %v; want %q", protos, body, err, want)
			}
			res.Body.Close()
		}
		tr.CloseIdleConnections()
	}
	other, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "a", NextProtos: []string{"other"}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if got, err := io.ReadAll(other); err != nil || string(got) != "other" {
		t.Errorf("a protocol of its own: got %q, %v", got, err)
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// More than is read before the answer: it is read nevertheless, as a close would be a
	// reset behind which the answer may be lost.
	io.WriteString(conn, strings.Replace(next, "\r\n\r\n", "\r\nCookie: "+strings.Repeat("x", 5000)+"\r\n\r\n", 1))
	conn.(*net.TCPConn).CloseWrite()
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 400 {
		t.Errorf("HTTP where TLS is spoken: got %v, %v; want 400", res, err)
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("behind that answer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("ServeTLS: %v", err)
	}
}

// A handshake that is under way when the server is told to stop leads to a request that
// is served, whatever TLS chooses. One that takes long holds up nothing else.
func TestShutdownDuringHandshake(t *testing.T) {
	keyPair, cert := selfSigned(t)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	for proto, want := range map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"} {
		bubble(t, func(t *testing.T) {
			s := New(&http.Server{
				Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }),
				TLSConfig: &tls.Config{Certificates: []tls.Certificate{keyPair}, NextProtos: []string{"h2", "http/1.1"}},
				ErrorLog:  log.New(io.Discard, "", 0),
			})
			ln := newListener()
			served := make(chan error, 1)
			go func() { served <- s.ServeTLS(ln) }() // ends with Shutdown
			ours, theirs := spdytest.Pipe(spdytest.PipeConfig{})
			ln.conns <- theirs
			silent, theirs := spdytest.Pipe(spdytest.PipeConfig{})
			defer silent.Close()
			ln.conns <- theirs
			synctest.Wait()
			stopped := make(chan error, 1)
			go func() { stopped <- s.Shutdown(context.Background()) }() // ends with the connections
			time.Sleep(Grace / 2)
			tr := &http.Transport{ForceAttemptHTTP2: proto == "h2", DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn := tls.Client(ours, &tls.Config{RootCAs: roots, ServerName: "a", NextProtos: []string{proto}})
				return conn, conn.HandshakeContext(ctx)
			}}
			defer tr.CloseIdleConnections()
			res, err := tr.RoundTrip(must(http.NewRequest("GET", "https://a/", nil)))
			if err != nil {
				t.Fatalf("%s: %v", proto, err)
			}
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != want {
				t.Errorf("%s: got %q, %v; want %q", proto, body, err, want)
			}
			res.Body.Close()
			var told atomic.Bool
			s.hs.RegisterOnShutdown(func() { told.Store(true) })
			time.Sleep(Grace)
			if !told.Load() {
				t.Errorf("%s: the server behind is not told to stop", proto)
			}
			if err := <-stopped; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("ServeTLS: %v", err)
			}
		})
	}
}

// Close waits for no client: TLS says its end first, which one that reads nothing
// does not take. (The bubble stands still if it does: the clock waits for Close.)
func TestCloseTLS(t *testing.T) {
	keyPair, _ := selfSigned(t)
	bubble(t, func(t *testing.T) {
		full, release := make(chan error, 1), make(chan struct{})
		b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			rc.SetWriteDeadline(time.Now().Add(time.Second))
			_, err := w.Write(make([]byte, 1<<20))
			full <- err
			<-release
		}, nil)
		for range 3 {
			ours, theirs := spdytest.Pipe(spdytest.PipeConfig{Buffer: 4 << 10})
			b.ln.conns <- tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{keyPair}})
			cl := tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
			defer ours.Close()
			if _, err := io.WriteString(cl, next); err != nil {
				t.Fatal(err)
			}
			if err := <-full; err == nil {
				t.Fatal("the answer was taken")
			}
		}
		begin := time.Now()
		b.s.Close()
		if d := time.Since(begin); d > 0 {
			t.Errorf("Close took %v", d)
		}
		close(release)
		b.close()
	})
}

// selfSigned returns a certificate for the host a.
func selfSigned(t *testing.T) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
