package spdy_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// A session's age makes the budget no larger, and SETTINGS and GOAWAY cost it what they
// make us do: each may concern all streams that are open.
func TestFloodBudget(t *testing.T) {
	settings := func(i uint32) frame { return set(7, 1+i%2) }
	same := func(uint32) frame { return set(7, 1) }
	goAway := func(i uint32) frame { return goAway(1<<31-1-2*i, 0) }
	for _, test := range []struct {
		what        string
		streams     int
		age         time.Duration
		frame       func(i uint32) frame
		least, most uint64 // of those frames that are taken, but for the two at the start
	}{
		{"no stream", 0, 0, settings, 10000, 10000},
		{"no stream, an old session", 0, time.Hour, settings, 10000, 10000},
		{"4096 streams", 4096, time.Hour, settings, 100, 300},
		{"4096 streams, windows that stay as they are", 4096, time.Hour, same, 9000, 10000},
		{"4096 streams, GOAWAY", 4096, time.Hour, goAway, 100, 300},
	} {
		t.Run(test.what, func(t *testing.T) {
			onClient(t, setup{}, func(h *clientTest) {
				for range test.streams {
					h.open("/")
				}
				time.Sleep(test.age)
				h.p.Send(test.frame(0), test.frame(1), ping(2))
				h.p.Want("two frames are no flood", ping(2))
				time.Sleep(time.Minute)
				before := h.s.Stats().FramesReceived
				for i := range uint32(200) {
					f := make([]frame, 100)
					for j := range f {
						f[j] = test.frame(2 + 100*i + uint32(j))
					}
					if h.p.TrySend(f...) != nil {
						break
					}
				}
				h.wantXE("a flood", 0)
				taken := h.s.Stats().FramesReceived - before - 1
				if taken < test.least || taken > test.most {
					h.Errorf("the session took %d frames, want %d to %d", taken, test.least, test.most)
				}
			})
		})
	}
}
