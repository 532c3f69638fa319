package spdy

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Session is one SPDY connection. A client session opens streams and sends
// requests on them, a server session runs a handler for each stream that its
// peer opens. Who dialled the connection does not matter.
//
// All methods may be called at once, and before and after Serve.
type Session struct {
	// Fixed when the session is made.
	conn       net.Conn
	cfg        Config
	server     *http.Server // nil for a client session
	handler    http.Handler // nil for a client session
	compat     bool         // made by NewClientSession or NewServerSession: see there
	baseCtx    context.Context
	endBase    context.CancelFunc
	remoteAddr string
	started    time.Time // what lastRead is reckoned from: with the monotonic clock, which nobody sets

	written chan struct{} // closed when the last frames went out, or could not
	done    chan struct{} // closed when both loops have ended and conn is closed
	going   chan struct{} // closed when no new stream can be opened
	workers workers

	lastRead atomic.Int64 // when the peer said something last, a time.Duration since started

	// Fixed by Serve before its loops begin.
	tls *tls.ConnectionState

	reader reader // owned by readLoop
	writer writer // owned by writeLoop

	mu sync.Mutex // see unlock
	// Guarded by mu, which is never held across a read, a write or a callback.
	wake      sync.Cond // the writer's
	running   bool      // since Serve
	writing   bool      // there is a writer, or there will be none any more
	served    bool
	err       *SessionError // why it has ended, nil before
	closing   closing
	streams   map[uint32]*Stream
	failed    []*Stream // see unlock
	lingering int       // streams with a timer of lingerLocked
	admission admission
	resets    resets
	receive   recvFlow
	send      sendFlow
	queue     controlQueue
	ping      pings
	date      string // the Date of dateSec
	dateSec   int64
	stats     Stats
	flight    flightRecorder
}

func newSession(conn net.Conn, server *http.Server, c *Config) *Session {
	s := &Session{
		conn:    conn,
		cfg:     c.withDefaults(),
		server:  server,
		started: time.Now(),
		written: make(chan struct{}),
		done:    make(chan struct{}),
		going:   make(chan struct{}),
		streams: make(map[uint32]*Stream),
		send:    sendFlow{window: defaultWindow, initial: defaultWindow},
	}
	s.workers.run = s.runHandler
	s.ping = pings{open: make(map[uint32]*ping), next: 1}
	s.admission.nextID, s.admission.peerMax = s.cfg.FirstStreamID, -1
	s.receive.budget.most = s.cfg.MaxBuffer
	if s.cfg.FairKey != nil {
		s.receive.budget.byKey = make(map[string]int64)
	}
	s.writer.cork, s.writer.corkLimit = corkOf(conn), 4*maxRecord
	s.wake.L = &s.mu
	if addr := conn.RemoteAddr(); addr != nil {
		s.remoteAddr = addr.String()
	}
	s.writer.deflate.level = s.cfg.CompressionLevel
	s.baseCtx, s.endBase = context.WithCancel(context.Background())
	if server != nil {
		s.admission.nextID, s.ping.next = 2, 2
		s.handler = server.Handler
		if s.handler == nil {
			s.handler = http.DefaultServeMux
		}
		ctx := context.WithValue(s.baseCtx, http.ServerContextKey, server)
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, conn.LocalAddr())
		if server.ConnContext != nil {
			ctx = server.ConnContext(ctx, conn)
		}
		s.baseCtx = ctx
	}
	s.queuePreface()
	return s
}

// queuePreface queues what a session says first: its settings, and a session
// window that is open from the start, so that many streams begin without delay.
// None waits for another one's reader: see readData.
func (s *Session) queuePreface() {
	maxStreams := uint32(0) // no server push
	if s.server != nil {
		maxStreams = s.cfg.MaxConcurrentStreams
	}
	window := uint32(s.cfg.StreamWindow)
	if s.windowOnRead() {
		window = 0
	}
	s.queue.push(item{typ: typeSettings, settings: [2]uint32{maxStreams, window}})
	s.receive.window = recvWindow{size: defaultWindow, avail: defaultWindow}
	if s.sessionWindows() {
		if d := s.receive.window.grow(int64(s.cfg.SessionWindow)); d > 0 {
			s.queue.push(item{typ: typeWindowUpdate, value: uint32(d)})
		}
	}
}

// windowOnRead: see Config.WindowOnRead.
func (s *Session) windowOnRead() bool { return s.server != nil && s.cfg.WindowOnRead }

// sessionWindows: only SPDY/3.1 has them.
func (s *Session) sessionWindows() bool { return s.cfg.Version == SPDY31 }

var errServed = errors.New("spdy: Serve was called before")

// Serve runs the session and returns at its end: nil when it ended by an EOF of
// the peer's, by a GOAWAY(OK), or by Close or Shutdown here; otherwise a
// *SessionError, which it does not log.
//
// A handshake of TLS that was not made yet is made first. Config.KeepAlive and
// Close end it, nothing else: make it before, with a limit of its own, where the
// peer is not to be trusted.
func (s *Session) Serve() error {
	s.mu.Lock()
	if s.served {
		s.unlock()
		return errServed
	}
	s.served = true
	s.unlock()
	s.serve()
	err := s.err // fixed by now
	if errors.Is(err.Cause, errEOF) || err.Status == GoAwayOK && (errors.Is(err.Cause, ErrClosed) || errors.Is(err.Cause, ErrGoingAway)) {
		return nil
	}
	return err
}

// serve runs the session to its end.
func (s *Session) serve() {
	s.startKeepAlive() // it bounds the handshake too
	if hs, ok := s.conn.(interface {
		Handshake() error
		ConnectionState() tls.ConnectionState
	}); ok {
		// Not by the first write, which would collect what the handshake waits
		// for the peer to get. An error comes again where the loops meet it.
		if hs.Handshake() == nil {
			s.heard()
		}
	}
	if hs, ok := s.conn.(interface {
		ConnectionState() tls.ConnectionState
	}); ok {
		state := hs.ConnectionState()
		s.tls = &state
	}
	s.mu.Lock()
	s.startWriterLocked()
	s.unlock()
	s.readLoop()
	s.workers.close()
	<-s.written
	s.conn.Close()
	s.stopTimers()
	s.endBase()
	close(s.done)
}

// serveLogged is Serve for callers that nobody asks why the session ended.
func (s *Session) serveLogged() {
	if err := s.Serve(); err != nil {
		s.cfg.Logger.Warn("session ended", "peer", s.remoteAddr, "error", err)
	}
}

// Done is closed when the session has ended and its connection is closed.
func (s *Session) Done() <-chan struct{} { return s.done }

// GoingAway is closed when no new stream can be opened any more: a GOAWAY was
// sent or received, the last stream id was given out (which sends one), a write
// failed, or the session has ended. Open streams may go on: behind a write that
// failed, for a second, while what the peer had answered is read.
func (s *Session) GoingAway() <-chan struct{} { return s.going }

// AfterGoingAway has f called, on a goroutine of its own, when GoingAway is closed;
// nobody has to wait for that.
func (s *Session) AfterGoingAway(f func()) {
	s.mu.Lock()
	defer s.unlock()
	select {
	case <-s.going:
		go f() // ends when it likes, as with context.AfterFunc
	default:
		s.closing.tell = append(s.closing.tell, f)
	}
}

// Err says why no new stream can be opened; nil while one can.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.unlock()
	if err := s.unavailableLocked(); err != nil {
		return err
	}
	return nil
}

// InFlight returns how many streams are open, and RoundTrips wait to open one.
func (s *Session) InFlight() int {
	s.mu.Lock()
	defer s.unlock()
	return len(s.streams) + s.admission.reserved + len(s.admission.waiters)
}

// RemoteAddr returns the address of the peer.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// LocalAddr returns this side's address.
func (s *Session) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// Stats returns a snapshot.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	st := s.stats
	st.StreamsOpen = len(s.streams)
	st.Handlers = s.admission.handlers
	st.PingRTT, st.PingTime = s.ping.last, s.ping.at
	st.MinRTT = s.ping.least
	st.RecvWindow = s.receive.window.size
	open := slices.AppendSeq(make([]*Stream, 0, len(s.streams)), maps.Values(s.streams))
	s.unlock()
	for _, x := range open {
		x.recv.buf.mu.Lock()
		st.Buffered += int64(x.recv.buf.list.size)
		x.recv.buf.mu.Unlock()
	}
	return st
}
