package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signals turns the signals of the process into two contexts and a callback.
type signals struct {
	graceful context.Context // ends at the first SIGINT or SIGTERM
	now      context.Context // ends at the second
	reload   reloader
	stop     func() // ends the goroutines, and waits for them
}

// watchSignals starts to listen to source, or to the process's signals if it is
// nil. SIGHUP keeps its usual effect, to end the program, unless hup is set.
func watchSignals(ctx context.Context, source <-chan os.Signal, hup bool) *signals {
	unhook := func() {}
	if source == nil {
		c := make(chan os.Signal, 8)
		signal.Notify(c, os.Interrupt, syscall.SIGTERM)
		if hup {
			signal.Notify(c, syscall.SIGHUP)
		}
		source, unhook = c, func() { signal.Stop(c) }
	}
	s := &signals{}
	var endGraceful, endNow context.CancelFunc
	s.graceful, endGraceful = context.WithCancel(ctx)
	s.now, endNow = context.WithCancel(context.WithoutCancel(ctx))
	s.reload.ask = make(chan struct{}, 1)

	done := make(chan struct{})
	var running sync.WaitGroup
	// Ends when done is closed; stop waits for it.
	running.Go(func() {
		for {
			select {
			case <-done:
				return
			case sig := <-source:
				switch {
				case sig == syscall.SIGHUP:
					s.reload.wake()
				case s.graceful.Err() == nil:
					endGraceful()
				default:
					endNow()
					// Whoever sends a third has lost patience: let the
					// system end the process.
					unhook()
				}
			}
		}
	})
	// Ends when done is closed and the callback has returned; stop waits for it.
	running.Go(func() { s.reload.run(done) })

	s.stop = func() {
		unhook()
		close(done)
		running.Wait()
		endGraceful()
		endNow()
	}
	return s
}

// reloader calls a function, one call at a time, when asked to. Requests that
// come during a call become one call after it.
type reloader struct {
	ask chan struct{} // capacity 1; fixed

	mu sync.Mutex
	f  func() // guarded by mu
}

func (r *reloader) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f = f
}

func (r *reloader) wake() {
	select {
	case r.ask <- struct{}{}:
	default:
	}
}

func (r *reloader) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-r.ask:
			r.mu.Lock()
			f := r.f
			r.mu.Unlock()
			if f != nil {
				f()
			}
		}
	}
}
