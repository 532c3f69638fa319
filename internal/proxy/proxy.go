// Package proxy is P, assembled: it reads what it was told, listens, joins the
// parts, and stops them in order.
//
// Visitors come in by the front port, where package front makes a SPDY stream
// of each request; Cs by the control port, where package control lets them in
// and package origin keeps their sessions; the operator by the admin port.
//
// Stopping has an order: not ready, the front port takes nothing more, what comes
// for a moment by connections that it has taken is served, requests end, GOAWAY to
// the origins, and the admin port last, so that the end can be watched. It has a
// limit too, and a second request to stop ends everything at once.
package proxy

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/admin"
	"github.com/amahi/spdy-proxy/internal/certs"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/http1"
	"github.com/amahi/spdy-proxy/internal/inspect"
	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/policy"
)

// adminGrace is how long the admin port may finish its last answers.
const adminGrace = time.Second

// Proxy is P. Make one with New, then call Listen, then Run, each once.
type Proxy struct {
	// Fixed by New.
	cfg       Config
	session   spdy.Config // of the sessions with Cs
	log       *slog.Logger
	started   time.Time
	probe     string // see asksItself
	trusted   []netip.Prefix
	balancers []netip.Prefix // they send PROXY headers
	outside   public         // zero without --public-url
	auth      *control.Auth
	checks    front.Checks    // of passwords
	users     *front.Htpasswd // nil without --htpasswd
	policy    *policy.Policies
	access    *accesslog.File // nil without --access-log
	certs     *certs.Source
	origins   *origin.Table
	handler   *front.Handler
	control   *control.Server
	front     *http1.Server
	http      *http1.Server // nil without --http; made by Listen
	admin     *http.Server  // nil without --admin
	adminAt   *admin.Port   // what it serves
	board     *inspect.Board
	metrics   *admin.Metrics
	flight    *admin.Flight      // nil without --pprof; closed by Run
	events    func(origin.Event) // writes them to the log
	endEvents func()             // after the last of them
	unheard   *loglimit.Logger   // of origins that no visitor can reach
	unheardOf *loglimit.Logger   // of those of one token
	cluster   *cluster           // nil without Config.Cluster

	tls   atomic.Pointer[tls.Config] // the control port's configuration of now
	ready atomic.Bool                // listening and not stopping

	// handedOver gets what HandOver has done, once: the sessions whose Cs have
	// connected to the other process, too.
	handedOver chan map[*origin.Member]bool
	leaving    atomic.Bool // another process has the ports

	// Fixed by Listen.
	frontLn   *visitors
	frontPort net.Listener // below frontLn: the socket
	controlLn *pausable
	adminLn   net.Listener
	httpLn    *visitors    // nil without --http
	peerLn    net.Listener // nil without Config.Cluster

	sessions sync.WaitGroup // one for each session's Serve, and for what a session begins

	settling  sync.Mutex     // one settleInvitations at a time
	settles   sync.WaitGroup // those that a C's arrival has begun
	reloading sync.Mutex     // one Reload at a time
	reloads   reloads
	tokens    tokenFile
}

// New reads every file that cfg names and joins the parts. Its error is a
// *ConfigError, one line that says what would mend it.
func New(cfg Config) (*Proxy, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg: cfg, log: cfg.Logger, started: time.Now(), probe: rand.Text(), unheard: loglimit.New(cfg.Logger, 1), unheardOf: loglimit.New(cfg.Logger, origin.CredentialBurst),
		handedOver: make(chan map[*origin.Member]bool, 1),
	}
	p.events, p.endEvents = origin.LogEvents(cfg.Logger)
	if p.trusted, err = prefixes("trusted-proxy", cfg.TrustedProxies); err != nil {
		return nil, err
	}
	if p.balancers, err = prefixes("proxy-protocol", cfg.ProxyProtocol); err != nil {
		return nil, err
	}
	domains, err := originname.ParseDomains(cfg.Domains)
	if err != nil {
		return nil, configErrorf("--domain %w", err)
	}
	if err = p.newCerts(domains); err == nil {
		err = p.loadTLS()
	}
	if err != nil {
		return nil, &ConfigError{err}
	}
	if err := p.newAuth(domains); err != nil {
		return nil, &ConfigError{err}
	}
	p.checks = front.NewChecks()
	if cfg.Htpasswd != "" {
		if p.users, err = front.LoadHtpasswdWith(cfg.Htpasswd, p.checks); err != nil {
			return nil, &ConfigError{err}
		}
	}
	p.outside, _ = parsePublic(cfg.PublicURL) // withDefaults has taken it
	p.policy = policy.New(p.checks, domains)
	if err := p.readPolicies(); err != nil {
		return nil, &ConfigError{err}
	}
	p.warnReadable()
	// No Logger: the table's event says why a session ended, and P runs no handler
	// on it. Heads have the limits of --max-header-bytes in the front; here they
	// are what a P and a C take of each other at most.
	p.session = spdy.Config{
		KeepAlive: cfg.KeepAlive, MaxHeaderBytes: maxHeaderBytes + 64<<10, MaxHeaderPairs: 8192,
		MaxPeerFrameSize: maxHeaderBytes + 64<<10, FairKey: p.visitorKey,
	}
	p.origins = origin.NewTable(origin.Config{
		Drain: max(cfg.Drain, 1), OnEvent: p.originEvent,
		Expect: func(n origin.Name) bool { return p.auth.Served(string(n)) }, ExpectFor: cfg.Hold,
	})
	p.certs.TakeStored()
	if p.cluster, err = p.newCluster(); err != nil {
		return nil, err
	}
	if err := p.newFront(); err != nil {
		return nil, err
	}
	p.newControl()
	p.newBoard()
	p.metrics = admin.NewMetrics(source{p}, p.board, cfg.Version)
	if cfg.Admin != "" {
		if err := p.newAdmin(); err != nil {
			return nil, &ConfigError{err}
		}
	}
	return p, nil
}

// newAuth reads the tokens.
func (p *Proxy) newAuth(domains originname.Domains) error {
	if p.cfg.NoAuth {
		p.auth = control.NoAuth()
	} else {
		p.tokens.init()
		tokens, err := p.readTokens()
		if err != nil {
			return err
		}
		p.auth = control.NewAuth(tokens)
		if p.cfg.Tokens.Value == "" {
			p.auth.Refused = p.addTokens
		}
	}
	p.auth.Domains = domains
	return nil
}

// newControl makes what lets Cs in.
func (p *Proxy) newControl() {
	var id [4]byte
	rand.Read(id[:])
	p.control = &control.Server{
		TLS: p.tls.Load, Auth: p.auth, ID: hex.EncodeToString(id[:]), Logger: p.log,
		Handle: p.register, Wrap: spdy.Corkable,
		Reach: func(name, host string) ([]string, string) {
			r := p.reach(origin.Name(name), host)
			return r.urls, r.warning
		},
		Serving:   func(name string) int { return p.origins.Serving(origin.Name(name)) },
		OnRefused: p.refused,
	}
	if p.cluster != nil {
		p.control.ID, p.control.Peers = p.cluster.cfg.ID, p.cluster.peers
	}
}

// newAdmin makes what the operator sees.
func (p *Proxy) newAdmin() (err error) {
	cfg := &p.cfg
	ac := admin.Config{
		Source: source{p}, Board: p.board, Metrics: p.metrics, Version: cfg.Version, Started: p.started, Addr: cfg.Admin, Hosts: cfg.AdminHosts, PProf: cfg.PProf,
	}
	if cfg.PProf {
		p.flight = new(admin.Flight)
		ac.Flight = p.flight
	}
	if cfg.AdminToken != "" {
		if ac.Token, err = admin.LoadToken(cfg.AdminToken); err != nil {
			return err
		}
	}
	if p.cluster != nil {
		ac.Cluster = p.cluster.state
		p.metrics.Cluster(ac.Cluster)
	}
	p.adminAt = admin.Handler(ac)
	p.admin = admin.Server(p.adminAt)
	p.admin.ErrorLog = slog.NewLogLogger(serverLog{p.log.Handler()}, slog.LevelWarn)
	return nil
}

// Listen binds the ports. Its error is one line that says what would mend it;
// nothing is bound then. It is a *ConfigError where the address makes no sense.
func (p *Proxy) Listen() (err error) {
	var bound []net.Listener
	defer func() {
		if err != nil {
			for _, ln := range bound {
				ln.Close()
			}
			p.access.Close()
		}
	}()
	listen := func(what, addr string) net.Listener {
		if err != nil {
			return nil
		}
		var ln net.Listener
		if ln, err = p.inherited(what); ln == nil && err == nil {
			ln, err = bind(what, addr)
		}
		if err == nil {
			bound = append(bound, ln)
		}
		return ln
	}
	controlLn := listen("control", p.cfg.Control)
	frontLn := listen("front", p.cfg.Front)
	if p.cfg.Admin != "" {
		p.adminLn = listen("admin", p.cfg.Admin)
	}
	var httpLn net.Listener
	if p.cfg.HTTP != "" {
		httpLn = listen("http", p.cfg.HTTP)
	}
	if p.cluster != nil {
		p.peerLn = listen("peer", p.cluster.cfg.Peer)
	}
	if err != nil {
		return err
	}
	p.controlLn = newPausable(controlLn)
	// localhost is what /etc/hosts makes of it.
	if tcp, ok := p.controlLn.Addr().(*net.TCPAddr); p.cfg.NoAuth && (!ok || !tcp.IP.IsLoopback()) {
		return configErrorf("--no-auth: --control %s became %v, which is not a loopback address: give 127.0.0.1 or [::1]", p.cfg.Control, p.controlLn.Addr())
	}
	p.frontPort = frontLn
	if len(p.balancers) > 0 {
		frontLn = newBalanced(frontLn, p.balancers, p.log)
	}
	p.frontLn = newVisitors("front", frontLn, p.log, p.trusted, visitorStall, p.cfg.Stall)
	if httpLn != nil {
		p.httpLn = newVisitors("http", httpLn, p.log, p.trusted, httpStall, httpStall)
		p.httpLn.places.max = min(maxHTTPVisitors, p.frontLn.places.max/8)
		p.newHTTP()
	}
	return nil
}

// FrontAddr, ControlAddr and AdminAddr return the addresses bound by Listen;
// AdminAddr is nil if there is no admin port.
func (p *Proxy) FrontAddr() net.Addr { return p.frontLn.Addr() }

// ControlAddr: see FrontAddr.
func (p *Proxy) ControlAddr() net.Addr { return p.controlLn.Addr() }

// AdminAddr: see FrontAddr.
func (p *Proxy) AdminAddr() net.Addr {
	if p.adminLn == nil {
		return nil
	}
	return p.adminLn.Addr()
}

// HTTPAddr returns the address of the port without TLS, nil if there is none.
func (p *Proxy) HTTPAddr() net.Addr {
	if p.httpLn == nil {
		return nil
	}
	return p.httpLn.Addr()
}

// Run serves until ctx ends, or HandOver has succeeded, then stops in good order
// within Config.Drain, or at once when now ends, and returns nil when nothing is
// left running. An error means that a port failed, or what Config.Started says;
// everything is stopped then too.
func (p *Proxy) Run(ctx, now context.Context) error {
	defer p.access.Close()
	if p.flight != nil {
		defer p.flight.Close()
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	serve := func(what string, f func() error) {
		// Ends when stop has closed the port; waited for below.
		running.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && !p.leaving.Load() {
				fail(fmt.Errorf("the %s port failed: %w", what, err))
			}
		})
	}
	over := make(chan struct{})
	var sampling sync.WaitGroup
	defer sampling.Wait()
	defer close(over)
	if p.admin != nil {
		// Ends with Run, which waits for it.
		sampling.Go(func() { p.board.Run(over) })
	}
	if c := p.cluster; c != nil {
		serve("peer", func() error { return c.links.Serve(p.peerLn) })
		// Ends with close, after stop; waited for below.
		running.Go(func() {
			if err := c.run(); err != nil {
				fail(err)
			}
		})
	}
	serve("control", func() error { return p.control.Serve(p.controlLn) })
	if err := p.cfg.Started(ctx); err != nil {
		p.stop(now, 0)
		p.closeListeners()
		running.Wait()
		return err
	}
	p.open(serve)

	drain := p.cfg.Drain
	select {
	case <-ctx.Done():
	case both := <-p.handedOver:
		begun := time.Now()
		p.linger(ctx, both)
		drain -= time.Since(begun)
	}
	var failed error
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		failed = cause
	}
	if p.cluster != nil && failed == nil {
		// Visitors go to the other nodes as their connections end.
		p.ready.Store(false)
		p.leaving.Store(true)
		p.handler.Leave()
		begun := time.Now()
		p.cluster.drain(now, drain/2)
		drain -= time.Since(begun)
	}
	p.stop(now, drain)
	running.Wait()
	p.log.Info("p has stopped")
	return failed
}

// open takes visitors and the operator in; serve runs a port's server.
func (p *Proxy) open(serve func(what string, f func() error)) {
	// The process before may have taken its time.
	p.origins.Open()
	p.startCerts()
	if p.cfg.TLS {
		serve("front", func() error { return p.front.ServeTLS(p.frontLn) })
	} else {
		serve("front", func() error { return p.front.Serve(p.frontLn) })
	}
	attrs := []any{"version", p.cfg.Version, "front", p.FrontAddr().String(), "tls", p.cfg.TLS, "control", p.ControlAddr().String()}
	if p.http != nil {
		serve("http", func() error { return p.http.Serve(p.httpLn) })
		attrs = append(attrs, "http", p.httpLn.Addr().String())
	}
	if p.admin != nil {
		serve("admin", func() error { return p.admin.Serve(p.adminLn) })
		attrs = append(attrs, "admin", p.AdminAddr().String())
	}
	p.warnLacking()
	p.ready.Store(true)
	p.log.Info("p listens", attrs...)
	if p.cfg.NoAuth {
		p.log.Warn("any program on this machine can be an origin: --no-auth is given")
	}
	if p.admin != nil {
		p.cfg.warnAdmin(p.AdminAddr().String())
	}
}

// closeListeners closes the ports that open would serve.
func (p *Proxy) closeListeners() {
	p.frontLn.Close()
	if p.httpLn != nil {
		p.httpLn.Close()
	}
	if p.adminLn != nil {
		p.adminLn.Close()
	}
}

// stop ends everything in order, within drain and until now ends.
func (p *Proxy) stop(now context.Context, drain time.Duration) {
	p.ready.Store(false)
	p.certs.Stop()
	limit, cancel := context.WithTimeout(now, drain)
	defer cancel()
	began := time.Now()
	// No new connection of either kind. Who comes to a port that others have, too, is
	// not taken, and waits for them; at the control port anybody else gets 503.
	if p.cfg.Kept("control") {
		p.controlLn.pause()
	}
	p.control.Stop()
	// It is said when it is so: who reads it may start the next one, or another C.
	if n := p.handler.InFlight(); n > 0 {
		p.log.Info("p is stopping, open requests finish", "open", n, "limit", drain.Round(time.Millisecond))
	} else {
		p.log.Info("p is stopping")
	}
	p.handler.Leave()
	var closing sync.WaitGroup
	// Those who ask before they hear of the end are served.
	told, heard := context.WithTimeout(limit, goAwayTime)
	defer heard()
	// Ends within limit; waited for below.
	closing.Go(func() { p.front.Shutdown(limit); heard() })
	if p.http != nil {
		// Nothing takes long there. Ends within goAwayTime; waited for below.
		closing.Go(func() {
			soon, cancel := context.WithTimeout(limit, goAwayTime)
			defer cancel()
			p.http.Shutdown(soon)
			p.http.Close()
		})
	}
	if p.leaving.Load() {
		// What the CA is asked for already. Ends within limit; waited for below.
		closing.Go(func() { p.certs.Finish(limit) })
	}
	<-told.Done()
	p.frontLn.dropSilent()
	p.endRequests(limit, began, &closing)

	if p.cluster != nil {
		// What other nodes have open here ends before the sessions with Cs do.
		p.cluster.links.Shutdown(limit)
	}
	p.origins.Shutdown(limit)
	p.unheard.Close()
	p.unheardOf.Close()
	p.endEvents()
	// After this nobody registers any more: sessions only go.
	p.control.Close()
	p.sessions.Wait()
	p.waitForSettles()
	if p.cluster != nil {
		p.cluster.close()
	}
	if p.admin != nil {
		grace, cancel := context.WithTimeout(now, adminGrace)
		defer cancel()
		p.admin.Shutdown(grace)
		p.admin.Close()
	}
	p.certs.Close()
}

// endRequests returns when no visitor has one open, or limit is over, and what closing
// waits for has ended. The stop began when began says.
func (p *Proxy) endRequests(limit context.Context, began time.Time, closing *sync.WaitGroup) {
	// Who has waited for an origin until now, or its turn, gets 503.
	p.origins.Stop()
	p.handler.Stop()
	last, over := context.WithCancel(context.Background())
	defer over()
	defer context.AfterFunc(limit, func() { time.AfterFunc(front.LastAnswer, over) })()
	if err := p.handler.Shutdown(limit); err != nil {
		// After a second signal it is less than --drain.
		p.log.Warn("open requests were cut off", "after", time.Since(began).Round(time.Millisecond))
		closing.Wait()
		// A visitor that has its last answer closes the connection. To close it before,
		// while something comes by it that nobody reads, would take the answer back.
		p.front.Shutdown(last)
	}
	closing.Wait()
	p.front.Close()
	p.frontLn.unwatch()
	if p.httpLn != nil {
		p.httpLn.unwatch()
	}
}

// register turns the connection of a C round: P is SPDY's client on it. Requests
// that come before serve is called wait in the session.
func (p *Proxy) register(reg *control.Registration) (serve func(), err error) {
	cfg := p.session
	if p.cfg.Trace != nil {
		label := reg.Instance
		if label == "" {
			label = reg.RemoteAddr.String()
		}
		cfg.Trace = p.tracer(origin.Name(reg.Name).String() + " " + label)
	}
	name, front := origin.Name(reg.Name), byFront(reg.Conn)
	s := cfg.NewClientSession(reg.Conn)
	if _, err := p.origins.Register(origin.Registration{
		Name: origin.Name(reg.Name), Instance: reg.Instance, Credential: reg.Credential,
		RemoteAddr: reg.RemoteAddr.String(), Agent: reg.Agent, DialsAgain: reg.DialsAgain, ByFront: front != nil, Session: s,
	}); err != nil {
		return nil, err
	}
	if front != nil {
		front.release()
	}
	p.joined(reg.Credential)
	if reg.Warning != "" {
		msg, state := "an origin that no visitor reaches is connected", inspect.Unreachable
		if len(reg.URLs) > 0 {
			msg, state = "an origin that not every visitor reaches is connected", inspect.Connected
		}
		p.unheard.LogTo(p.unheardOf.HandlerOf(reg.Credential), name.String(), slog.LevelWarn, msg,
			slog.String("origin", name.String()), slog.String("state", state), slog.String("reason", reg.Warning))
	}
	return func() {
		// Ends with the session, which the table ends at the latest in stop; stop
		// waits for it.
		p.sessions.Go(func() { s.Serve() })
		// A reload may have come between the token's check and here.
		if !p.auth.Valid(reg.Credential, reg.Name) {
			p.endRevoked()
		}
	}, nil
}

// tracer returns a Trace for the session that label names.
func (p *Proxy) tracer(label string) func(spdy.FrameInfo) {
	return func(f spdy.FrameInfo) { p.cfg.Trace("spdy " + label + ": " + f.String()) }
}

// originEvent is told of each change of a session.
func (p *Proxy) originEvent(e origin.Event) {
	p.events(e)
	p.certs.Changed()
	if p.cluster != nil {
		p.cluster.originEvent(e)
	}
	p.noteEvent(e)
}
