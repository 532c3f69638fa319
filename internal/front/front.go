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
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

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
	Origins *origin.Table

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
	// 503. Zero means 16384.
	MaxRequests int

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
	// Upgraded: the connection was switched to WebSocket.
	Upgraded bool

	BytesIn  int64 // of the request's body
	BytesOut int64 // of the response's body

	Headers  time.Duration // until the response's headers, 0 if none came
	Duration time.Duration // until the end
	Held     time.Duration // how long it waited for an origin, 0 if it did not
	Replayed int           // how often it was sent again
	Resumed  int           // how often its answer went on over another session
}

// Handler serves the front port. Make one with New.
type Handler struct {
	cfg    Config
	domain string // as parseDomain returns it
	log    *slog.Logger
	clocks clocks
	ids    ids

	buffers buffers

	mu sync.Mutex
	// Guarded by mu.
	stopping  bool
	exchanges map[*exchange]struct{}
	perOrigin map[origin.Name]int
	idle      chan struct{} // closed when stopping and there is no exchange; nil before Shutdown

	saidRefused time.Time // see refused
	notSaid     int       // since then
}

// New returns a handler. It fails if Domain is no domain.
func New(c Config) (*Handler, error) {
	h := &Handler{
		cfg: c, log: c.Logger,
		exchanges: make(map[*exchange]struct{}),
		perOrigin: make(map[origin.Name]int),
	}
	h.cfg.TrustedProxies = slices.Clone(c.TrustedProxies)
	h.clocks.limit = c.ResponseTimeout
	h.ids.seed()
	h.cfg.MaxRequests = cmp.Or(c.MaxRequests, defaultMaxRequests)
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
		user, f := h.cfg.Auth.check(r, x.rec.Peer)
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
	if !h.count(x) {
		return &failure{status: http.StatusServiceUnavailable, reason: reasonLimit, detail: "too many requests to this origin", retry: retryAfter}
	}
	return nil
}

// count takes one of the places that an origin has.
func (h *Handler) count(x *exchange) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.perOrigin[x.name] >= h.cfg.MaxRequests {
		return false
	}
	h.perOrigin[x.name]++
	x.counted = true
	return true
}

// InFlight returns how many requests have not ended, upgraded connections
// included.
func (h *Handler) InFlight() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.exchanges)
}

// Stop makes every new request a 503. Those that are running go on; what waits
// for an origin is let go by the table's own Stop.
func (h *Handler) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping = true
}

// Shutdown does what Stop does and returns when no request is left. When ctx
// ends before, it breaks off those that are, upgraded connections included,
// waits for them to be gone, and returns ctx's error. http.Server.Shutdown does
// not wait for upgraded connections; this does. Call it after the server's
// listeners are closed: a request that comes while it waits is waited for.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	h.stopping = true
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
		x.breakOff()
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
