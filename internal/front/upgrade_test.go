package front

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy/spdytest"
)

// socket is a service's side of a WebSocket: what it does when it is open.
type socket struct {
	open func(ctx context.Context, r io.Reader, w io.Writer)
	left chan struct{} // its visitor is gone, or it has ended
}

func newSocket(open func(ctx context.Context, r io.Reader, w io.Writer)) *socket {
	return &socket{open, make(chan struct{})}
}

func (s *socket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	defer close(s.left)
	s.open(r.Context(), r.Body, promptly{w})
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
	s := newSocket(func(_ context.Context, r io.Reader, w io.Writer) { io.Copy(w, r) })
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
	s := newSocket(func(_ context.Context, r io.Reader, w io.Writer) {
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

// When one side has said all, the other is told, and has half a minute.
func TestUpgradeEnds(t *testing.T) {
	visitorEnds := func(conn *spdytest.Conn) { conn.CloseWrite() }
	for _, test := range []struct {
		name    string
		service func(ctx context.Context, r io.Reader, w io.Writer)
		visitor func(conn *spdytest.Conn)
		within  time.Duration // of the end of one side, P has ended both; 0: at once
	}{
		{"the service has gone, the visitor stays", func(context.Context, io.Reader, io.Writer) {}, func(*spdytest.Conn) {}, upgradeGrace},
		{"the service has gone, the visitor goes on talking", func(context.Context, io.Reader, io.Writer) {}, func(conn *spdytest.Conn) {
			for range 29 {
				io.WriteString(conn, "are you there?")
				time.Sleep(time.Second)
			}
		}, upgradeGrace},
		{"the service has gone, and so the visitor goes", func(context.Context, io.Reader, io.Writer) {}, visitorEnds, 0},
		{"the visitor has ended its side, and so the service ends", func(ctx context.Context, r io.Reader, w io.Writer) { io.Copy(io.Discard, r) }, visitorEnds, 0},
		{"the visitor has ended its side, the service stays", func(ctx context.Context, r io.Reader, w io.Writer) {
			io.Copy(io.Discard, r)
			<-ctx.Done()
		}, visitorEnds, upgradeGrace},
		{"the visitor has ended its side, the service goes on talking", func(ctx context.Context, r io.Reader, w io.Writer) {
			io.Copy(io.Discard, r)
			for {
				if _, err := io.WriteString(w, "one more thing"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, visitorEnds, upgradeGrace},
		{"the service breaks off", func(ctx context.Context, r io.Reader, w io.Writer) {
			r.Read(make([]byte, 1))
			panic(http.ErrAbortHandler)
		}, func(conn *spdytest.Conn) { io.WriteString(conn, "x") }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSocket(test.service)
			inBubble(t, 100, nil, s.ServeHTTP, func(b *bubble) {
				conn, r := b.webSocket()
				defer conn.Close()
				start := time.Now()
				told := make(chan time.Duration, 1)
				// Ends when P says that nothing more comes.
				go func() {
					io.Copy(io.Discard, r)
					told <- time.Since(start)
				}()
				test.visitor(conn)
				if test.within > 0 {
					time.Sleep(time.Until(start.Add(test.within - time.Second)))
					if n := b.h.InFlight(); n != 1 {
						b.Errorf("a second before its time %d are open, want 1", n)
					}
				}
				time.Sleep(time.Until(start.Add(test.within + time.Second)))
				select {
				case rec := <-b.records:
					if !rec.Upgraded || rec.Status != http.StatusSwitchingProtocols {
						b.Errorf("record: upgraded %v, %d", rec.Upgraded, rec.Status)
					}
				default:
					b.Fatal("a second after its time it is open, want its end")
				}
				ends := strings.HasPrefix(test.name, "the service")
				select {
				case at := <-told:
					if ends && at > time.Second || at > test.within+time.Second {
						b.Errorf("the visitor was told after %v", at)
					}
				default:
					b.Fatal("the visitor was not told")
				}
			})
		})
	}
}
