package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// successor is a P in this process that takes over when it is told to.
type successor struct {
	*p
	goOn chan struct{}
	err  error // of GoOn
}

func (s *successor) GoOn() error {
	if s.err == nil {
		close(s.goOn)
	}
	return s.err
}

func (s *successor) Kill() { s.cancelNow(); s.cancel() }

// inherit starts a P with the sockets of another.
func inherit(x *p, ports map[string]net.Listener) *successor {
	s := &successor{goOn: make(chan struct{})}
	s.p = startP(x.t, x.files, func(c *proxy.Config) {
		logger := c.Logger
		*c = x.cfg
		c.Logger = logger
		c.Inherited = func(name string) (net.Listener, error) {
			f, err := ports[name].(*net.TCPListener).File()
			if err != nil {
				return nil, err
			}
			defer f.Close()
			return net.FileListener(f)
		}
		c.Started = func(ctx context.Context) error {
			select {
			case <-s.goOn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return s
}

// askOnAndOn has four visitors ask x, and whoever comes after it, until leave is called,
// which waits for them. asked counts their requests; one that fails is an error of the
// test.
func askOnAndOn(t *testing.T, x *p, rt http.RoundTripper) (asked *atomic.Int64, leave func()) {
	stop := make(chan struct{})
	asked = new(atomic.Int64)
	var visitors sync.WaitGroup
	for range 4 {
		// Ends when stop is closed; leave waits for it.
		visitors.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				a := fetch(deadline(t), rt, "POST", x.url("/a"), bytes.NewReader(pattern(1000)), nil)
				if _, session := rt.(*spdy.Session); session && spdy.Retryable(a.err) {
					return
				}
				if a.err != nil || a.status != 200 || string(a.body) != "c POST /a 1000" {
					t.Errorf("request %d: %v", asked.Load(), a)
					return
				}
				asked.Add(1)
			}
		})
	}
	return asked, func() { close(stop); visitors.Wait() }
}

// Another P takes over, and no request fails, on whatever connection it comes,
// though it is a POST, which the client sends again in h2 alone, where it is told
// that its request crossed the goodbye and was not touched. Who has a SPDY session
// is told so, too.
func TestHandOver(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		y := startC(t, x, hello("c"), nil)
		asked, leave := askOnAndOn(t, x, rt)
		waitFor(t, "requests", func() bool { return asked.Load() > 20 })
		var next *successor
		if err := x.HandOver(t.Context(), func(ports map[string]net.Listener) (proxy.Successor, error) {
			next = inherit(x, ports)
			return next, nil
		}); err != nil {
			t.Fatal(err)
		}
		// C was there before the visitors were.
		if !next.Connected("@") {
			t.Error("the other P has no C when it takes over")
		}
		x.wait()
		if x.err != nil {
			t.Errorf("Run: %v", x.err)
		}
		if _, session := rt.(*spdy.Session); !session {
			before := asked.Load()
			waitFor(t, "more requests", func() bool { return asked.Load() > before+20 })
		}
		leave()
		if x.cfg.TLS {
			rt = dialSPDY(t, next.p, "spdy/3.1")
		}
		want(t, "a new connection", fetch(deadline(t), rt, "GET", x.url("/b"), nil, nil), 200, "c GET /b")
		if n := y.log.count("asks for another connection"); n != 1 || y.wire.dials() != 2 {
			t.Errorf("C was asked %d times and dialled %d times, want once and twice", n, y.wire.dials())
		}
		next.log.wait("p listens", 1)
		for _, log := range []*journal{x.log, next.log, y.log} {
			if n := log.count("level=WARN") + log.count("level=ERROR"); n != 0 {
				t.Errorf("%s has %d warnings", log.who, n)
			}
		}
	})
}

// Who keeps a connection to the admin port is answered by whoever has taken over, as soon
// as P is not ready any more, however long it lets open requests finish.
func TestHandOverOfAdminConnections(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	startC(t, x, hello("c"), nil)
	if status, body := x.adminGet("/readyz?origin=@"); status != 200 {
		t.Fatalf("before: %d %s", status, body)
	}
	if err := x.HandOver(t.Context(), func(ports map[string]net.Listener) (proxy.Successor, error) {
		return inherit(x, ports), nil
	}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "P to leave", func() bool { return !x.Ready() })
	if status, body := x.adminGet("/readyz?origin=@"); status != 200 {
		t.Errorf("after a hand-over, by a connection of before: %d %s, want 200 of the other P", status, body)
	}
}

// If the other process is gone when it should take over, P goes on, and takes Cs
// again; a C that was asked comes back to it.
func TestHandOverUndone(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	y := startC(t, x, hello("c"), nil)
	var next *successor
	gone := errors.New("it is gone")
	err := x.HandOver(t.Context(), func(ports map[string]net.Listener) (proxy.Successor, error) {
		next = inherit(x, ports)
		next.err = gone
		return next, nil
	})
	if !errors.Is(err, gone) {
		t.Fatalf("HandOver: %v, want %v", err, gone)
	}
	want(t, "while C has two connections", x.get("/a"), 200, "c GET /a")
	next.Kill()
	next.wait()
	y.log.wait("msg=connected", 3)
	want(t, "after it", x.get("/b"), 200, "c GET /b")
	startC(t, x, hello("another"), nil)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.HandOver(cancelled, func(ports map[string]net.Listener) (proxy.Successor, error) {
		next = inherit(x, ports)
		return next, nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("HandOver of a P that stops: %v", err)
	}
	next.wait()
}
