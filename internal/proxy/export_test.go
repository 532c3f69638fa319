package proxy

import (
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/amahi/spdy-proxy/internal/cluster/registry"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// ListenOn is Listen with listeners of the test's.
func (p *Proxy) ListenOn(control, front, admin, peer net.Listener) {
	p.controlLn, p.adminLn, p.peerLn = newPausable(control), admin, peer
	p.frontPort = front
	p.frontLn = newVisitors("front", front, p.log, p.trusted, visitorStall, p.cfg.Stall)
}

// CloseFront takes the front port's listener away, as no operator can.
func (p *Proxy) CloseFront() { p.frontLn.Close() }

// Disconnect is what the admin port does for the default origin.
func (p *Proxy) Disconnect() int { return source{p}.Disconnect("@") }

// Connected reports whether an origin, "@" for the default one, takes requests.
func (p *Proxy) Connected(name string) bool { return source{p}.Connected(name) }

// Ready is what the admin port says at /readyz.
func (p *Proxy) Ready() bool { return source{p}.Ready() }

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

// Linked returns how many other nodes requests can be sent to, whose tables are known.
func (p *Proxy) Linked() (n int) {
	for _, node := range p.cluster.registry.Nodes() {
		if node.Linked && node.Synced {
			n++
		}
	}
	return n
}

// CertNames returns the hosts that are to have a certificate beside the domains, each with
// the first credential that it has one by.
func (p *Proxy) CertNames() map[string]control.Credential {
	names := make(map[string]control.Credential)
	for _, n := range slices.Backward(p.certNames()) {
		names[n.Host] = n.Credential
	}
	return names
}

// Revoked returns how many tokens this node tells others of.
func (p *Proxy) Revoked() int {
	p.cluster.mu.Lock()
	defer p.cluster.mu.Unlock()
	return len(p.cluster.gone)
}

// HandedOn returns how many requests this node has handed on to others.
func (p *Proxy) HandedOn() (n uint64) {
	for _, link := range p.cluster.links.Nodes() {
		n += link.Requests
	}
	return n
}

// OpenHere returns how many streams are open on the sessions of this node.
func (p *Proxy) OpenHere() (n int) {
	for _, streams := range p.cluster.loads() {
		n += streams
	}
	return n
}

// Sessions returns how many an origin has, here and at other nodes, that take requests.
func (p *Proxy) Sessions(name origin.Name) (n int) {
	for _, o := range p.origins.Snapshot() {
		for _, s := range o.Sessions {
			if o.Name == name && !s.Leaving {
				n++
			}
		}
	}
	return n
}

// Learn has a node know of n sessions of another's, for as many names, as its registry
// would tell.
func (p *Proxy) Learn(node string, n int) {
	for i := range n {
		p.cluster.EntryUp(registry.Entry{
			Node: node, SID: uint64(1_000_000 + i), Name: origin.Name(fmt.Sprint("origin-", i)), Instance: "4f1c9a.0", Max: 1000, Since: p.started,
		})
	}
}

// ToShed is toShed.
func ToShed(own int, others ...int) int { return toShed(own, others) }

// Shed has a node send Cs away as if others had so many sessions, and returns how many.
func (p *Proxy) Shed(others ...int) int { return p.cluster.shed(others) }

// Register has a session for an origin here, of that instance.
func (p *Proxy) Register(name, instance string, s origin.Session) error {
	_, err := p.origins.Register(origin.Registration{Name: origin.Name(name), Instance: instance, Session: s})
	return err
}

// Unlearn takes it back.
func (p *Proxy) Unlearn(node string, n int) {
	for i := range n {
		p.cluster.EntryDown(node, uint64(1_000_000+i))
	}
}
