package proxy

import (
	"log/slog"
	"net"
)

// ListenOn is Listen with listeners of the test's.
func (p *Proxy) ListenOn(control, front, admin net.Listener) {
	p.controlLn, p.adminLn = newPausable(control), admin
	p.frontPort = front
	p.frontLn = newVisitors("front", front, p.log, p.trusted, visitorStall, p.cfg.Stall)
}

// CloseFront takes the front port's listener away, as no operator can.
func (p *Proxy) CloseFront() { p.frontLn.Close() }

// Connected reports whether an origin, "@" for the default one, takes requests.
func (p *Proxy) Connected(name string) bool { return source{p}.Connected(name) }

// StartSessionsAt gives the first stream of each session with a C this id.
// Called before the first C connects.
func (p *Proxy) StartSessionsAt(id uint32) { p.session.FirstStreamID = id }

// ServerLog is serverLog, for tests.
func ServerLog(h slog.Handler) slog.Handler { return serverLog{h} }

// LimitVisitors sets how many places the front port has.
func (p *Proxy) LimitVisitors(n int) {
	places := &p.frontLn.places
	places.mu.Lock()
	defer places.mu.Unlock()
	places.max = n
}

// IdleVisitors returns how many connections wait for their next request.
func (p *Proxy) IdleVisitors() (n int) {
	places := &p.frontLn.places
	places.mu.Lock()
	defer places.mu.Unlock()
	for _, network := range places.idle {
		n += network.n
	}
	return n
}
