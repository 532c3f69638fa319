package front

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/amahi/spdy/spdytest"
)

// socket is a service's side of a WebSocket: what it does when it is open.
type socket struct {
	open func(r io.Reader, w io.Writer)
	left chan struct{} // its visitor is gone, or it has ended
}

func newSocket(open func(r io.Reader, w io.Writer)) *socket {
	return &socket{open, make(chan struct{})}
}

func (s *socket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	defer close(s.left)
	s.open(r.Body, promptly{w})
}

type promptly struct{ http.ResponseWriter }

func (f promptly) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	http.NewResponseController(f.ResponseWriter).Flush()
	return n, err
}

// webSocket opens one, and returns the visitor's connection.
func (b *bubble) webSocket() (*spdytest.Conn, *bufio.Reader) {
	b.Helper()
	conn := b.dial("192.0.2.1")
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("got %v, %v, want 101", resp, err)
	}
	return conn, r
}

// An upgraded connection on which nothing is said is not stalled.
func TestIdleUpgrade(t *testing.T) {
	s := newSocket(func(r io.Reader, w io.Writer) { io.Copy(w, r) })
	inBubble(t, 100, nil, s.ServeHTTP, func(b *bubble) {
		conn, r := b.webSocket()
		time.Sleep(time.Hour)
		io.WriteString(conn, "echo")
		got := make([]byte, 4)
		if _, err := io.ReadFull(r, got); err != nil || string(got) != "echo" {
			b.Errorf("after an hour: %q, %v", got, err)
		}
		conn.Close()
		<-s.left
	})
}

// One whose visitor reads nothing of what the service says is.
func TestStalledUpgrade(t *testing.T) {
	s := newSocket(func(r io.Reader, w io.Writer) {
		for {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 16<<10)); err != nil {
				return
			}
		}
	})
	inBubble(t, 100, nil, s.ServeHTTP, func(b *bubble) {
		conn, _ := b.webSocket()
		defer conn.Close()
		time.Sleep(time.Minute - time.Second)
		if b.h.InFlight() != 1 {
			b.Error("ended within a minute")
		}
		time.Sleep(time.Minute/stallTicks + 2*time.Second)
		b.wantStalled()
		<-s.left
	})
}
