package front

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/lazycontext"
)

func newContext(t *testing.T) *lazycontext.Context {
	ctx := new(lazycontext.Context)
	ctx.Begin(t.Context())
	return ctx
}

// Each timer rings at its own time, whatever became of those before it.
func TestResponseTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10 * time.Second
		begin := time.Now()
		type one struct {
			*responseTimer
			ctx *lazycontext.Context
		}
		start := func() one {
			ctx := newContext(t)
			c := one{new(responseTimer), ctx}
			c.begin(limit, ctx)
			c.start()
			c.start() // a second one changes nothing
			return c
		}
		rings := func(c one, at time.Duration) {
			t.Helper()
			<-c.ctx.Done()
			if got := time.Since(begin); got != at || c.ctx.Err() != errResponseTimeout || c.stop() {
				t.Errorf("it rang after %v, %v, stop says in time: %v; want %v", got, c.ctx.Err(), c.stop(), at)
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
		if ctx := newContext(t); !(&responseTimer{limit: limit, request: ctx}).stop() || ctx.Err() != nil {
			t.Error("a timer that was not started was not in time")
		}
		ctx := newContext(t)
		h := &responseTimer{request: ctx}
		h.start()
		time.Sleep(time.Hour)
		if !h.stop() || ctx.Err() != nil {
			t.Error("a timer without a limit rang")
		}
	})
}
