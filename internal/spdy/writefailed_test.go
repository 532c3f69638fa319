package spdy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// oneWay is a connection whose writes can be made to wait, and to fail; it still reads.
type oneWay struct {
	*spdytest.Conn
	mu   sync.Mutex
	cond sync.Cond
	// Guarded by mu.
	held bool
	err  error
}

func newOneWay(c *spdytest.Conn) *oneWay {
	w := &oneWay{Conn: c}
	w.cond.L = &w.mu
	return w
}

func (w *oneWay) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.held && w.err == nil {
		w.cond.Wait()
	}
	if w.err != nil {
		return 0, w.err
	}
	return w.Conn.Write(p)
}

func (w *oneWay) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = true
}

// fail makes writes fail, and returns when all has been done about it that can be.
func (w *oneWay) fail() {
	w.mu.Lock()
	w.err = errTest
	w.cond.Broadcast()
	w.mu.Unlock()
	synctest.Wait()
}

// failWrite holds back what is written next, a PING, and has it fail.
func (h *clientTest) failWrite(w *oneWay) {
	h.Helper()
	w.hold()
	// Ends with the write.
	go h.s.PingContext(h.Context())
	synctest.Wait()
	w.fail()
}

// onOneWay runs a client session whose writes the test can have fail.
func onOneWay(t *testing.T, run func(h *clientTest, w *oneWay)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, w := &clientTest{next: 1}, (*oneWay)(nil)
		h.session = newTest(t, setup{}, func(c *spdy.Config, conn *spdytest.Conn) *spdy.Session {
			w = newOneWay(conn)
			return c.NewClientSession(w)
		})
		run(h, w)
		h.finish()
	})
}

// wantEnd fails unless the session ends after so long, with a write's error.
func (h *clientTest) wantEnd(began time.Time, after time.Duration) {
	h.Helper()
	if err := h.wantServed(); !errors.Is(err, errTest) || !errors.Is(err, spdy.ErrLost) || !errors.Is(h.s.Err(), errTest) {
		h.Errorf("Serve: got %v, Err: %v, want the write's error", err, h.s.Err())
	}
	if d := time.Since(began); d != after {
		h.Errorf("the session ended after %v, want %v", d, after)
	}
}

// After a write that failed a client session takes no request any more, at once, and
// still reads the answers that are here.
func TestWriteFailed(t *testing.T) {
	onOneWay(t, func(h *clientTest, w *oneWay) {
		h.p.Send(set(4, 5))
		synctest.Wait()
		whole, first := h.open("/whole")
		late, second := h.open("/late")
		short, third := h.open("/short")
		w.hold()
		lost := h.get("/lost") // its SYN_STREAM is in the write that fails
		synctest.Wait()
		behind := h.get("/behind")
		synctest.Wait()
		waits := h.get("/waits") // for a place
		synctest.Wait()
		h.end.Freeze(true)
		h.p.Send(rep(first), data(first, "ok", fin), rep(third), data(third, "cut"))
		began := time.Now()
		w.fail()

		for what, c := range map[string]*call{"queued": behind, "waiting for a place": waits, "new": h.get("/new")} {
			if err := c.failure(); !spdy.Retryable(err) || !errors.Is(err, errTest) {
				h.Errorf("a request that is %s: got %v, want the write's error, and that it may be repeated", what, err)
			}
		}
		if _, err := h.s.PingContext(h.Context()); !errors.Is(err, errTest) {
			h.Errorf("PingContext: got %v, want the write's error", err)
		}
		select {
		case <-h.s.GoingAway():
		default:
			h.Error("GoingAway is open, want it closed")
		}
		if err := h.s.Err(); !errors.Is(err, errTest) || h.s.Available() != 0 {
			h.Errorf("Err: got %v, Available: %d, want the write's error and none", err, h.s.Available())
		}
		if d := time.Since(began); d != 0 {
			h.Errorf("all of that took %v, want no time", d)
		}

		h.end.Freeze(false)
		whole.wantBody("it was unread", 200, "ok")
		for range 100 { // more than what may wait to be echoed
			h.p.Send(ping(2))
		}
		time.Sleep(900 * time.Millisecond)
		h.answer(late, second)
		if err := short.failure(); !errors.Is(err, errTest) || spdy.Retryable(err) {
			h.Errorf("an answer that is not whole: got %v, want the write's error", err)
		}
		if err := lost.failure(); !errors.Is(err, errTest) || spdy.Retryable(err) {
			h.Errorf("a request that may have been sent: got %v, want the write's error, and that it may not be repeated", err)
		}
		h.wantEnd(began, time.Second)
		h.p.WantEOF("nothing is sent behind what failed")
	})
}

// The session ends with the connection, if that is sooner.
func TestWriteFailedAtTheEnd(t *testing.T) {
	onOneWay(t, func(h *clientTest, w *oneWay) {
		c, id := h.open("/")
		h.end.Freeze(true)
		h.p.Send(rep(id), data(id, "ok", fin))
		h.p.Conn.(*spdytest.Conn).CloseWrite()
		h.failWrite(w)
		began := time.Now()
		h.end.Freeze(false)
		c.wantBody("it was unread", 200, "ok")
		h.wantEnd(began, 0)
	})
}

// Close does not wait for what is not whole.
func TestWriteFailedThenClose(t *testing.T) {
	onOneWay(t, func(h *clientTest, w *oneWay) {
		c, _ := h.open("/")
		h.failWrite(w)
		began := time.Now()
		time.Sleep(time.Millisecond)
		// Ends with the session.
		go h.s.Close()
		if err := c.failure(); !errors.Is(err, errTest) || time.Since(began) != time.Millisecond {
			h.Errorf("got %v after %v, want the write's error after 1ms", err, time.Since(began))
		}
		h.wantServed()
		if d := time.Since(began); d > 1100*time.Millisecond {
			h.Errorf("Close took %v, want 1s at most", d)
		}
	})
}

// A peer that said why it goes is believed, though a write failed before that was read.
func TestWriteFailedBeforeGoAway(t *testing.T) {
	for _, test := range []struct {
		status uint32
		whole  bool
		ok     func(err error) bool
		want   string
	}{
		{0, true, func(err error) bool { return err == nil }, "no error"},
		{0, false, func(err error) bool { return errors.Is(err, errTest) }, "the write's error"},
		{1, true, func(err error) bool {
			se, ok := errors.AsType[*spdy.SessionError](err)
			return ok && se.Remote && se.Status == spdy.GoAwayProtocolError
		}, "the peer's PROTOCOL_ERROR"},
	} {
		onOneWay(t, func(h *clientTest, w *oneWay) {
			c, id := h.open("/")
			h.end.Freeze(true)
			h.p.Send(rep(id), goAway(id, test.status))
			if test.whole {
				h.p.Send(data(id, "ok", fin))
			}
			h.p.Conn.(*spdytest.Conn).CloseWrite()
			h.failWrite(w)
			h.end.Freeze(false)
			if err := c.failure(); (err == nil) != test.whole {
				h.Errorf("GOAWAY(%d): the call: got %v", test.status, err)
			}
			if err := h.wantServed(); !test.ok(err) {
				h.Errorf("GOAWAY(%d), whole %v: Serve: got %v, want %v", test.status, test.whole, err, test.want)
			}
		})
	}
}

// A peer that takes nothing, and answers, is given up no sooner than its answer is here.
func TestWriteStallWithAnswers(t *testing.T) {
	config := spdy.Config{WriteTimeout: 20 * time.Second}
	onClient(t, setup{config: config, pipe: spdytest.PipeConfig{Buffer: 64 << 10}}, func(h *clientTest) {
		h.p.Send(wu(0, 1<<30), set(7, 1<<30))
		c, id := h.open("/")
		began := time.Now()
		up := h.start(h.request("POST", "/", bytes.NewReader(make([]byte, 1<<20))))
		<-h.s.GoingAway()
		if err, d := h.s.Err(), time.Since(began); !errors.Is(err, spdy.ErrDead) || d < 20*time.Second || d > 25*time.Second {
			h.Errorf("it takes no more requests after %v: %v, want ErrDead after 20s", d, err)
		}
		h.p.Send(rep(id))
		time.Sleep(500 * time.Millisecond)
		h.p.Send(data(id, "ok", fin))
		c.wantBody("it came within a second", 200, "ok")
		if err := h.afterwards(up); !errors.Is(err, spdy.ErrDead) {
			h.Errorf("what was not taken: got %v, want ErrDead", err)
		}
	})
}

// A server session ends with its writes: nobody would get an answer, and who dials
// again does it at once.
func TestWriteFailedOfServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *oneWay
		ended := make(chan error, 1)
		handler := func(w http.ResponseWriter, r *http.Request) {
			io.ReadAll(r.Body)
			<-r.Context().Done()
			ended <- context.Cause(r.Context())
		}
		h := newTest(t, setup{}, func(c *spdy.Config, conn *spdytest.Conn) *spdy.Session {
			w = newOneWay(conn)
			return c.NewServerSession(w, &http.Server{Handler: http.HandlerFunc(handler)})
		})
		h.p.Send(req(1, "/"))
		synctest.Wait()
		began := time.Now()
		w.fail()
		h.p.Send(ping(1)) // its echo is the write
		synctest.Wait()
		h.p.Send(post(3, "/"))
		<-ended
		<-h.s.GoingAway()
		if err, d := h.s.Err(), time.Since(began); !errors.Is(err, errTest) || d != 0 {
			h.Errorf("got %v after %v, want the write's error at once", err, d)
		}
		if n := h.s.Stats().StreamsOpened; n != 1 {
			h.Errorf("%d requests were taken, want 1", n)
		}
		h.finish()
	})
}

// Whichever of its loops meets the end of the connection first: the reason is the one
// that the peer's GOAWAY gave.
func TestWriteFailedOfServerAfterGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *oneWay
		h := newTest(t, setup{}, func(c *spdy.Config, conn *spdytest.Conn) *spdy.Session {
			w = newOneWay(conn)
			return c.NewServerSession(w, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
			})})
		})
		h.p.Send(req(1, "/"), goAway(0, 1))
		synctest.Wait()
		w.fail()
		h.p.Send(ping(1))
		err := h.wantServed()
		if se, ok := errors.AsType[*spdy.SessionError](err); !ok || !se.Remote || se.Status != spdy.GoAwayProtocolError {
			h.Errorf("Serve: got %v, want the peer's PROTOCOL_ERROR", err)
		}
		h.finish()
	})
}
