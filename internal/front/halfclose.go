package front

import (
	"context"
	"errors"
	"time"

	"github.com/amahi/spdy-proxy/internal/lazycontext"
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

// halfClose ends the exchange's context when that of the server's request has
// ended, unless it was for a sending side that has ended alone: then it finds out
// whether the visitor is there, until the exchange ends.
type halfClose struct {
	e *exchange

	// What is watched for the end of the server's request: a context of ours, or any
	// other, which has made something that ends the watch.
	server  *lazycontext.Context
	unwatch func() bool

	// Guarded by response.mu.
	unlink  func() bool // ends that for the end of the connection's, nil before
	pause   time.Duration
	timer   *time.Timer
	written uint32 // when it was looked last
	over    bool
}

// watch begins with the request.
func (c *halfClose) watch(e *exchange) {
	c.e = e
	ctx := e.in.Context()
	if c.server, _ = ctx.(*lazycontext.Context); c.server != nil {
		c.server.Watch(c)
	} else {
		c.unwatch = lazycontext.AfterEnd(ctx, c.ContextEnded)
	}
}

// stop ends it. Nothing is sent to the visitor after it. It reports whether nothing had
// begun that may go on for a while.
func (c *halfClose) stop() (inTime bool) {
	if c.server != nil {
		inTime = c.server.Unwatch(c)
	} else {
		inTime = c.unwatch()
	}
	mu := &c.e.w.mu
	mu.Lock()
	defer mu.Unlock()
	c.over = true
	if c.unlink != nil {
		c.unlink()
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	return inTime
}

// outlives reports whether the exchange goes on though the server's request has
// ended. From then on it is the connection's end that counts, which has ended both
// before.
func (c *halfClose) outlives() bool {
	mu := &c.e.w.mu
	mu.Lock()
	defer mu.Unlock()
	if c.over || !c.e.http1 || c.e.conn == nil {
		return false
	}
	conn := c.e.conn
	c.unlink = conn.AfterFunc(func() { c.e.ctx.End(context.Cause(conn)) })
	return conn.Err() == nil
}

// ContextEnded is called in a goroutine of its own when http.Server has ended the
// request's context.
func (c *halfClose) ContextEnded() {
	if !c.outlives() {
		c.e.ctx.End(context.Cause(c.e.in.Context()))
		return
	}
	if c.e.conn.Broken() {
		c.e.ctx.End(errLeft)
		return
	}
	select {
	case <-c.e.conn.End():
	case <-c.e.ctx.Done():
		return
	}
	if c.e.conn.Broken() {
		c.e.ctx.End(errLeft) // the end was a reset
		return
	}
	mu := &c.e.w.mu
	mu.Lock()
	defer mu.Unlock()
	if c.over {
		return
	}
	c.written, c.pause = c.e.conn.Written(), leaveGrace
	c.timer = time.AfterFunc(c.pause, c.look)
}

// look is called now and then.
func (c *halfClose) look() {
	if c.e.conn.Broken() {
		c.e.ctx.End(errLeft)
		return
	}
	mu := &c.e.w.mu
	mu.Lock()
	defer mu.Unlock()
	if c.over {
		return
	}
	c.pause = min(2*c.pause, leaveGrace)
	if c.e.conn.Written() == c.written {
		// Not one byte has gone out that a visitor who is gone had answered.
		if !c.e.w.interimLocked() {
			c.e.ctx.End(errLeft)
			return
		}
		c.pause = leaveAnswer
	}
	c.timer.Reset(c.pause)
}
