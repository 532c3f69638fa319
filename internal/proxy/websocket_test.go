package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// socketService is a local web service that sends each message back, and ends
// its side when a message says so.
type socketService struct {
	*httptest.Server
	ended chan error // one for each socket: what the service's last Read said
}

func newSocketService(t *testing.T) *socketService {
	s := &socketService{ended: make(chan error, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}})
		if err != nil {
			s.ended <- err
			return
		}
		defer ws.CloseNow()
		ws.SetReadLimit(16 << 20)
		for {
			kind, msg, err := ws.Read(r.Context())
			if err != nil {
				s.ended <- err
				return
			}
			switch string(msg) {
			case "close":
				s.ended <- ws.Close(websocket.StatusGoingAway, "closing time")
				return
			case "drop":
				s.ended <- ws.CloseNow()
				return
			}
			if err := ws.Write(r.Context(), kind, msg); err != nil {
				s.ended <- err
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// end waits for the end of a socket at the service.
func (s *socketService) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		t.Fatal("the service's side did not end")
		return nil
	}
}

// overSockets runs body with a visitor's way to P's front port, over plain
// HTTP/1.1 and over TLS, and a C that serves s.
func overSockets(t *testing.T, body func(t *testing.T, y *c, s *socketService, dial func() *websocket.Conn)) {
	for _, cl := range clients[:2] {
		t.Run(cl.name, func(t *testing.T) {
			s := newSocketService(t)
			x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = cl.tls })
			h, err := serve.New(serve.Config{To: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { h.Close() })
			y := startC(t, x, h, nil)
			rt := cl.make(t, x)
			body(t, y, s, func() *websocket.Conn {
				t.Helper()
				ws, res, err := websocket.Dial(deadline(t), x.url("/socket?x=1"), &websocket.DialOptions{
					HTTPClient: &http.Client{Transport: rt}, Subprotocols: []string{"echo"},
				})
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != 101 || ws.Subprotocol() != "echo" {
					t.Errorf("got %d, subprotocol %q, want 101 and echo", res.StatusCode, ws.Subprotocol())
				}
				ws.SetReadLimit(16 << 20)
				t.Cleanup(func() { ws.CloseNow() })
				return ws
			})
		})
	}
}

// say sends a message and checks that it comes back.
func say(ctx context.Context, ws *websocket.Conn, kind websocket.MessageType, msg []byte) error {
	if err := ws.Write(ctx, kind, msg); err != nil {
		return err
	}
	gotKind, got, err := ws.Read(ctx)
	if err != nil {
		return err
	}
	if gotKind != kind || !bytes.Equal(got, msg) {
		return fmt.Errorf("%v of %d bytes came back as %v of %d, or changed", kind, len(msg), gotKind, len(got))
	}
	return nil
}

// wantClose checks that err is the other side's close.
func wantClose(t *testing.T, who string, err error, code websocket.StatusCode, reason string) {
	t.Helper()
	if ce, ok := errors.AsType[websocket.CloseError](err); !ok || ce.Code != code || ce.Reason != reason {
		t.Errorf("%s saw %v, want a close with %v %q", who, err, code, reason)
	}
}

// Upgrade: websocket works end to end where C serves --to a service that speaks
// it.
func TestWebSocket(t *testing.T) {
	overSockets(t, func(t *testing.T, _ *c, s *socketService, dial func() *websocket.Conn) {
		ws := dial()
		for _, msg := range []string{"hello", "", "größer", "after"} {
			if err := say(deadline(t), ws, websocket.MessageText, []byte(msg)); err != nil {
				t.Fatalf("text %q: %v", msg, err)
			}
		}
		if err := say(deadline(t), ws, websocket.MessageBinary, pattern(1<<20)); err != nil {
			t.Fatalf("1 MiB: %v", err)
		}
		if err := ws.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Errorf("A's close: %v", err)
		}
		wantClose(t, "the service", s.end(t), websocket.StatusNormalClosure, "bye")

		ws = dial()
		if err := ws.Write(deadline(t), websocket.MessageText, []byte("close")); err != nil {
			t.Fatal(err)
		}
		_, _, err := ws.Read(deadline(t))
		wantClose(t, "A", err, websocket.StatusGoingAway, "closing time")
		if err := s.end(t); err != nil {
			t.Errorf("the service's close: %v", err)
		}
	})
}

// A side that goes without a close is seen to be gone by the other.
func TestWebSocketDropped(t *testing.T) {
	overSockets(t, func(t *testing.T, _ *c, s *socketService, dial func() *websocket.Conn) {
		ws := dial()
		if err := say(deadline(t), ws, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		ws.CloseNow()
		if err := s.end(t); err == nil || websocket.CloseStatus(err) != -1 {
			t.Errorf("A dropped its side: the service saw %v, want an end without a close", err)
		}
		ws = dial()
		if err := ws.Write(deadline(t), websocket.MessageText, []byte("drop")); err != nil {
			t.Fatal(err)
		}
		ctx := deadline(t)
		if _, _, err := ws.Read(ctx); err == nil || websocket.CloseStatus(err) != -1 || ctx.Err() != nil {
			t.Errorf("the service dropped its side: A saw %v, want an end without a close", err)
		}
		s.end(t)
	})
}

// Fifty sockets at once share C's one connection.
func TestWebSocketsAtOnce(t *testing.T) {
	t.Parallel()
	overSockets(t, func(t *testing.T, y *c, s *socketService, dial func() *websocket.Conn) {
		const n = 50
		var open []*websocket.Conn
		for range n {
			open = append(open, dial())
		}
		var talking sync.WaitGroup
		for i, ws := range open {
			talking.Go(func() {
				for round := range 3 {
					msg := append(fmt.Appendf(nil, "socket %d round %d ", i, round), pattern(1000*i)...)
					if err := say(deadline(t), ws, websocket.MessageBinary, msg); err != nil {
						t.Errorf("socket %d, round %d: %v", i, round, err)
						return
					}
				}
				if err := ws.Close(websocket.StatusNormalClosure, "done"); err != nil {
					t.Errorf("socket %d: %v", i, err)
				}
			})
		}
		talking.Wait()
		for range n {
			wantClose(t, "the service", s.end(t), websocket.StatusNormalClosure, "done")
		}
		if got := y.wire.dials(); got != 1 {
			t.Errorf("C has %d connections, want 1", got)
		}
	})
}

// When C is killed, the visitor's connection breaks, and so does the service's.
func TestWebSocketOriginKilled(t *testing.T) {
	overSockets(t, func(t *testing.T, y *c, s *socketService, dial func() *websocket.Conn) {
		ws := dial()
		if err := say(deadline(t), ws, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		y.crash()
		ctx := deadline(t)
		if _, _, err := ws.Read(ctx); err == nil || websocket.CloseStatus(err) != -1 || ctx.Err() != nil {
			t.Errorf("A saw %v, want its connection broken", err)
		}
		if err := s.end(t); err == nil || websocket.CloseStatus(err) != -1 {
			t.Errorf("the service saw %v, want an end without a close", err)
		}
	})
}
