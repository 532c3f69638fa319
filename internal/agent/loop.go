package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/originname"
)

const (
	// leastBeside is how long a connection must have held when P asks for another
	// one, or there is a pause before it.
	leastBeside = time.Second
	// longestBeside is how long P may take new requests on a connection beside
	// which it has another one.
	longestBeside = time.Minute
)

// loop keeps one connection to one P. All of it is owned by run, but for what
// run hands to a session's goroutines.
type loop struct {
	agent    *Agent
	home     string // of Config.Proxies
	number   int    // among parallel connections
	slot     int
	instance string

	addr     string // that is dialled, or was last
	log      *slog.Logger
	first    bool // home was not dialled yet
	attempts int
	double   time.Duration // the last pause after a connection that was not for this loop

	sessions sync.WaitGroup // goroutines of sessions
	backoff  backoff
	said     map[string]string // by address, what was said last
	before   *again            // of the session that P wants another one beside, nil if none
	dialled  bool              // with success, once
}

// again is how P asks for another connection, on a session that stays.
type again struct {
	ask   sync.Once
	asked chan struct{}   // closed when P has asked
	there chan struct{}   // closed when there is another connection
	going <-chan struct{} // closed when the session takes no new request; set before run has the again
}

// over reports whether the session takes no new request. P does not wait for the other
// connection then, and may be gone.
func (a *again) over() bool {
	select {
	case <-a.going:
		return true
	default:
		return false
	}
}

// handler is h for one session, but for what P asks by itself, until stop ends.
func (a *again) handler(stop context.Context, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !control.AsksAgain(r) {
			h.ServeHTTP(w, r)
			return
		}
		a.ask.Do(func() { close(a.asked) })
		select {
		case <-a.there:
			w.WriteHeader(http.StatusNoContent)
		case <-stop.Done():
			w.WriteHeader(http.StatusServiceUnavailable)
		case <-r.Context().Done():
		}
	})
}

func newLoop(a *Agent, home string, slot int) *loop {
	return &loop{
		agent:    a,
		home:     home,
		number:   slot % a.cfg.Connections,
		slot:     slot,
		instance: a.id + "." + strconv.Itoa(slot),
		first:    true,
		said:     make(map[string]string),
	}
}

// dials has l dial an address.
func (l *loop) dials(addr string) {
	if len(l.said) > maxKnown {
		clear(l.said)
	}
	if l.addr != addr {
		l.addr, l.log = addr, l.agent.cfg.Logger.With("proxy", addr, "slot", l.slot)
	}
}

// run dials and serves until ctx ends, and returns when its sessions have
// ended.
func (l *loop) run(ctx, now context.Context) {
	defer l.sessions.Wait()
	for {
		l.agent.waitHeld(ctx)
		if l.before != nil && l.before.over() {
			l.before = nil
		}
		to, others := l.agent.target(l)
		if to.addr == "" {
			if rest(ctx, idlePause, others); ctx.Err() != nil {
				return
			}
			continue
		}
		l.dials(to.addr)
		identity, changed := l.agent.current()
		conn, err := l.dialer(identity).Dial(ctx)
		l.first = false
		server := ""
		if err == nil {
			server = conn.Server
			l.agent.told(control.Peer{ID: server, Addr: to.addr}, conn.Peers)
		}
		mine := err == nil && l.agent.take(l, server)
		l.agent.arrived(to, server)
		if ctx.Err() != nil {
			if conn != nil {
				conn.Close()
			}
			return
		}
		var pause time.Duration
		switch {
		case err != nil:
			pause = l.backoff.failed(err)
			l.failed(err)
		case !mine:
			l.connected()
			pause = l.refuse(now, conn)
		default:
			began := time.Now()
			l.double = 0
			l.connected()
			if l.before != nil {
				close(l.before.there)
				l.before = nil
			}
			l.serve(ctx, now, conn)
			l.agent.leave(l, server)
			if ctx.Err() != nil {
				return
			}
			switch held := time.Since(began); {
			case l.before == nil:
				pause = l.backoff.lost(held)
			case held < leastBeside:
				pause = firstPause
			}
		}
		if rest(ctx, pause, changed); ctx.Err() != nil {
			return
		}
	}
}

// dialer dials l.addr.
func (l *loop) dialer(identity Identity) *control.Dialer {
	cfg := &l.agent.cfg
	return &control.Dialer{
		Addr: l.addr, Name: cfg.Name, Instance: l.instance, Token: identity.Token, Again: true, Agent: cfg.Agent,
		TLS: identity.TLS, DialContext: cfg.DialContext, Via: cfg.Via, Wrap: spdy.Corkable,
	}
}

// rest returns after a pause, when changed is closed, or when ctx ends.
func rest(ctx context.Context, pause time.Duration, changed <-chan struct{}) {
	if pause == 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}

// serve runs a session on conn and returns when it takes no new request: it was
// lost, either side has said goodbye, or ctx ended. What it still serves then
// goes on beside the loop. It also returns, having set before, when P wants
// another connection, and then the session takes requests until P lets it go.
func (l *loop) serve(ctx, now context.Context, conn *control.Conn) {
	addr, log := l.addr, l.log // run goes on to another P beside this session
	beside := &again{asked: make(chan struct{}), there: make(chan struct{})}
	began := time.Now()
	l.said[addr] = "connected"
	name := originname.Name(l.agent.cfg.Name)
	attrs := []any{"origin", name, "server", conn.Server}
	if written := name.Unicode(); written != name.String() {
		attrs = append(attrs, "written", written)
	}
	if conn.Via != "" {
		attrs = append(attrs, "via", conn.Via)
	}
	log.Info("connected", attrs...)
	l.agent.sayReached(l.agent.cfg.Logger.With("proxy", addr), addr, conn)
	s := l.session(conn, beside.handler(ctx, l.agent.others(l.agent.cfg.Handler)))

	// What serve said of the session when it took no new request any more.
	saidGoodbye := make(chan bool, 1)
	// Ends with the session, and ends it after ctx; run waits for it.
	l.sessions.Go(func() {
		l.letGo(ctx, now, s, beside.there)
		select {
		case <-s.Done():
			// serve is about to say the same, if it has not said goodbye before.
			err := s.Err()
			if <-saidGoodbye && !inGoodOrder(err) {
				log.Warn("connection lost that the proxy was ending, open requests were cut off", "held", since(began), "err", err)
			}
			if !inGoodOrder(err) && ctx.Err() == nil {
				l.agent.lines.Log("frames", slog.LevelInfo, "last frames of the lost connection",
					slog.String("proxy", addr), slog.Int("slot", l.slot), slog.Any("frames", s.Frames()))
			}
			return
		case <-ctx.Done():
		}
		open := s.InFlight()
		if open > 0 {
			log.Info("finishing open requests", "open", open, "limit", l.agent.cfg.Drain)
		}
		limit, cancel := context.WithTimeout(now, l.agent.cfg.Drain)
		defer cancel()
		if s.Shutdown(limit) != nil && open > 0 {
			log.Warn("disconnected, open requests were cut off", "held", since(began))
			return
		}
		log.Info("disconnected", "held", since(began))
	})
	select {
	case <-s.GoingAway():
	case <-beside.asked:
		beside.going = s.GoingAway()
		l.before = beside
	}
	held, err := since(began), s.Err()
	saidGoodbye <- l.before != nil || inGoodOrder(err)
	switch {
	case l.before != nil:
		log.Info("the proxy asks for another connection beside this one", "held", held)
	case ctx.Err() != nil:
		// The goroutine above has the last word.
	case inGoodOrder(err):
		log.Info("the proxy ends the connection, connecting anew", "held", held)
	default:
		log.Warn("connection lost", "held", held, "err", err)
	}
}

// session starts a session on conn. Whoever calls it sees to its end, for which run
// waits.
func (l *loop) session(conn *control.Conn, h http.Handler) *spdy.Session {
	cfg := l.agent.cfg.Session
	if trace := l.agent.cfg.Trace; trace != nil {
		cfg.Trace = func(f spdy.FrameInfo) { trace(l.slot, f) }
	}
	// No ErrorLog: the session's Logger is told of a handler's panic.
	s := cfg.NewServerSession(conn, &http.Server{Handler: h})
	// Ends with the session; run waits for it.
	l.sessions.Go(func() {
		s.Serve() // what it returns is what Err says
	})
	return s
}

// refuse lets a connection go that leads to a P to which another loop has one, and
// returns the pause before the next attempt. P may have sent requests on it.
func (l *loop) refuse(now context.Context, conn *control.Conn) time.Duration {
	if l.said[l.addr] != "double" {
		l.said[l.addr] = "double"
		l.log.Info("this leads to a proxy that there is a connection to, looking for another", "server", conn.Server)
	}
	s := l.session(conn, l.agent.cfg.Handler)
	// Ends within Drain, or with now; run waits for it.
	l.sessions.Go(func() {
		limit, cancel := context.WithTimeout(now, l.agent.cfg.Drain)
		defer cancel()
		s.Shutdown(limit)
	})
	l.double = min(max(2*l.double, firstPause), maxDoublePause)
	return random(l.double)
}

// connected notes that l has had a connection, if it is one of those to
// Config.Proxies.
func (l *loop) connected() {
	if !l.dialled {
		l.dialled = true
		l.agent.connected()
	}
}

// letGo says goodbye to a P that has another connection by now and does not let
// this one go. It returns when s or ctx has ended.
func (l *loop) letGo(ctx, now context.Context, s *spdy.Session, there <-chan struct{}) {
	var late <-chan time.Time
	for {
		select {
		case <-s.Done():
			return
		case <-ctx.Done():
			return
		case <-there:
			there = nil
			timer := time.NewTimer(longestBeside)
			defer timer.Stop()
			late = timer.C
		case <-late:
			// Ends with the session, which the caller ends after ctx; run waits for it.
			l.sessions.Go(func() { s.Shutdown(now) })
		}
	}
}

// inGoodOrder reports whether a session ends by a goodbye that names no fault.
func inGoodOrder(err error) bool {
	se, ok := errors.AsType[*spdy.SessionError](err)
	return ok && se.Status == spdy.GoAwayOK && errors.Is(err, spdy.ErrGoingAway)
}

// since is for people: how long ago it was, without the nanoseconds.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// failed says why there is no connection: once, until there is another reason.
func (l *loop) failed(err error) {
	level := slog.LevelDebug
	if kind := reason(err); kind != l.said[l.addr] {
		l.said[l.addr], level = kind, slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "not connected, trying on", "err", err)
}

// reason names the kind of an error that Dial returned. Its text would not do:
// that differs from one attempt to the next by a port number.
func reason(err error) string {
	if e, ok := errors.AsType[*control.RefusedError](err); ok {
		return fmt.Sprintf("refused %d", e.Status)
	}
	if _, ok := errors.AsType[*control.VerifyError](err); ok {
		return "not verified"
	}
	if e, ok := errors.AsType[*control.ViaError](err); ok {
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			return "no way: " + e.Err.Error()
		}
		return "no way"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		if e.Timeout() {
			return "network timeout " + e.Op
		}
		return "network " + e.Op
	}
	return "handshake"
}
