package spdy_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
)

func TestStreamLimitIsAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			h.p.Send(set(4, 2))
			synctest.Wait()
			var calls []*call
			for i := range 6 {
				calls = append(calls, h.get(fmt.Sprint("/", i)))
				synctest.Wait() // the order of the calls is that of the queue
			}
			ctx, cancel := context.WithCancel(t.Context())
			leaves := h.start(h.request("GET", "/leaves", nil).WithContext(ctx))
			synctest.Wait()
			if n := h.s.InFlight(); n != 7 {
				t.Errorf("InFlight: got %d, want 7", n)
			}
			if n := h.s.Available(); n != 0 {
				t.Errorf("Available: got %d, want 0", n)
			}
			cancel()
			if _, err := leaves.wait(); !errors.Is(err, context.Canceled) {
				t.Errorf("a call that leaves the queue: got %v, want context.Canceled", err)
			}
			for i := range 2 {
				f := h.wantSyn("two at once")
				if path, _ := f.Get(":path"); path != fmt.Sprint("/", i) {
					t.Errorf("got %s, want the calls in their order", path)
				}
			}
			for i := range 6 {
				h.p.WantIdle("two at once")
				h.answer(calls[i], uint32(1+2*i))
				if i < 4 {
					f := h.wantSyn("a place became free")
					if path, _ := f.Get(":path"); path != fmt.Sprint("/", i+2) {
						t.Errorf("got %s, want the calls in their order", path)
					}
				}
			}
			if n := h.s.Available(); n != 2 {
				t.Errorf("Available: got %d, want 2", n)
			}

			// More than an int of 32 bits holds.
			h.p.Send(set(4, 1<<32-1))
			synctest.Wait()
			if n := h.s.Available(); n != 1<<31-1 {
				t.Errorf("Available: got %d, want 1<<31 - 1", n)
			}

			// Lowered below what is open: existing streams go on, new ones wait.
			a, ida := h.open("/a")
			b, idb := h.open("/b")
			h.p.Send(set(4, 1))
			synctest.Wait()
			c := h.get("/c")
			h.p.WantIdle("two are open, one is allowed")
			h.answer(a, ida)
			h.p.WantIdle("one is open, one is allowed")
			h.answer(b, idb)
			h.answer(c, h.wantSyn("none is open").ID)
			h.alive()
		})
	})
}

func TestSynStreamAfterThePeersGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve(t, setup{}, func(h *serverTest) {
			h.p.Send(req(1, "/hold"))
			<-h.arrived
			h.p.Send(goAway(0, 0), req(3, "/ok"))
			h.wantSE("2.6.6: the sender of a GOAWAY opens no stream", 3, spdy.RefusedStream)
			close(h.release)
			h.wantResponse("stream 1 completes", 1, "200", "ok")
			h.p.Want("GOAWAY before a close", goAway(1, 0))
			h.p.WantEOF("the last stream has ended")
		})
	})
}
