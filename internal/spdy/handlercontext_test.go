package spdy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

type contextKey struct{}

// A handler's context does what one of context.WithCancel does, whether somebody asked
// for Done before its end, after it, or never.
func TestHandlerContext(t *testing.T) {
	errAbove := errors.New("above")
	for name, end := range map[string]struct {
		end         func(c *streamContext, above context.CancelCauseFunc)
		want, cause error
	}{
		"ends":       {func(c *streamContext, _ context.CancelCauseFunc) { c.end(); c.end() }, context.Canceled, context.Canceled},
		"above ends": {func(_ *streamContext, above context.CancelCauseFunc) { above(errAbove) }, context.Canceled, errAbove},
		"both end":   {func(c *streamContext, above context.CancelCauseFunc) { above(errAbove); c.end() }, context.Canceled, errAbove},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				above, endAbove := context.WithCancelCause(context.WithValue(t.Context(), contextKey{}, "v"))
				defer endAbove(nil)
				quiet := &streamContext{st: new(Stream), above: above}
				asked := &streamContext{st: new(Stream), above: above}
				child, endChild := context.WithCancel(asked)
				defer endChild()
				var called int
				context.AfterFunc(asked, func() { called++ })
				for _, c := range []*streamContext{quiet, asked} {
					if _, ok := c.Deadline(); ok || c.Err() != nil || context.Cause(c) != nil || c.Value(contextKey{}) != "v" || c.Value(streamKey{}) != c.st {
						t.Errorf("before the end: %v, %v, value %v", c.Err(), context.Cause(c), c.Value(contextKey{}))
					}
				}
				select {
				case <-asked.Done():
					t.Error("Done before the end")
				default:
				}

				end.end(quiet, endAbove)
				end.end(asked, endAbove)
				for _, c := range []context.Context{quiet, asked, child} {
					if c.Err() != end.want {
						t.Errorf("ended by %v, want %v", c.Err(), end.want)
					}
				}
				if got := context.Cause(child); got != end.cause {
					t.Errorf("the cause below is %v, want %v", got, end.cause)
				}
				<-asked.Done()
				<-quiet.Done()
				if quiet.Err() != end.want || quiet.Value(contextKey{}) != "v" {
					t.Errorf("Done was asked for late: ended by %v, want %v; value %v", quiet.Err(), end.want, quiet.Value(contextKey{}))
				}
				late, endLate := context.WithCancel(quiet)
				defer endLate()
				<-late.Done()
				synctest.Wait()
				if called != 1 {
					t.Errorf("AfterFunc's function was called %d times, want once", called)
				}
			})
		})
	}
}

func TestHandlerContextAllocates(t *testing.T) {
	above, end := context.WithCancel(t.Context())
	defer end()
	c := new(streamContext)
	if n := testing.AllocsPerRun(100, func() {
		*c = streamContext{above: above}
		if c.Err() != nil || c.Value(contextKey{}) != nil {
			t.Error("it has ended")
		}
		c.end()
	}); n != 0 {
		t.Errorf("a context that nobody waits for takes %v allocations, want 0", n)
	}
}
