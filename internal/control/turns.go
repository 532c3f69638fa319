package control

import (
	"context"
	"net"
)

// turns are how many handshakes may compute at once, one a CPU. When thousands of Cs
// come back at the same moment, the others wait for their turns, in the order in
// which they came, and newcomers in the system's queue. Without turns all of them
// would be slow together, until their places, or the time for a handshake, are
// gone, and what had been computed for them with that.
type turns chan struct{}

// take waits for a turn, unless ctx ends before, and reports whether it came.
func (t turns) take(ctx context.Context) bool {
	select {
	case t <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t turns) give() { <-t }

// turnConn is the connection of a handshake. Whoever handles it has a turn from the end
// of a read to the next read or write, until finish: nobody who waits for its peer has one.
type turnConn struct {
	net.Conn

	// Fixed when it is made.
	ctx     context.Context // of the handshake
	turns   turns
	pending *handshakes
	place   *pending

	// Owned by whoever reads.
	has      bool // a turn
	finished bool
}

func (c *turnConn) Read(p []byte) (int, error) {
	if c.finished {
		return c.Conn.Read(p)
	}
	n, err := c.without(c.Conn.Read, p)
	c.has = c.turns.take(c.ctx)
	return n, err
}

// Write gives the turn back, and the next read takes another: a peer that takes nothing
// has whoever writes wait. TLS writes within a read, too: alerts, and as many key updates
// as the peer asks for (RFC 8446, 4.6.3). What is computed from here to that read is
// little: TLS sends its part of a handshake as one.
func (c *turnConn) Write(p []byte) (int, error) {
	if c.finished {
		return c.Conn.Write(p)
	}
	return c.without(c.Conn.Write, p)
}

// without calls a Read or a Write, which may wait for the peer, without a turn.
func (c *turnConn) without(call func([]byte) (int, error), p []byte) (int, error) {
	c.give()
	c.pending.await(c.place)
	defer c.pending.proceed(c.place)
	return call(p)
}

func (c *turnConn) give() {
	if c.has {
		c.turns.give()
		c.has = false
	}
}

// finish says that what is read from now on belongs to no handshake.
func (c *turnConn) finish() {
	c.give()
	c.finished = true
}

// NetConn returns the connection inside.
func (c *turnConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends this direction, if the connection inside can.
func (c *turnConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
