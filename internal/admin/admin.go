// Package admin is P's port for the operator: a status page, metrics, health
// and, when asked for, profiles.
//
// It has no password. What keeps others out is the address it listens on, and
// that it answers only to a loopback name or to that address: a page on the
// internet can make a browser call localhost under a name of its own (DNS
// rebinding), and then the Host header gives it away. Nothing here changes
// anything: GET and HEAD are all it knows.
package admin

import (
	"fmt"
	"net/http"
	"runtime"
	"time"
)

// Source is what the admin port looks at. Its methods are called by several
// requests at once, and must not wait for a peer.
type Source interface {
	// Ready reports whether the program listens and is not stopping.
	Ready() bool
	// Connected reports whether the origin of that name, "@" for the default
	// one, has a session that takes requests. Any text may be asked for.
	Connected(origin string) bool
	// Snapshot returns the state of now.
	Snapshot() Snapshot
}

// Snapshot is the state of P at one moment.
type Snapshot struct {
	Front, Control string   // addresses listened on
	Incoming       int      // requests from A that have not ended
	Held           int      // of those, the ones that wait for an origin
	Origins        []Origin // by name, the ones with a session
	Totals         Totals
	Connections    Connections
}

// Connections are those of visitors to the front port.
type Connections struct {
	Open int
	// New ones that were closed at once since the program started: because their
	// address had as many as it may, and because the front port had, all in use.
	RefusedAddress, RefusedTotal uint64
	// Those that were closed for a new one because the front port had as many as
	// it may: without a request yet, and between two requests.
	DroppedSilent, DroppedIdle uint64
}

// Serving returns how many requests have a stream, or wait for one, on a
// connected session.
func (s Snapshot) Serving() int {
	n := 0
	for _, o := range s.Origins {
		for _, c := range o.Sessions {
			n += c.InFlight
		}
	}
	return n
}

// Origin is one name and who serves it.
type Origin struct {
	Name     string // "@" for the default one
	Written  string // the name as people write it, where that is not ASCII; else ""
	Sessions []Session
	// URLs are the addresses under which visitors reach it; Unreachable is why they
	// do not, "" if they do.
	URLs        []string
	Unreachable string
}

// Session is one connection of a C.
type Session struct {
	Instance  string // what C calls it, may be empty
	Remote    string // C's address
	Since     time.Time
	Leaving   bool          // finishes what it serves, takes nothing new
	InFlight  int           // streams open or waited for
	Streams   uint64        // opened since its start
	ToC       uint64        // bytes of bodies
	FromC     uint64        // bytes of bodies
	RoundTrip time.Duration // of the last PING, 0 if none was measured
}

// Totals are counts since the program started, of all sessions that were or
// are.
type Totals struct {
	ToC, FromC       uint64  // bytes of bodies
	Resets           []Reset // those that are not zero
	AccessLogDropped uint64  // lines that could not be written
}

// Reset counts the streams that ended by RST_STREAM with one status.
type Reset struct {
	Sent   bool   // by P; else by C
	Status string // its name, one of a dozen
	Count  uint64
}

// Config is what Handler needs. Source is required.
type Config struct {
	Source  Source
	Metrics *Metrics // nil: /metrics is 404
	Version string
	Started time.Time
	// Addr is the address listened on as the operator wrote it, HOST:PORT.
	Addr string
	// PProf adds Go's profiles under /debug/pprof/.
	PProf bool
	// Flight is what the runtime did last, beside the profiles. Nil: there is none.
	Flight *Flight
}

// Handler returns what answers on the admin port.
func Handler(c Config) http.Handler {
	h := &handler{Config: c, hosts: newHosts(c.Addr)}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", h.page)
	mux.HandleFunc("/debug", h.debug)
	mux.HandleFunc("/healthz", h.healthz)
	mux.HandleFunc("/readyz", h.readyz)
	if c.Metrics != nil {
		mux.Handle("/metrics", c.Metrics.handler())
	}
	if c.PProf {
		mux.Handle("/debug/pprof/", profiles(c.Flight))
	}
	h.mux = mux
	return h
}

// Server returns an http.Server for Handler with limits that suit it. A profile
// has the time that it records beside the write limit.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}

type handler struct {
	Config
	hosts hosts
	mux   *http.ServeMux
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Cache-Control", "no-store")
	head.Set("Content-Security-Policy", contentPolicy)
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("X-Frame-Options", "DENY")
	if !h.hosts.answer(r) {
		http.Error(w, "The admin port answers to localhost, or to the address it listens on, not to this name.", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "Only GET and HEAD.", http.StatusMethodNotAllowed)
		return
	}
	h.mux.ServeHTTP(w, r)
}

func plain(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, format, args...)
}

func (h *handler) debug(w http.ResponseWriter, _ *http.Request) {
	s := h.Source.Snapshot()
	plain(w, http.StatusOK, "goroutines:  %d\nincoming: %d\nserving: %d\n", runtime.NumGoroutine(), s.Incoming, s.Serving())
}

func (h *handler) healthz(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "ok\n")
}

func (h *handler) readyz(w http.ResponseWriter, r *http.Request) {
	if !h.Source.Ready() {
		plain(w, http.StatusServiceUnavailable, "not ready\n")
		return
	}
	for _, name := range r.URL.Query()["origin"] {
		if !h.Source.Connected(name) {
			plain(w, http.StatusServiceUnavailable, "origin %q is not connected\n", name)
			return
		}
	}
	plain(w, http.StatusOK, "ready\n")
}
