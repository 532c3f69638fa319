// Package agent is C's side of the connection: it dials P, registers, turns the
// connection round, serves a handler on it, and begins again when it is lost,
// for as long as the program runs.
//
// Each address of P and each parallel connection to it has a loop of its own,
// which waits for nobody else. A session that P has said goodbye to finishes
// what it serves beside the loop's next one.
//
// Several Ps may be one, and tell of each other. Then each loop has a P that no other
// one has: after its first connection it dials whichever P is free, of the same site if
// there is one, and there are further loops, so that one P that ends takes no origin
// with it. A loop that is told to go dials another P before the old session ends.
package agent

import (
	"cmp"
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
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/originname"
)

const (
	// maxConnections bounds Config.Connections: a P takes as many of an origin.
	maxConnections = 64

	// defaultMaxStreams is what C announces: P lets more requests wait.
	defaultMaxStreams = 10_000

	// What C takes of a P that it has verified is more than what P takes of its
	// visitors, --max-header-bytes, which may be 1 MiB, and P's own fields.
	defaultMaxHeaderBytes = 1<<20 + 64<<10
	defaultMaxHeaderPairs = 8192

	// othersLate is how long after the first connection the others are waited for.
	othersLate = 5 * time.Second

	// linesAtOnce is how many lines of one message of a session's are logged as
	// they come; a visitor may cause any number.
	linesAtOnce = 3
)

// Identity is what C shows to P, and what it verifies P against.
type Identity struct {
	Token string
	TLS   *tls.Config // as made by control.ClientTLS.Load
}

// Config says where to connect and what to serve. Proxies, Load and Handler are
// needed.
type Config struct {
	Proxies     []string // HOST:PORT of control ports, a connection to each
	Connections int      // parallel connections to each; zero: 1
	Name        string   // of the origin; "" and "@": the default one

	// Spread is how many Ps there are connections to at least, if the one that was
	// reached tells of others that serve the same visitors: the rest are chosen from
	// those. Each of the Connections is to that many. Zero: 2. NoFollow has Proxies
	// alone connected to.
	Spread   int
	NoFollow bool

	// Load reads the identity: once in New, and again at each Reload.
	Load func() (Identity, error)

	// Handler answers the requests. Serves says in a few words with what, for the
	// line that says where visitors reach it.
	Handler http.Handler
	Serves  string

	// Session is for the SPDY sessions. If they are zero, MaxConcurrentStreams is
	// 10 000, MaxHeaderBytes 1 MiB and some, MaxHeaderPairs 8192, FairKey [Visitor],
	// and Logger the Logger below, with one line a minute for each message that
	// comes often.
	Session spdy.Config

	// Trace, if set, is called for each frame of the connection in a slot, under
	// the terms of spdy.Config.Trace, which it replaces.
	Trace func(slot int, f spdy.FrameInfo)

	// ID is the first part of the instances, which name the connections: those of an
	// agent that has the same take the places of this one's. "": a random one.
	ID string

	// Agent is the program and its version, for P's operator; "": not said.
	Agent string

	// Drain is how long open requests may take to finish when Run's ctx ends.
	Drain time.Duration

	// Logger gets one line for each change of state of a connection. Nil: none.
	Logger *slog.Logger

	// DialContext makes the TCP connections. Nil: a net.Dialer's. Via is as in
	// control.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Via         func(addr string) (*url.URL, error)
}

// Agent keeps the connections of a C.
type Agent struct {
	// Fixed when it is made.
	cfg   Config
	lines *loglimit.Logger // what visitors can cause
	id    string           // random, the first part of the instances

	mu       sync.Mutex
	identity Identity          // guarded by mu
	retry    chan struct{}     // guarded by mu; closed, and replaced, to end all pauses
	held     chan struct{}     // guarded by mu; nil, or closed to let loops dial again
	missing  int               // guarded by mu; loops that have not been connected yet
	all      chan struct{}     // closed when there is none
	one      chan struct{}     // closed when a loop has been connected
	reached  map[string]string // guarded by mu; what was said last of each of Proxies
	follow   follower          // guarded by mu
	spawn    func()            // guarded by mu; starts the extra loops
}

// New checks cfg and loads the identity. Its errors are one line each that says
// what would mend it.
func New(cfg Config) (*Agent, error) {
	if len(cfg.Proxies) == 0 {
		return nil, errors.New("no proxy to connect to: give --proxy HOST:PORT")
	}
	for _, addr := range cfg.Proxies {
		host, port, err := net.SplitHostPort(addr)
		number, wrong := net.LookupPort("tcp", port) // of a URL without one, it is what follows the colon
		if err != nil || wrong != nil || host == "" || number == 0 {
			return nil, fmt.Errorf("--proxy %q is not the address of a control port: give HOST:PORT, such as localhost:1444", addr)
		}
	}
	if cfg.Connections == 0 {
		cfg.Connections = 1
	}
	if cfg.Connections < 0 || cfg.Connections > maxConnections {
		return nil, fmt.Errorf("--connections %d: give a number from 1 to %d", cfg.Connections, maxConnections)
	}
	if cfg.Spread < 0 || cfg.Spread > maxSpread {
		return nil, fmt.Errorf("--spread %d: give a number from 1 to %d", cfg.Spread, maxSpread)
	}
	name, err := originname.Parse(cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("--name: %w", err)
	}
	cfg.Name = string(name)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Session.MaxConcurrentStreams == 0 {
		cfg.Session.MaxConcurrentStreams = defaultMaxStreams
	}
	if cfg.Session.MaxHeaderBytes == 0 {
		cfg.Session.MaxHeaderBytes = defaultMaxHeaderBytes
	}
	if cfg.Session.MaxHeaderPairs == 0 {
		cfg.Session.MaxHeaderPairs = defaultMaxHeaderPairs
	}
	if cfg.Session.MaxPeerFrameSize == 0 {
		// A P takes of its Cs what a C takes of its P.
		cfg.Session.MaxPeerFrameSize = uint32(cfg.Session.MaxHeaderBytes)
	}
	if cfg.Session.FairKey == nil {
		cfg.Session.FairKey = Visitor
	}
	a := &Agent{
		cfg: cfg, lines: loglimit.New(cfg.Logger, linesAtOnce), retry: make(chan struct{}), id: cfg.ID,
		missing: len(cfg.Proxies) * cfg.Connections, all: make(chan struct{}), one: make(chan struct{}),
		reached: make(map[string]string), follow: newFollower(),
	}
	if a.cfg.Session.Logger == nil {
		a.cfg.Session.Logger = slog.New(a.lines.Handler())
	}
	if a.id == "" {
		var id [8]byte
		rand.Read(id[:])
		a.id = hex.EncodeToString(id[:])
	}
	a.identity, err = cfg.Load()
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Visitor returns whom a request is for, by X-Forwarded-For: an address, of IPv6
// its /64. The last element is always P's own, its peer. P keeps what stood there
// before only if it trusts that peer, which is a proxy then, and its visitor the
// element before. Whether that is a trusted proxy too, only P knows: their visitors
// count as one here.
func Visitor(r *http.Request) string {
	return addrkey.Forwarded(r.Header["X-Forwarded-For"], func(hop int, _ netip.Addr) bool { return hop == 0 })
}

// Reload reads the identity again, for the connections to come, and ends the
// pauses between attempts: the new one may be what P was waiting for. After an
// error the old one stays.
func (a *Agent) Reload() error {
	identity, err := a.cfg.Load()
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.identity = identity
	close(a.retry)
	a.retry = make(chan struct{})
	return nil
}

// current returns the identity, and what is closed when it changes.
func (a *Agent) current() (Identity, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.identity, a.retry
}

// ID is Config.ID, or the random one that took its place.
func (a *Agent) ID() string { return a.id }

// Connected returns nil when every connection has been there once, or, some time
// after the first, those that can be; ctx's error when that ends before.
func (a *Agent) Connected(ctx context.Context) error {
	var late <-chan time.Time
	one := a.one
	for {
		select {
		case <-a.all:
			return nil
		case <-one:
			one = nil
			timer := time.NewTimer(othersLate)
			defer timer.Stop()
			late = timer.C
		case <-late:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connected notes that a loop is, for the first time.
func (a *Agent) connected() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.missing == len(a.cfg.Proxies)*a.cfg.Connections {
		close(a.one)
	}
	if a.missing--; a.missing == 0 {
		close(a.all)
	}
}

// sayReached logs where visitors reach the origin through a P, when that has told
// something else than the last time, on whichever connection.
func (a *Agent) sayReached(log *slog.Logger, addr string, conn *control.Conn) {
	where := strings.Join(conn.URLs, " and ")
	told := where + "\n" + conn.Warning
	a.mu.Lock()
	was := a.reached[addr]
	a.reached[addr] = told
	a.mu.Unlock()
	if told == cmp.Or(was, "\n") {
		return
	}
	serves := cmp.Or(a.cfg.Serves, "serving")
	if where != "" {
		log.Info(serves + " at " + where)
	}
	switch {
	case conn.Warning == "":
	case where != "":
		log.Warn("not every visitor gets there: " + conn.Warning)
	default:
		log.Warn(serves + ", but no visitor reaches it: " + conn.Warning)
	}
}

// Hold keeps the agent from dialling until release is called: another one, with
// the same ID, takes the places of its connections.
func (a *Agent) Hold() (release func()) {
	held := make(chan struct{})
	a.mu.Lock()
	a.held = held
	a.mu.Unlock()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.held == held {
			close(held)
			a.held = nil
		}
	}
}

// waitHeld returns when the agent may dial, or ctx ends.
func (a *Agent) waitHeld(ctx context.Context) {
	a.mu.Lock()
	held := a.held
	a.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
}

// Run keeps the connections until ctx ends. Then it says goodbye to each P,
// lets open requests finish for at most Drain or until now ends, and returns
// when nothing is left running. It is called once.
func (a *Agent) Run(ctx, now context.Context) {
	var running sync.WaitGroup
	a.mu.Lock()
	a.spawn = func() {
		for _, l := range a.extraLoops() {
			// As below; who calls this is one of the loops, or waited for by one.
			running.Go(func() { l.run(ctx, now) })
		}
	}
	a.mu.Unlock()
	for i, addr := range a.cfg.Proxies {
		for j := range a.cfg.Connections {
			// The slot is one of the whole program: two addresses may lead to one P,
			// where the same instance twice would replace itself for ever.
			l := newLoop(a, addr, i*a.cfg.Connections+j)
			// Ends soon after ctx, at the latest Drain after it; Run waits for it.
			running.Go(func() { l.run(ctx, now) })
		}
	}
	running.Wait()
	a.lines.Close()
}
