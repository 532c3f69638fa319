package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/lazycontext"
)

// A visitor that takes nothing, or that nobody takes anything from, is given up
// after a while; one that is waited on is not.
func TestVisitorStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, next := newTestVisitors(t, 100*time.Millisecond)
		accept := func() (net.Conn, context.Context) {
			ours, _ := pipe("192.0.2.1")
			next <- ours
			c, err := v.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return c, withLeave(context.Background(), c)
		}
		writing, _ := accept()
		if _, err := writing.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write that gets nowhere: got %v, want a timeout", err)
		}
		reading, readingCtx := accept()
		go reading.Read(make([]byte, 1)) // ends when the connection is closed, below
		_, idleCtx := accept()
		select {
		case <-idleCtx.Done():
		case <-time.After(time.Minute):
			t.Error("a connection on which nothing moves was kept")
		}
		if readingCtx.Err() != nil {
			t.Error("a connection that is read from was given up")
		}
		reading.Close()
	})
}

// Nothing moves for a while: who is given up, and when.
func TestVisitorLook(t *testing.T) {
	const stall = time.Minute
	start := time.Now()
	const never = -1
	for _, test := range []struct {
		name      string
		reading   bool
		writing   time.Duration   // since when a Write is under way, or never
		reads     []time.Duration // when one ends
		writes    []time.Duration // when one ends, and another begins
		left, cut time.Duration   // the wanted ends of the requests and of the Write
	}{
		{"it waits for a request", true, never, nil, nil, never, never},
		{"a body that nobody reads", false, never, nil, nil, 70 * time.Second, never},
		{"a body that is read now and then", false, never, []time.Duration{45 * time.Second, 95 * time.Second}, nil, 170 * time.Second, never},
		{"it takes nothing, and may send", true, 5 * time.Second, nil, nil, never, 70 * time.Second},
		{"it takes nothing, and sends", true, 5 * time.Second, []time.Duration{50 * time.Second, 100 * time.Second, 150 * time.Second}, nil, never, 70 * time.Second},
		{"it takes nothing, and is not read from", false, 5 * time.Second, nil, nil, 80 * time.Second, 70 * time.Second},
		{"it takes something now and then", true, 5 * time.Second, nil, []time.Duration{50 * time.Second, 100 * time.Second}, never, 160 * time.Second},
		{"it takes something now and then, and is not read from", false, 5 * time.Second, nil, []time.Duration{50 * time.Second, 100 * time.Second}, 170 * time.Second, 160 * time.Second},
		{"a write that begins after a long wait", true, 175 * time.Second, nil, nil, never, never},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := &deadlineConn{}
			c := &visitor{Conn: conn, from: &visitors{stall: stall, unread: stall}, since: start, sinceWrite: start}
			ctx := withLeave(t.Context(), c)
			if test.reading {
				c.reading.Store(1)
			}
			left, cut := time.Duration(never), time.Duration(never)
			const tick = 10 * time.Second
			for now := time.Duration(0); now <= 3*stall; now += tick {
				during := func(at time.Duration) bool { return at > now-tick && at <= now && at != never }
				if slices.ContainsFunc(test.reads, during) {
					c.reads.Add(1)
				}
				if during(test.writing) || slices.ContainsFunc(test.writes, during) {
					c.writes.Add(1)
				}
				if test.writing != never && test.writing <= now {
					c.writing.Store(1)
				}
				c.lookLocked(start.Add(now))
				if left == never && ctx.Err() != nil {
					left = now
				}
				if cut == never && !conn.first.IsZero() {
					cut = now
				}
			}
			if left != test.left || cut != test.cut {
				t.Errorf("requests ended after %v, the Write after %v; want %v and %v", left, cut, test.left, test.cut)
			}
		})
	}
}

// deadlineConn notes the first write deadline.
type deadlineConn struct {
	net.Conn
	first time.Time
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	if c.first.IsZero() {
		c.first = t
	}
	return nil
}

// readConn is a connection whose Read returns that.
type readConn struct {
	net.Conn
	n   int
	err error
}

func (c readConn) Read([]byte) (int, error) { return c.n, c.err }

// Behind the end that TLS has, a reset may come in place of TCP's, or something
// that must not be there: neither is a visitor who waits for an answer.
func TestResetIsAnEnd(t *testing.T) {
	for name, read := range map[string]readConn{"a reset": {err: syscall.ECONNRESET}, "more": {n: 1}} {
		v, _ := newTestVisitors(t, time.Hour)
		read.Conn, _ = pipe("192.0.2.1")
		c := v.take(read)
		defer c.Close()
		c.secure = true
		select {
		case <-c.End():
		case <-time.After(time.Minute):
			t.Fatalf("%s is no end", name)
		}
		if !c.Broken() {
			t.Errorf("after %s the connection is not broken", name)
		}
	}
}

// Thousands of visitors wait for their next request: the context of their requests is a
// part of the connection, and has neither a channel nor a map while nobody asks.
func TestVisitorContextCost(t *testing.T) {
	const n = 1000
	all := make([]visitor, n)
	base := context.WithValue(context.Background(), http.LocalAddrContextKey, "x")
	leave := func() {}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range all {
		lazycontext.AfterEnd(withLeave(base, &all[i]), leave)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 128 {
		t.Errorf("the context of a connection's requests takes %d bytes, want 128 at most", each)
	}
}

// Whoever leaves ends the requests, and what is made of their context without a
// goroutine for each.
func TestVisitorContextEnds(t *testing.T) {
	c := new(visitor)
	ctx := withLeave(context.Background(), c)
	before := runtime.NumGoroutine()
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines more for a context of a request", n-before)
	}
	c.ctx.End(nil)
	<-child.Done()
	if ctx.Err() != context.Canceled {
		t.Errorf("got %v, want %v", ctx.Err(), context.Canceled)
	}
	early := new(visitor)
	early.ctx.End(nil) // before the server has asked for its context
	if withLeave(context.Background(), early).Err() == nil {
		t.Error("requests of a visitor that had left before go on")
	}
}
