package front

import (
	"errors"
	"time"
)

const (
	// stallTicks is in how many steps the time is counted in which a response
	// gets nowhere.
	stallTicks = 8

	// lookEvery is how often requests are looked at where that time has no limit.
	lookEvery = 5 * time.Second
)

var errStalled = errors.New("the visitor does not read")

// tick is how often sweep is called while there are requests.
func (h *Handler) tick() time.Duration {
	if h.cfg.Stall <= 0 {
		return lookEvery
	}
	return max(h.cfg.Stall/stallTicks, time.Millisecond)
}

// sweepLocked has sweep called in a while.
func (h *Handler) sweepLocked() {
	if h.sweeping {
		return
	}
	h.sweeping = true
	if h.sweeper == nil {
		h.sweeper = time.AfterFunc(h.tick(), h.sweep)
	} else {
		h.sweeper.Reset(h.tick())
	}
}

// sweep ends the responses that get nowhere. It looks now and then at all of
// them, so that a write costs neither a timer nor a look at the clock. It also
// sees to those that wait for their turn, in case an origin can do more now.
func (h *Handler) sweep() {
	h.mu.Lock()
	stalled := h.stalledLocked()
	h.sweeping = false
	if h.exchanges.n > 0 {
		h.sweepLocked()
	}
	h.mu.Unlock()
	for _, e := range stalled {
		// One at a time: others want the lock, too.
		h.mu.Lock()
		if e.open {
			e.stalled.Store(true)
			e.breakOff(errStalled)
		}
		h.mu.Unlock()
	}
	for _, name := range h.shares.crowded() {
		h.admitWaiting(name)
	}
}

// stalledLocked returns those that get nowhere. None of them is used for another request.
func (h *Handler) stalledLocked() (stalled []*exchange) {
	for e := h.exchanges.first; e != nil; e = e.next {
		if e.stallLocked() {
			e.swept = true
			stalled = append(stalled, e)
		}
	}
	return stalled
}

// stallLocked counts how long one write to A has been under way, and reports
// whether that is too long. The time does not count while A's connection takes
// no more of anything: a write of this stream then waits for those of others,
// and what a connection takes is not for the handler to see.
func (e *exchange) stallLocked() bool {
	writes := e.w.writes.Load()
	if writes%2 == 0 || writes != e.seen || e.h.cfg.Stall <= 0 {
		e.seen, e.stuck = writes, 0
		return false
	}
	if e.conn != nil && e.conn.Writing() {
		return false
	}
	e.stuck = min(e.stuck+1, stallTicks)
	return e.stuck >= stallTicks
}
