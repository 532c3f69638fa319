package front

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// allowed are the methods named in a 405. Others pass as well.
const allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// overShare is 429, not 503: what is wrong is on A's side, and those who watch
// the service for failures are not to be alarmed by one visitor.
func (e *exchange) overShare(silent bool) *failure {
	e.rec.OverShare = true
	e.h.lines.Log("over share", slog.LevelWarn, "a visitor has as many requests open as one may have, more are refused", slog.String("client", e.who.String()))
	return &failure{
		status: http.StatusTooManyRequests, reason: reasonLimit, detail: errShareUsed.Error(), retry: time.Second,
		refuse: RefusedShare, bare: true, left: silent,
	}
}

// admit answers what need not go to an origin, and finds the origin of the rest.
func (h *Handler) admit(e *exchange) *failure {
	if f := e.unfit(); f != nil {
		return f
	}
	host, err := parseHost(e.in.Host)
	if err != nil {
		return &failure{status: http.StatusBadRequest, reason: reasonRequest, detail: "the Host header is not valid"}
	}
	if hops(e.in) >= maxHops {
		return &failure{status: http.StatusBadGateway, reason: reasonLoop, detail: "the origin's service leads back to this proxy"}
	}
	name, named := h.Route(host)
	served := named && e.routed(name)
	if f := e.visit(); f != nil {
		return f
	}
	if f := e.authenticate(); f != nil {
		return f
	}
	if n, ok := maxForwards(e.in); ok && n == 0 {
		return lastHop()
	}
	if !named {
		return &failure{status: http.StatusServiceUnavailable, reason: reasonUnavailable, detail: "no origin can have this name", retry: retryAfter}
	}
	e.phase.Store(phaseRouted)
	if !served {
		return unavailable(e.name, origin.ErrNotConnected)
	}
	return h.place(e)
}

// unfit answers what goes to no origin, whatever its host.
func (e *exchange) unfit() *failure {
	e.h.mu.Lock()
	stop := e.h.stopping
	e.h.mu.Unlock()
	switch {
	case stop:
		return stopping()
	case e.probe:
		return lastHop()
	case e.standing != within:
		return e.overShare(e.standing == farOver)
	case e.in.Method == http.MethodConnect || e.in.Method == http.MethodTrace:
		return &failure{
			status: http.StatusMethodNotAllowed, reason: reasonRequest, detail: "this method is not served",
			header: [2]string{"Allow", allowed},
		}
	}
	if f := e.h.tooLarge(e.head); f != nil {
		return f
	}
	return e.badTarget()
}

// routed notes which origin e is for, and its policy. It reports whether the origin is
// there, or may be soon.
func (e *exchange) routed(name origin.Name) (served bool) {
	// The name will be kept: as the table has it, not as a piece of the request.
	own, known := e.h.cfg.Origins.Find(name)
	if known {
		name, served = own, true
	} else if served = e.h.cfg.Origins.Expected(name); served {
		name = origin.Name(strings.Clone(string(name)))
	}
	e.name, e.rec.Origin, e.rec.Known = name, name.String(), known
	if e.h.cfg.Policy != nil {
		e.policy = e.h.cfg.Policy(name, e.rec.Client, served)
	}
	return served
}

// authenticate asks for a name and a password, where somebody has to show them.
func (e *exchange) authenticate() *failure {
	if e.auth = e.asks(); e.auth == nil {
		return nil
	}
	user, f, err := e.auth.check(&e.ctx, e.in, e.rec.Client)
	switch {
	case err != nil:
		return e.failureOf(err)
	case f != nil:
		return f
	}
	e.rec.User = user
	return nil
}

// lastHop is the answer of the last that may answer (RFC 9110, 7.6.2).
func lastHop() *failure {
	return &failure{status: http.StatusOK, detail: "Max-Forwards ends here", header: [2]string{"Allow", allowed}}
}

// place takes one of the places that an origin has, when it is A's turn, if the origin's
// rate is not exceeded.
func (h *Handler) place(e *exchange) *failure {
	turn, err := h.shares.enter(e.name, e.who, h.room(e.name), e.maxRequests())
	switch {
	case errors.Is(err, errShareUsed):
		return e.overShare(false)
	case errors.Is(err, errTableFull):
		return &failure{status: http.StatusServiceUnavailable, reason: reasonLimit, detail: errTableFull.Error(), retry: time.Second, refuse: RefusedInFlight}
	case err != nil:
		return &failure{status: http.StatusServiceUnavailable, reason: reasonLimit, detail: err.Error(), retry: retryAfter, refuse: RefusedInFlight}
	}
	if f := e.enter(); f != nil {
		e.placed = turn == nil || h.shares.giveUp(e.name, e.who, turn)
		return f
	}
	if turn == nil {
		e.placed = true
		return nil
	}
	return h.await(e, turn)
}

// await returns when it is A's turn.
func (h *Handler) await(e *exchange, turn *waiter) *failure {
	e.phase.Store(phaseQueued)
	late := new(responseTimer)
	late.begin(h.cfg.ResponseTimeout, &e.ctx)
	late.start()
	select {
	case <-turn.ready:
	case <-e.ctx.Done():
	}
	late.stop()
	e.rec.Queued = max(time.Since(e.rec.Time), 1)
	e.placed = h.shares.giveUp(e.name, e.who, turn)
	switch {
	case e.ctx.Err() != nil:
		return e.failureOf(e.ctx.Err())
	case !e.placed:
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

// shareKeyOf returns whose share e counts in, the zero Addr if in nobody's: all
// of this machine's users, and all visitors of a proxy, have one address.
func (h *Handler) shareKeyOf(e *exchange) netip.Addr {
	addr := e.rec.Client
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
