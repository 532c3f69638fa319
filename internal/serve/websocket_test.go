package serve_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy-proxy/internal/serve"
	"github.com/coder/websocket"
)

// dialWebSocket opens a WebSocket over the session, as P does for a visitor.
func dialWebSocket(ctx context.Context, s *spdy.Session, path string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	if opts == nil {
		opts = new(websocket.DialOptions)
	}
	opts.HTTPClient = &http.Client{Transport: s}
	return websocket.Dial(ctx, "http://example.test"+path, opts)
}

// echo is a service that sends each message back.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 24)
	for {
		kind, msg, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if string(msg) == "close" {
			c.Close(websocket.StatusNormalClosure, "as you wish")
			return
		}
		if err := c.Write(r.Context(), kind, msg); err != nil {
			return
		}
	}
}

func TestWebSocketBothWays(t *testing.T) {
	s := toService(t, echo)
	for _, compression := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		c, resp, err := dialWebSocket(t.Context(), s, "/ws?x=1", &websocket.DialOptions{
			Subprotocols: []string{"echo"}, CompressionMode: compression,
			HTTPHeader: http.Header{"Origin": {"http://example.test"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 101 || c.Subprotocol() != "echo" {
			t.Errorf("%d, subprotocol %q, want 101 and echo", resp.StatusCode, c.Subprotocol())
		}
		c.SetReadLimit(1 << 24)
		big := make([]byte, 1<<20)
		rand.Read(big)
		for _, msg := range [][]byte{[]byte("hello"), {}, []byte("größer"), big, []byte("after")} {
			if err := c.Write(t.Context(), websocket.MessageBinary, msg); err != nil {
				t.Fatal(err)
			}
			kind, got, err := c.Read(t.Context())
			if err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, msg) {
				t.Fatalf("%d bytes came back as %d, %v, %v", len(msg), len(got), kind, err)
			}
		}
		if err := c.Write(t.Context(), websocket.MessageText, []byte("close")); err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Read(t.Context())
		var end websocket.CloseError
		if !errors.As(err, &end) || end.Code != websocket.StatusNormalClosure || end.Reason != "as you wish" {
			t.Errorf("the service's close came as %v", err)
		}
		c.CloseNow()
	}
}

// A WebSocket has a connection of HTTP/1.1, whatever else a service with TLS speaks.
func TestWebSocketOverTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := visit(t, open(t, serve.Config{To: srv.URL, ToCA: ca}))
	c, _, err := dialWebSocket(t.Context(), s, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(t.Context()); err != nil || string(got) != "hello" {
		t.Errorf("hello came back as %q, %v", got, err)
	}
}

func TestWebSocketClosedByTheVisitor(t *testing.T) {
	ended := make(chan struct{})
	s := toService(t, func(w http.ResponseWriter, r *http.Request) { defer close(ended); echo(w, r) })
	c, _, err := dialWebSocket(t.Context(), s, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(websocket.StatusGoingAway, "bye"); err != nil {
		t.Errorf("Close: %v", err)
	}
	<-ended
}

func TestWebSocketAbandonedByTheVisitor(t *testing.T) {
	ended := make(chan struct{})
	s := toService(t, func(w http.ResponseWriter, r *http.Request) { defer close(ended); echo(w, r) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, _, err := dialWebSocket(ctx, s, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	<-ended
}

func TestWebSocketRefusedByTheService(t *testing.T) {
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Why", "because")
		http.Error(w, "no sockets here", http.StatusForbidden)
	})
	_, resp, err := dialWebSocket(t.Context(), s, "/", nil)
	if err == nil || resp == nil || resp.StatusCode != 403 || resp.Header.Get("X-Why") != "because" {
		t.Fatalf("%v, %+v, want the service's 403", err, resp)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "no sockets here\n" {
		t.Errorf("body %q", body)
	}
}

func TestWebSocketToAServiceThatIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := visit(t, open(t, serve.Config{To: "http://" + l.Addr().String()}))
	_, resp, err := dialWebSocket(t.Context(), s, "/", nil)
	if err == nil || resp == nil || resp.StatusCode != 502 {
		t.Fatalf("%v, %+v, want 502", err, resp)
	}
}

// upgradeRequest asks for a WebSocket without a library that would judge the answer.
func upgradeRequest(t *testing.T) *http.Request {
	r := request(t.Context(), "GET", "/ws", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"WebSocket"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Version": {"13"},
	}
	return r
}

func TestWebSocketAnsweredByAnotherProtocol(t *testing.T) {
	s := visit(t, open(t, serve.Config{To: "http://" + rawService(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")}))
	resp, err := s.RoundTrip(upgradeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 502 || !strings.Contains(string(body), "not asked for") {
		t.Errorf("%d %q, want 502", resp.StatusCode, body)
	}
}

// rawSocket serves upgrades with a function that has the connection to itself.
func rawSocket(t *testing.T, serveConn func(net.Conn)) *spdy.Session {
	t.Helper()
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		if r.Header.Get("Connection") != "Upgrade" || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") == "" {
			t.Errorf("the service got the headers %v", r.Header)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nfirst")
		serveConn(conn)
	}))
	t.Cleanup(func() { <-done; srv.Close() })
	return visit(t, open(t, serve.Config{To: srv.URL}))
}

// Each direction ends by itself, and what comes with the 101 is not lost.
func TestWebSocketHalfClose(t *testing.T) {
	s := rawSocket(t, func(conn net.Conn) {
		all, err := io.ReadAll(conn) // until the visitor's end
		if err != nil {
			t.Errorf("the service read %q, %v", all, err)
		}
		conn.Write(bytes.ToUpper(all))
	})
	resp, err := s.RoundTrip(upgradeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-Websocket-Accept") != "x" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	conn := resp.Body.(interface {
		io.ReadWriteCloser
		CloseWrite() error
	})
	defer conn.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(conn, first); err != nil || string(first) != "first" {
		t.Fatalf("the bytes beside the 101: %q, %v", first, err)
	}
	if _, err := io.WriteString(conn, "all of this"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "ALL OF THIS" || err != nil {
		t.Errorf("after the visitor's end: %q, %v", got, err)
	}
}

// The service closes while the visitor would go on: he gets what was said, then the end.
func TestWebSocketEndedByTheService(t *testing.T) {
	s := rawSocket(t, func(conn net.Conn) { io.WriteString(conn, " and last") })
	resp, err := s.RoundTrip(upgradeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); string(got) != "first and last" || err != nil {
		t.Errorf("%q, %v, want all that the service said, and its end", got, err)
	}
}

// A connection that breaks must not look like one that ended.
func TestWebSocketBrokenByTheService(t *testing.T) {
	read := make(chan struct{})
	s := rawSocket(t, func(conn net.Conn) {
		<-read
		conn.(*net.TCPConn).SetLinger(0) // closing resets
	})
	resp, err := s.RoundTrip(upgradeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	close(read)
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q and a clean end", got)
	}
}
