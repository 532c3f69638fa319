package spdy

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxIdle is how many goroutines of a session may wait for a request: the
	// stack of one that has run a handler needs not grow again.
	maxIdle = 64

	// idleTime is how long each does at least; it may be twice that.
	idleTime = time.Second
)

// workers are the goroutines that run a session's handlers.
type workers struct {
	run func(*Stream)

	mu sync.Mutex
	// Guarded by mu.
	idle   []worker    // wait for a stream, the one that began last at the end
	unused int         // how many of them, from the first on, have waited since the last look
	look   *time.Timer // nil while none waits
	closed bool
}

// A worker is where one of the goroutines gets its streams. It has room for one; nil
// ends it.
type worker chan *Stream

// start runs the handler of st on the goroutine that has waited shortest, whose stack
// is likely still in a cache, or on a new one.
func (w *workers) start(st *Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.idle) - 1
	if last < 0 {
		// Ends when its handler has returned and enough others wait, when no
		// stream comes to it for a while, or with the session. A handler's context
		// ends with its stream. Nobody waits for it, as in net/http.
		go w.work(st)
		return
	}
	w.idle[last] <- st
	w.idle = w.idle[:last]
	w.unused = min(w.unused, last)
}

// work runs the handler of st, and of streams that come after it.
func (w *workers) work(st *Stream) {
	own := make(worker, 1)
	for st != nil {
		w.run(st)
		if !w.wait(own) {
			return
		}
		st = <-own
	}
}

// wait adds a goroutine to those that wait, and reports false if it is to end.
func (w *workers) wait(own worker) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.idle) == maxIdle {
		return false
	}
	w.idle = append(w.idle, own)
	if w.look == nil {
		// One for all: a timer for each would be set and stopped with each request.
		w.look = time.AfterFunc(idleTime, w.endUnused)
	}
	return true
}

// endUnused ends those that have waited since it was called last.
func (w *workers) endUnused() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return // the timer could not be stopped any more
	}
	w.endLocked(w.unused)
	if w.unused = len(w.idle); w.unused == 0 {
		w.look = nil
	} else {
		w.look.Reset(idleTime)
	}
}

// endLocked ends the n that have waited longest.
func (w *workers) endLocked(n int) {
	for _, own := range w.idle[:n] {
		own <- nil
	}
	w.idle = slices.Delete(w.idle, 0, n)
	w.unused = max(w.unused-n, 0)
}

// close ends the goroutines that wait for a request, when none can come.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.look != nil {
		w.look.Stop()
	}
	w.endLocked(len(w.idle))
}
