package spdy

import (
	"testing"
	"testing/synctest"
	"time"
)

// workersTest counts the goroutines of some workers by what they do.
type workersTest struct {
	workers
	running map[*Stream]chan struct{} // closed to end that handler
	started chan *Stream
}

func newWorkersTest() *workersTest {
	w := &workersTest{running: make(map[*Stream]chan struct{}), started: make(chan *Stream, 2*maxIdle)}
	w.run = func(st *Stream) {
		done := w.running[st]
		w.started <- st
		<-done
	}
	return w
}

// begin starts n handlers, which run until the returned function is called.
func (w *workersTest) begin(n int) (end func()) {
	streams, all := make([]*Stream, n), make([]chan struct{}, n)
	for i := range n {
		streams[i], all[i] = new(Stream), make(chan struct{})
		w.running[streams[i]] = all[i]
	}
	for _, st := range streams {
		w.start(st)
	}
	for range n {
		<-w.started
	}
	return func() {
		for _, done := range all {
			close(done)
		}
		synctest.Wait()
	}
}

func (w *workersTest) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.idle)
}

func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkersTest()
		want := func(what string, n int) {
			t.Helper()
			synctest.Wait()
			if got := w.waiting(); got != n {
				t.Fatalf("%s: %d wait for a stream, want %d", what, got, n)
			}
		}
		w.begin(maxIdle + 9)()
		want("after more than may wait", maxIdle)
		end := w.begin(3)
		want("while three of them run", maxIdle-3)
		end()
		want("after those", maxIdle)

		// Three are in use all the time. The others end, soon after idleTime at most.
		for range 4 {
			w.begin(3)()
			time.Sleep(idleTime / 2)
		}
		want("after twice the time", 3)
		time.Sleep(2 * idleTime)
		want("after twice the time with nothing to do", 0)
		w.mu.Lock()
		if w.look != nil {
			t.Error("a timer goes on when no goroutine waits")
		}
		w.mu.Unlock()

		w.begin(2)()
		end = w.begin(1)
		w.close()
		want("after the end", 0)
		end()
		want("after the end of the last handler", 0)
		// The bubble ends when all of its goroutines have.
	})
}

// The timer may have fired when the session ends, and wait for the lock.
func TestWorkersCloseBesideLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkersTest()
		w.begin(3)()
		time.Sleep(idleTime)
		synctest.Wait() // the first look: three have waited since
		w.close()
		w.endUnused()
		end := w.begin(1) // a handler that began before the end
		end()
		if n := w.waiting(); n != 0 {
			t.Errorf("%d wait for a stream after the end", n)
		}
	})
}

func TestWorkersReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkersTest()
		w.begin(2)()
		w.mu.Lock()
		last := w.idle[1]
		w.mu.Unlock()
		w.begin(1)()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.idle[1] != last {
			t.Error("the stream did not go to the goroutine that had waited shortest")
		}
		w.look.Stop()
		w.endLocked(2)
	})
}
