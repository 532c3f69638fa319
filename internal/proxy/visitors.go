package proxy

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/loglimit"
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

	// Pauses after an accept that failed.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// visitors is the listener of the front port, and of that without TLS: it takes the connections for which
// there are places, and closes the others at once. An accept that fails, such as
// when there are no more files, is waited out.
type visitors struct {
	net.Listener
	what      string // the port's name
	log       *slog.Logger
	lines     *loglimit.Logger
	unlimited func(netip.Addr) bool // no cap for this one alone
	stall     time.Duration         // for what a visitor sends
	unread    time.Duration         // for what it does not read, Config.Stall; 0: no limit

	closing  chan struct{} // closed by Close
	close    sync.Once
	watching sync.WaitGroup // the goroutine of watch
	over     chan struct{}  // closed by unwatch
	end      sync.Once

	places places

	mu sync.Mutex
	// Guarded by mu.
	open    map[*visitor]struct{}
	refused refusals
}

func newVisitors(what string, ln net.Listener, log *slog.Logger, trusted []netip.Prefix, stall, unread time.Duration) *visitors {
	v := &visitors{
		Listener: ln, what: what, log: log, lines: loglimit.New(log, 1), stall: stall, unread: unread,
		unlimited: func(ip netip.Addr) bool { return addrkey.In(ip, trusted) || front.Local(ip) },
		closing:   make(chan struct{}), over: make(chan struct{}),
		places: places{
			max: visitorPlaces(fileLimit()), maxOne: maxVisitorsPerAddr,
			addrs: map[netip.Addr]*tally{}, nets: map[netip.Addr]*tally{},
		},
		open: map[*visitor]struct{}{},
	}
	// Ends at unwatch, which waits for it.
	v.watching.Go(v.watch)
	return v
}

// visitorPlaces returns how many visitors may be connected where the process may have that
// many files open: the others are for the origins.
func visitorPlaces(files uint64) int { return int(min(maxVisitors, files/4*3)) }

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
				v.lines.Log("accept", slog.LevelError, v.what+" port: accept failed, trying again", slog.Any("err", err))
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

// Close stops Accept. The connections that are there go on, and are watched.
func (v *visitors) Close() error {
	v.close.Do(func() { close(v.closing) })
	err := v.Listener.Close()
	v.lines.Close()
	return err
}

// unwatch is for when all connections are closed: nobody looks after them any more.
func (v *visitors) unwatch() {
	v.end.Do(func() { close(v.over) })
	v.watching.Wait()
}

// watch ends what visitors do on whose connections nothing moves: a write that
// they do not take, and requests whose body an origin does not take. In the
// second case the visitor may have left long ago: package http1 notices that by
// reading ahead, but never while a body has not been read, and TCP has no way to
// say it behind what was not read.
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
		case <-v.over:
			return
		case now := <-tick.C:
			v.mu.Lock()
			for c := range v.open {
				c.lookLocked(now)
				c.lookLeftLocked(now)
			}
			line := v.refused.line(now, len(v.open))
			v.mu.Unlock()
			sayRefused(v.log, v.what, line)
		}
	}
}

// take returns conn as a visitor that has a place, if need be that of another. If
// there is none it closes conn, and returns nil.
func (v *visitors) take(conn net.Conn) *visitor {
	c := &visitor{Conn: conn, from: v, remote: conn.RemoteAddr(), since: time.Now()}
	if t, ok := conn.(*told); ok {
		c.Conn, c.early = t.TCPConn, t.early
	}
	if tcp, isTCP := c.remote.(*net.TCPAddr); isTCP {
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
	sayRefused(v.log, v.what, line)
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
