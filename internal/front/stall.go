package front

import (
	"errors"
	"net/http"
	"time"
)

const (
	// stallTicks is in how many steps the time is counted in which a response, or
	// a request's body, gets nowhere.
	stallTicks = 8

	// bodyIdle is how long a visitor may send nothing of a body, or Config.Stall if that
	// is longer: people's machines pause, and services that take uploads allow as much.
	bodyIdle = 2 * time.Minute

	// bodyRate is how many bytes a second are more than what answers our own PINGs, and
	// so a part of a body: what its reader gets may take long to come, a whole frame or
	// record. A PING takes 46 bytes with TLS's own: one each second is less.
	bodyRate = 64

	// lookEvery is how often requests are looked at where that time has no limit.
	lookEvery = 5 * time.Second
)

var (
	errStalled = errors.New("the visitor does not read")
	errMute    = errors.New("the visitor sends nothing more of the request's body")
)

// tick is how often sweep is called while there are requests.
func (h *Handler) tick() time.Duration {
	if h.cfg.Stall <= 0 {
		return lookEvery
	}
	return max(h.cfg.Stall/stallTicks, time.Millisecond)
}

// bodyLooks is at which look of sweep, one in so many, bodies are looked at.
func (h *Handler) bodyLooks() uint32 {
	if h.cfg.Stall <= 0 {
		return 0
	}
	return uint32(max(1, (bodyIdle+h.cfg.Stall-1)/h.cfg.Stall))
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

// sweep ends the requests that get nowhere for the visitor's sake. It looks now and
// then at all of them, so that a read or a write costs neither a timer nor a look at
// the clock. It also sees to those that wait for their turn, in case an origin can do
// more now.
func (h *Handler) sweep() {
	h.mu.Lock()
	stuck := h.stuckLocked()
	h.sweeping = false
	if h.exchanges.n > 0 {
		h.sweepLocked()
	}
	h.mu.Unlock()
	for _, s := range stuck {
		h.endStuck(s) // one at a time: others want the lock, too
	}
	for _, name := range h.shares.crowded() {
		h.admitWaiting(name)
	}
}

// stuck is an exchange that gets nowhere, and why.
type stuck struct {
	e     *exchange
	cause error
}

// endStuck ends one, if it has not gone on meanwhile.
func (h *Handler) endStuck(s stuck) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e := s.e; {
	case !e.open:
	case s.cause == errStalled:
		e.stalled.Store(true)
		e.breakOff(errStalled)
	case e.muteNow():
		// What there is to say can be written yet.
		e.ctx.End(errMute)
		http.NewResponseController(e.w.rw).SetReadDeadline(time.Unix(1, 0))
	}
}

// stuckLocked returns those that get nowhere. None of them is used for another request.
func (h *Handler) stuckLocked() (list []stuck) {
	h.looks++
	every := h.bodyLooks()
	bodies := every > 0 && h.looks%every == 0
	enough := bodyRate * uint32(time.Duration(every)*h.tick()/time.Second)
	for e := h.exchanges.first; bodies && e != nil; e = e.next {
		c := e.conn
		if c == nil {
			continue
		}
		received := c.Received()
		state := e.upload.Load() // awaited anew, after something of it has come
		if received-c.seen >= enough || state == uploadHeld || state == uploadAwaited {
			c.uploads = h.looks
		}
		c.seen = received
	}
	for e := h.exchanges.first; e != nil; e = e.next {
		if cause := e.stuckLocked(bodies); cause != nil {
			e.swept = true
			list = append(list, stuck{e, cause})
		}
	}
	return list
}

// stuckLocked counts how long one write to A, or one read from it, has been under way,
// and returns why e is to end if that is too long. bodies says that reads are looked at.
//
// The time of a write does not count while A's connection takes no more of anything: a
// write of this stream then waits for those of others, and what a connection takes is
// not for the handler to see. Nor does that of a read while other bodies of the
// connection get on, or have to wait: A sends them in whatever order it likes, and they
// have one window together. Once the origin's answer has begun, both sides may talk, and
// be silent for as long as they like: what they say to each other is theirs.
func (e *exchange) stuckLocked(bodies bool) error {
	writes := e.w.writes.Load()
	wrote := writes != e.seen
	e.seen = writes
	if e.h.cfg.Stall <= 0 {
		return nil
	}
	switch {
	case wrote || writes%2 == 0:
		e.stuck = 0
	case e.conn == nil || !e.conn.Writing():
		if e.stuck = min(e.stuck+1, stallTicks); e.stuck == stallTicks {
			return errStalled
		}
	}
	if !bodies {
		return nil
	}
	if e.upload.CompareAndSwap(uploadAwaited, uploadSeen) || !e.muteNow() || e.conn != nil && e.conn.uploads == e.h.looks {
		e.mute = 0
		return nil
	}
	if e.mute = min(e.mute+1, stallTicks); e.mute == stallTicks {
		return errMute
	}
	return nil
}

// muteNow reports whether a look has seen that A sends nothing, and nothing has come or
// been answered since.
func (e *exchange) muteNow() bool {
	return e.upload.Load() == uploadSeen && e.w.stage.Load() != stagePassed
}
