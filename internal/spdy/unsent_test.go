package spdy_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A handler can wait until the peer's windows have let out what it wrote, and
// does not wait where they do.
func TestWaitSent(t *testing.T) {
	type waiter interface{ WaitSent() error }
	run := func(t *testing.T, body func(h *serverTest, waited chan error)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			serve(t, smallSession, func(h *serverTest) {
				waited := make(chan error, 10)
				h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "0123456789")
					waited <- w.(waiter).WaitSent()
				})
				h.mux.HandleFunc("/deadline", func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "0123456789")
					time.AfterFunc(time.Second, func() { http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) })
					waited <- w.(waiter).WaitSent()
				})
				body(h, waited)
			})
		})
	}
	still := func(h *serverTest, waited chan error) {
		h.Helper()
		synctest.Wait()
		if len(waited) > 0 {
			h.Errorf("the wait ended with %v, want it to go on", <-waited)
		}
	}
	ended := func(h *serverTest, waited chan error, want error) {
		h.Helper()
		synctest.Wait()
		select {
		case err := <-waited:
			if !errors.Is(err, want) {
				h.Errorf("the wait ended with %v, want %v", err, want)
			}
		default:
			h.Error("the wait goes on, want its end")
		}
	}
	t.Run("wide windows", func(t *testing.T) {
		run(t, func(h *serverTest, waited chan error) {
			h.p.Send(req(1, "/wait"))
			m := h.wantResponse("as without the wait", 1, "200", "0123456789")
			if got, _ := m.head.Get("content-length"); got != "10" {
				h.Errorf("content-length %q: what was held back went out for the wait, want 10", got)
			}
			ended(h, waited, nil)
		})
	})
	t.Run("a stream's window", func(t *testing.T) {
		run(t, func(h *serverTest, waited chan error) {
			h.p.Send(set(7, 4), req(1, "/wait"))
			h.wantBytes("2.6.8: the stream's window", map[uint32]int{1: 4})
			still(h, waited)
			h.p.Send(wu(1, 3))
			h.wantBytes("2.6.8: the stream's window", map[uint32]int{1: 3})
			still(h, waited)
			h.p.Send(wu(1, 100))
			h.wantRest(1, "789")
			ended(h, waited, nil)
		})
	})
	t.Run("the session's window", func(t *testing.T) {
		run(t, func(h *serverTest, waited chan error) {
			h.p.Send(req(1, "/size/65530"))
			h.wantBytes("2.6.8: both windows are 65536", map[uint32]int{1: 65530})
			h.p.Send(req(3, "/wait"))
			h.wantBytes("2.6.8: the session's window", map[uint32]int{3: 6})
			still(h, waited)
			h.p.Send(wu(0, 100))
			h.wantRest(3, "6789")
			ended(h, waited, nil)
		})
	})
	t.Run("a reset", func(t *testing.T) {
		run(t, func(h *serverTest, waited chan error) {
			h.p.Send(set(7, 0), req(1, "/wait"))
			h.wantBytes("2.6.8: no window", map[uint32]int{1: 0})
			still(h, waited)
			h.p.Send(rst(1, spdy.Cancel))
			synctest.Wait()
			se := &spdy.StreamError{}
			if err := <-waited; !errors.As(err, &se) || se.Status != spdy.Cancel {
				h.Errorf("got %v, want the peer's CANCEL", err)
			}
		})
	})
	t.Run("a deadline", func(t *testing.T) {
		run(t, func(h *serverTest, waited chan error) {
			h.p.Send(set(7, 0), req(1, "/deadline"))
			h.wantBytes("2.6.8: no window", map[uint32]int{1: 0})
			still(h, waited)
			h.p.Want("the stream of a handler that was late", rst(1, spdy.InternalError))
			ended(h, waited, os.ErrDeadlineExceeded)
		})
	})
}

// wantRest reads DATA on id up to its FIN.
func (h *serverTest) wantRest(id uint32, body string) {
	h.Helper()
	got := ""
	for {
		f := h.p.Next("the rest")
		if f.Type != spdytest.TypeData || f.ID != id {
			h.Fatalf("got %v, want DATA on stream %d", f, id)
		}
		if got += string(f.Data); f.Flags&fin != 0 {
			break
		}
	}
	if got != body {
		h.Errorf("got the rest %q, want %q", got, body)
	}
}

// MaxStreams is what the peer's SETTINGS say.
func TestMaxStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			for _, c := range []struct {
				send []uint32
				want int
			}{{nil, 1<<31 - 1}, {[]uint32{4, 7}, 7}, {[]uint32{4, 0}, 0}, {[]uint32{4, 1<<32 - 1}, 1<<31 - 1}} {
				if c.send != nil {
					h.p.Send(set(c.send...))
					synctest.Wait()
				}
				if got := h.s.MaxStreams(); got != c.want {
					h.Errorf("after SETTINGS %v: %d, want %d", c.send, got, c.want)
				}
			}
		})
	})
}
