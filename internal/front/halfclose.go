package front

import (
	"context"
	"errors"
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

// halfClose finds out whether the visitor is there, from when its sending side
// has ended until its exchange does.
type halfClose struct {
	e       *exchange
	unwatch func() bool // ends the wait for the sending side's end

	// Guarded by response.mu.
	written uint32 // when it was looked last
	pause   time.Duration
	timer   *time.Timer
	over    bool
}

// watch begins with the request.
func (c *halfClose) watch(e *exchange, server context.Context) {
	c.e = e
	c.unwatch = context.AfterFunc(server, c.ended)
}

// stop ends it. Nothing is sent to the visitor after it.
func (c *halfClose) stop() {
	if c.unwatch == nil {
		return
	}
	c.unwatch()
	mu := &c.e.w.mu
	mu.Lock()
	defer mu.Unlock()
	c.over = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// ended is called in a goroutine of its own when http.Server has ended the
// request's context.
func (c *halfClose) ended() {
	if c.e.conn.Broken() {
		c.e.cancel(errLeft)
		return
	}
	select {
	case <-c.e.conn.End():
	case <-c.e.ctx.Done():
		return
	}
	if c.e.conn.Broken() {
		c.e.cancel(errLeft) // the end was a reset
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
		c.e.cancel(errLeft)
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
			c.e.cancel(errLeft)
			return
		}
		c.pause = leaveAnswer
	}
	c.timer.Reset(c.pause)
}
