package spdy

import (
	"sync/atomic"
	"time"
)

const (
	// maxIdle is how many goroutines of a session may wait for a request: the
	// stack of one that has run a handler needs not grow again.
	maxIdle = 64

	// idleTime is how long each does.
	idleTime = time.Second
)

// workers are the goroutines that run a session's handlers.
type workers struct {
	run  func(*Stream)
	jobs chan *Stream // to those that wait; closed by close
	idle atomic.Int32 // those that wait
}

// start runs the handler of st on a goroutine that waits, or on a new one.
func (w *workers) start(st *Stream) {
	select {
	case w.jobs <- st:
	default:
		// Ends when its handler has returned and enough others wait, when no
		// stream comes to it for a while, or with the session. A handler's context
		// ends with its stream. Nobody waits for it, as in net/http.
		go w.work(st)
	}
}

// work runs the handler of st, and of streams that come after it.
func (w *workers) work(st *Stream) {
	w.run(st)
	limit := time.NewTimer(idleTime)
	defer limit.Stop()
	for w.idle.Add(1) <= maxIdle {
		var more bool
		select {
		case st, more = <-w.jobs:
		case <-limit.C:
		}
		if !more {
			break
		}
		w.idle.Add(-1)
		w.run(st)
		limit.Reset(idleTime)
	}
	w.idle.Add(-1)
}

// close ends the goroutines that wait for a request, when none can come.
func (w *workers) close() { close(w.jobs) }
