package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/lazycontext"
)

// visitor is one connection to the front port. A write of which the visitor
// takes nothing for long ends it, whatever the visitor sends meanwhile: one who
// never reads would keep a stream for ever.
type visitor struct {
	net.Conn
	from   *visitors
	remote net.Addr // the visitor's, whatever is between
	once   sync.Once
	place
	leftover

	secure bool                // TLS is spoken on it; fixed by withLeave
	ctx    lazycontext.Context // of its requests; ends when it leaves or is closed
	end    latch               // set when Read has seen the end, a reset too
	drain  sync.Once           // see End

	// early is what came behind a balancer's header and was not read yet. Owned by the
	// goroutine that reads.
	early []byte

	reading  atomic.Int32  // calls of Read that have not returned
	writing  atomic.Int32  // calls of Write that have not returned
	reads    atomic.Uint32 // counts ends of Read
	received atomic.Uint32 // counts bytes that were read
	writes   atomic.Uint32 // counts begins and ends of Write
	written  atomic.Uint32 // counts begins of Write
	broken   atomic.Bool   // a Read or a Write has failed

	// Guarded by visitors.mu.
	seenReads, seenWrites uint32    // reads and writes, when watch looked last
	since                 time.Time // when it first saw as many of both
	sinceWrite            time.Time // when it first saw as many writes
}

// latch is what happens once. The zero value is one that has not: who waits for it
// makes the channel, as nobody does for most connections.
type latch struct {
	mu sync.Mutex
	// Guarded by mu.
	is bool
	ch chan struct{} // closed when it is; nil until somebody asks
}

func (l *latch) set() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.is && l.ch != nil {
		close(l.ch)
	}
	l.is = true
}

// done returns a channel that is closed when it has happened.
func (l *latch) done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ch == nil {
		l.ch = make(chan struct{})
		if l.is {
			close(l.ch)
		}
	}
	return l.ch
}

// withLeave returns a context that ends when conn's visitor is given up, and
// whose requests can be told when the visitor leaves. It is
// http.Server.ConnContext.
func withLeave(ctx context.Context, conn net.Conn) context.Context {
	tc, secure := conn.(*tls.Conn)
	if secure {
		conn = tc.NetConn()
	}
	c, ok := conn.(*visitor)
	if !ok {
		return ctx
	}
	c.secure = secure
	c.ctx.Begin(ctx)
	return front.WithConn(&c.ctx, c)
}

// NetConn returns the connection inside, for what only TCP can do: a reset.
func (c *visitor) NetConn() net.Conn { return c.Conn }

// RemoteAddr is the visitor's, not that of a balancer before it.
func (c *visitor) RemoteAddr() net.Addr { return c.remote }

func (c *visitor) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		c.reads.Add(1)
		c.received.Add(uint32(n))
		return n, nil
	}
	c.reading.Add(1)
	n, err := c.Conn.Read(p)
	c.reads.Add(1)
	c.received.Add(uint32(n))
	c.reading.Add(-1)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		if err != io.EOF {
			c.broken.Store(true)
		}
		c.end.set()
	}
	return n, err
}

// lookLocked is watch for one visitor. A Write that it sees under way is in
// writes already, and a Read that it does not see is in reads: hence the order.
//
// What a visitor sends does not make good what it does not take: it could keep
// a Write for ever by a byte now and then.
func (c *visitor) lookLocked(now time.Time) {
	reading, writing := c.reading.Load() > 0, c.writing.Load() > 0
	reads, writes := c.reads.Load(), c.writes.Load()
	if writes != c.seenWrites {
		c.since, c.sinceWrite = now, now
	} else if reads != c.seenReads {
		c.since = now
	}
	if writing && writes == c.seenWrites && c.slowLocked() {
		c.since, c.sinceWrite = now, now
	}
	c.seenReads, c.seenWrites = reads, writes
	if writing && c.from.unread > 0 && now.Sub(c.sinceWrite) >= c.from.unread {
		c.stalled.Store(true)
		c.Conn.SetWriteDeadline(now)
	}
	if !reading && now.Sub(c.since) > c.from.stall {
		c.ctx.End(front.ErrStuck)
	}
}

func (c *visitor) Write(p []byte) (int, error) {
	c.beginWrite()
	n, err := c.Conn.Write(p)
	c.endWrite(err)
	return n, err
}

func (c *visitor) beginWrite() {
	c.written.Add(1)
	c.writes.Add(1)
	c.writing.Add(1)
}

func (c *visitor) endWrite(err error) {
	c.writes.Add(1)
	c.writing.Add(-1)
	if err != nil {
		c.broken.Store(true)
	}
}

// WriteBuffers is Write of several buffers, by one system call where the system
// has one for that.
func (c *visitor) WriteBuffers(b *net.Buffers) (int64, error) {
	c.beginWrite()
	n, err := b.WriteTo(c.Conn)
	c.endWrite(err)
	return n, err
}

// End implements front.Conn. TLS has an end of its own, behind which nobody reads
// any more; a visitor that leaves sends TCP's a moment later.
func (c *visitor) End() <-chan struct{} {
	if c.secure {
		c.drain.Do(func() {
			// Ends with what the visitor sends, or with the connection.
			go func() {
				if n, _ := c.Read(make([]byte, 1)); n > 0 {
					// Nothing may come behind it (RFC 8446, 6.1).
					c.broken.Store(true)
					c.end.set()
				}
			}()
		})
	}
	return c.end.done()
}

// Written implements front.Conn.
func (c *visitor) Written() uint32 { return c.written.Load() }

// Broken implements front.Conn. A reset that came after the end of what the
// visitor sends is no Read's to report, but a Write of nothing fails for it.
func (c *visitor) Broken() bool {
	if c.broken.Load() || c.writing.Load() > 0 {
		return c.broken.Load()
	}
	if _, err := c.Conn.Write(nil); err != nil {
		c.broken.Store(true)
	}
	return c.broken.Load()
}

// CloseWrite lets the server close its side first, so that the last answer
// arrives.
func (c *visitor) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// drop closes the connection, which has no place. Of one that has said nothing
// the system is to keep nothing either, such as that its end was not confirmed.
func (c *visitor) drop(why refusal) {
	if tcp, ok := c.Conn.(*net.TCPConn); ok && why == droppedSilent {
		tcp.SetLinger(0)
	}
	c.Close()
}

func (c *visitor) Close() error {
	c.once.Do(func() {
		c.from.give(c)
		c.ctx.End(nil)
	})
	return c.Conn.Close()
}
