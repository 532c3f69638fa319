// Package lazycontext has a context for a request, which is made and ended ten
// thousand times a second: it costs nothing that nobody asks for, where
// context.WithCancelCause makes a channel, and notes each request in a map of the
// context above it.
package lazycontext

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Watcher is told, on a goroutine of its own, that a context has ended. It is an alias
// so that others can name the methods of Context that take one without this package.
type Watcher = interface{ ContextEnded() }

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
	told  bool          // watchers were
	first Watcher       // mostly the only one
	more  []Watcher     // beside first
}

// Begin is called once, before any other method but End, and again after Renew. Values
// and deadline are parent's.
func (x *Context) Begin(parent context.Context) { x.parent = parent }

// Renew takes the end back, so that it can begin again, for another request. It reports
// false if there was no end, or if somebody was told of it, or has asked for Done, who
// may have it yet. All others must have let it go.
func (x *Context) Renew() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil || x.told || x.done != nil {
		return false
	}
	x.err = nil
	return true
}

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
	if x.first != nil {
		x.tellLocked(x.first)
	}
	for _, w := range x.more {
		x.tellLocked(w)
	}
	x.first, x.more = nil, nil
}

func (x *Context) tellLocked(w Watcher) {
	x.told = true
	go w.ContextEnded() // ends when it likes, as with context.AfterFunc
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

// Watch has w told of the end, at once if that was before, unless Unwatch is called
// first. It allocates nothing for the only one.
func (x *Context) Watch(w Watcher) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.err != nil:
		x.tellLocked(w)
	case x.first == nil:
		x.first = w
	default:
		x.more = append(x.more, w)
	}
}

// Unwatch takes back one Watch, and reports whether it was in time.
func (x *Context) Unwatch(w Watcher) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.first == w {
		x.first = nil
		return true
	}
	i := slices.Index(x.more, w)
	if i < 0 {
		return false
	}
	x.more = slices.Delete(x.more, i, i+1)
	return true
}

// AfterFunc is what package context asks for in place of a goroutine that waits
// for Done: f is called in a goroutine of its own at the end, unless stop, which
// reports whether it was in time, is called before.
func (x *Context) AfterFunc(f func()) (stop func() bool) {
	c := &call{f}
	x.Watch(c)
	return func() bool { return x.Unwatch(c) }
}

// call is the Watcher of AfterFunc.
type call struct{ f func() }

// ContextEnded implements Watcher.
func (c *call) ContextEnded() { c.f() }

// AfterEnd is context.AfterFunc, which makes a context of its own for the call even
// where ctx knows how to make it.
func AfterEnd(ctx context.Context, f func()) (stop func() bool) {
	if x, ok := ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		return x.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}
