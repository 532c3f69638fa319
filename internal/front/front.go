// Package front is P's front port: what becomes of a request of A's.
//
// Each request becomes one SPDY stream to the origin that its Host header names.
// If that origin was connected a moment ago and is not now, the request waits for
// it. A request whose stream failed is sent again if C cannot have acted on it, or
// if acting twice does no harm; a download that was interrupted continues over the
// origin's next session. Bodies are streamed both ways. How this differs from
// [net/http/httputil.ReverseProxy] is listed at forward.
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
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/originname"
)

const defaultMaxRequests = 16384

// Config is what a Handler needs. Origins is required; the rest may be zero.
type Config struct {
	// Origins is where sessions are found.
	Origins Origins

	// Domains make NAME.D the origin NAME for each D of them. Own, if set, reports
	// whether a host, in lower case, is the name of an origin of its own, there or
	// not. Any other host that is not below a domain is the default origin.
	Domains originname.Domains
	Own     func(host string) bool

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
	// written to it; then it is broken off. A body that is waited for, of which A
	// sends nothing, has two minutes, or Stall if that is longer, and is answered
	// 408. Zero or less: no limit for either.
	Stall time.Duration

	// TrustedProxies are the addresses whose X-Forwarded-*, Forwarded and
	// X-Request-Id are believed.
	TrustedProxies []netip.Prefix

	// Auth, if set, asks for a name and a password.
	Auth *Htpasswd

	// Policy, if set, returns what holds for client's request to the origin of that name, nil if
	// nothing does beyond this Config. known says whether there is such an origin, or may
	// be: nothing is to be kept of others, whose names are the visitors' to choose, and
	// pieces of what they sent. That of one that is known, and may be, can be kept, here
	// and where a Record or a Meter says it.
	Policy func(name origin.Name, client netip.Addr, known bool) Policy

	// AccessLog, if set, gets a line for each request.
	AccessLog *accesslog.Log

	// Meter, if set, returns what counts the bytes of an origin's bodies as they
	// pass. It is asked once a request that is sent to one.
	Meter func(origin.Name) Meter

	// OnDone, if set, is told of each request as it ends, before A can see the
	// end of a connection that is broken. It must not block, nor keep the Record.
	OnDone func(*Record)

	// Probe, if set, reports whether a request is P's own, which asks whether the front
	// port answers: it is answered as any, and stands in no log, count or list.
	Probe func(*http.Request) bool

	// Logger gets a line for what an operator should look at, such as an answer
	// of C's that HTTP forbids, and one a minute with a count if there are more of
	// the same kind. Nil: none.
	Logger *slog.Logger
}

// Origins is what a Handler needs of an *origin.Table, whose methods have the
// same names.
type Origins interface {
	Find(origin.Name) (own origin.Name, known bool)
	Expected(origin.Name) bool
	MaxStreams(origin.Name) int
	Acquire(context.Context, origin.Query) (u origin.Upstream, waited time.Duration, err error)
}

// Meter counts bytes of bodies. Its methods are called by many requests at once.
type Meter interface {
	In(n int)  // of a request's
	Out(n int) // of a response's
}

// Handler serves the front port. Make one with New.
type Handler struct {
	cfg    Config
	lines  *loglimit.Logger // what visitors can cause; closed by Shutdown
	shares *shares

	buffers buffers
	spare   sync.Pool // of *exchange

	leaving chan struct{} // closed by Leave
	leave   sync.Once     // of what closes it

	running atomic.Int64 // exchanges that have not come to the end of end

	mu sync.Mutex
	// Guarded by mu.
	stopping  bool
	exchanges exchanges
	sweeper   *time.Timer
	sweeping  bool          // sweeper is running
	looks     uint32        // of sweep
	idle      chan struct{} // closed when stopping and none is running; nil before Shutdown
}

// New returns a handler. It fails if there are no Origins.
func New(c Config) (*Handler, error) {
	if c.Origins == nil {
		return nil, errors.New("front: no Origins")
	}
	h := &Handler{
		cfg: c, lines: loglimit.New(c.Logger, 1),
		leaving: make(chan struct{}),
	}
	h.cfg.TrustedProxies = slices.Clone(c.TrustedProxies)
	h.cfg.MaxRequests = cmp.Or(c.MaxRequests, defaultMaxRequests)
	h.shares = newShares(h.cfg.MaxRequests)
	return h, nil
}

// ServeHTTP implements http.Handler. It panics with http.ErrAbortHandler when
// the response has to be broken off.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := h.begin(w, r)
	defer e.end()
	if f := h.admit(e); f != nil {
		e.answer(f)
	} else {
		e.forward()
	}
	e.waitSent()
	e.w.stage.Store(stageWhole)
	e.finished = true
}
