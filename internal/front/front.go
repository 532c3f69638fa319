// Package front is P's front port: what becomes of a request of A's.
//
// A request is one SPDY stream of one origin's session. The handler reads from
// the Host header which origin is meant, [httputil.ReverseProxy] cleans the
// request up and carries both bodies, and a transport of our own finds the
// session, waits for one that was there a moment ago, sends the request again
// where that is provably safe, and goes on with a download on the next session
// where the first one ended.
//
// Serve it with an [http.Server] that has DisableGeneralOptionsHandler set, or
// "OPTIONS *" does not get here, and without a ServeMux, which would redirect
// paths with "//" and "..".
package front

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/amahi/spdy-proxy/internal/origin"
)

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

	// MaxHeaderBytes is the largest request head that is taken, counted as
	// names, values and 4 bytes a line; above it, 431. Zero or less: no limit
	// beyond http.Server's.
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
	cfg Config
}

// New returns a handler. It fails if the configuration makes no sense, such as
// a Domain that is no domain.
func New(c Config) (*Handler, error) { return &Handler{cfg: c}, nil }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// InFlight returns how many requests have not ended, upgraded connections
// included.
func (h *Handler) InFlight() int { return 0 }

// Stop makes every new request a 503. Those that are running go on; what waits
// for an origin is let go by the table's own Stop.
func (h *Handler) Stop() {}

// Shutdown does what Stop does and returns when no request is left. When ctx
// ends before, it breaks off those that are, upgraded connections included,
// waits for them to be gone, and returns ctx's error. http.Server.Shutdown does
// not wait for upgraded connections; this does.
func (h *Handler) Shutdown(ctx context.Context) error { return nil }
