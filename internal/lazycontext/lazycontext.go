// Package lazycontext has a context for a request, which is made and ended ten
// thousand times a second: it costs nothing that nobody asks for, where
// context.WithCancelCause makes a channel, and notes each request in a map of the
// context above it.
package lazycontext

import (
	"context"
	"sync"
	"time"
)

// Context ends by End, and by nothing else: whoever makes it calls that when its
// parent ends, too. Err is what End was told, so context.Cause returns that as well.
// The zero value can be ended, and is of no other use: see Begin.
type Context struct {
	// Fixed by Begin.
	parent context.Context

	mu sync.Mutex
	// Guarded by mu.
	err   error         // nil before the end
	done  chan struct{} // nil until somebody asks
	after *call         // a list
	first call          // of the list, mostly the only one; used once
}

// call is a function to be called at the end.
type call struct {
	of   *Context
	f    func() // nil after it was called or stopped
	next *call
}

// Begin is called once, before any other method but End. Values and deadline are
// parent's.
func (x *Context) Begin(parent context.Context) { x.parent = parent }

// End ends it because of cause, nil for context.Canceled. After the first call it
// does nothing.
func (x *Context) End(cause error) {
	if cause == nil {
		cause = context.Canceled
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return
	}
	x.err = cause
	if x.done != nil {
		close(x.done)
	}
	for a := x.after; a != nil; a = a.next {
		go a.f() // ends when it likes, as with context.AfterFunc
		a.f = nil
	}
	x.after = nil
}

// Deadline implements context.Context.
func (x *Context) Deadline() (time.Time, bool) { return x.parent.Deadline() }

// Value implements context.Context.
func (x *Context) Value(key any) any { return x.parent.Value(key) }

// Err implements context.Context, but that it returns what End was told.
func (x *Context) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Done implements context.Context.
func (x *Context) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil {
			close(x.done)
		}
	}
	return x.done
}

// AfterFunc is what package context asks for in place of a goroutine that waits
// for Done: f is called in a goroutine of its own at the end, unless stop, which
// reports whether it was in time, is called before.
func (x *Context) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		go f() // ends when it likes, as with context.AfterFunc
		return func() bool { return false }
	}
	a := &x.first
	if a.of != nil {
		a = new(call) // first is, or was, another's
	}
	*a = call{x, f, x.after}
	x.after = a
	return a.stop
}

func (a *call) stop() bool {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	if a.f == nil {
		return false
	}
	a.f = nil
	at := &a.of.after
	for *at != a {
		at = &(*at).next
	}
	*at = a.next
	return true
}

// AfterEnd is context.AfterFunc, which makes a context of its own for the call even
// where ctx knows how to make it.
func AfterEnd(ctx context.Context, f func()) (stop func() bool) {
	if x, ok := ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		return x.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}
