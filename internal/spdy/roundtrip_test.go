package spdy_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// A request that is given up before its SYN_STREAM went out leaves nothing on
// the wire: its FIN would be a frame for a stream that was never opened.
func TestUnsentRequestSendsNothing(t *testing.T) {
	onClient(t, setup{pipe: spdytest.PipeConfig{Buffer: 16}}, func(h *clientTest) {
		first := h.get("/first") // its SYN_STREAM fills the connection
		synctest.Wait()
		ctx, cancel := context.WithCancel(h.Context())
		second := h.start(h.request("POST", "/second", unsized{strings.NewReader("")}).WithContext(ctx))
		synctest.Wait()
		cancel()
		if _, err := second.wait(); !errors.Is(err, context.Canceled) {
			h.Errorf("the request that was given up: got %v, want context.Canceled", err)
		}
		h.wantSyn("the first request")
		h.p.WantIdle("nothing of the second request")
		h.answer(first, 1)
	})
}

// The peer is told that the rest of a body that is too long is not wanted, or
// it would wait for window.
func TestBodyTooLongIsStopped(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/read", nv("content-length", "5")), data(1, "abcdefghi"))
		f := h.p.Next("the answer")
		if got, _ := f.Get(":status"); f.Type != spdytest.TypeSynReply || f.Flags != fin || !strings.HasPrefix(got, "400") {
			h.Errorf("got %v, want SYN_REPLY 400 with FIN", f)
		}
		h.p.Want("the rest is not wanted", rst(1, spdy.Cancel))
		h.p.Send(data(1, "more"), data(1, "more", fin))
		h.p.WantIdle("nothing more")
		h.alive(3)
	})
}

// watched is a context that has who watches it told of its end.
type watched struct {
	context.Context
	mu       sync.Mutex
	watchers []interface{ ContextEnded() } // guarded by mu
}

func (c *watched) Watch(w interface{ ContextEnded() }) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(c.watchers, w)
}

func (c *watched) Unwatch(w interface{ ContextEnded() }) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.watchers, w)
	if i >= 0 {
		c.watchers = slices.Delete(c.watchers, i, i+1)
	}
	return i >= 0
}

// A context that can be watched is, until the stream's end.
func TestWatchedContext(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		ctx, cancel := context.WithCancelCause(h.Context())
		c := &watched{Context: ctx}
		whole := h.start(h.request("GET", "/whole", nil).WithContext(c))
		h.wantSyn("the first request")
		given := h.start(h.request("GET", "/given-up", nil).WithContext(c))
		h.wantSyn("the second request")
		h.answer(whole, 1)
		synctest.Wait()
		if len(c.watchers) != 1 {
			h.Fatalf("%d watch the context of one stream that is left", len(c.watchers))
		}
		why := errors.New("why")
		cancel(why)
		c.watchers[0].ContextEnded()
		if _, err := given.wait(); !errors.Is(err, why) {
			h.Errorf("the request that was given up: got %v, want %v", err, why)
		}
		h.p.Want("the end of the context", rst(3, spdy.Cancel))
		if len(c.watchers) != 0 {
			h.Errorf("%d watch the context yet", len(c.watchers))
		}
	})
}

// A request that cannot be written as a SYN_STREAM is a *StreamError, too, and is not
// to be sent again.
func TestRequestThatIsNone(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		for what, spoil := range map[string]func(r *http.Request){
			"a method":     func(r *http.Request) { r.Method = "G ET" },
			"no URL":       func(r *http.Request) { r.URL = nil },
			"a path":       func(r *http.Request) { r.URL.Opaque = "/a b" },
			"a host":       func(r *http.Request) { r.Host = "a/b" },
			"a name":       func(r *http.Request) { r.Header["A(b"] = []string{"1"} },
			"a value":      func(r *http.Request) { r.Header["A"] = []string{"1\n"} },
			"a large head": func(r *http.Request) { r.Header["A"] = []string{strings.Repeat("x", 1<<20)} },
		} {
			r := h.request("GET", "/", nil)
			spoil(r)
			_, err := h.s.RoundTrip(r)
			if se, ok := errors.AsType[*spdy.StreamError](err); !ok || se.StreamID != 0 || se.Remote || spdy.Retryable(err) {
				h.Errorf("%s: got %#v, want a *StreamError of this side", what, err)
			}
		}
		h.p.WantIdle("nothing of them")
		h.alive()
	})
}
