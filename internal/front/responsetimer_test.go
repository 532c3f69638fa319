package front

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Each timer rings at its own time, whatever became of those before it.
func TestResponseTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10 * time.Second
		begin := time.Now()
		type one struct {
			*responseTimer
			ctx context.Context
		}
		start := func() one {
			ctx, cancel := context.WithCancelCause(t.Context())
			c := one{&responseTimer{limit: limit, cancel: cancel}, ctx}
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
					t.Error("a timer that was stopped at once was not in time")
				}
			}
		}
		e.start() // too late
		rings(b, 11*time.Second)
		rings(d, 12*time.Second)
		time.Sleep(time.Minute)
		begin = time.Now()
		f := start()
		time.Sleep(9 * time.Second)
		g := start()
		rings(f, limit)
		rings(g, 19*time.Second)
		for _, x := range []one{a, c, e} {
			if x.ctx.Err() != nil {
				t.Error("a timer that was stopped rang")
			}
		}
		// One that was never started, and no limit.
		if ctx, cancel := context.WithCancelCause(t.Context()); !(&responseTimer{limit: limit, cancel: cancel}).stop() || ctx.Err() != nil {
			t.Error("a timer that was not started was not in time")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		h := &responseTimer{cancel: cancel}
		h.start()
		time.Sleep(time.Hour)
		if !h.stop() || ctx.Err() != nil {
			t.Error("a timer without a limit rang")
		}
	})
}
