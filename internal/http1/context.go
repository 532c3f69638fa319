package http1

import (
	"context"
	"sync"
	"time"
)

// requestContext is a request's. It ends when the client is seen to leave, with the
// connection's context, and with the handler. It costs nothing that nobody asks
// for, where context.WithCancel would tell the connection's of each request.
type requestContext struct {
	conn context.Context // the connection's

	mu sync.Mutex
	// Guarded by mu.
	done  chan struct{} // nil until somebody asks
	ended bool
	after []*afterEnd
}

// afterEnd is a function to be called at the end.
type afterEnd struct {
	of *requestContext
	f  func()
}

// Deadline implements context.Context.
func (x *requestContext) Deadline() (time.Time, bool) { return x.conn.Deadline() }

// Value implements context.Context.
func (x *requestContext) Value(key any) any { return x.conn.Value(key) }

// Err implements context.Context.
func (x *requestContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return context.Canceled
	}
	return nil
}

// Done implements context.Context.
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.ended {
			close(x.done)
		}
	}
	return x.done
}

// AfterFunc is what package context asks for in place of a goroutine that waits
// for Done.
func (x *requestContext) AfterFunc(f func()) (stop func() bool) {
	a := &afterEnd{x, f}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		go f() // ends when it likes, as with context.AfterFunc
		return func() bool { return false }
	}
	x.after = append(x.after, a)
	return a.stop
}

func (a *afterEnd) stop() bool {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	for i, other := range a.of.after {
		if other == a {
			last := len(a.of.after) - 1
			a.of.after[i] = a.of.after[last]
			a.of.after[last] = nil
			a.of.after = a.of.after[:last]
			return true
		}
	}
	return false
}

// end may be called more than once.
func (x *requestContext) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	x.ended = true
	if x.done != nil {
		close(x.done)
	}
	for _, a := range x.after {
		go a.f() // ends when it likes, as with context.AfterFunc
	}
	x.after = nil
}
