package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/amahi/spdy"
)

const (
	// Pauses between attempts to reach a node, each twice the one before.
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second

	// steadyTime is how long a link must have stood for the pauses to begin again.
	steadyTime = 10 * time.Second

	// goneEvery is how often Config.Gone is told of a node at most.
	goneEvery = time.Second

	// finishTime is how long what is open may go on, on a link that another one follows
	// or whose node is forgotten.
	finishTime = 30 * time.Second
)

// node is another node, and the link to it of this node's own.
type node struct {
	// Fixed by newNode.
	l    *Links
	id   string
	ctx  context.Context // ends with stop
	stop context.CancelFunc

	moved chan struct{} // has room for one: addr is another

	mu sync.Mutex
	// Guarded by mu.
	addr     string
	link     *link // nil while there is none
	requests uint64
	told     time.Time // when Config.Gone was
}

// link is one connection to a node, as long as it takes requests.
type link struct {
	node    *node
	session *spdy.Session
	since   time.Time
}

func newNode(l *Links, id, addr string) *node {
	n := &node{l: l, id: id, addr: addr, moved: make(chan struct{}, 1)}
	n.ctx, n.stop = context.WithCancel(l.ctx)
	return n
}

// move has the node reached at another address from now on.
func (n *node) move(addr string) {
	n.mu.Lock()
	same := n.addr == addr
	n.addr = addr
	n.mu.Unlock()
	if same {
		return
	}
	select {
	case n.moved <- struct{}{}:
	default:
	}
}

// run keeps a link to the node until its context ends.
func (n *node) run() {
	var finishing sync.WaitGroup
	defer finishing.Wait()
	pause, said := time.Duration(0), false
	for n.ctx.Err() == nil {
		addr := n.address()
		next, err := n.dial(addr)
		if err != nil && !said && n.ctx.Err() == nil {
			n.unreachable(addr, err)
		}
		said = err != nil
		began := time.Now()
		for next != nil {
			s := next
			counted := n.l.counted(s)
			// A node that has said that it stops is soon not there: that is no news.
			next, said = n.serve(s)
			ours := next != nil || n.ctx.Err() != nil
			// Ends with the session, which ends with ends at the latest; waited for above.
			finishing.Go(func() {
				n.finish(s, ours)
				counted()
			})
		}
		if pause = min(max(firstPause, 2*pause), lastPause); time.Since(began) >= steadyTime {
			pause = 0
		}
		// Two nodes that start again must not meet for ever at the same moment.
		n.wait(pause/2 + rand.N(pause/2+1))
	}
}

func (n *node) unreachable(addr string, err error) {
	n.l.line(n.id, slog.LevelWarn, "a node cannot be reached, it is tried again and again", slog.String("addr", addr), slog.String("reason", oneLine(err)))
}

func (n *node) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

// wait returns when d is over, or when the node is stopped or is at another address.
func (n *node) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.moved:
	case <-n.ctx.Done():
	}
}

// dial returns a session that the node is known to be at the other end of: it has
// answered a PING, and with that its SETTINGS have been seen.
func (n *node) dial(addr string) (*spdy.Session, error) {
	ctx, cancel := context.WithTimeout(n.ctx, handshakeTime)
	defer cancel()
	conn, err := n.l.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(spdy.Corkable(conn), n.l.cfg.Identity().client(n.id))
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	if tc.ConnectionState().NegotiatedProtocol != ALPN {
		conn.Close()
		return nil, fmt.Errorf("it does not speak %s", ALPN)
	}
	s := n.l.cfg.Session.NewClientSession(tc)
	// Ends with the session, which finish ends, or what is below.
	go s.Serve()
	if _, err := s.PingContext(ctx); err != nil {
		if why := s.Err(); why != nil {
			err = why // a certificate that was refused is told only now
		}
		s.Close()
		return nil, err
	}
	return s, nil
}

// serve has requests go by s, until it takes none, or the node is at another address:
// then by the session that it returns. left says that the node takes no more by its own
// will.
func (n *node) serve(s *spdy.Session) (next *spdy.Session, left bool) {
	n.mu.Lock()
	n.link = &link{node: n, session: s, since: time.Now()}
	n.mu.Unlock()
	n.l.line(n.id, slog.LevelInfo, "the link to a node stands", slog.String("remote", s.RemoteAddr().String()))
	n.l.cfg.Up(n.id)
	for going := true; going && next == nil; {
		select {
		case <-s.GoingAway():
			going = false
		case <-n.ctx.Done():
			going = false
		case <-n.moved:
			// What says so proves nothing: the node is there when it is known to be.
			addr := n.address()
			var err error
			if next, err = n.dial(addr); err != nil && n.ctx.Err() == nil {
				n.unreachable(addr, err)
			}
		}
	}
	n.mu.Lock()
	n.link = nil
	n.mu.Unlock()
	err := s.Err()
	if saysGoodbye(err) {
		n.l.line(n.id, slog.LevelInfo, "a node takes no more requests")
		err, left = nil, true
	} else if err != nil {
		n.l.line(n.id, slog.LevelWarn, "the link to a node is lost", slog.String("reason", oneLine(err)))
	} else {
		n.l.line(n.id, slog.LevelInfo, "the link to a node ends here")
	}
	n.l.cfg.Down(n.id, err)
	return next, left
}

// saysGoodbye reports whether err of a link's session is that its node takes no more
// requests, and finishes those that it has.
func saysGoodbye(err error) bool {
	se, ok := errors.AsType[*spdy.SessionError](err)
	return ok && se.Status == spdy.GoAwayOK && errors.Is(err, spdy.ErrGoingAway)
}

// finish ends s when what is open on it has ended, or may not go on: that is limited
// here if it was this node that had it go. Another that stops has a limit of its own,
// and one that has died is told by its silence.
func (n *node) finish(s *spdy.Session, ours bool) {
	ctx := n.l.ends
	if ours {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, finishTime)
		defer cancel()
	}
	s.Shutdown(ctx)
	<-s.Done()
}

// current returns the link that there is, or nil.
func (n *node) current() *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link
}

// gone counts a request for what the node has not, and tells of it if that was not
// told a moment ago.
func (n *node) gone() {
	n.l.gone.Add(1)
	n.mu.Lock()
	now := time.Now()
	tell := now.Sub(n.told) >= goneEvery
	if tell {
		n.told = now
	}
	n.mu.Unlock()
	if tell {
		n.l.cfg.Gone(n.id)
	}
}

// count counts a request.
func (n *node) count() {
	n.l.requests.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests++
}

func (n *node) info() Info {
	n.mu.Lock()
	info := Info{ID: n.id, Addr: n.addr, Requests: n.requests}
	k := n.link
	n.mu.Unlock()
	if k != nil {
		stats := k.session.Stats()
		info.Up, info.Since, info.RoundTrip, info.Open = true, k.since, stats.PingRTT, stats.StreamsOpen
		info.Sent, info.Received = stats.BytesSent, stats.BytesReceived
	}
	return info
}
