// Package http1 is a server of HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112) for an
// [http.Handler], in the place of net/http's. A Server stands in front of an
// [http.Server], which keeps what it is configured with, and h2 and all that TLS
// may choose beside HTTP/1.
//
// It differs in what it costs and in what it takes. A small request is one read
// and one write: no goroutine, timer or deadline is a request's alone. One clock
// looks at all connections now and then, ends those that wait for too long, has
// idle ones give back what they hold, and has it watched whether the client leaves
// of a request that has waited for long.
//
// It takes no bytes in which others could see another end of a message: a head's
// lines end in CRLF, are never folded, and have no control characters; a message
// has one length. What is refused is answered, with a text that tells why, and the
// connection closed.
//
// A handler may read while it writes. What it leaves of a body is never read for
// it: unless that has come already, the connection ends with the response. There is
// no guess at a Content-Type.
package http1

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxTick is how often connections are looked at: what limits are late by.
	maxTick = 250 * time.Millisecond
	minTick = time.Millisecond

	// A request that has waited for a tick or two is watched, whether its client leaves.
	// A watch is a goroutine, and two changes of a deadline: where thousands ask at once,
	// each waits for a second or so. So beyond fewWatches, one begins after watchTime.
	fewWatches = 1000
	watchTime  = 2 * time.Second

	// newGrace is how long a connection on which nothing came is kept when the
	// server stops: its request may be under way.
	newGrace = 5 * time.Second

	// Grace is how long Shutdown lets the next request come on connections that have
	// brought one, and TLS's handshakes end: what is under way is not refused.
	Grace = 500 * time.Millisecond

	// What zero means in http.Server.
	headTime           = 10 * time.Second // for TLS's handshake, too
	idleTime           = 2 * time.Minute
	defaultHeaderLines = 1000
)

// Server serves HTTP/1 in front of an http.Server. Make one with New.
type Server struct {
	// Refuse, if set, returns the text of an answer of the server's own, and puts
	// into h what goes with it. detail says in words of the server's what was
	// wrong. Its status is 400, 408, 413, 414, 417, 431, 501 or 505. Set it before
	// Serve.
	Refuse func(h http.Header, status int, detail string) (text string)

	// Next, if set, has who serves a protocol that TLS may choose beside those of the
	// http.Server: each gets the connection when the handshake is done, on a goroutine
	// of its own, and has to close it; the server does not know it any more. Set it
	// before ServeTLS.
	Next map[string]func(*tls.Conn)

	// Fixed by New, but for what the pool holds.
	hs      *http.Server
	buffers buffers

	// Fixed by the first Serve. The number of ticks is rounded up.
	start                          sync.Once
	tick                           time.Duration
	headTicks, idleTicks, newTicks uint32
	graceTicks, watchTicks         uint32

	ticks   atomic.Uint32          // of the clock
	date    atomic.Pointer[string] // for a response, at the last tick
	closing atomic.Bool
	watches atomic.Int32 // under way

	mu sync.Mutex
	// Guarded by mu, which is held while a connection is looked at.
	conns      map[*conn]struct{}
	listeners  map[net.Listener]struct{} // from which may come a connection yet
	handshakes int                       // of TLS, under way
	closed     bool                      // by Close: no connection is taken
	stopTick   uint32                    // of closing
	clock      *time.Timer
	running    bool          // clock is
	shaken     chan struct{} // closed when no listener and no handshake is left; nil: nobody waits
	gone       chan struct{} // closed when no listener and no connection is left; nil: nobody waits
}

// New returns a server in front of s, which is not to be served by itself. Of s,
// Handler, BaseContext, ConnContext, ConnState, ErrorLog, TLSConfig, Protocols,
// ReadHeaderTimeout (zero: 10 s), IdleTimeout (zero: 2 min), MaxHeaderBytes (zero:
// 1 MiB) and MaxHeaderValueCount (zero: 1000) are to HTTP/1 what they are there,
// and s is a request's http.ServerContextKey. ReadTimeout and WriteTimeout count
// for what s serves itself. "OPTIONS *" is the handler's.
func New(s *http.Server) *Server {
	return &Server{hs: s, conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{}}
}

// Serve serves the connections of ln until Shutdown or Close, and then returns
// http.ErrServerClosed, or until ln fails. It closes ln.
func (s *Server) Serve(ln net.Listener) error { return s.serve(ln, nil, nil) }

// ServeTLS is Serve for connections on which TLS is spoken, with s's TLSConfig.
// Those that choose another protocol than HTTP/1 are served by the http.Server.
func (s *Server) ServeTLS(ln net.Listener) error {
	config := s.hs.TLSConfig.Clone()
	rest := &others{conns: make(chan net.Conn), closed: make(chan struct{}), addr: ln.Addr()}
	failed := make(chan error, 1)
	// Ends with the http.Server, by Shutdown or Close.
	go func() {
		err := s.hs.Serve(rest)
		if failed <- err; !errors.Is(err, http.ErrServerClosed) {
			ln.Close()
		}
	}()
	err := s.serve(ln, config, rest)
	if errors.Is(err, net.ErrClosed) {
		select {
		case err = <-failed:
		default:
		}
	}
	return err
}

func (s *Server) serve(ln net.Listener, config *tls.Config, rest *others) error {
	s.start.Do(s.setLimits)
	defer ln.Close()
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	base := context.Background()
	if s.hs.BaseContext != nil {
		base = s.hs.BaseContext(ln)
	}
	base = context.WithValue(base, http.ServerContextKey, s.hs)
	for {
		rwc, err := ln.Accept()
		if err != nil {
			s.mu.Lock()
			delete(s.listeners, ln)
			s.tellLocked()
			s.mu.Unlock()
			if s.closing.Load() {
				return http.ErrServerClosed
			}
			return err
		}
		if config != nil {
			rwc = tls.Server(rwc, config)
		}
		c := s.newConn(rwc, base, rest)
		if !s.add(c) {
			rwc.Close()
			continue
		}
		go c.serve() // ends with the connection; Shutdown waits for it
	}
}

// setLimits counts time in ticks, several to the shortest limit.
func (s *Server) setLimits() {
	head := cmp.Or(s.hs.ReadHeaderTimeout, headTime)
	idle := cmp.Or(s.hs.IdleTimeout, idleTime)
	s.tick = min(max(min(head, idle)/8, minTick), maxTick)
	in := func(d time.Duration) uint32 { return uint32((d + s.tick - 1) / s.tick) }
	s.headTicks, s.idleTicks, s.newTicks, s.graceTicks, s.watchTicks = in(head), in(idle), in(newGrace), in(Grace), in(watchTime)
}

func (s *Server) maxHeaderBytes() int { return cmp.Or(s.hs.MaxHeaderBytes, http.DefaultMaxHeaderBytes) }

func (s *Server) maxHeaderLines() int { return cmp.Or(s.hs.MaxHeaderValueCount, defaultHeaderLines) }

// add takes c in, until Close: one that was accepted is served, though the server stops.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	if _, ok := c.rwc.(*tls.Conn); ok {
		s.handshakes++
	}
	if !s.running {
		s.running = true
		s.setDate()
		if s.clock == nil {
			s.clock = time.AfterFunc(s.tick, s.look)
		} else {
			s.clock.Reset(s.tick)
		}
	}
	return true
}

// remove lets c go. It reports whether it was there.
func (s *Server) remove(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; !ok {
		return false
	}
	delete(s.conns, c)
	s.tellLocked()
	return true
}

// shook is called once for each of TLS's handshakes, when whoever serves the connection
// has it.
func (s *Server) shook() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handshakes--
	s.tellLocked()
}

// tellLocked tells those who wait for what is the case by now.
func (s *Server) tellLocked() {
	if s.shaken != nil && len(s.listeners) == 0 && s.handshakes == 0 {
		close(s.shaken)
		s.shaken = nil
	}
	if s.gone != nil && len(s.listeners) == 0 && len(s.conns) == 0 {
		close(s.gone)
		s.gone = nil
	}
}

// look is the clock, which runs while there are connections.
func (s *Server) look() {
	s.setDate()
	s.mu.Lock()
	defer s.mu.Unlock()
	tick := s.ticks.Add(1) // under mu: a phase that began after tick would look endlessly old
	for c := range s.conns {
		c.look(tick)
	}
	if s.running = len(s.conns) > 0; s.running {
		s.clock.Reset(s.tick)
	}
}

func (s *Server) setDate() {
	now := time.Now().UTC().Format(http.TimeFormat)
	s.date.Store(&now)
}

// Shutdown stops in good order: it takes no connection any more, closes those on which
// no request comes within Grace, and returns when all others have ended, too. When ctx
// ends before, it returns ctx's error. Hijacked connections are not waited for. What the
// http.Server behind serves is told when no handshake is under way any more, or after
// Grace: it would close connections that come then. It may be called again when it has
// returned, to wait for longer.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(false)
	shaken, gone := make(chan struct{}), make(chan struct{})
	s.mu.Lock()
	s.shaken, s.gone = shaken, gone
	s.tellLocked()
	s.mu.Unlock()
	grace := time.NewTimer(Grace)
	defer grace.Stop()
	select {
	case <-shaken:
	case <-grace.C:
	case <-ctx.Done():
	}
	err := s.hs.Shutdown(ctx)
	select {
	case <-gone:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes all connections at once.
func (s *Server) Close() error {
	s.stop(true)
	s.mu.Lock()
	for c := range s.conns {
		c.cut()
	}
	s.mu.Unlock()
	return s.hs.Close()
}

// stop has the listeners closed.
func (s *Server) stop(closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = s.closed || closed
	if !s.closing.Load() {
		s.stopTick = s.ticks.Load()
		s.closing.Store(true)
	}
	for ln := range s.listeners {
		ln.Close()
	}
}

// note tells http.Server.ConnState.
func (s *Server) note(rwc net.Conn, st http.ConnState) {
	if s.hs.ConnState != nil {
		s.hs.ConnState(rwc, st)
	}
}

func (s *Server) logf(format string, args ...any) {
	if s.hs.ErrorLog != nil {
		s.hs.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

// http1 reports whether HTTP/1 is spoken where TLS has chosen nothing else.
func (s *Server) http1() bool {
	p := s.hs.Protocols
	return p == nil || *p == (http.Protocols{}) || p.HTTP1()
}

// others is the listener of the http.Server behind: it gets the connections that
// speak something else, their handshake done.
type others struct {
	addr   net.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (o *others) Accept() (net.Conn, error) {
	select {
	case conn := <-o.conns:
		return conn, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (o *others) Close() error {
	o.once.Do(func() { close(o.closed) })
	return nil
}

// Addr implements net.Listener.
func (o *others) Addr() net.Addr { return o.addr }

// hand gives conn to who accepts, and closes it if nobody does any more.
func (o *others) hand(conn net.Conn) {
	select {
	case o.conns <- conn:
	case <-o.closed:
		conn.Close()
	}
}
