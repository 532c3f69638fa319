// Package originserver is C, assembled: it reads what it was told, and joins what
// is served (package serve) to the connections to P (package agent).
package originserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/inspector"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// othersLate is how long after the connections of one origin those of the others
// are waited for.
const othersLate = 5 * time.Second

// DefaultUploadMax is the largest body kept, in bytes, unless told otherwise.
const DefaultUploadMax = serve.DefaultUploadMax

// Origin is what is served under a name.
type Origin struct {
	Name string // "": the default origin

	// Serve says what to serve. Its Logger is Config's, its Places are those of all origins.
	Serve serve.Config
}

// Config is what C can be told; the fields are c's flags. Proxies, Connections,
// TLS.CAFile, a source of tokens, and an origin with one of Serve.Root and Serve.To
// are needed.
type Config struct {
	Proxies     []string // HOST:PORT of control ports
	Connections int      // parallel connections to each, for each origin; at least 1

	// Spread and NoFollow are for Ps that tell of others; see agent.Config.
	Spread   int
	NoFollow bool

	TLS    control.ClientTLS
	Tokens control.TokenSource // its first token is shown to P

	Origins []Origin // of different names

	// Getenv, if set, is asked for HTTPS_PROXY, ALL_PROXY and NO_PROXY, by which P is
	// reached.
	Getenv func(name string) string

	// ID is of the process whose connections are taken over, "" if there is none; see
	// agent.Config. Started, if set, is called when the connections are there, but
	// for those that cannot be now. It must return soon after ctx ends.
	ID      string
	Started func(ctx context.Context) error

	AccessLog    string // file for a line a request, "-" is Stdout; "": none
	AccessFormat accesslog.Format

	// Inspect is where the inspector listens, HOST:PORT on a loopback address; "": there
	// is none. Inherited returns its port, InspectPort, if the process was started with
	// it; nil: it was not.
	Inspect   string
	Inherited func(name string) (net.Listener, error)

	KeepAlive time.Duration // a PING after this much silence; 0: never
	Drain     time.Duration // how long open requests may finish at the end; 0: they may not

	Version string       // for the log
	Logger  *slog.Logger // nil: nothing is logged
	Stdout  io.Writer    // nil: discarded

	// Trace, if set, is called with a line for each SPDY frame, by several
	// goroutines at once. It must not block.
	Trace func(line string)
}

func (c *Config) check() error {
	switch {
	case c.KeepAlive < 0:
		return fmt.Errorf("--keepalive %v: give a time such as 15s, or 0 for never", c.KeepAlive)
	case c.Drain < 0:
		return fmt.Errorf("--drain %v: give a time such as 30s, or 0 for none", c.Drain)
	case c.Connections < 1:
		return fmt.Errorf("--connections %d: give 1 or more", c.Connections)
	case c.Spread < 0:
		return fmt.Errorf("--spread %d: give 1 or more", c.Spread)
	case len(c.Origins) == 0:
		return errors.New("nothing to serve: give a folder (--root) or a web service (--to)")
	}
	if err := checkInspect(c.Inspect); err != nil {
		return err
	}
	names := make(map[originname.Name]bool)
	for _, o := range c.Origins {
		if o.Serve.UploadMax == 0 { // which is a default to package serve
			return errors.New("--upload-max 0: give a number of bytes above 0")
		}
		name, err := originname.Parse(o.Name)
		if err != nil {
			return fmt.Errorf("--name: %w", err)
		}
		if names[name] {
			return fmt.Errorf("two origins are named %q: give each a name of its own, one of them may be the default origin, %q", name, originname.Default)
		}
		names[name] = true
	}
	return nil
}

// via returns by way of which proxies P is reached, nil if there are none.
func (c *Config) via() (func(addr string) (*url.URL, error), error) {
	if c.Getenv == nil {
		return nil, nil
	}
	return control.ViaEnvironment(c.Getenv)
}

// Server is C. Make one with New, then call Run, once.
type Server struct {
	// Fixed by New.
	cfg    Config
	log    *slog.Logger
	via    func(addr string) (*url.URL, error) // as in control.Dialer
	access *accesslog.File                     // nil without --access-log
	parts  []part                              // one for each origin

	inspector *inspector.Inspector // nil without --inspect, as inspectLn
	inspectLn net.Listener

	handedOver chan struct{} // closed by HandOver, once

	mu       sync.Mutex
	identity agent.Identity // guarded by mu; as it was read last
}

// part is an origin: what it serves, and its connections.
type part struct {
	handler *serve.Handler
	agent   *agent.Agent
}

// Successor is a process that has taken the places of C's connections.
type Successor interface {
	// GoOn tells it that it is C now. An error means that it has ended.
	GoOn() error
}

// New reads every file that cfg names and joins the parts. Its error is one line
// that says what would mend it.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Stdout == nil {
		cfg.Stdout = io.Discard
	}
	cfg.Origins = slices.Clone(cfg.Origins) // the caller's stay as they are
	for i, places := range serve.NewPlaces(len(cfg.Origins)) {
		cfg.Origins[i].Serve.Places = places
	}
	s := &Server{cfg: cfg, log: cfg.Logger, handedOver: make(chan struct{})}
	var err error
	if s.via, err = cfg.via(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if s.access, err = s.openAccess(); err == nil {
		err = s.inspect()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	for _, o := range cfg.Origins {
		p, err := s.newPart(o)
		if err != nil {
			s.close()
			if len(cfg.Origins) > 1 {
				err = fmt.Errorf("origin %q: %w", cmp.Or(o.Name, originname.Default), err)
			}
			return nil, err
		}
		s.parts = append(s.parts, p)
	}
	return s, nil
}

// served is what is served: a folder or a web service.
func served(cfg serve.Config) string {
	if cfg.To != "" {
		return cfg.To
	}
	if dir, err := filepath.Abs(cfg.Root); err == nil {
		return dir
	}
	return cfg.Root
}

// serves says what is served under which names.
func (c *Config) serves() (list []string) {
	for _, o := range c.Origins {
		list = append(list, cmp.Or(o.Name, originname.Default)+": "+served(o.Serve))
	}
	return list
}

// newPart joins what an origin serves to its connections. Those of all origins have
// one id: it is its name that tells them apart.
func (s *Server) newPart(o Origin) (p part, err error) {
	log, label, id := s.log, "", s.cfg.ID
	if len(s.cfg.Origins) > 1 {
		label = cmp.Or(o.Name, originname.Default)
		log = log.With("origin", label)
		label += " "
	}
	if len(s.parts) > 0 {
		id = s.parts[0].agent.ID()
	}
	o.Serve.Logger = log
	if p.handler, err = serve.New(o.Serve); err != nil {
		return p, err
	}
	ac := agent.Config{
		Proxies: s.cfg.Proxies, Connections: s.cfg.Connections, Name: o.Name, Spread: s.cfg.Spread, NoFollow: s.cfg.NoFollow,
		Load: s.loaded, Handler: s.visited(o.Name, p.handler), Serves: "serving " + served(o.Serve), Session: spdy.Config{KeepAlive: s.cfg.KeepAlive},
		Drain: s.cfg.Drain, Logger: log, ID: id, Via: s.via, Agent: "c/" + cmp.Or(s.cfg.Version, "unknown"),
	}
	if s.cfg.Trace != nil {
		ac.Trace = func(slot int, f spdy.FrameInfo) { s.cfg.Trace(fmt.Sprintf("spdy %s%d: %v", label, slot, f)) }
	}
	if p.agent, err = agent.New(ac); err != nil {
		p.handler.Close()
	}
	return p, err
}

// openAccess opens the access log, nil without one.
func (s *Server) openAccess() (*accesslog.File, error) {
	if s.cfg.AccessLog == "" {
		return nil, nil
	}
	return accesslog.Open(s.cfg.AccessLog, s.cfg.Stdout, s.log)
}

// visited is h, which answers the visitors of the origin of that name, with what looks
// at them.
func (s *Server) visited(name string, h http.Handler) http.Handler {
	name = strings.ToLower(cmp.Or(name, originname.Default))
	if s.inspector != nil {
		h = s.inspector.Handler(name, h)
	}
	if s.access != nil {
		h = &logged{log: accesslog.New(s.access, s.cfg.AccessFormat), origin: name, next: h}
	}
	return h
}

func (s *Server) close() {
	for _, p := range s.parts {
		p.handler.Close()
	}
	s.access.Close()
	if s.inspectLn != nil {
		s.inspectLn.Close()
	}
}

// load reads what C shows to P, and warns of files with secrets that others may
// read.
func (s *Server) load() error {
	token, err := s.cfg.Tokens.First()
	if err != nil {
		return err
	}
	if s.cfg.Tokens.Value == "" {
		control.WarnReadable(s.log, "token file", s.cfg.Tokens.File)
	}
	control.WarnReadable(s.log, "private key", s.cfg.TLS.KeyFile)
	tls, err := s.cfg.TLS.Load()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity = agent.Identity{Token: token, TLS: tls}
	return nil
}

// loaded returns what load has read.
func (s *Server) loaded() (agent.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity, nil
}

// Run keeps the connections, and serves on them, until ctx ends, or HandOver has
// succeeded. Then it stops in good order within Config.Drain, or at once when now
// ends, and returns when nothing is left running. Its error is what Config.Started
// says.
func (s *Server) Run(ctx, now context.Context) error {
	defer s.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.log.Info("c starts", "version", s.cfg.Version, "serves", s.cfg.serves(), "proxies", s.cfg.Proxies, "connections", s.cfg.Connections)
	var watching, serving sync.WaitGroup
	// Ends with ctx or a hand-over; waited for below.
	watching.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.handedOver:
			cancel()
		}
	})
	if s.inspector != nil {
		// Ends soon after ctx; waited for below.
		watching.Go(func() { s.serveInspector(ctx) })
	}
	var failed error
	if s.cfg.Started != nil {
		// Ends soon after ctx; waited for below.
		watching.Go(func() {
			if failed = s.cfg.Started(ctx); failed != nil {
				cancel()
			}
		})
	}
	for _, p := range s.parts {
		// Ends soon after ctx, at the latest Drain after it; waited for below.
		serving.Go(func() { p.agent.Run(ctx, now) })
	}
	serving.Wait()
	watching.Wait()
	s.log.Info("c has stopped")
	return failed
}

// Connected returns nil when the connections are there, but for those that cannot
// be now, which may be all of an origin.
func (s *Server) Connected(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	results := make(chan error, len(s.parts))
	for _, p := range s.parts {
		// Ends with ctx at the latest; waited for above.
		waiting.Go(func() { results <- p.agent.Connected(ctx) })
	}
	var late <-chan time.Time
	for range s.parts {
		select {
		case err := <-results:
			if err != nil {
				return err
			}
			if late == nil {
				timer := time.NewTimer(othersLate)
				defer timer.Stop()
				late = timer.C
			}
		case <-late:
			return nil
		}
	}
	return nil
}

// HandOver has another process take over: start starts it with what is to be its
// Config.ID and with the ports, by their names, and returns when it has connections in the places of these. Then Run
// ends when all that is open here has, within Config.Drain. After an error C goes
// on as before.
func (s *Server) HandOver(start func(id string, ports map[string]net.Listener) (Successor, error)) error {
	var ports map[string]net.Listener
	if s.inspectLn != nil {
		ports = map[string]net.Listener{InspectPort: s.inspectLn}
	}
	var release []func()
	for _, p := range s.parts {
		release = append(release, p.agent.Hold())
	}
	next, err := start(s.parts[0].agent.ID(), ports)
	if err == nil {
		err = next.GoOn()
	}
	if err != nil {
		for _, f := range release {
			f()
		}
		return err
	}
	close(s.handedOver)
	return nil
}

// Reload reads the token and the certificates again, for the connections to come, those
// to services among them, and opens the access log anew, last: its disk may not answer
// for a while. What cannot be read stays as it was; there is a line about it.
func (s *Server) Reload() {
	s.loadAnew()
	if err := s.access.Reopen(); err != nil {
		s.log.Error("reload failed, what was open before stays in use", "err", err)
	}
}

func (s *Server) loadAnew() {
	var failed []error
	if err := s.load(); err != nil {
		failed = append(failed, err)
	} else {
		for _, p := range s.parts {
			p.agent.Reload() // takes what was loaded
		}
	}
	for _, p := range s.parts {
		if err := p.handler.Reload(); err != nil {
			failed = append(failed, err)
		}
	}
	for _, err := range failed {
		s.log.Error("reload failed, what was read before stays in use", "err", err)
	}
	if len(failed) == 0 {
		s.log.Info("token and certificates were read again")
	}
}
