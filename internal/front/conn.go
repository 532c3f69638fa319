package front

import (
	"context"
	"errors"

	"github.com/amahi/spdy-proxy/internal/lazycontext"
)

// Conn is a visitor's connection, as the server below the handler sees it. Its
// methods may be called at once and at any time, and do not wait.
type Conn interface {
	// Began and Ended are told when the handler begins and ends a request.
	Began()
	Ended()
	// Writing reports whether a write to the connection is under way. Where one
	// is for long, the visitor's network takes no more; where none is, and a
	// response gets nowhere, its stream has no window.
	Writing() bool
	// Stalled reports whether the connection was ended because the visitor took
	// nothing of what was written to it.
	Stalled() bool
	// Received is how many bytes of what the visitor sends were read, of whatever
	// request, and with TLS's own. It may wrap.
	Received() uint32
	// Crowded reports whether the connection is one of many from its address.
	Crowded() bool

	// The following are for HTTP/1 alone.

	// End is called after http.Server has ended a request's context. The channel
	// is closed when the connection has come to the end of what the visitor
	// sends, or is known to be broken.
	End() <-chan struct{}
	// Written grows as each write to the visitor begins.
	Written() uint32
	// Broken reports whether the connection is known to carry nothing more to
	// the visitor: it was reset, or a write to it has failed.
	Broken() bool
}

// ErrStuck is what the context of a visitor's connection ends with when nothing has moved
// on it for too long: who has no answer then gets 504.
var ErrStuck = errors.New("nothing moves on the visitor's connection")

// WithConn returns a context for http.Server.ConnContext, whose requests are
// conn's. When ctx ends, so do they.
//
// Of a request over HTTP/1, http.Server ends the context when it has read the
// end of what the visitor sends. But a visitor may close its sending side and
// wait for the answer: as the end of the connection it cannot be told from one
// that is gone. So such a request goes on. If the visitor is gone, what is
// written to it is answered with a reset; if nothing is written for some time,
// it is sent a 100, which means nothing to a client (RFC 9110, 15.2.1), and
// where that cannot be done it counts as gone.
func WithConn(ctx context.Context, conn Conn) context.Context {
	return &connection{Conn: conn, Context: ctx}
}

type connKey struct{}

// connection is what WithConn was given, and the context that it returns: thousands
// of them wait for a request.
type connection struct {
	Conn
	context.Context

	// Guarded by Handler.mu.
	uploads uint32 // Handler.looks when a body had got on, or was not the visitor's to send
	seen    uint32 // Received, at the last look
}

// Value implements context.Context.
func (c *connection) Value(key any) any {
	if key == (connKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// AfterFunc is what package context asks for in place of a goroutine that waits for
// the end.
func (c *connection) AfterFunc(f func()) (stop func() bool) {
	return lazycontext.AfterEnd(c.Context, f)
}
