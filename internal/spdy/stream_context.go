package spdy

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Priorities (draft 3.1, 2.3.3; the default is that of RFC 9218).
const defaultPriority = 3

type priorityKey struct{}

type streamKey struct{}

// WithPriority returns a context whose requests RoundTrip sends with priority
// p: 0 is the most urgent, 7 the least, and above it counts as 7.
func WithPriority(ctx context.Context, p uint8) context.Context {
	return context.WithValue(ctx, priorityKey{}, min(p, 7))
}

// PriorityFrom returns the priority that WithPriority put into ctx or, in a
// handler's context, that of the handler's stream.
func PriorityFrom(ctx context.Context) (p uint8, ok bool) {
	p, ok = ctx.Value(priorityKey{}).(uint8)
	return p, ok
}

// StreamID returns the id of the stream whose handler ctx belongs to, else 0.
func StreamID(ctx context.Context) uint32 {
	st, ok := ctx.Value(streamKey{}).(*Stream)
	if !ok {
		return 0
	}
	return st.id // fixed before the handler runs
}

var (
	errNoHandler = errors.New("spdy: ResetStream without the context of a handler")
	errReplied   = errors.New("spdy: a stream that was answered cannot be refused")
	errByHandler = errors.New("reset by its handler")
)

// ResetStream ends the stream of the handler that ctx is the context of, with a
// RST_STREAM of that status and nothing more: a response that was not sent yet, or
// of which the windows have not let out the end, is given up. The handler is to
// return then.
//
// RefusedStream says that nothing of the request was processed, so that it may be
// repeated whatever its method; with it, it is an error if the response has begun to
// go out, and the stream goes on. A status above 255 is for peers that have agreed
// on it. ResetStream may be called by any goroutine until the handler returns. It
// returns the stream's error if that has ended already.
func ResetStream(ctx context.Context, status Status) error {
	st, ok := ctx.Value(streamKey{}).(*Stream)
	if !ok {
		return errNoHandler
	}
	st.s.mu.Lock()
	defer st.s.unlock()
	switch {
	case st.state == streamClosed:
		return st.writeErrorLocked()
	case status == RefusedStream && st.replied:
		return errReplied
	}
	st.s.resetLocked(st, status, errByHandler)
	return nil
}

// ResponseStreamID returns the id of the stream that resp came on, 0 if resp is
// not from RoundTrip or its Body was replaced.
func ResponseStreamID(resp *http.Response) uint32 {
	switch b := resp.Body.(type) {
	case *responseBody:
		return b.st.id
	case *duplexBody:
		return b.st.id
	}
	return 0
}

// streamContext is the context of a handler: it ends with the stream, when the
// handler returns, and with the session's. Most handlers never wait for that, so what
// it takes to be told is made for the first who asks.
type streamContext struct {
	st *Stream // fixed before the handler has it

	mu sync.Mutex
	// Guarded by mu.
	ended  bool
	above  context.Context    // the session's; from the first Done on one between the two
	cancel context.CancelFunc // ends that
}

// end ends it. After the first call it does nothing.
func (c *streamContext) end() {
	c.mu.Lock()
	c.ended = true
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// Deadline implements context.Context.
func (c *streamContext) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.above.Deadline()
}

// Done implements context.Context.
func (c *streamContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel == nil {
		c.above, c.cancel = context.WithCancel(c.above)
		if c.ended {
			c.cancel()
		}
	}
	return c.above.Done()
}

// Err implements context.Context.
func (c *streamContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended && c.cancel == nil {
		return context.Canceled
	}
	return c.above.Err()
}

// Value implements context.Context. What package context keeps for itself it finds
// above, where it must be looked for after Done.
func (c *streamContext) Value(key any) any {
	switch key {
	case streamKey{}:
		return c.st
	case priorityKey{}:
		return c.st.pri // fixed before the handler's context was made
	}
	c.mu.Lock()
	above := c.above
	c.mu.Unlock()
	return above.Value(key)
}

// contextWatch resets a stream when the context of its request ends. Guarded by
// Session.mu, but for what begin fixes.
type contextWatch struct {
	st   *Stream
	ctx  context.Context
	on   watchable   // ctx, if it is one
	stop func() bool // for any other that may end
}

// watchable is a context that has w told of its end, on a goroutine of its own, without
// making anything for it: context.AfterFunc makes a context between the two, and what
// ends the wait.
type watchable interface {
	Watch(w interface{ ContextEnded() })
	Unwatch(w interface{ ContextEnded() }) (inTime bool)
}

func (w *contextWatch) begin(ctx context.Context, st *Stream) {
	w.st, w.ctx = st, ctx
	if w.on, _ = ctx.(watchable); w.on != nil {
		w.on.Watch(w)
	} else if ctx.Done() != nil {
		w.stop = context.AfterFunc(ctx, w.ContextEnded)
	}
}

// end ends the watch, if it has begun.
func (w *contextWatch) end() {
	switch {
	case w.on != nil:
		w.on.Unwatch(w)
	case w.stop != nil:
		w.stop()
	}
}

// ContextEnded implements what a watchable calls.
func (w *contextWatch) ContextEnded() { w.st.s.reset(w.st, Cancel, context.Cause(w.ctx)) }
