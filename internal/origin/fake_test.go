package origin

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/amahi/spdy"
)

// fake is a session whose state the test sets.
type fake struct {
	name  string
	going chan struct{}
	done  chan struct{}
	max   int                                         // streams; set before it registers, as trip
	trip  func(*http.Request) (*http.Response, error) // nil: it fails

	mu sync.Mutex
	// Guarded by mu.
	open      int
	available int
	err       error
	silent    bool // answers no PING
	ending    bool // as a session is whose connection is being closed: it sends none
	chatty    bool // sends other frames all the same
	stubborn  bool // does not finish what it serves
	shut      int  // calls of Shutdown
	closed    int  // calls of Close
	frames    uint64
	stats     spdy.Stats
}

func newFake(name string) *fake {
	return &fake{name: name, going: make(chan struct{}), done: make(chan struct{}), available: 100, max: 100}
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) counts() (shut, closed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shut, f.closed
}

// leave is a GOAWAY of C's, usedUp one of our own, die the end.
func (f *fake) leave() { f.goAway(&spdy.SessionError{Remote: true, Cause: spdy.ErrGoingAway}) }

func (f *fake) usedUp() { f.goAway(&spdy.SessionError{Cause: spdy.ErrGoingAway}) }

func (f *fake) goAway(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		close(f.going)
	}
}

func (f *fake) die(cause error) { f.end(&spdy.SessionError{Cause: cause}) }

func (f *fake) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.done:
		return
	default:
	}
	if f.err == nil {
		close(f.going)
	}
	f.err = err
	close(f.done)
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.trip != nil {
		return f.trip(r)
	}
	return nil, errors.New("not here")
}

func (f *fake) PingContext(ctx context.Context) (time.Duration, error) {
	f.mu.Lock()
	silent, chatty, ending := f.silent, f.chatty, f.ending
	if chatty {
		f.frames++
	}
	f.mu.Unlock()
	if ending {
		return 0, spdy.ErrClosed
	}
	if !silent {
		return time.Millisecond, nil
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-f.done:
		return 0, f.Err()
	}
}

func (f *fake) Shutdown(ctx context.Context) error {
	f.mu.Lock()
	f.shut++
	stay := f.stubborn
	f.mu.Unlock()
	f.leave()
	if !stay {
		f.die(spdy.ErrGoingAway)
		return nil
	}
	select {
	case <-ctx.Done():
		f.Close()
		return ctx.Err()
	case <-f.done:
		return nil
	}
}

func (f *fake) Close() {
	f.mu.Lock()
	f.closed++
	f.mu.Unlock()
	f.die(spdy.ErrClosed)
}

func (f *fake) Done() <-chan struct{}      { return f.done }
func (f *fake) GoingAway() <-chan struct{} { return f.going }

func (f *fake) AfterGoingAway(do func()) {
	go func() { // ends with the fake
		<-f.going
		do()
	}()
}

func (f *fake) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fake) Available() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.available
}

func (f *fake) MaxStreams() int { return f.max }

func (f *fake) InFlight() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

func (f *fake) Stats() spdy.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.FramesReceived = f.frames
	return s
}

func (f *fake) Frames() spdy.Frames { return make(spdy.Frames, 1) }
