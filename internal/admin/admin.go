// Package admin is P's port for the operator: a status page, the same as JSON and as
// events, metrics, health and, when asked for, profiles. The handbook's page
// "api" says what is where.
//
// What keeps others out is the address it listens on, and that it answers only to a
// loopback name, to that address, or to a name that it was given: a page on the internet
// can make a browser call localhost under a name of its own (DNS rebinding), and then the
// Host header gives it away. With a token it asks for that, too, and only then can
// something be changed here; a browser that has the token does so for no other site's
// page (CSRF).
package admin

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/hostguard"
	"github.com/amahi/spdy-proxy/internal/inspect"
)

// Config is what Handler needs. Source and Board are required.
type Config struct {
	Source  Source
	Board   *inspect.Board
	Metrics *Metrics // nil: /metrics is 404
	Version string
	Started time.Time
	// Addr is the address listened on as the operator wrote it, HOST:PORT.
	Addr string
	// Hosts are further names that the port answers to.
	Hosts []string
	// Token, if set, is asked for. Without one nothing can be changed.
	Token *Token
	// PProf adds Go's profiles under /debug/pprof/.
	PProf bool
	// Flight is what the runtime did last, beside the profiles. Nil: there is none.
	Flight *Flight
	// Cluster is what /api/v1/nodes shows. Nil: 404.
	Cluster func() Cluster
}

// Port answers on the admin port. Make one with Handler.
type Port struct {
	Config
	hosts   hostguard.Guard
	mux     *http.ServeMux
	csrf    *http.CrossOriginProtection
	boot    string        // tells one run of the program from another
	streams chan struct{} // holds a value for each stream of events
	stopped chan struct{} // closed by Stop
	stop    sync.Once     // of that
	renders renders
}

// Handler returns what answers on the admin port.
func Handler(c Config) *Port {
	p := &Port{
		Config: c, hosts: hostguard.New(c.Addr, c.Hosts...), mux: http.NewServeMux(), csrf: http.NewCrossOriginProtection(), boot: rand.Text(),
		streams: make(chan struct{}, maxStreams), stopped: make(chan struct{}),
	}
	for path, h := range map[string]http.HandlerFunc{
		"/{$}": p.overview, "/requests": p.requests, "/origins/{name}": p.origin, "/assets/{name}": asset,
		"/api/v1/status": p.apiStatus, "/api/v1/origins": p.apiOrigins, "/api/v1/origins/{name}": p.apiOrigin,
		"/api/v1/requests": p.apiRequests, "/api/v1/events": p.apiEvents,
		"/help": p.help, "/help/{$}": p.help, "/help/{page}": p.help,
		"/debug": p.debug, "/healthz": p.healthz, "/readyz": p.readyz,
	} {
		p.mux.HandleFunc("GET "+path, h)
	}
	const disconnect = "/api/v1/origins/{name}/disconnect"
	p.mux.HandleFunc("POST "+disconnect, p.apiDisconnect)
	p.mux.HandleFunc(disconnect, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", "POST")
		fail(w, http.StatusMethodNotAllowed, "Only POST.")
	})
	p.mux.HandleFunc("/api/v1/", apiElse)
	if c.Metrics != nil {
		p.mux.Handle("GET /metrics", c.Metrics.handler())
	}
	if c.Cluster != nil {
		p.mux.HandleFunc("GET /api/v1/nodes", p.apiNodes)
	}
	if c.PProf {
		p.mux.Handle("GET /debug/pprof/", p.profiles())
	}
	return p
}

// Server returns an http.Server for p with limits that suit it. A profile has the time
// that it records beside the write limit. Its Shutdown stops p.
func Server(p *Port) *http.Server {
	s := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	s.RegisterOnShutdown(p.Stop)
	return s
}

// Stop ends the streams of events, and has new ones refused.
func (p *Port) Stop() { p.stop.Do(func() { close(p.stopped) }) }

// contentPolicy lets a page of ours use its own script and style, ask this port, and
// nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (p *Port) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	hostguard.Headers(head, contentPolicy)
	if !p.hosts.Allows(r) {
		refuse(w, r, http.StatusForbidden, "The admin port answers to localhost, to the address it listens on, or to an --admin-host, not to this name.")
		return
	}
	// Who watches whether the program lives has no secrets.
	if p.Token != nil && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && !p.Token.admits(r) {
		head["Www-Authenticate"] = []string{`Basic realm="spdy-proxy admin", charset="UTF-8"`, `Bearer realm="spdy-proxy admin"`}
		refuse(w, r, http.StatusUnauthorized, "The token in the file of --admin-token-file is wanted: as Bearer, or as the password of any user.")
		return
	}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
	case r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/api/v1/origins/"):
		head.Set("Allow", "GET, HEAD")
		refuse(w, r, http.StatusMethodNotAllowed, "Only GET and HEAD.")
		return
	case p.Token == nil:
		refuse(w, r, http.StatusForbidden, "Nothing can be changed here without a token: start p with --admin-token-file.")
		return
	case p.fromElsewhere(r):
		refuse(w, r, http.StatusForbidden, "A page of another site has no say here.")
		return
	}
	if isAPI(r) {
		if why := wrongIn(r.URL.Query()); why != "" {
			fail(w, http.StatusBadRequest, why)
			return
		}
	}
	p.mux.ServeHTTP(w, r)
}

// fromElsewhere reports whether a page of another site has the browser ask, of what is
// more than to look, whatever the method.
func (p *Port) fromElsewhere(r *http.Request) bool {
	asked := *r
	asked.Method = http.MethodPost // a GET is taken to be harmless
	return p.csrf.Check(&asked) != nil
}

func plain(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, format, args...)
}

func (p *Port) debug(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "goroutines:  %d\nincoming: %d\nserving: %d\n", runtime.NumGoroutine(), p.Source.Figures().Incoming, p.Source.Serving())
}

func (p *Port) healthz(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "ok\n")
}

func (p *Port) readyz(w http.ResponseWriter, r *http.Request) {
	if !p.Source.Ready() {
		plain(w, http.StatusServiceUnavailable, "not ready\n")
		return
	}
	for _, name := range r.URL.Query()["origin"] {
		if !p.Source.Connected(name) {
			plain(w, http.StatusServiceUnavailable, "origin %q is not connected\n", name)
			return
		}
	}
	plain(w, http.StatusOK, "ready\n")
}
