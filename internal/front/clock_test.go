package front

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Each clock rings at its own time, whatever became of those before it.
func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10 * time.Second
		all := &clocks{limit: limit}
		begin := time.Now()
		type one struct {
			*clock
			ctx context.Context
		}
		start := func() one {
			ctx, cancel := context.WithCancelCause(t.Context())
			c := one{&clock{of: all, cancel: cancel}, ctx}
			c.start()
			c.start() // a second one changes nothing
			return c
		}
		rings := func(c one, at time.Duration) {
			t.Helper()
			<-c.ctx.Done()
			if got := time.Since(begin); got != at || context.Cause(c.ctx) != errResponseTimeout || c.stop() {
				t.Errorf("it rang after %v, %v, stop says in time: %v; want %v", got, context.Cause(c.ctx), c.stop(), at)
			}
		}
		a := start()
		time.Sleep(time.Second)
		b := start()
		time.Sleep(time.Second)
		c := start()
		d := start()
		time.Sleep(time.Second)
		e := start()
		// The first, the last, and one in the middle are in time.
		for _, x := range []one{a, c, e} {
			for range 2 {
				if !x.stop() {
					t.Error("a clock that was stopped at once was not in time")
				}
			}
		}
		e.start() // too late
		rings(b, 11*time.Second)
		rings(d, 12*time.Second)
		if all.first != nil || all.last != nil {
			t.Error("clocks are left")
		}
		time.Sleep(time.Minute)
		begin = time.Now()
		f := start()
		time.Sleep(9 * time.Second)
		g := start()
		rings(f, limit)
		rings(g, 19*time.Second)
		for _, x := range []one{a, c, e} {
			if x.ctx.Err() != nil {
				t.Error("a clock that was stopped rang")
			}
		}
		// One that was never started, and no limit.
		if ctx, cancel := context.WithCancelCause(t.Context()); !(&clock{of: all, cancel: cancel}).stop() || ctx.Err() != nil {
			t.Error("a clock that was not started was not in time")
		}
		all.limit = 0
		h := start()
		time.Sleep(time.Hour)
		if !h.stop() || h.ctx.Err() != nil {
			t.Error("a clock without a limit rang")
		}
	})
}
