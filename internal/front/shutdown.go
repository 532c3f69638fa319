package front

import (
	"context"
	"errors"
	"time"
)

// LastAnswer is how long a visitor may take to take the answer of a request that is
// broken off, and so by how much Shutdown may be late for its context.
const LastAnswer = 500 * time.Millisecond

var errBrokenOff = errors.New("the proxy is stopping")

// InFlight returns how many requests have not ended, upgraded connections
// included.
func (h *Handler) InFlight() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exchanges.n
}

// Leave has visitors come by other connections from now on: each of HTTP/1 ends
// with the request that it has, or its next one. Upgraded connections end on which
// nothing was said for some time. Requests that come are served all the same.
func (h *Handler) Leave() { h.leave.Do(func() { close(h.leaving) }) }

func (h *Handler) isLeaving() bool {
	select {
	case <-h.leaving:
		return true
	default:
		return false
	}
}

// Stop does what Leave does, and makes every new request a 503, and those that
// wait for their turn. Those that are running go on; what waits for an origin is
// let go by the table's own Stop.
func (h *Handler) Stop() {
	h.Leave()
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	h.shares.stop()
}

// Shutdown does what Stop does and returns when no request is left. When ctx
// ends before, it breaks off those that are, upgraded connections included,
// waits for them to be gone, and returns ctx's error. Those whose answer has not
// begun are answered 503, within LastAnswer: the server below is to stay until
// visitors have that. http.Server.Shutdown does not wait for upgraded connections;
// this does. Call it after the server's listeners are closed: a request that comes
// while it waits is waited for.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.Stop()
	defer h.lines.Close()
	h.mu.Lock()
	if h.idle == nil {
		h.idle = make(chan struct{})
		h.idleLocked()
	}
	idle := h.idle
	h.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	none := h.exchanges.n == 0
	for e := h.exchanges.first; e != nil; e = e.next {
		e.breakOff(errBrokenOff)
	}
	h.mu.Unlock()
	<-idle
	if none {
		return nil // both had come, or the last was being reported
	}
	return context.Cause(ctx)
}

// idleLocked closes idle if it is time: not before the last request was reported, and
// its connection reset if need be, for whoever waits closes both the logs and all
// connections then.
func (h *Handler) idleLocked() {
	if h.idle != nil && h.running.Load() == 0 {
		select {
		case <-h.idle:
		default:
			close(h.idle)
		}
	}
}
