package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/front"
)

const (
	// maxVisitors is how many connections the front port has open at once, if
	// the system gives us that many files.
	maxVisitors = 16384
	// maxVisitorsPerAddr is the same for one address (IPv6: one /64, and
	// addrkey.SiteFactor times as many for one /48). 127.0.0.1, ::1 and trusted
	// proxies, who bring everybody's, have no such cap.
	maxVisitorsPerAddr = 256

	// visitorStall is how long nothing at all may move on a connection that is
	// not waited on for a request: an origin takes nothing of what a visitor
	// sends.
	visitorStall = 10 * time.Minute

	visitorKeepAlive = 30 * time.Second

	// Pauses after an accept that failed.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// bind listens on addr for the port called what, which is its flag's name too.
// Its error says what would mend it.
func bind(what, addr string) (net.Listener, error) {
	// Control sets its own options, on each connection.
	lc := net.ListenConfig{KeepAlive: visitorKeepAlive}
	// Go's default takes MPTCP too, and then connections do not inherit what
	// limitUnsent sets.
	lc.SetMultipathTCP(false)
	if what == "front" {
		lc.Control = limitUnsent
	}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err == nil {
		return ln, nil
	}
	_, unknown := errors.AsType[*net.DNSError](err)
	mend := "give another address with --" + what
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		mend = "another program listens there: stop it, or " + mend
	case errors.Is(err, syscall.EACCES):
		mend = "ports below 1024 are the system's: allow this program to use one, or " + mend
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		mend = "this machine has no such address: " + mend
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		err = oe.Err
	}
	if se, ok := errors.AsType[*os.SyscallError](err); ok {
		err = se.Err
	}
	err = fmt.Errorf("cannot listen on %s for the %s port: %w; %s", addr, what, err, mend)
	if unknown {
		return nil, &ConfigError{err}
	}
	return nil, err
}

// visitors is the front port's listener: it takes the connections for which
// there are places, and closes the others at once. An accept that fails, such as
// when there are no more files, is waited out.
type visitors struct {
	net.Listener
	log       *slog.Logger
	unlimited func(netip.Addr) bool // no cap for this one alone
	stall     time.Duration         // for what a visitor sends
	unread    time.Duration         // for what it does not read, Config.Stall; 0: no limit

	closing  chan struct{} // closed by Close
	close    sync.Once
	watching sync.WaitGroup // the goroutine of watch

	places places

	mu sync.Mutex
	// Guarded by mu.
	open    map[*visitor]struct{}
	refused refusals
}

func newVisitors(ln net.Listener, log *slog.Logger, trusted []netip.Prefix, stall, unread time.Duration) *visitors {
	v := &visitors{
		Listener: ln, log: log, stall: stall, unread: unread,
		unlimited: func(ip netip.Addr) bool {
			for _, p := range trusted {
				if p.Contains(ip) {
					return true
				}
			}
			return front.Local(ip)
		},
		closing: make(chan struct{}),
		places: places{
			max: min(maxVisitors, fileLimit()*3/4), maxOne: maxVisitorsPerAddr,
			addrs: map[netip.Addr]*tally{}, nets: map[netip.Addr]*tally{},
		},
		open: map[*visitor]struct{}{},
	}
	// Ends at Close, which waits for it.
	v.watching.Go(v.watch)
	return v
}

// Accept returns the next connection that there is room for.
func (v *visitors) Accept() (net.Conn, error) {
	var pause time.Duration
	for {
		conn, err := v.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil, err
			}
			if pause == 0 {
				v.log.Error("front port: accept failed, trying again", "err", err)
			}
			pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
			select {
			case <-v.closing:
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		if c := v.take(conn); c != nil {
			return c, nil
		}
	}
}

// Close stops Accept.
func (v *visitors) Close() error {
	v.close.Do(func() { close(v.closing) })
	err := v.Listener.Close()
	v.watching.Wait()
	return err
}

// watch ends what visitors do on whose connections nothing moves: a write that
// they do not take, and requests whose body an origin does not take. In the
// second case the visitor may have left long ago: net/http's HTTP/1 server
// notices that by reading ahead, but never while a body has not been read, and
// TCP has no way to say it behind what was not read.
//
// It looks now and then, so that a read or a write costs neither a timer nor a
// look at the clock.
func (v *visitors) watch() {
	every := v.stall / 8
	if v.unread > 0 {
		every = max(min(every, v.unread/8), time.Millisecond)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-v.closing:
			return
		case now := <-tick.C:
			v.mu.Lock()
			for c := range v.open {
				c.lookLocked(now)
				c.lookLeftLocked(now)
			}
			line := v.refused.line(now, len(v.open))
			v.mu.Unlock()
			sayRefused(v.log, line)
		}
	}
}

// withLeave returns a context that ends when conn's visitor is given up, and
// whose requests are told from http.Server's when the visitor leaves. It is
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
	ctx, cancel := context.WithCancel(front.WithLine(ctx, c))
	c.onLeave.Store(&cancel)
	return front.WithConn(ctx, c)
}

// take returns conn as a visitor that has a place, if need be that of another. If
// there is none it closes conn, and returns nil.
func (v *visitors) take(conn net.Conn) *visitor {
	c := &visitor{Conn: conn, from: v, end: make(chan struct{}), since: time.Now()}
	if tcp, isTCP := conn.RemoteAddr().(*net.TCPAddr); isTCP {
		c.addr = tcp.AddrPort().Addr().Unmap().WithZone("")
		c.capped = c.addr.IsValid() && !v.unlimited(c.addr)
	}
	v.mu.Lock()
	v.open[c] = struct{}{}
	v.mu.Unlock()
	gone, why := v.places.enter(c)
	if gone == nil {
		return c
	}
	from := addrkey.Text(gone.addr)
	gone.drop(why)
	v.mu.Lock()
	v.refused.add(why, from)
	line := v.refused.line(time.Now(), len(v.open))
	v.mu.Unlock()
	sayRefused(v.log, line)
	if gone == c {
		return nil
	}
	return c
}

// counts returns how many connections are open, and how many were refused or
// dropped.
func (v *visitors) counts() (open int, refused [refusalKinds]uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.open), v.refused.count
}

func (v *visitors) give(c *visitor) {
	v.places.leave(c)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.open, c)
}

// visitor is one connection to the front port. A write of which the visitor
// takes nothing for long ends it, whatever the visitor sends meanwhile: one who
// never reads would keep a stream for ever.
type visitor struct {
	net.Conn
	from *visitors
	once sync.Once
	place
	leftover

	secure bool          // TLS is spoken on it; fixed by withLeave
	end    chan struct{} // closed when Read has seen the end, a reset too
	ended  sync.Once     // of what closes it
	drain  sync.Once     // see End

	reading atomic.Int32                       // calls of Read that have not returned
	writing atomic.Int32                       // calls of Write that have not returned
	reads   atomic.Uint32                      // counts ends of Read
	writes  atomic.Uint32                      // counts begins and ends of Write
	written atomic.Uint32                      // counts begins of Write
	broken  atomic.Bool                        // a Read or a Write has failed
	onLeave atomic.Pointer[context.CancelFunc] // ends the connection's requests

	// Guarded by visitors.mu.
	seenReads, seenWrites uint32    // reads and writes, when watch looked last
	since                 time.Time // when it first saw as many of both
	sinceWrite            time.Time // when it first saw as many writes
}

// NetConn returns the connection inside, for what only TCP can do: a reset.
func (c *visitor) NetConn() net.Conn { return c.Conn }

func (c *visitor) Read(p []byte) (int, error) {
	c.reading.Add(1)
	n, err := c.Conn.Read(p)
	c.reads.Add(1)
	c.reading.Add(-1)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		if err != io.EOF {
			c.broken.Store(true)
		}
		c.ended.Do(func() { close(c.end) })
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
		c.leave()
	}
}

// leave ends what the visitor has asked for.
func (c *visitor) leave() {
	if cancel := c.onLeave.Load(); cancel != nil {
		(*cancel)()
	}
}

func (c *visitor) Write(p []byte) (int, error) {
	c.written.Add(1)
	c.writes.Add(1)
	c.writing.Add(1)
	n, err := c.Conn.Write(p)
	c.writes.Add(1)
	c.writing.Add(-1)
	if err != nil {
		c.broken.Store(true)
	}
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
					c.ended.Do(func() { close(c.end) })
				}
			}()
		})
	}
	return c.end
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

// CloseWrite lets net/http close its side first, so that the last answer
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
		c.leave()
	})
	return c.Conn.Close()
}
