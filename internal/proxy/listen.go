package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// maxVisitors is how many connections the front port has open at once, if
	// the system gives us that many files.
	maxVisitors = 16384
	// maxVisitorsPerAddr is the same for one address (IPv6: one /64). Loopback
	// addresses and trusted proxies, who bring everybody's, have no such cap.
	maxVisitorsPerAddr = 256

	// visitorStall is how long a visitor may take nothing at all of what is
	// sent to it. A film that is paused for longer is fetched again by its
	// player where it stopped.
	visitorStall = 10 * time.Minute

	visitorKeepAlive = 30 * time.Second

	// Pauses after an accept that failed.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// bind listens on addr for the port called what, which is its flag's name too.
// Its error says what would mend it.
func bind(what, addr string) (net.Listener, error) {
	// Control sets its own keep-alive, on each connection.
	lc := net.ListenConfig{KeepAlive: visitorKeepAlive}
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

// visitors is the front port's listener: it counts the connections, all and by
// address, and closes those above a cap at once. An accept that fails, such as
// when there are no more files, is waited out.
type visitors struct {
	net.Listener
	log       *slog.Logger
	max       int
	maxOne    int
	unlimited func(netip.Addr) bool // no cap for this one alone
	stall     time.Duration

	closing chan struct{} // closed by Close
	close   sync.Once

	mu   sync.Mutex
	open int            // guarded by mu
	from map[string]int // guarded by mu; connections by address
	full bool           // guarded by mu; the cap was reached, and that was logged
}

func newVisitors(ln net.Listener, log *slog.Logger, trusted []netip.Prefix) *visitors {
	return &visitors{
		Listener: ln, log: log, max: min(maxVisitors, fileLimit()*3/4), maxOne: maxVisitorsPerAddr, stall: visitorStall,
		unlimited: func(ip netip.Addr) bool {
			for _, p := range trusted {
				if p.Contains(ip) {
					return true
				}
			}
			return ip.IsLoopback()
		},
		closing: make(chan struct{}),
		from:    map[string]int{},
	}
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
		if key, ok := v.take(conn); ok {
			return &visitor{Conn: conn, from: v, key: key}, nil
		}
		conn.Close()
	}
}

// Close stops Accept.
func (v *visitors) Close() error {
	v.close.Do(func() { close(v.closing) })
	return v.Listener.Close()
}

// take counts conn if there is room for it. The key is its address's, "" if
// that is not counted.
func (v *visitors) take(conn net.Conn) (key string, ok bool) {
	if tcp, isTCP := conn.RemoteAddr().(*net.TCPAddr); isTCP {
		ip := tcp.AddrPort().Addr().Unmap().WithZone("")
		if !v.unlimited(ip) {
			key = addrKey(ip)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open >= v.max {
		if !v.full {
			v.full = true
			v.log.Warn("front port: as many connections as it takes, more are closed", "open", v.open)
		}
		return "", false
	}
	if key != "" {
		if v.from[key] >= v.maxOne {
			return "", false
		}
		v.from[key]++
	}
	v.open++
	return key, true
}

func (v *visitors) give(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open--
	if key != "" {
		if v.from[key]--; v.from[key] == 0 {
			delete(v.from, key)
		}
	}
	// Said again only after a real change.
	if v.open < v.max*9/10 {
		v.full = false
	}
}

// addrKey names the address that counts for the cap. Whoever has one IPv6
// address has the whole /64.
func addrKey(ip netip.Addr) string {
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

// visitor is one connection to the front port. A write that gets nowhere for
// long ends it: a visitor who never reads would keep a stream for ever.
type visitor struct {
	net.Conn
	from *visitors
	key  string
	once sync.Once
}

func (c *visitor) Write(p []byte) (int, error) {
	c.Conn.SetWriteDeadline(time.Now().Add(c.from.stall))
	return c.Conn.Write(p)
}

// CloseWrite lets net/http close its side first, so that the last answer
// arrives.
func (c *visitor) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *visitor) Close() error {
	c.once.Do(func() { c.from.give(c.key) })
	return c.Conn.Close()
}
