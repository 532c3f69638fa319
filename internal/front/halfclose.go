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

// leaving finds out whether the visitor is there, from when its sending side
// has ended until its exchange does.
type leaving struct {
	x       *exchange
	unwatch func() bool // ends the wait for the sending side's end

	// Guarded by response.mu.
	written uint32 // when it was looked last
	pause   time.Duration
	timer   *time.Timer
	over    bool
}

// watch begins with the request.
func (l *leaving) watch(x *exchange, server context.Context) {
	l.x = x
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
	if l.x.conn.Broken() {
		l.x.cancel(errLeft)
		return
	}
	select {
	case <-l.x.conn.End():
	case <-l.x.ctx.Done():
		return
	}
	if l.x.conn.Broken() {
		l.x.cancel(errLeft) // the end was a reset
		return
	}
	mu := &l.x.w.mu
	mu.Lock()
	defer mu.Unlock()
	if l.over {
		return
	}
	l.written, l.pause = l.x.conn.Written(), leaveGrace
	l.timer = time.AfterFunc(l.pause, l.look)
}

// look is called now and then.
func (l *leaving) look() {
	if l.x.conn.Broken() {
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
	if l.x.conn.Written() == l.written {
		// Not one byte has gone out that a visitor who is gone had answered.
		if !l.x.w.interimLocked() {
			l.x.cancel(errLeft)
			return
		}
		l.pause = leaveAnswer
	}
	l.timer.Reset(l.pause)
}
