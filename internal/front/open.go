package front

import (
	"slices"
	"time"

	"github.com/amahi/spdy-proxy/internal/accesslog"
)

// What an exchange waits for. Its name is fixed from phaseRouted on.
const (
	phaseBegun uint32 = iota
	phaseRouted
	phaseQueued
	phaseHeld
	phaseSent
	phaseAnswered
)

var phases = [...]string{
	phaseBegun: "begun", phaseRouted: "begun", phaseQueued: "waits for its turn", phaseHeld: "waits for the origin",
	phaseSent: "waits for the response", phaseAnswered: "is answered",
}

// Open returns the requests that have not ended, at most max, those that have been
// there longest. Of a Record it fills in what is known from the start, the Origin, and
// the Duration so far; the other value says what it waits for.
func (h *Handler) Open(max int) (open []Record, phase []string) {
	now := time.Now()
	h.mu.Lock()
	found := make([]*exchange, 0, min(h.exchanges.n, max))
	for e := h.exchanges.first; e != nil && len(found) < max; e = e.next {
		if !e.probe {
			found = append(found, e)
		}
	}
	h.mu.Unlock()
	// What is read here is not written again once an exchange is among the open ones,
	// or, for its name, once it has that phase.
	slices.SortFunc(found, func(a, b *exchange) int { return a.rec.Time.Compare(b.rec.Time) })
	for _, e := range found {
		p := e.phase.Load()
		r := Record{Record: accesslog.Record{
			Time: e.rec.Time, RequestID: e.rec.RequestID, Peer: e.rec.Peer, Client: e.rec.Client, Method: e.rec.Method, Scheme: e.rec.Scheme,
			Host: e.rec.Host, URI: e.rec.URI, Proto: e.rec.Proto, UserAgent: e.rec.UserAgent, Duration: now.Sub(e.rec.Time),
		}}
		if p >= phaseRouted {
			r.Origin = e.rec.Origin
		}
		open, phase = append(open, r), append(phase, phases[p])
	}
	return open, phase
}
