package front

import (
	"errors"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/lazycontext"
)

// errResponseTimeout ends a request whose response does not come.
var errResponseTimeout = errors.New("no response headers in time")

// responseTimer ends a request when its response is late.
type responseTimer struct {
	limit   time.Duration // zero or less: none
	request *lazycontext.Context

	mu sync.Mutex
	// Guarded by mu.
	timer   *time.Timer // nil before start
	stopped bool
	late    bool
}

// start begins the time, at the end of the request. After the first call, or
// after stop, it does nothing.
func (t *responseTimer) start() {
	if t.limit <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil && !t.stopped {
		t.timer = time.AfterFunc(t.limit, t.ring)
	}
}

// stop ends it, and reports whether it was in time. If it was not, the request
// is ended when it returns.
func (t *responseTimer) stop() (inTime bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped && t.timer != nil && !t.timer.Stop() {
		// The timer's own call may not have come that far.
		t.ring()
		t.late = true
	}
	t.stopped = true
	return !t.late
}

func (t *responseTimer) ring() { t.request.End(errResponseTimeout) }
