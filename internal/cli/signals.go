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
	handOver reloader
	stop     func() // ends the goroutines, and waits for them; for a reload until now ends at most
}

// watchSignals starts to listen to source, or to the process's signals if it is
// nil. SIGHUP and the signal for a hand-over keep their usual effect, to end the
// program, unless it is a daemon.
func watchSignals(ctx context.Context, source <-chan os.Signal, daemon bool) *signals {
	unhook := func() {}
	if source == nil {
		c := make(chan os.Signal, 8)
		signal.Notify(c, os.Interrupt, syscall.SIGTERM)
		if daemon {
			signal.Notify(c, syscall.SIGHUP)
			if handOverSignal != nil {
				signal.Notify(c, handOverSignal)
			}
		}
		source, unhook = c, func() { signal.Stop(c) }
	}
	s := &signals{}
	var endGraceful, endNow context.CancelFunc
	s.graceful, endGraceful = context.WithCancel(ctx)
	s.now, endNow = context.WithCancel(context.WithoutCancel(ctx))
	s.reload.ask, s.handOver.ask = make(chan struct{}, 1), make(chan struct{}, 1)

	done, stopping, reloaded := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var running, handing sync.WaitGroup
	// Ends when done is closed; stop waits for it.
	running.Go(func() {
		s.dispatch(source, done, endGraceful, func() {
			endNow()
			// Whoever sends a third has lost patience: let the
			// system end the process.
			unhook()
		})
	})
	// These end when stopping is closed and the callback has returned; stop waits for
	// them. What is read anew may be on a disk that does not answer: a second signal ends
	// the wait for that.
	handing.Go(func() { s.handOver.run(stopping) })
	go func() {
		defer close(reloaded)
		s.reload.run(stopping)
	}()

	s.stop = func() {
		close(stopping)
		handing.Wait()
		select {
		case <-reloaded:
		case <-s.now.Done():
		}
		unhook()
		close(done)
		running.Wait()
		endGraceful()
		endNow()
	}
	return s
}

// dispatch acts on signals until done is closed.
func (s *signals) dispatch(source <-chan os.Signal, done <-chan struct{}, first, second func()) {
	for {
		select {
		case <-done:
			return
		case sig := <-source:
			switch {
			case sig == syscall.SIGHUP:
				s.reload.wake()
			case handOverSignal != nil && sig == handOverSignal:
				s.handOver.wake()
			case s.graceful.Err() == nil:
				first()
			default:
				second()
			}
		}
	}
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
