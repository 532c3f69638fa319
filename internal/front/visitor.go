package front

import (
	"context"
	"errors"
	"net/http"
	"time"
)

const (
	// leaveGrace is how long a visitor whose sending side has ended may be sent
	// nothing before it is looked at whether it is there.
	leaveGrace = 5 * time.Second

	// leaveAnswer is how long a visitor that is gone has to say so, when it was
	// sent something: a round trip and some.
	leaveAnswer = 500 * time.Millisecond
)

var errLeft = errors.New("the visitor left")

// Conn is a visitor's connection, as far as HTTP/1 needs it. Its methods are
// called at any time, and do not wait.
type Conn interface {
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
	return context.WithValue(ctx, connKey{}, &connection{conn: conn, ctx: ctx})
}

type connKey struct{}

// connection is what WithConn was given.
type connection struct {
	conn Conn
	ctx  context.Context
}

// leaving finds out whether the visitor is there, from when its sending side
// has ended until its exchange does.
type leaving struct {
	x       *exchange
	conn    Conn
	unwatch func() bool // ends the wait for the sending side's end

	// Guarded by response.mu.
	written uint32 // when it was looked last
	pause   time.Duration
	timer   *time.Timer
	over    bool
}

// watch begins with the request.
func (l *leaving) watch(x *exchange, conn Conn, server context.Context) {
	l.x, l.conn = x, conn
	l.unwatch = context.AfterFunc(server, l.ended)
}

// stop ends it. Nothing is sent to the visitor after it.
func (l *leaving) stop() {
	if l.unwatch == nil {
		return
	}
	l.unwatch()
	mu := &l.x.w.mu
	mu.Lock()
	defer mu.Unlock()
	l.over = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// ended is called in a goroutine of its own when http.Server has ended the
// request's context.
func (l *leaving) ended() {
	if l.conn.Broken() {
		l.x.cancel(errLeft)
		return
	}
	select {
	case <-l.conn.End():
	case <-l.x.ctx.Done():
		return
	}
	if l.conn.Broken() {
		l.x.cancel(errLeft) // the end was a reset
		return
	}
	mu := &l.x.w.mu
	mu.Lock()
	defer mu.Unlock()
	if l.over {
		return
	}
	l.written, l.pause = l.conn.Written(), leaveGrace
	l.timer = time.AfterFunc(l.pause, l.look)
}

// look is called now and then.
func (l *leaving) look() {
	if l.conn.Broken() {
		l.x.cancel(errLeft)
		return
	}
	mu := &l.x.w.mu
	mu.Lock()
	defer mu.Unlock()
	if l.over {
		return
	}
	l.pause = min(2*l.pause, leaveGrace)
	if l.conn.Written() == l.written {
		// Not one byte has gone out that a visitor who is gone had answered.
		if !l.x.w.interimLocked() {
			l.x.cancel(errLeft)
			return
		}
		l.pause = leaveAnswer
	}
	l.timer.Reset(l.pause)
}

// interimLocked sends a 100, if there can be one: an HTTP/1.0 client must get
// none (RFC 9110, 15.2), and nobody may after the response has begun.
func (w *response) interimLocked() bool {
	if w.begun || w.x.in.ProtoMinor == 0 {
		return false
	}
	w.rw.WriteHeader(http.StatusContinue)
	return true
}
