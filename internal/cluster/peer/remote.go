package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/httpfield"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// What a request on a link says beside what the visitor's does. Nothing that a visitor
// sends under such a name is passed on.
const (
	ownPrefix     = "Spdy-Proxy-"
	headerOrigin  = ownPrefix + "Origin"  // origin.Name's String
	headerSession = ownPrefix + "Session" // the session's ID at its node
)

// Remote is a session of another node's with a C, as a session that requests can be
// sent on; the origin's table has it beside those of its own. What belongs to the
// session, its node sees to: nothing here ends it.
type Remote struct {
	// Fixed by Links.Remote.
	link *link // nil: there was none
	name origin.Name
	sid  uint64
	max  int

	told     atomic.Int64  // open streams, as its node last said
	open     atomic.Int64  // requests from here
	requests atomic.Uint64 // from here, in all

	mu sync.Mutex
	// Guarded by mu.
	withdrawn bool
	going     chan struct{} // closed when withdrawn; nil before somebody asks
}

var _ origin.Session = (*Remote)(nil)

// Remote returns the session with the id sid at a node, which serves name and takes
// max streams at once. It is to be withdrawn when the node's link goes down; without
// a link, it refuses all.
func (l *Links) Remote(id string, sid uint64, name origin.Name, max int) *Remote {
	l.mu.Lock()
	n := l.nodes[id]
	l.mu.Unlock()
	r := &Remote{name: name, sid: sid, max: max}
	if n != nil {
		r.link = n.current()
	}
	return r
}

// RoundTrip is (*spdy.Session).RoundTrip on the session of the other node.
func (r *Remote) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.link == nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, r.unavailable()
	}
	n := r.link.node
	out := req.WithContext(req.Context())
	out.Header = make(http.Header, len(req.Header)+2)
	for name, values := range req.Header {
		if !own(name) {
			out.Header[name] = values
		}
	}
	out.Header[headerOrigin] = []string{r.name.String()}
	out.Header[headerSession] = []string{strconv.FormatUint(r.sid, 10)}
	r.open.Add(1)
	r.requests.Add(1)
	n.count()
	resp, err := r.link.session.RoundTrip(out)
	if err != nil {
		r.open.Add(-1)
		if se, ok := errors.AsType[*spdy.StreamError](err); ok && se.Remote && se.Status == statusGone {
			r.Withdraw() // and the registry will learn why
			n.gone()
		}
		return nil, errorOf(n.id, err)
	}
	body := &remoteBody{ReadCloser: resp.Body, r: r}
	if rw, ok := resp.Body.(duplex); ok {
		resp.Body = &remoteDuplex{remoteBody: body, rw: rw}
	} else {
		resp.Body = body
	}
	return resp, nil
}

// own reports whether a header's name is one of this package's, in any case.
func own(name string) bool {
	return len(name) >= len(ownPrefix) && httpfield.Equal(name[:len(ownPrefix)], ownPrefix)
}

// duplex is the Body of a 101.
type duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// remoteBody is the body of a response. It has one reader.
type remoteBody struct {
	io.ReadCloser
	r     *Remote
	ended atomic.Bool
}

func (b *remoteBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
		err = errorOf(b.r.link.node.id, err)
	}
	return n, err
}

// Ready reports whether the next Read returns at once.
func (b *remoteBody) Ready() bool {
	r, ok := b.ReadCloser.(interface{ Ready() bool })
	return ok && r.Ready()
}

// Await returns when the next Read would not wait.
func (b *remoteBody) Await() {
	if r, ok := b.ReadCloser.(interface{ Await() }); ok {
		r.Await()
	}
}

func (b *remoteBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}

// end counts the request as over, once.
func (b *remoteBody) end() {
	if !b.ended.Swap(true) {
		b.r.open.Add(-1)
	}
}

// remoteDuplex is both directions after a 101.
type remoteDuplex struct {
	*remoteBody
	rw duplex
}

func (d *remoteDuplex) Write(p []byte) (int, error) { return d.rw.Write(p) }

// CloseWrite ends this side's direction.
func (d *remoteDuplex) CloseWrite() error { return d.rw.CloseWrite() }

// Withdraw has it take no more requests: its node has it no more, or cannot be
// reached. Those that are open go on. It may be called more than once.
func (r *Remote) Withdraw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.withdrawn && r.going != nil {
		close(r.going)
	}
	r.withdrawn = true
}

// SetLoad says how many streams are open on the session, by all nodes.
func (r *Remote) SetLoad(n int) { r.told.Store(int64(n)) }

// ended is closed.
var ended = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// GoingAway is closed when it takes no new request.
func (r *Remote) GoingAway() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.withdrawn || r.link == nil {
		return ended
	}
	if r.going == nil {
		r.going = make(chan struct{})
	}
	return r.going
}

// AfterGoingAway has f called, on a goroutine of its own, when GoingAway is closed.
func (r *Remote) AfterGoingAway(f func()) {
	go func() { // ends when it takes no new request, and f likes
		<-r.GoingAway()
		f()
	}()
}

// Done is GoingAway: nothing here belongs to the session.
func (r *Remote) Done() <-chan struct{} { return r.GoingAway() }

// Err says why it takes no new request; nil while it does. A session that its node has
// withdrawn counts as one whose C leaves.
func (r *Remote) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link != nil && !r.withdrawn {
		return nil
	}
	return r.unavailable()
}

func (r *Remote) unavailable() error {
	if r.link != nil && !lost(r.link.session.Err()) {
		return &spdy.SessionError{Remote: true, Cause: spdy.ErrGoingAway, NotProcessed: true}
	}
	return &spdy.SessionError{Status: spdy.GoAwayInternalError, Cause: fmt.Errorf("%w: there is no link to its node", spdy.ErrLost), NotProcessed: true}
}

// lost reports whether a link whose session's error is err has ended without its node's
// goodbye.
func lost(err error) bool { return err != nil && !saysGoodbye(err) }

// MaxStreams returns how many streams C takes at once, as its node has said.
func (r *Remote) MaxStreams() int { return r.max }

// InFlight returns how many streams are open on it: those from here, and what its node
// has told.
func (r *Remote) InFlight() int { return int(r.open.Load() + r.told.Load()) }

// Available returns how many could be opened now, as far as is known.
func (r *Remote) Available() int { return max(0, r.max-r.InFlight()) }

// PingContext measures the round trip to its node.
func (r *Remote) PingContext(ctx context.Context) (time.Duration, error) {
	if r.link == nil {
		return 0, r.unavailable()
	}
	return r.link.session.PingContext(ctx)
}

// Stats counts what went from here. Bytes are in those of the link, and of the
// session at its node.
func (r *Remote) Stats() spdy.Stats {
	return spdy.Stats{StreamsOpened: r.requests.Load(), StreamsOpen: int(r.open.Load())}
}

// Shutdown is Withdraw.
func (r *Remote) Shutdown(context.Context) error {
	r.Withdraw()
	return nil
}

// Close is Withdraw.
func (r *Remote) Close() { r.Withdraw() }
