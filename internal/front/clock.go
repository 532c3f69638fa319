package front

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errResponseTimeout ends a request whose response does not come.
var errResponseTimeout = errors.New("no response headers in time")

// clocks are those of all requests that wait for their response. They have one
// limit, so that they are due in the order in which they were started, and one
// timer, set for the first of them, does for all: in most requests it is not
// touched.
type clocks struct {
	limit time.Duration // zero or less: none

	mu sync.Mutex
	// Guarded by mu.
	first, last *clock
	timer       *time.Timer
	set         bool // timer is running
}

// clock ends a request when its response is late.
type clock struct {
	of     *clocks
	cancel context.CancelCauseFunc

	// Guarded by of.mu.
	next, prev *clock
	due        time.Time // zero before start
	stopped    bool
	fired      bool
}

// start begins the time, at the end of the request.
func (c *clock) start() {
	all := c.of
	if all.limit <= 0 {
		return
	}
	now := time.Now()
	all.mu.Lock()
	defer all.mu.Unlock()
	if c.stopped || !c.due.IsZero() {
		return
	}
	c.due = now.Add(all.limit)
	if c.prev = all.last; c.prev != nil {
		c.prev.next = c
	} else {
		all.first = c
	}
	all.last = c
	if !all.set {
		all.setLocked(all.limit)
	}
}

// stop ends it, and reports whether it was in time.
func (c *clock) stop() bool {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if !c.stopped && !c.fired && !c.due.IsZero() {
		c.of.removeLocked(c)
	}
	c.stopped = true
	return !c.fired
}

func (all *clocks) setLocked(d time.Duration) {
	all.set = true
	if all.timer == nil {
		all.timer = time.AfterFunc(d, all.ring)
		return
	}
	all.timer.Reset(d)
}

func (all *clocks) removeLocked(c *clock) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		all.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		all.last = c.prev
	}
	c.next, c.prev = nil, nil
}

// ring ends what is due. The timer may have been set for a clock that is gone.
func (all *clocks) ring() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for c := all.first; c != nil; c = all.first {
		if wait := time.Until(c.due); wait > 0 {
			all.setLocked(wait)
			return
		}
		all.removeLocked(c)
		c.fired = true
		// Under mu: whoever learns from stop that it was late finds the
		// request ended.
		c.cancel(errResponseTimeout)
	}
	all.set = false
}
