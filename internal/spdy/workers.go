package spdy

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxIdle is how many goroutines of a session may wait for a request: the
	// stack of one that has run a handler needs not grow again.
	maxIdle = 64

	// idleTime is how long they do without any request.
	idleTime = time.Second
)

// workers are the goroutines that run a session's handlers.
type workers struct {
	// Fixed when made.
	run  func(*Stream)
	jobs chan *Stream // to those that wait; nil ends one; closed by close

	idle    atomic.Int32  // those that wait for a stream
	started atomic.Uint64 // streams
	ending  atomic.Bool   // endIdle will be called

	mu sync.Mutex
	// Guarded by mu.
	closed bool
	seen   uint64 // started, when timer was set
	timer  *time.Timer
}

// start runs the handler of st on a goroutine that waits, or on a new one.
func (w *workers) start(st *Stream) {
	w.started.Add(1)
	select {
	case w.jobs <- st:
	default:
		// Ends when its handler has returned and enough others wait, when none
		// is needed for a while, or with the session. A handler's context ends
		// with its stream. Nobody waits for it, as in net/http.
		go w.work(st)
	}
}

// work runs the handler of st, and of streams that come after it.
func (w *workers) work(st *Stream) {
	for st != nil {
		w.run(st)
		if w.idle.Add(1) > maxIdle {
			w.idle.Add(-1)
			return
		}
		if !w.ending.Swap(true) {
			w.endIdleLater()
		}
		st = <-w.jobs // nil: nothing comes any more
		w.idle.Add(-1)
	}
}

func (w *workers) endIdleLater() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return // nobody is going to wait
	}
	w.seen = w.started.Load()
	if w.timer == nil {
		w.timer = time.AfterFunc(idleTime, w.endIdle)
	} else {
		w.timer.Reset(idleTime)
	}
}

// endIdle ends the goroutines that wait for a request, if none came for a while.
func (w *workers) endIdle() {
	w.ending.Store(false)
	w.mu.Lock()
	none := w.seen == w.started.Load() && !w.closed
	for sent := none; sent; {
		select {
		case w.jobs <- nil:
		default:
			sent = false
		}
	}
	again := w.idle.Load() > 0 && !w.closed
	w.mu.Unlock()
	if again && !w.ending.Swap(true) {
		w.endIdleLater()
	}
}

// close ends the goroutines that wait for a request, when none can come.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	close(w.jobs)
	if w.timer != nil {
		w.timer.Stop()
	}
}
