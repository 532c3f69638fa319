package spdy_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// PINGs of the keep-alive do not add up when the peer shows by other frames that
// it lives.
func TestKeepAlivePingsDoNotAddUp(t *testing.T) {
	onServer(t, setup{config: spdy.Config{KeepAlive: 10 * time.Second}}, func(h *serverTest) {
		for range 20 {
			if f := nextWithin(h, 30*time.Second); f.Type != spdytest.TypePing {
				h.Fatalf("got %v, want PING", f)
			}
			h.p.Send(rst(99, spdy.Cancel)) // a sign of life, and no echo
		}
		if n := h.s.OpenPings(); n > 1 {
			h.Errorf("%d PINGs wait for their echo, want 1", n)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	const interval = 15 * time.Second
	silent := setup{config: spdy.Config{KeepAlive: interval}}
	synctest.Test(t, func(t *testing.T) {
		dial(t, silent, func(h *clientTest) {
			c, _ := h.open("/")
			start := time.Now()
			f, err := h.p.TryNext(2 * interval)
			if err != nil || f.Type != spdytest.TypePing || f.ID%2 != 1 {
				t.Fatalf("a silent peer: got %v, %v, want PING", f, err)
			}
			if d := time.Since(start); d > interval {
				t.Errorf("got the PING after %v, want %v at most", d, interval)
			}
			// No echo: the peer is dead.
			err = h.afterwards(c)
			if d := time.Since(start); d > 2*interval || !errors.Is(err, spdy.ErrDead) {
				t.Errorf("the call: got %v after %v, want ErrDead after two intervals at most", err, d)
			}
			if spdy.Retryable(err) {
				t.Error("the call may have been processed, and says it was not")
			}
			if err := h.wantServed(); !errors.Is(err, spdy.ErrDead) {
				t.Errorf("Serve: got %v, want ErrDead", err)
			}
		})
	})
	synctest.Test(t, func(t *testing.T) {
		serve(t, silent, func(h *serverTest) {
			for range 10 { // echoes keep it alive
				f, err := h.p.TryNext(2 * interval)
				if err != nil || f.Type != spdytest.TypePing {
					t.Fatalf("a silent peer: got %v, %v, want PING", f, err)
				}
				h.p.Send(ping(f.ID))
			}
			for i := range 10 { // and so does anything else, unasked
				time.Sleep(interval * 9 / 10)
				h.p.Send(wu(0, 1))
				if f, ok := h.p.Poll(time.Second); ok && i > 0 {
					t.Fatalf("a peer that is not silent: got %v, want nothing", f)
				}
			}
			h.alive(1)
		})
	})
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			if f, err := h.p.TryNext(time.Hour); err != spdytest.ErrTimeout {
				t.Errorf("without KeepAlive: got %v, %v, want nothing", f, err)
			}
			h.alive()
		})
	})
}
