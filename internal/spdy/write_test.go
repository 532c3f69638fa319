package spdy_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A peer that reads nothing while something is to be written is given up.
func TestWriteStall(t *testing.T) {
	const limit = 20 * time.Second
	for name, config := range map[string]spdy.Config{
		"WriteTimeout": {WriteTimeout: limit},
		"default":      {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial(t, setup{config: config, pipe: spdytest.PipeConfig{Buffer: 64 << 10}}, func(h *clientTest) {
					h.p.Send(wu(0, 1<<30), set(7, 1<<30))
					synctest.Wait()
					start := time.Now()
					up := h.start(h.request("POST", "/", bytes.NewReader(make([]byte, 1<<20))))
					err := h.afterwards(up)
					want := limit
					if name == "default" {
						want = 30 * time.Second
					}
					if d := time.Since(start); d < want || d > want+5*time.Second || !errors.Is(err, spdy.ErrDead) {
						t.Errorf("the call: got %v after %v, want ErrDead after %v", err, d, want)
					}
				})
			})
		})
	}
}

// Equal streams of a session get equal shares, and more urgent ones nearly all,
// whatever their handlers do in between.
func TestShares(t *testing.T) {
	for name, test := range map[string]struct {
		priorities []uint8
		want       []float64 // of the bytes
	}{
		"four equals":          {[]uint8{3, 3, 3, 3}, []float64{0.25, 0.25, 0.25, 0.25}},
		"a more urgent one":    {[]uint8{3, 0, 3}, []float64{0, 1, 0}},
		"two of one of three":  {[]uint8{5, 2, 2}, []float64{0, 0.5, 0.5}},
		"all eight priorities": {[]uint8{7, 6, 5, 4, 3, 2, 1, 0}, []float64{0, 0, 0, 0, 0, 0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve(t, setup{}, func(h *serverTest) {
					h.mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
						p := make([]byte, 100000)
						for {
							if _, err := w.Write(p); err != nil {
								return
							}
						}
					})
					h.p.Send(set(7, 1<<30))
					for i, pri := range test.priorities {
						f := req(uint32(1+2*i), "/endless")
						f.Priority = pri
						h.p.Send(f)
					}
					h.drain(newCollector()) // the session's first window
					const total = 8 << 20
					got := make(map[uint32]int)
					for sum := 0; sum < total; {
						// A line slower than the handlers: they have refilled their
						// streams before more can be sent.
						synctest.Wait()
						h.p.Send(wu(0, 32<<10))
						for left := 32 << 10; left > 0; {
							f := h.p.Next("DATA")
							if f.Type != spdytest.TypeData {
								continue
							}
							got[f.ID] += len(f.Data)
							left -= len(f.Data)
							sum += len(f.Data)
						}
					}
					for i, want := range test.want {
						share := float64(got[uint32(1+2*i)]) / total
						// A tenth of the share, or what keeps a less urgent one from starving.
						if d := share - want; d > max(want/10, 0.02) || d < min(-want/10, -0.02) {
							t.Errorf("stream %d of priority %d: got a share of %.3f, want %.3f", 1+2*i, test.priorities[i], share, want)
						}
					}
				})
			})
		})
	}
}

// The end names no time that nobody has set: the connection may have a deadline of its
// own.
func TestWriteDeadlineOfTheConnection(t *testing.T) {
	onServer(t, setup{config: spdy.Config{WriteTimeout: -1}, pipe: fullPipe.pipe}, func(h *serverTest) {
		h.end.SetWriteDeadline(time.Now().Add(time.Second))
		h.p.Send(wu(0, 1<<30), req(1, "/size/1000000"), wu(1, 1<<30))
		err := h.wantServed()
		if !errors.Is(err, spdy.ErrDead) || strings.Contains(err.Error(), "-1") {
			h.Errorf("Serve: got %v, want an ErrDead, and no time in it", err)
		}
		<-h.failed
	})
}

// Both sides trace the same length of a frame, that of its payload on the wire.
func TestTracedLength(t *testing.T) {
	var traced []spdy.FrameInfo
	onClient(t, setup{config: spdy.Config{Trace: func(f spdy.FrameInfo) {
		if f.Sent && f.Type == 1 {
			traced = append(traced, f)
		}
	}}}, func(h *clientTest) {
		for _, path := range []string{"/", "/again"} {
			c := h.get(path)
			f := h.wantSyn("a call")
			got := traced[len(traced)-1]
			if want := len(f.Wire) - 8; got.Length != want || !strings.Contains(got.Detail, path) {
				h.Errorf("got %v, want a length of %d", got, want)
			}
			h.answer(c, f.ID)
		}
	})
}
