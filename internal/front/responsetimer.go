package front

import (
	"errors"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/lazycontext"
)

// errResponseTimeout ends a request whose response does not come.
var errResponseTimeout = errors.New("no response headers in time")

// responseTimer ends a request when its response is late. After stop it may begin again,
// for another attempt.
type responseTimer struct {
	// Fixed by begin.
	limit   time.Duration // zero or less: none
	request *lazycontext.Context

	mu sync.Mutex
	// Guarded by mu.
	timer   *time.Timer // nil before the first start
	started bool
	stopped bool
	late    bool
}

// begin is called before start.
func (t *responseTimer) begin(limit time.Duration, request *lazycontext.Context) {
	t.limit, t.request = limit, request
	t.started, t.stopped, t.late = false, false, false
}

// start begins the time, at the end of the request. After the first call, or
// after stop, it does nothing.
func (t *responseTimer) start() {
	if t.limit <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.started || t.stopped:
		return
	case t.timer == nil:
		t.timer = time.AfterFunc(t.limit, t.ring)
	default:
		t.timer.Reset(t.limit)
	}
	t.started = true
}

// stop ends it, and reports whether it was in time. If it was not, the request
// is ended when it returns.
func (t *responseTimer) stop() (inTime bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped && t.started && !t.timer.Stop() {
		// The timer's own call may not have come that far.
		t.ring()
		t.late = true
	}
	t.stopped = true
	return !t.late
}

func (t *responseTimer) ring() { t.request.End(errResponseTimeout) }
