package spdy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A graceful end waits until the peer has closed: a connection that is closed
// while the last response is on a slow line is reset, and cuts it.
func TestGracefulEndWaitsForPeer(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		start := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- h.s.Shutdown(h.Context()) }()
		h.p.Want("the end is announced", goAway(1, 0))
		close(h.release)
		h.wantResponse("the response", 1, "200", "ok")
		h.p.Send(data(1, "", fin))
		h.p.WantEOF("all was sent")
		time.Sleep(5 * time.Second) // what a slow line takes
		if err := h.p.TrySend(ping(1)); err != nil {
			h.Errorf("after %v the connection is closed: %v", time.Since(start), err)
		}
		h.p.Close()
		if err := <-stopped; err != nil {
			h.Errorf("Shutdown: got %v", err)
		}
	})
	// Not for ever, and not when Close says otherwise.
	for _, hurry := range []bool{false, true} {
		onServer(t, setup{}, func(h *serverTest) {
			start := time.Now()
			stopped := make(chan error, 1)
			go func() { stopped <- h.s.Shutdown(h.Context()) }()
			h.p.Want("the end is announced", goAway(0, 0))
			h.p.WantEOF("all was sent")
			limit := 15 * time.Second
			if hurry {
				limit = 2 * time.Second
				h.s.Close()
			}
			<-stopped
			if d := time.Since(start); d > limit {
				h.Errorf("with a peer that does not close, hurry %v: got %v, want %v at most", hurry, d, limit)
			}
		})
	}
}

// A GOAWAY finds calls in the queue: they were not processed.
func TestGoAwayFailsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			h.p.Send(set(4, 1))
			synctest.Wait()
			a, id := h.open("/a")
			waiting := h.get("/b")
			synctest.Wait()
			h.p.Send(goAway(id, 0))
			if _, err := waiting.wait(); !spdy.Retryable(err) {
				t.Errorf("a waiting call: got %v, want an error that says it was not processed", err)
			}
			h.p.WantIdle("no SYN_STREAM")
			h.answer(a, id)
		})
	})
}

// Requests that cross a GOAWAY are either answered or fail as not processed,
// and none runs twice or is lost.
func TestShutdownRace(t *testing.T) {
	for delay := time.Duration(0); delay < 40*time.Millisecond; delay += 3 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			ran := make(map[string]int)
			l := link(t, spdytest.PipeConfig{Delay: 5 * time.Millisecond}, spdy.Config{}, spdy.Config{MaxConcurrentStreams: 5},
				func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					ran[r.URL.Path]++
					mu.Unlock()
					time.Sleep(7 * time.Millisecond)
					io.WriteString(w, r.URL.Path)
				})
			errs := make(map[string]error)
			var wg sync.WaitGroup
			for i := range 30 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					path := fmt.Sprint("/", i)
					r, _ := http.NewRequest("POST", "http://a.test"+path, strings.NewReader("x"))
					resp, err := l.client.RoundTrip(r)
					if err == nil {
						var b []byte
						if b, err = io.ReadAll(resp.Body); err == nil && string(b) != path {
							err = fmt.Errorf("got body %q", b)
						}
					}
					mu.Lock()
					defer mu.Unlock()
					errs[path] = err
				})
			}
			synctest.Wait() // closed before Serve, a session says nothing
			time.Sleep(delay)
			if err := l.server.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			wg.Wait()
			for path, err := range errs {
				switch {
				case err == nil && ran[path] != 1:
					t.Errorf("delay %v: %s was answered and ran %d times, want once", delay, path, ran[path])
				case err != nil && (!spdy.Retryable(err) || ran[path] != 0):
					t.Errorf("delay %v: %s ran %d times and failed with %v, want an error that says it was not processed", delay, path, ran[path], err)
				}
			}
		})
	}
}

// A session that is ended before it is served says goodbye too: the peer may send
// again what it has sent meanwhile, for none of it was processed.
func TestEndBeforeServe(t *testing.T) {
	for what, end := range map[string]func(*spdy.Session) error{
		"Shutdown": func(s *spdy.Session) error { return s.Shutdown(t.Context()) },
		"Close":    func(s *spdy.Session) error { s.Close(); return nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := spdytest.Pipe(spdytest.PipeConfig{})
			client := new(spdy.Config).NewClientSession(far)
			go client.Serve()    // ends with the connection
			defer client.Close() // and waits for it
			got := make(chan error, 1)
			go func() { // ends with the session
				resp, err := client.RoundTrip(request(t, "POST", "/", strings.NewReader("x")))
				if err == nil {
					resp.Body.Close()
				}
				got <- err
			}()
			synctest.Wait()
			s := new(spdy.Config).NewServerSession(near, &http.Server{})
			if err := end(s); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if err := <-got; !spdy.Retryable(err) {
				t.Errorf("%s: a request that was not taken failed with %v, want an error that is retryable", what, err)
			}
			if err := s.Serve(); err == nil {
				t.Errorf("%s: Serve after it: got no error", what)
			}
		})
	}
}

// A request whose session ends is told of the stream that it had.
func TestSessionErrorSaysItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			a, first := h.open("/a")
			b, second := h.open("/b")
			wants := func(what string, err error, id uint32) {
				t.Helper()
				if e, ok := errors.AsType[*spdy.SessionError](err); !ok || e.StreamID != id {
					t.Errorf("%s: got %+v, want an error of the session with stream %d", what, err, id)
				}
			}
			h.p.Send(goAway(first, 0))
			_, err := b.wait()
			wants("above the last good one", err, second)
			h.s.Close()
			_, err = a.wait()
			wants("at the session's end", err, first)
			wants("of no request", h.s.Err(), 0)
			_, err = h.get("/c").wait()
			wants("without a stream", err, 0)
		})
	})
}
