package proxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/front"
)

// fewConns is how many connections of one address (IPv6: addrkey.SiteFactor
// times as many of one /48) may each leave the ends of responses with net/http's
// h2 server without being counted: visitorStreams a connection, which makes some
// 2000 of a few KiB.
const fewConns = 8

var _ front.Conn = (*visitor)(nil)

// leftover is what a visitor has not read when the handler has ended. It is a part
// of visitor.
type leftover struct {
	crowded bool // one of many of its address; fixed by places.enter

	handlers atomic.Int32 // requests that the handler has
	begun    atomic.Uint32
	active   atomic.Bool // http.StateActive
	stalled  atomic.Bool // ended because nothing was read

	// Guarded by visitors.mu.
	acked     uint64    // bytes that the visitor's system has taken, at the last look
	seenBegun uint32    // begun, at the last look
	sinceEnd  time.Time // when it was first seen active without a request at the handler
}

// Began implements front.Conn.
func (u *leftover) Began() {
	u.begun.Add(1)
	u.handlers.Add(1)
}

// Ended implements front.Conn.
func (u *leftover) Ended() { u.handlers.Add(-1) }

// Crowded implements front.Conn.
func (u *leftover) Crowded() bool { return u.crowded }

// Stalled implements front.Conn.
func (u *leftover) Stalled() bool { return u.stalled.Load() }

// Received implements front.Conn.
func (c *visitor) Received() uint32 { return c.received.Load() }

// Writing implements front.Conn.
func (c *visitor) Writing() bool { return c.writing.Load() > 0 }

// noteState is http.Server.ConnState. A connection of HTTP/1 is active from when
// the server has read a head, one of h2 while a stream is open, and one of SPDY while
// a handler runs. They are also said to be active and then idle when TLS is done, before any request.
func noteState(conn net.Conn, state http.ConnState) {
	if tc, ok := conn.(*tls.Conn); ok {
		conn = tc.NetConn()
	}
	c, ok := conn.(*visitor)
	if !ok {
		return
	}
	c.active.Store(state == http.StateActive)
	switch {
	case state == http.StateActive || state == http.StateHijacked:
		c.from.places.set(c, placeBusy)
	case state == http.StateIdle && c.begun.Load() > 0:
		c.from.places.set(c, placeIdle)
	case state == http.StateIdle:
		c.from.places.set(c, placeSilent)
	}
}

// slowLocked reports whether the visitor has taken a part of a Write that gets
// nowhere, since the last look.
func (c *visitor) slowLocked() bool {
	acked := ackedBytes(c.Conn)
	slow := acked != c.acked
	c.acked = acked
	return slow
}

// lookLeftLocked closes a connection on which the ends of responses, and nothing
// else, have waited for the visitor for too long. After the handler's end the h2
// server waits for a stream's window, and has no limit of its own.
func (c *visitor) lookLeftLocked(now time.Time) {
	begun := c.begun.Load()
	if c.from.unread <= 0 || !c.active.Load() || c.handlers.Load() > 0 || c.Writing() || begun != c.seenBegun {
		c.seenBegun, c.sinceEnd = begun, time.Time{}
		return
	}
	switch {
	case c.sinceEnd.IsZero():
		c.sinceEnd = now
	case now.Sub(c.sinceEnd) >= c.from.unread:
		c.stalled.Store(true)
		c.Conn.Close()
	}
}
