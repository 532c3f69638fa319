package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"
)

// tcpPair is a real connection: how much the other system has taken is the
// kernel's to say.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return b.(*net.TCPConn), a.(*net.TCPConn)
}

// A reader who takes a part of a write is slow, not gone, though the write does
// not return.
func TestSlowReaderIsNotStalled(t *testing.T) {
	t.Parallel()
	near, far := tcpPair(t)
	if near.SetWriteBuffer(4096); ackedBytes(near) == 0 {
		if near.Write([]byte("x")); !eventually(func() bool { return ackedBytes(near) > 0 }) {
			t.Skip("this system does not say how much the other end of a connection has taken")
		}
	}
	now := time.Now().Add(-time.Hour) // what is due is due at once
	c := &visitor{Conn: near, from: &visitors{stall: time.Hour, unread: time.Minute}, since: now, sinceWrite: now}
	written := make(chan error, 1)
	// Ends when its time is over, or the connection is closed.
	go func() {
		_, err := c.Write(make([]byte, 64<<20))
		written <- err
	}()
	stuck := func() bool { // until the kernel takes no more
		before := ackedBytes(near)
		return c.Writing() && !eventuallyWithin(50*time.Millisecond, func() bool { return ackedBytes(near) != before })
	}
	look := func() {
		now = now.Add(50 * time.Second)
		c.lookLocked(now)
	}
	for range 5 {
		if !eventually(stuck) {
			t.Fatal("the write did not get stuck")
		}
		look()
		before := ackedBytes(near)
		buf := make([]byte, 64<<10)
		if !eventually(func() bool { // read until the other end sees it
			far.SetReadDeadline(time.Now().Add(time.Second))
			far.Read(buf)
			return ackedBytes(near) != before
		}) {
			t.Fatal("what was read was not seen")
		}
		select {
		case err := <-written:
			t.Fatalf("a slow reader's write has ended: %v", err)
		default:
		}
	}
	if !eventually(stuck) {
		t.Fatal("the write did not get stuck")
	}
	for range 3 {
		look()
	}
	select {
	case err := <-written:
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("a write that gets nowhere ended with %v, want a timeout", err)
		}
	case <-time.After(time.Minute):
		t.Error("a write that gets nowhere goes on")
	}
}

func eventually(ok func() bool) bool { return eventuallyWithin(10*time.Second, ok) }

func eventuallyWithin(d time.Duration, ok func() bool) bool {
	limit := time.After(d)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
	return true
}

// A connection that waits for its visitor, and for nothing else, is closed.
func TestLeftover(t *testing.T) {
	const unread = time.Minute
	for _, test := range []struct {
		name   string
		look   func(c *visitor, at time.Duration)
		closed time.Duration // 0: never
	}{
		{"idle", func(c *visitor, at time.Duration) {}, 0},
		{"a stream is open, and no handler runs", func(c *visitor, at time.Duration) { noteState(c, http.StateActive) }, 60 * time.Second},
		{"a handler runs", func(c *visitor, at time.Duration) {
			noteState(c, http.StateActive)
			if at == 0 {
				c.Began()
			}
		}, 0},
		{"a handler that has ended", func(c *visitor, at time.Duration) {
			noteState(c, http.StateActive)
			switch at {
			case 0:
				c.Began()
			case 100 * time.Second:
				c.Ended()
			}
		}, 160 * time.Second},
		{"requests come now and then", func(c *visitor, at time.Duration) {
			noteState(c, http.StateActive)
			if at%(50*time.Second) == 0 {
				c.Began()
				c.Ended()
			}
		}, 0},
		{"a write is under way", func(c *visitor, at time.Duration) {
			noteState(c, http.StateActive)
			c.writing.Store(1)
		}, 0},
		{"idle in between", func(c *visitor, at time.Duration) {
			noteState(c, http.StateActive)
			if at%(50*time.Second) == 0 {
				noteState(c, http.StateIdle)
			}
		}, 0},
	} {
		conn := &closingConn{}
		c := &visitor{Conn: conn, from: &visitors{unread: unread}}
		start := time.Now()
		closed := time.Duration(0)
		for at := time.Duration(0); at <= 5*unread && closed == 0; at += 10 * time.Second {
			test.look(c, at)
			c.lookLeftLocked(start.Add(at))
			if conn.closed {
				closed = at
			}
		}
		if closed != test.closed {
			t.Errorf("%s: closed after %v, want %v (0: never)", test.name, closed, test.closed)
		}
	}
}

type closingConn struct {
	net.Conn
	closed bool
}

func (c *closingConn) Close() error {
	c.closed = true
	return nil
}

// Some connections of one address may leave what net/http does not count.
func TestCrowded(t *testing.T) {
	v, next := newTestVisitors(t, time.Hour)
	crowded := 0
	for range 2 * fewConns {
		ours, _ := pipe("192.0.2.1")
		next <- ours
		c, err := v.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if c.(*visitor).Crowded() {
			crowded++
		}
		if withLeave(context.Background(), c) == context.Background() {
			t.Error("the connection's context is not told of it")
		}
	}
	if crowded != fewConns {
		t.Errorf("%d of %d connections are crowded, want all but %d", crowded, 2*fewConns, fewConns)
	}
	ours, _ := pipe("192.0.2.2")
	next <- ours
	if c, err := v.Accept(); err != nil || c.(*visitor).Crowded() {
		t.Errorf("another address: %v, crowded", err)
	}
}
