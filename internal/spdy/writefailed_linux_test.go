package spdy_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// heldReads is a connection whose Reads wait for open, once it is there.
type heldReads struct {
	net.Conn
	open chan struct{}
}

func (c *heldReads) Read(p []byte) (int, error) {
	if c.open != nil {
		<-c.open
	}
	return c.Conn.Read(p)
}

// What a peer had answered before its connection was reset is not lost: the system
// keeps the answers for this side, which has not read them yet when its write fails.
// Needs real sockets: what the kernel makes of a RST is the question. It is Linux that
// keeps them.
func TestWriteFailedByReset(t *testing.T) {
	cert, pool := newCertificate(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "localhost"}
	for end, how := range map[string]func(*net.TCPConn) error{
		"closed": (*net.TCPConn).Close,
		"reset":  func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
	} {
		t.Run("TCP "+end, func(t *testing.T) {
			near, far := tcpPair(t)
			held := &heldReads{near, make(chan struct{})}
			testWriteFailedByReset(t, held, held, far, func() error { return how(far) })
		})
		t.Run("TLS "+end, func(t *testing.T) {
			near, far := tcpPair(t)
			held := &heldReads{Conn: near}
			client, server := tls.Client(spdy.Corkable(held), config), tls.Server(far, config)
			shaken := make(chan error, 1)
			// Ends with the handshake.
			go func() { shaken <- server.Handshake() }()
			if err := errors.Join(client.Handshake(), <-shaken); err != nil {
				t.Fatal(err)
			}
			held.open = make(chan struct{})
			testWriteFailedByReset(t, held, client, server, func() error { return how(far) })
		})
	}
}

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		dialled.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialled.Close()
		accepted.Close()
	})
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

func testWriteFailedByReset(t *testing.T, held *heldReads, near, far net.Conn, end func() error) {
	h := &clientTest{next: 1}
	h.session = &session{T: t, p: spdytest.NewPeer(t, far), s: new(spdy.Config).NewClientSession(near), served: make(chan error, 1)}
	release := sync.OnceFunc(func() { close(held.open) })
	h.serve()
	t.Cleanup(release) // before what serve cleans up
	h.p.WantPreface()

	body := strings.Repeat("answer", 2000)
	whole, first := h.open("/whole")
	short, second := h.open("/short")
	h.p.Send(rep(first), data(first, body, fin), rep(second), data(second, body))
	if err := end(); err != nil {
		t.Fatal(err)
	}
	// A peer that has only closed lets one write through.
	for late := time.After(spdytest.Limit); h.s.Err() == nil; {
		// Ends with the session.
		go h.s.PingContext(t.Context())
		select {
		case <-h.s.GoingAway():
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatal("no write failed")
		}
	}
	if err := h.s.Err(); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Err: got %v, want a write's", err)
	}
	release()
	whole.wantBody("all of it had come", 200, body)
	resp, err := short.wait()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if string(b) != body || !errors.Is(err, spdy.ErrLost) {
		t.Errorf("an answer that is not whole: got %d bytes and %v, want %d and ErrLost", len(b), err, len(body))
	}
	if err := h.wantServed(); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Serve: got %v, want a write's error", err)
	}
}
