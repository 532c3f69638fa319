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

// A Write that waits for a peer that gives no window is ended by a deadline that
// somebody else sets meanwhile, and the stream is reset, whatever the handler makes
// of it.
func TestWriteDeadlineEndsAWaitingWrite(t *testing.T) {
	for what, after := range map[string]func(c *http.ResponseController){
		"returns":              func(c *http.ResponseController) {},
		"takes the limit away": func(c *http.ResponseController) { c.SetWriteDeadline(time.Time{}) },
		"panics":               func(c *http.ResponseController) { panic(http.ErrAbortHandler) },
	} {
		t.Run(what, func(t *testing.T) {
			onServer(t, setup{}, func(h *serverTest) {
				writing, failed := make(chan *http.ResponseController, 1), make(chan error, 1)
				h.mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
					c := http.NewResponseController(w)
					writing <- c
					_, err := w.Write(bytesOf(1 << 20))
					failed <- err
					after(c)
				})
				h.p.Send(set(7, 0), req(1, "/large"))
				c := <-writing
				synctest.Wait()
				select {
				case err := <-failed:
					h.Fatalf("Write: got %v, want it to wait for window", err)
				default:
				}
				began := time.Now()
				c.SetWriteDeadline(began.Add(5 * time.Second))
				c.SetWriteDeadline(began.Add(3 * time.Second)) // the later call counts
				err := <-failed
				if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != 3*time.Second {
					h.Errorf("Write: got %v after %v, want os.ErrDeadlineExceeded after 3s", err, took)
				}
				if f := h.p.Next("the headers"); f.ID != 1 {
					h.Errorf("got %v, want the headers", f)
				}
				h.wantSE("the response is not whole", 1, spdy.InternalError)
				h.p.Send(set(7, 65536))
				h.alive(3)
			})
		})
	}
}

// What a handler has left behind in the stream's buffer is not kept longer.
func TestWriteDeadlineBoundsWhatIsLeft(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(3 * time.Second))
			io.WriteString(w, "small")
		})
		h.p.Send(set(7, 0))
		for _, f := range []frame{req(1, "/small"), req(3, "/small"), post(5, "/small")} {
			h.p.Send(f)
			if got := h.p.Next("the headers"); got.ID != f.ID || got.Flags != 0 {
				h.Errorf("got %v, want the headers of %d", got, f.ID)
			}
		}
		h.p.Send(wu(3, 100), wu(5, 100))
		h.p.Want("with window they are whole", data(3, "small", fin), data(5, "small", fin))
		h.p.WantIdle("without it")
		time.Sleep(3 * time.Second)
		h.p.Want("the time is up", rst(1, spdy.InternalError))
		h.p.WantIdle("of the one that is not whole")
		if n := h.s.InFlight(); n != 1 {
			h.Errorf("%d streams are open, want that whose request is not whole", n)
		}
		h.p.Send(set(7, 65536))
		h.alive(7)
	})
}

// A peer that gives no window cannot hold more streams than it was allowed, although
// the handlers of small responses have long returned.
func TestStreamsWithoutWindowCount(t *testing.T) {
	const limit = 20
	onServer(t, setup{config: spdy.Config{MaxConcurrentStreams: limit}}, func(h *serverTest) {
		h.p.Send(set(7, 0))
		for i := range uint32(2 * limit) {
			h.p.Send(req(2*i+1, "/ok"))
			f := h.p.Next("an answer")
			if refused := rst(2*i+1, spdy.RefusedStream); i >= limit && (f.Type != refused.Type || f.ID != refused.ID || f.Value != refused.Value) {
				h.Errorf("stream %d of %d: got %v, want %v", i+1, limit, f, refused)
			}
		}
		synctest.Wait()
		if st := h.s.Stats(); st.StreamsOpen != limit || st.Handlers != 0 {
			h.Errorf("got %d streams and %d handlers, want %d and none", st.StreamsOpen, st.Handlers, limit)
		}
		h.p.Send(rst(1, spdy.Cancel), set(7, 65536))
		for range limit - 1 {
			if f := h.p.Next("DATA"); f.Type != spdytest.TypeData || f.Flags != fin {
				h.Errorf("got %v, want DATA with FIN", f)
			}
		}
		h.alive(4*limit + 1)
	})
}
