// Package peer is the link between two nodes, by which one hands requests to the
// other's origins: SPDY/3.1 over TLS 1.3, both sides verified.
//
// A node keeps a link of its own to each other one, and is the SPDY client on it; for
// requests the other way the other node has another. A request that comes by a link
// goes to a session of this node, or is refused: there is one hop at most, and no loop
// that anybody could make. What a request is, and who asks, is the sender's to know:
// it has asked the visitor for a password, written the headers that say who it is,
// keeps the clock of the response and the access log. Here it is passed on as it is.
//
// Trust is a property of the connection: the certificate of the cluster's own CA, whose
// name is the node's id.
//
// # What went wrong, on the link
//
// The node that asks wants to know of the session at the other end what it would know
// of one of its own, so that it repeats what may be repeated, and nothing else. The
// RST_STREAM of the link says it:
//
//	at the node that was asked                        on the link        to who asks
//	no session, or the node stops                     statusGone         retryable
//	C refused, or the stream is above last-good       REFUSED_STREAM     retryable
//	C's session was lost                              statusLost         SessionError
//	C reset the stream                                the same           StreamError of the peer's
//	C's answer is malformed                           statusMalformed    StreamError of this side's
//	C's answer is too large                           statusTooLarge     the same, FRAME_TOO_LARGE
//
// A request's body stays with the visitor until its stream to C is open: the link's
// streams have a window of 0 until the other node reads (spdy.Config.WindowOnRead).
package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// ALPN is what a link is called in its TLS handshake.
const ALPN = "spdy-proxy-peer/1"

const (
	// keepAlive is how long a node may be silent before it is sent a PING; silent for
	// that long again, it is gone.
	keepAlive = time.Second

	// maxStreams is how many requests a node takes of another at once: four origins'
	// worth of what a proxy passes on to one.
	maxStreams = 1 << 16

	// handshakeTime is how long a connection may take until it is a link.
	handshakeTime = 5 * time.Second

	// maxHandshakes is how many connections may be on their way to be one. maxPerNode is
	// how many links one node may have: the one in use, and those that are not known to
	// be lost yet.
	maxHandshakes = 64
	maxPerNode    = 4

	// lineBurst is how many log lines of one kind about one node are written as they
	// come.
	lineBurst = 5
)

// Local is what a node has itself: an *origin.Table.
type Local interface {
	Acquire(context.Context, origin.Query) (u origin.Upstream, waited time.Duration, err error)
}

// Config is what Links need; Identity and Local are required.
type Config struct {
	// Identity returns what this node shows, and whom it believes, at the moment.
	Identity func() *Identity

	// Local has the sessions that other nodes' requests are for.
	Local Local

	// Session is the configuration of the links, as of the sessions with Cs; what a
	// link is different in is set here.
	Session spdy.Config

	// Dial connects to an address. Nil: over TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Up says that the link to a node stands, Down that it takes no requests any more,
	// and why, nil if that was to be. For one node they come in turn, from one goroutine
	// at a time, and must not block.
	Up   func(id string)
	Down func(id string, err error)

	// Gone is told, once a second at most, when a node has not what it was thought to
	// have. Nil: nobody is.
	Gone func(id string)

	// Revoked is told of tokens that are gone at a node, which are to be taken here no
	// more. It may be called several times at once. Nil: nobody is.
	Revoked func(id string, tokens []Digest)

	// Logger gets a line for each change. Nil: none.
	Logger *slog.Logger
}

// Links are a node's links, both ways. Make them with New; all methods may be called
// at once.
type Links struct {
	cfg    Config
	lines  *loglimit.Logger
	ctx    context.Context // ends with Shutdown: nothing new is dialled or taken
	stop   context.CancelFunc
	ends   context.Context // ends when what is open is broken off
	cutOff context.CancelFunc

	running sync.WaitGroup // goroutines; added to under mu, while not stopping

	requests, gone, taken atomic.Uint64 // see Totals

	mu sync.Mutex
	// Guarded by mu.
	stopping  bool
	nodes     map[string]*node
	listeners []net.Listener
	coming    []net.Conn                 // connections that are not links yet, oldest first
	incoming  map[*spdy.Session]string   // to the node's id
	sessions  map[*spdy.Session]struct{} // all, both ways
	past      Totals                     // bytes of those that have ended
}

// New returns links to nobody.
func New(c Config) *Links {
	if c.Dial == nil {
		var d net.Dialer
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	for _, f := range []*func(string){&c.Up, &c.Gone} {
		if *f == nil {
			*f = func(string) {}
		}
	}
	if c.Down == nil {
		c.Down = func(string, error) {}
	}
	c.Session.KeepAlive = keepAlive
	c.Session.MaxConcurrentStreams = maxStreams
	l := &Links{
		cfg: c, lines: loglimit.New(c.Logger, lineBurst),
		nodes: make(map[string]*node), incoming: make(map[*spdy.Session]string),
		sessions: make(map[*spdy.Session]struct{}),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.ends, l.cutOff = context.WithCancel(context.Background())
	return l
}

// Serve takes other nodes' links from ln until Shutdown, or until ln fails, which is
// its error then. It closes ln.
func (l *Links) Serve(ln net.Listener) error {
	l.mu.Lock()
	if l.stopping {
		l.mu.Unlock()
		ln.Close()
		return nil
	}
	l.listeners = append(l.listeners, ln)
	l.mu.Unlock()
	defer ln.Close()
	for pause := time.Duration(0); ; {
		conn, err := ln.Accept()
		if err != nil {
			if l.ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Such as no descriptor left: it may pass.
			pause = min(max(5*time.Millisecond, 2*pause), time.Second)
			l.line("", slog.LevelError, "a node's connection could not be taken", slog.Any("err", err))
			select {
			case <-time.After(pause):
			case <-l.ctx.Done():
				return nil
			}
			continue
		}
		pause = 0
		l.begin(conn)
	}
}

// begin has take called. The oldest of as many as may be on their way ends for it:
// who is a node is soon done.
func (l *Links) begin(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		conn.Close()
		return
	}
	if len(l.coming) == maxHandshakes {
		l.coming[0].Close()
		l.coming = l.coming[1:]
	}
	l.coming = append(l.coming, conn)
	// Ends with its connection: Shutdown sees to it.
	l.running.Go(func() { l.take(conn) })
}

// came notes that a connection is no longer on its way to be a link.
func (l *Links) came(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming = slices.DeleteFunc(l.coming, func(c net.Conn) bool { return c == conn })
}

// take makes a link of a connection that a node has made, and serves it to its end.
func (l *Links) take(conn net.Conn) {
	id, tc, err := l.accept(conn)
	l.came(conn)
	if err != nil {
		conn.Close()
		if l.ctx.Err() == nil {
			l.line("", slog.LevelWarn, "a connection to the peer port was refused",
				slog.String("remote", conn.RemoteAddr().String()), slog.Any("reason", err))
		}
		return
	}
	cfg := l.cfg.Session
	cfg.WindowOnRead = true
	cfg.Logger = l.cfg.Logger
	s := cfg.NewServerSession(tc, &http.Server{Handler: &handler{l: l, node: id}})
	if !l.enter(s, id) {
		s.Close()
		return
	}
	defer l.counted(s)()
	s.Serve()
	l.mu.Lock()
	delete(l.incoming, s)
	l.mu.Unlock()
}

// accept is the handshake of a connection that a node has made.
func (l *Links) accept(conn net.Conn) (id string, tc *tls.Conn, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, handshakeTime)
	defer cancel()
	tc = tls.Server(spdy.Corkable(conn), l.cfg.Identity().server())
	if err := tc.HandshakeContext(ctx); err != nil {
		return "", nil, err
	}
	state := tc.ConnectionState()
	if state.NegotiatedProtocol != ALPN {
		return "", nil, fmt.Errorf("it does not speak %s", ALPN)
	}
	return peerID(state), tc, nil
}

// enter notes a link that a node has made, if it may have another one.
func (l *Links) enter(s *spdy.Session, id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		return false
	}
	n := 0
	for _, other := range l.incoming {
		if other == id {
			n++
		}
	}
	if n >= maxPerNode {
		l.line(id, slog.LevelWarn, "a node has too many links here, another one is refused", slog.Int("links", n))
		return false
	}
	l.incoming[s] = id
	return true
}

// Connect keeps a link to a node from now on. With another address than before, the
// link that there is stays until there is one to the other; what is open on it then
// goes on.
func (l *Links) Connect(id, addr string) {
	l.mu.Lock()
	if n := l.nodes[id]; n != nil {
		l.mu.Unlock()
		n.move(addr)
		return
	}
	if l.stopping {
		l.mu.Unlock()
		return
	}
	n := newNode(l, id, addr)
	l.nodes[id] = n
	// Ends with n's context, when what is open on its link has; Shutdown waits for it.
	l.running.Go(n.run)
	l.mu.Unlock()
}

// Forget ends the link to a node when what is open on it has ended, and dials it no
// more.
func (l *Links) Forget(id string) {
	l.mu.Lock()
	n := l.nodes[id]
	delete(l.nodes, id)
	l.mu.Unlock()
	if n != nil {
		n.stop()
	}
}

// Info is the link to a node at one moment.
type Info struct {
	ID, Addr  string
	Up        bool
	Since     time.Time     // that it stands
	RoundTrip time.Duration // as last measured
	Open      int           // requests that are on their way
	Requests  uint64        // that went by it and those before it
	Sent      uint64        // bytes of bodies, by this link
	Received  uint64        // bytes of bodies, by this link
}

// Nodes returns the links of this node's own, by id.
func (l *Links) Nodes() []Info {
	l.mu.Lock()
	nodes := make([]*node, 0, len(l.nodes))
	for _, n := range l.nodes {
		nodes = append(nodes, n)
	}
	l.mu.Unlock()
	infos := make([]Info, 0, len(nodes))
	for _, n := range nodes {
		infos = append(infos, n.info())
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.ID, b.ID) })
	return infos
}

// Totals are sums over all links that are or were.
type Totals struct {
	Requests       uint64 // sent to other nodes
	Gone           uint64 // of those, for sessions that the node did not have
	Taken          uint64 // requests that came from other nodes
	Sent, Received uint64 // bytes of bodies, to other nodes and from them
}

func (t *Totals) add(s spdy.Stats) {
	t.Sent += s.BytesSent
	t.Received += s.BytesReceived
}

// Totals returns the sums.
func (l *Links) Totals() Totals {
	// Under the lock, or a link that ends now would count twice or never.
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.past
	t.Requests, t.Gone, t.Taken = l.requests.Load(), l.gone.Load(), l.taken.Load()
	for s := range l.sessions {
		t.add(s.Stats())
	}
	return t
}

// counted has s counted in Totals; the function that it returns is called at its end.
func (l *Links) counted(s *spdy.Session) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[s] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.sessions, s)
		l.past.add(s.Stats())
	}
}

// Shutdown takes no link and no request from now on, tells the nodes so, and returns
// when what is open has ended; when ctx ends before, it breaks that off and returns
// ctx's error. Requests of this node's own should have ended before.
func (l *Links) Shutdown(ctx context.Context) error {
	l.mu.Lock()
	l.stopping = true
	for _, ln := range l.listeners {
		ln.Close()
	}
	clear(l.nodes)
	var incoming []*spdy.Session
	for s := range l.incoming {
		incoming = append(incoming, s)
	}
	l.mu.Unlock()
	l.stop()
	defer context.AfterFunc(ctx, l.cutOff)()
	var ending sync.WaitGroup
	for _, s := range incoming {
		// Ends within ctx; waited for below.
		ending.Go(func() { s.Shutdown(ctx) })
	}
	ending.Wait()
	l.running.Wait()
	l.lines.Close()
	return context.Cause(ctx)
}

// line writes a log line, about a node if there is an id.
func (l *Links) line(id string, level slog.Level, msg string, attrs ...slog.Attr) {
	if id != "" {
		attrs = append([]slog.Attr{slog.String("node", id)}, attrs...)
	}
	l.lines.Log(id+" "+msg, level, msg, attrs...)
}
