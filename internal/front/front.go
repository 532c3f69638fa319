// Package front is P's front port: what becomes of a request of A's.
//
// A request is one SPDY stream of one origin's session. The handler reads from
// the Host header which origin is meant, cleans the request up, finds the
// session, waits for one that was there a moment ago, sends the request again
// where that is provably safe, and carries both bodies; a download goes on over
// the next session where the first one ended. In what a proxy owes to HTTP it
// does as [net/http/httputil.ReverseProxy] does, without its copies.
//
// Serve it with an [http.Server] that has DisableGeneralOptionsHandler set, or
// "OPTIONS *" does not get here, and without a ServeMux, which would redirect
// paths with "//" and "..".
package front

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/origin"
)

const (
	defaultMaxRequests = 16384

	// copyBuffer is what a body is copied through. A whole copy costs less than
	// the system calls for the engine's smaller pieces.
	copyBuffer = 32 << 10

	// largeBuffer is the same for a visitor who has taken much: what it holds
	// fits into one packet of the system's (45 segments of 1448 bytes, one of
	// loopback's), which costs as much as a packet of half of it. That is for
	// HTTP/1 without TLS; the others' own pieces are smaller. A slow visitor
	// gets there too, if it stays: it then holds 32 KiB more.
	largeBuffer = 64<<10 - 512
	largeAfter  = 1 << 20
)

// buffers are for the bodies that are under way.
type buffers struct{ small, large sync.Pool }

func (b *buffers) get(large bool) []byte {
	if large {
		if p, ok := b.large.Get().(*[largeBuffer]byte); ok {
			return p[:]
		}
		return make([]byte, largeBuffer)
	}
	if p, ok := b.small.Get().(*[copyBuffer]byte); ok {
		return p[:]
	}
	return make([]byte, copyBuffer)
}

func (b *buffers) put(buf []byte) {
	if len(buf) == largeBuffer {
		b.large.Put((*[largeBuffer]byte)(buf))
	} else {
		b.small.Put((*[copyBuffer]byte)(buf))
	}
}

// Config is what a Handler needs. Origins is required; the rest may be zero.
type Config struct {
	// Origins is where sessions are found.
	Origins Origins

	// Domain makes NAME.Domain the origin NAME, and any host that is not below
	// Domain the default origin. Empty: everything is the default origin.
	Domain string

	// Hold is how long a request waits, all its attempts together, for an origin
	// that was connected a moment ago. Zero or less: not at all.
	Hold time.Duration

	// ResponseTimeout is the time from the end of the request to the headers of
	// its response, for each attempt. Zero or less: no limit.
	ResponseTimeout time.Duration

	// MaxHeaderBytes is the largest head of a request and of an origin's answer,
	// counted as in a SPDY header block: names, values, 8 bytes a line, and for
	// a request 384 bytes and the Host once more, which is what the proxy adds.
	// Above it, 431 and 502. Zero or less: no limit beyond those of http.Server
	// and of the sessions.
	MaxHeaderBytes int

	// MaxRequests is how many requests one origin may have in flight; above it,
	// 503. Zero means 16384. One visitor's address (IPv6: one /64) may have an
	// eighth of that in flight at all origins together; above it, 429. It may
	// also have an eighth of the streams that an origin lets P open; above it,
	// requests wait for their turn. Where others have much, both are less. This
	// machine's 127.0.0.1 and ::1 have no such bounds, nor has a trusted proxy
	// that names nobody.
	MaxRequests int

	// Stall is how long a response may take in which A reads nothing of what is
	// written to it; then it is broken off. Zero or less: no limit.
	Stall time.Duration

	// TrustedProxies are the addresses whose X-Forwarded-*, Forwarded and
	// X-Request-Id are believed.
	TrustedProxies []netip.Prefix

	// Auth, if set, asks for a name and a password.
	Auth *Htpasswd

	// AccessLog, if set, gets a line for each request.
	AccessLog *AccessLog

	// OnDone, if set, is told of each request as it ends, before A can see the
	// end of a connection that is broken. It must not block.
	OnDone func(*Record)

	// Logger gets a line for what an operator should look at, such as an answer
	// of C's that HTTP forbids. Nil: none.
	Logger *slog.Logger
}

// Origins is what a Handler needs of an *origin.Table, whose methods have the
// same names.
type Origins interface {
	Known(origin.Name) bool
	MaxStreams(origin.Name) int
	Acquire(context.Context, origin.Query) (u origin.Upstream, waited time.Duration, err error)
}

// Record is what is known of a request when it has ended.
type Record struct {
	Time      time.Time // of the request's headers
	RequestID string
	Peer      netip.Addr // who connected
	Client    netip.Addr // whom a trusted proxy names, else Peer
	User      string     // of Basic authentication, "" if none
	Method    string
	Scheme    string // http or https
	Host      string
	URI       string // the request target as sent
	Proto     string // such as HTTP/2.0
	Referer   string
	UserAgent string

	// Origin is the origin's name, "@" for the default one. Known says whether
	// such an origin was connected during the request; if not, the name is
	// whatever A wrote, and is empty if it is no name.
	Origin string
	Known  bool
	// Session and Stream are where the response came from, last. 0: none did.
	Session uint64
	Stream  uint32
	// Priority is the stream's, 0 to 7.
	Priority uint8

	// Status is the response's. 499: A left before there was one.
	Status int
	// Reason is the Proxy-Status error of an answer of P's own, or of a response
	// that was broken off. Empty: the answer is C's and whole.
	Reason string
	// Detail is Reason in words.
	Detail string
	// Aborted: broken off after the headers, or A left.
	Aborted bool
	// Stalled: broken off because A read nothing of it.
	Stalled bool
	// OverShare: refused because A's address has its share of what there is.
	OverShare bool
	// Upgraded: the connection was switched to WebSocket.
	Upgraded bool

	BytesIn  int64 // of the request's body
	BytesOut int64 // of the response's body

	Headers  time.Duration // until the response's headers, 0 if none came
	Duration time.Duration // until the end
	Held     time.Duration // how long it waited for an origin, 0 if it did not
	Replayed int           // how often it, or what asks for the rest of its answer, was sent again
	Resumed  int           // how often its answer went on over another session
}

// Handler serves the front port. Make one with New.
type Handler struct {
	cfg    Config
	domain string // as parseDomain returns it
	log    *slog.Logger
	shares *shares
	over   rare // requests above a share
	odd    rare // answers that were refused

	buffers buffers

	mu sync.Mutex
	// Guarded by mu.
	stopping  bool
	exchanges map[*exchange]struct{}
	sweeper   *time.Timer
	sweeping  bool          // sweeper is running
	idle      chan struct{} // closed when stopping and there is no exchange; nil before Shutdown
}

// New returns a handler. It fails if Domain is no domain.
func New(c Config) (*Handler, error) {
	h := &Handler{
		cfg: c, log: c.Logger,
		exchanges: make(map[*exchange]struct{}),
	}
	h.cfg.TrustedProxies = slices.Clone(c.TrustedProxies)
	h.cfg.MaxRequests = cmp.Or(c.MaxRequests, defaultMaxRequests)
	h.shares = newShares(h.cfg.MaxRequests)
	if c.Domain != "" {
		var err error
		if h.domain, err = parseDomain(c.Domain); err != nil {
			return nil, err
		}
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h, nil
}

// ServeHTTP implements http.Handler. It panics with http.ErrAbortHandler when
// the response has to be broken off.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r)
	defer x.end()
	if f := h.admit(x); f != nil {
		x.answer(f)
	} else {
		x.forward()
	}
	x.settle()
	x.finished = true
}

// admit answers what need not go to an origin, and finds the origin of the rest.
func (h *Handler) admit(x *exchange) *failure {
	r := x.in
	h.mu.Lock()
	stop := h.stopping
	h.mu.Unlock()
	if stop {
		return stopping()
	}
	if x.standing != within {
		return x.overShare(x.standing == farOver)
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		return &failure{
			status: http.StatusMethodNotAllowed, reason: reasonRequest, detail: "this method is not served",
			header: [2]string{"Allow", allowed},
		}
	}
	if f := h.tooLarge(x.head); f != nil {
		return f
	}
	if f := x.badTarget(); f != nil {
		return f
	}
	host, err := parseHost(r.Host)
	if err != nil {
		return &failure{status: http.StatusBadRequest, reason: reasonRequest, detail: "the Host header is not valid"}
	}
	if hops(r) >= maxHops {
		return &failure{status: http.StatusBadGateway, reason: reasonLoop, detail: "the origin's service leads back to this proxy"}
	}
	if h.cfg.Auth != nil {
		user, f := h.cfg.Auth.check(r, x.rec.Client)
		if f != nil {
			return f
		}
		x.rec.User = user
	}
	if n, ok := maxForwards(r); ok && n == 0 {
		// The last that may answer (RFC 9110, 7.6.2).
		return &failure{status: http.StatusOK, detail: "Max-Forwards ends here", header: [2]string{"Allow", allowed}}
	}
	name, ok := route(host, h.domain)
	if !ok {
		return &failure{status: http.StatusServiceUnavailable, reason: reasonUnavailable, detail: "no origin can have this name", retry: retryAfter}
	}
	x.name = name
	x.rec.Origin = name.String()
	if x.rec.Known = h.cfg.Origins.Known(name); !x.rec.Known {
		return unavailable(name, origin.ErrNotConnected)
	}
	return h.place(x)
}

// place takes one of the places that an origin has, when it is A's turn.
func (h *Handler) place(x *exchange) *failure {
	turn, err := h.shares.enter(x.name, x.who, h.room(x.name))
	switch {
	case errors.Is(err, errShareUsed):
		return x.overShare(false)
	case err != nil:
		return &failure{status: http.StatusServiceUnavailable, reason: reasonLimit, detail: err.Error(), retry: retryAfter}
	case turn == nil:
		x.placed = true
		return nil
	}
	late := &responseTimer{limit: h.cfg.ResponseTimeout, cancel: x.cancel}
	late.start()
	select {
	case <-turn.ready:
	case <-x.ctx.Done():
	}
	late.stop()
	x.placed = h.shares.giveUp(x.name, x.who, turn)
	switch {
	case x.ctx.Err() != nil:
		return x.judge(context.Cause(x.ctx))
	case !x.placed:
		return stopping()
	}
	return nil
}

// room is how many streams P may have open at an origin in all. While it is not
// there, requests wait for it in the table, which has bounds of its own.
func (h *Handler) room(name origin.Name) int {
	if n := h.cfg.Origins.MaxStreams(name); n >= 0 {
		return n
	}
	return h.cfg.MaxRequests
}

// admitWaiting lets those go on that wait for an origin and have their turn.
func (h *Handler) admitWaiting(name origin.Name) { h.shares.admit(name, h.room(name)) }

// shareKeyOf returns whose share x counts in, the zero Addr if in nobody's: all
// of this machine's users, and all visitors of a proxy, have one address.
func (h *Handler) shareKeyOf(x *exchange) netip.Addr {
	addr := x.rec.Client
	if !addr.IsValid() || Local(addr) || h.trusts(addr) {
		return netip.Addr{}
	}
	return addrkey.Addr(addr)
}

// Local reports whether addr is what programs on this machine use if nothing
// else is said: a tunnel's end, or a load test. Others in 127.0.0.0/8 are as any.
func Local(addr netip.Addr) bool {
	return addr == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || addr == netip.IPv6Loopback()
}

// InFlight returns how many requests have not ended, upgraded connections
// included.
func (h *Handler) InFlight() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.exchanges)
}

// Stop makes every new request a 503, and those that wait for their turn. Those
// that are running go on; what waits for an origin is let go by the table's own
// Stop.
func (h *Handler) Stop() {
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	h.shares.stop()
}

// Shutdown does what Stop does and returns when no request is left. When ctx
// ends before, it breaks off those that are, upgraded connections included,
// waits for them to be gone, and returns ctx's error. http.Server.Shutdown does
// not wait for upgraded connections; this does. Call it after the server's
// listeners are closed: a request that comes while it waits is waited for.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.Stop()
	h.mu.Lock()
	if h.idle == nil {
		h.idle = make(chan struct{})
		h.idleLocked()
	}
	idle := h.idle
	h.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	for x := range h.exchanges {
		x.breakOff(errBrokenOff)
	}
	h.mu.Unlock()
	<-idle
	return context.Cause(ctx)
}

// idleLocked closes idle if it is time.
func (h *Handler) idleLocked() {
	if h.idle != nil && len(h.exchanges) == 0 {
		select {
		case <-h.idle:
		default:
			close(h.idle)
		}
	}
}
