package spdy_test

import (
	"context"
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

const lastStreamID = 1<<31 - 1

// With the last id a session goes away: it says so, finishes what is open, and
// ends cleanly (draft 3.1, 2.3.2 and 2.6.6).
func TestStreamIDsRunOut(t *testing.T) {
	onClient(t, setup{config: spdy.Config{FirstStreamID: lastStreamID - 3}}, func(h *clientTest) { // an even one
		h.next = lastStreamID - 2
		first, firstID := h.open("/first")
		if err := h.s.Err(); err != nil || h.s.Available() == 0 {
			h.Errorf("one id is left: got %v, want a session that takes requests", err)
		}
		select {
		case <-h.s.GoingAway():
			h.Error("one id is left: the session goes away already")
		default:
		}
		last, lastID := h.open("/last")
		h.p.Want("the ids are used up", goAway(0, 0))
		<-h.s.GoingAway()
		if n := h.s.Available(); n != 0 {
			h.Errorf("the ids are used up: %d streams are available", n)
		}
		err := h.s.Err()
		if !errors.Is(err, spdy.ErrGoingAway) || !strings.Contains(err.Error(), "stream ids are used up") {
			h.Errorf("Err: got %v, want ErrGoingAway, for the ids", err)
		}
		if _, err := h.get("/more").wait(); !spdy.Retryable(err) || !errors.Is(err, spdy.ErrGoingAway) {
			h.Errorf("a request without an id: got %v, want an error that says it was not processed", err)
		}
		h.p.WantIdle("nothing for it on the wire")
		h.p.Send(goAway(lastID, 0)) // the peer answers in kind
		synctest.Wait()
		if err := h.s.Err(); err == nil || !strings.Contains(err.Error(), "stream ids are used up") {
			h.Errorf("Err, after the peer's GOAWAY: got %v, want that the ids are used up", err)
		}

		h.answer(last, lastID)
		h.p.WantIdle("a stream is still open")
		h.answer(first, firstID)
		h.p.WantEOF("nothing is open")
		if err := h.wantServed(); err != nil {
			h.Errorf("Serve: got %v, want nil", err)
		}
		if err := h.s.Err(); !strings.Contains(err.Error(), "stream ids are used up") {
			h.Errorf("Err in the end: got %v, want that the ids are used up", err)
		}
	})
}

// Requests that wait for a place under MAX_CONCURRENT_STREAMS are not lost with
// the ids: they may be sent elsewhere.
func TestStreamIDsRunOutForWaiters(t *testing.T) {
	onClient(t, setup{config: spdy.Config{FirstStreamID: lastStreamID - 2}}, func(h *clientTest) {
		h.next = lastStreamID - 2
		h.p.Send(set(4, 1))
		synctest.Wait()
		first, firstID := h.open("/first")
		waiting := make(map[*call]bool)
		for range 5 {
			waiting[h.get("/waits")] = true
		}
		synctest.Wait()
		h.answer(first, firstID)
		_, lastID := h.wantSyn("one of them"), uint32(lastStreamID)
		h.p.Want("the ids are used up", goAway(0, 0))
		synctest.Wait()
		for c := range waiting {
			select {
			case <-c.done:
				if !spdy.Retryable(c.err) {
					h.Errorf("a request that waits: got %v, want an error that says it was not processed", c.err)
				}
				delete(waiting, c)
			default:
			}
		}
		if len(waiting) != 1 {
			h.Fatalf("%d requests go on, want 1", len(waiting))
		}
		for c := range waiting {
			h.answer(c, lastID)
		}
		h.p.WantEOF("nothing is open")
	})
}

// Many requests at once over sessions of 50 ids each: every one is answered, and
// none is served twice.
func TestStreamIDsRunOutUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		served := make(map[string]int) // guarded by mu
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			mu.Lock()
			served[r.URL.Path]++
			mu.Unlock()
			time.Sleep(time.Millisecond) // answers come while others open streams
			w.Write(b)
		})
		var wg sync.WaitGroup
		var current *spdy.Session // guarded by mu
		sessions := 0
		next := func() *spdy.Session {
			mu.Lock()
			defer mu.Unlock()
			if current == nil || current.Err() != nil {
				a, b := spdytest.Pipe(spdytest.PipeConfig{})
				current = (&spdy.Config{FirstStreamID: lastStreamID - 98}).NewClientSession(a)
				server := (*spdy.Config)(nil).NewServerSession(b, &http.Server{Handler: handler})
				sessions++
				for _, s := range []*spdy.Session{current, server} {
					// Ends with the last of 50 streams, or by the Close below.
					wg.Go(func() {
						if err := s.Serve(); err != nil {
							t.Errorf("Serve: got %v, want nil", err)
						}
					})
				}
			}
			return current
		}
		const requests = 1000
		var calls sync.WaitGroup
		for i := range requests {
			calls.Go(func() {
				for {
					path := fmt.Sprint("/", i)
					req := request(t, "POST", path, strings.NewReader(path))
					resp, err := next().RoundTrip(req)
					if spdy.Retryable(err) {
						continue
					}
					if err != nil {
						t.Errorf("request %d: %v", i, err)
						return
					}
					if b, err := io.ReadAll(resp.Body); string(b) != path || err != nil {
						t.Errorf("request %d: got %q, %v", i, b, err)
					}
					return
				}
			})
		}
		calls.Wait()
		current.Shutdown(context.Background())
		wg.Wait()
		if want := requests / 50; sessions != want {
			t.Errorf("got %d sessions, want %d of 50 streams each", sessions, want)
		}
		for i := range requests {
			if n := served[fmt.Sprint("/", i)]; n != 1 {
				t.Errorf("request %d was served %d times", i, n)
			}
		}
	})
}

// PING ids wrap (draft 3.1, 2.6.5): not to 0, which some peers stop at, and not to
// one that still waits for its echo.
func TestPingIDsWrap(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		pinged := make(chan error, 3)
		start := func() {
			// Ends with the echo.
			go func() {
				_, err := h.s.PingContext(context.Background())
				pinged <- err
			}()
		}
		start()
		h.p.Want("the first", ping(2))
		h.s.SetNextPing(1<<32 - 2)
		start()
		h.p.Want("the last", ping(1<<32-2))
		start()
		h.p.Want("0 and 2 are left out", ping(4))
		h.p.Send(ping(4), ping(2), ping(1<<32-2))
		for range 3 {
			if err := <-pinged; err != nil {
				h.Errorf("PingContext: %v", err)
			}
		}
		h.alive(1)
	})
}
