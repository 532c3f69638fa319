package spdy

import (
	"net"
	"sync"
	"time"
)

// Corkable returns conn as a connection whose writes a session can collect. Put
// it below TLS, and make the session on the TLS connection:
//
//	tls.Client(spdy.Corkable(conn), config)
//
// A tls.Conn writes each record of some 16 KiB by itself; the session then hands
// some four of them to the system at once, which is faster by a fifth, and
// nothing waits: what is collected goes out before the session's writer rests.
// To all others the connection behaves as conn does.
func Corkable(conn net.Conn) net.Conn { return &corkConn{Conn: conn} }

const (
	// corkSize is how many bytes are collected at most: four full TLS records,
	// see maxRecord.
	corkSize = 4 * (maxRecord + recordOverhead)

	// recordOverhead is the most that TLS adds to a record: its header, an
	// explicit nonce or the inner type, and the tag.
	recordOverhead = 5 + 8 + 16

	// corkTime is how long the writing of what is collected should take: what
	// is more urgent waits behind it. A line on which it takes longer gets
	// smaller pieces.
	corkTime = 5 * time.Millisecond
)

var corkPool = sync.Pool{New: func() any { return new([corkSize]byte) }}

// corkConn is a connection below TLS. cork and uncork are called by the
// session's writer, Write by others too: TLS has things of its own to say.
type corkConn struct {
	net.Conn

	mu sync.Mutex
	// Guarded by mu, which is held while the connection is written to.
	corked bool
	buf    *[corkSize]byte // from corkPool, while there is something in it
	n      int             // bytes of buf
	lost   error           // why collected bytes were not sent
}

// cork makes later writes wait for uncork, or for as much as goes out at once.
func (c *corkConn) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
}

// uncork sends what was collected.
func (c *corkConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	return c.flushLocked()
}

func (c *corkConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return 0, c.lost // what follows a gap would be read as something else
	}
	if c.n+len(p) > corkSize {
		if err := c.flushLocked(); err != nil {
			return 0, err
		}
	}
	if !c.corked || len(p) > corkSize {
		return c.Conn.Write(p)
	}
	if c.buf == nil {
		c.buf = corkPool.Get().(*[corkSize]byte)
	}
	c.n += copy(c.buf[c.n:], p)
	return len(p), nil
}

func (c *corkConn) flushLocked() error {
	if c.buf != nil {
		_, c.lost = c.Conn.Write(c.buf[:c.n])
		corkPool.Put(c.buf)
		c.buf, c.n = nil, 0
	}
	return c.lost
}

// NetConn returns the connection inside.
func (c *corkConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends this direction, if conn can.
func (c *corkConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// corkOf returns the corkConn that conn is or stands on, or nil.
func corkOf(conn net.Conn) *corkConn {
	for {
		if c, ok := conn.(*corkConn); ok {
			return c
		}
		n, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = n.NetConn()
	}
}
