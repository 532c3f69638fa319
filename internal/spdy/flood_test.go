package spdy_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A peer that does not read cannot make the session hold frames without end.
func TestPeerThatDoesNotReadIsBounded(t *testing.T) {
	s := setup{config: spdy.Config{MaxConcurrentStreams: 10, WriteTimeout: -1}, pipe: spdytest.PipeConfig{Buffer: 4 << 10}}
	const rounds = 3000 // the connection itself takes 256 frames of 16 bytes
	t.Run("resets", func(t *testing.T) {
		onServer(t, s, func(h *serverTest) {
			h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			for i := range rounds {
				id := uint32(2*i + 1)
				if h.p.TrySend(post(id, "/wait"), withFlags(data(id, "x"), 2)) != nil || h.s.Err() != nil {
					break
				}
				synctest.Wait()
			}
			if err := h.s.Err(); err == nil {
				h.Errorf("the session holds %d resets for a peer that does not read", rounds)
			}
		})
	})
	t.Run("credit", func(t *testing.T) {
		onServer(t, s, func(h *serverTest) {
			h.p.Send(post(1, "/count"))
			synctest.Wait()
			f := data(1, string(bytesOf(32<<10)))
			for range rounds {
				if h.p.TrySend(f) != nil || h.s.Err() != nil {
					break
				}
				synctest.Wait()
			}
			if err := h.s.Err(); err == nil {
				h.Errorf("the session holds the credit for %d frames for a peer that does not read", rounds)
			}
		})
	})
}

// A peer cannot fill the log with GOAWAYs, nor send them without end.
func TestGoAwayFlood(t *testing.T) {
	var n atomic.Int32
	s := setup{config: spdy.Config{Logger: slog.New(lines{slog.DiscardHandler, &n})}}
	onClient(t, s, func(h *clientTest) {
		c, id := h.open("/")
		for range 50 {
			h.p.Send(goAway(1, 2), goAway(1, 0))
		}
		synctest.Wait()
		h.p.Send(rep(id), data(id, "ok", fin))
		c.wantBody("the open stream goes on", 200, "ok")
		h.wantServedStatus(spdy.GoAwayInternalError)
		if got := n.Load(); got != 0 {
			h.Errorf("100 GOAWAYs: got %d lines in the log, want none beside what Serve returns", got)
		}
	})
	onClient(t, setup{}, func(h *clientTest) {
		_, _ = h.open("/")
		for range 30000 {
			if h.p.TrySend(goAway(1, 0)) != nil {
				break
			}
		}
		h.p.Want("a flood", goAway(0, 1))
	})
}

// Costs of a frame that a peer may send often: SETTINGS that close and open the
// windows of 1000 streams with DATA to send.
func BenchmarkSettings(b *testing.B) {
	near, far := spdytest.Pipe(spdytest.PipeConfig{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 70000)) })
	s := (*spdy.Config)(nil).NewServerSession(far, &http.Server{Handler: handler})
	served := make(chan struct{})
	// Ends with the session, which is closed below; waited for there.
	go func() {
		defer close(served)
		s.Serve()
	}()
	defer func() {
		near.Close()
		s.Close()
		<-served
	}()
	p := spdytest.NewPeer(b, near)
	p.NoSecond = true
	for i := range 1000 {
		p.Send(req(uint32(2*i+1), "/"))
	}
	for { // until the session's window is used up
		if _, err := p.TryNext(spdytest.Idle); err != nil {
			break
		}
	}
	for b.Loop() {
		p.Send(set(7, 0), set(7, 65536), ping(1))
		p.Want("the echo", ping(1))
	}
}

func TestFloods(t *testing.T) {
	for name, run := range map[string]func(h *serverTest){
		"100 frames for streams that were never opened": func(h *serverTest) {
			for i := range uint32(100) {
				h.p.Send(data(1001+2*i, "x"))
				h.p.Want("INVALID_STREAM", rst(1001+2*i, spdy.InvalidStream))
			}
			h.alive(1)
			h.p.Send(data(2001, "x"))
			h.wantXE("the 101st", 1)
		},
		"PINGs that a peer does not read the echoes of": func(h *serverTest) {
			h.p.Send(req(1, "/size/1000000"), set(7, 1<<30), wu(0, 1<<30))
			synctest.Wait() // the pipe is full
			sent := 0
			for ; sent < 1000; sent++ {
				if h.p.TrySend(ping(uint32(2*sent+1))) != nil {
					break
				}
				synctest.Wait()
				if h.s.Err() != nil {
					break
				}
			}
			if sent < 64 || sent > 200 {
				h.Errorf("the session ended after %d PINGs, want some more than 64", sent)
			}
			h.wantServedStatus(spdy.GoAwayProtocolError)
		},
		"streams that are reset while their handlers run": func(h *serverTest) {
			// They do not look at their context.
			const limit = 20 // the setup's
			for i := range uint32(limit + 10) {
				h.p.Send(req(1+2*i, "/stubborn"))
				synctest.Wait() // or what answers it is dropped with it
				h.p.Send(rst(1+2*i, spdy.Cancel))
			}
			for i := range uint32(10) {
				h.p.Want("handlers count, not open streams", rst(1+2*(limit+i), spdy.RefusedStream))
			}
			h.p.WantIdle("nothing for the others")
			if n := h.s.Stats().Handlers; n != limit {
				h.Errorf("got %d handlers running, want %d", n, limit)
			}
			close(h.release)
			synctest.Wait()
			h.alive(1 + 2*(limit+10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := setup{config: spdy.Config{MaxConcurrentStreams: 20}}
				if strings.HasPrefix(name, "PINGs") {
					s.pipe.Buffer = 64 << 10
				}
				serve(t, s, func(h *serverTest) {
					h.mux.HandleFunc("/stubborn", func(w http.ResponseWriter, r *http.Request) { <-h.release })
					run(h)
				})
			})
		})
	}
}

// A peer that asks for much, gives all the window there is, and reads nothing:
// what is held for it is bounded.
func TestUnreadResponsesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve(t, setup{pipe: spdytest.PipeConfig{Buffer: 64 << 10}}, func(h *serverTest) {
			// One body for all: only what the session holds is to be seen.
			body := make([]byte, 1<<20)
			h.mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { w.Write(body) })
			before := heap()
			h.p.Send(set(7, 1<<31-1), wu(0, 1<<31-1-65536))
			for i := range uint32(1000) {
				h.p.Send(req(1+2*i, "/big"))
			}
			synctest.Wait()
			if n := h.s.Stats().Handlers; n != 1000 {
				t.Fatalf("got %d handlers running, want 1000", n)
			}
			// At most 4 MiB for all, 16 KiB and one chunk for each, and its handler.
			if held := int64(heap()) - int64(before); held > 48<<20 {
				t.Errorf("got %d bytes held for 1000 responses of 1 MiB that nobody reads, want 48 MiB at most", held)
			}
		})
	})
}
