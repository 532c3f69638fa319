package front

import (
	"iter"
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
// there longest, and these first. Of a Record it fills in what is known from the start,
// the Origin, and the Duration so far; the other value says what it waits for.
func (h *Handler) Open(max int) iter.Seq2[*Record, string] {
	return func(yield func(*Record, string) bool) {
		now := time.Now()
		type one struct {
			rec   Record
			phase uint32
		}
		h.mu.Lock()
		n := h.exchanges.n
		h.mu.Unlock()
		found := make([]one, 0, min(n, max)) // megabytes, which others need not wait for
		h.mu.Lock()
		for e := h.exchanges.first; e != nil && len(found) < cap(found); e = e.next {
			if !e.probe {
				rec, phase := e.soFar(now)
				found = append(found, one{rec, phase})
			}
		}
		h.mu.Unlock()
		slices.SortFunc(found, func(a, b one) int { return a.rec.Time.Compare(b.rec.Time) })
		for i := range found {
			if !yield(&found[i].rec, phases[found[i].phase]) {
				return
			}
		}
	}
}

// soFar returns what is known of e, and what it waits for. It is called with Handler.mu
// held, while e is among the open ones: then what it reads is not written, or, for its
// name, once it has that phase.
func (e *exchange) soFar(now time.Time) (r Record, phase uint32) {
	phase = e.phase.Load()
	r.Record = accesslog.Record{
		Time: e.rec.Time, RequestID: e.rec.RequestID, Peer: e.rec.Peer, Client: e.rec.Client, Method: e.rec.Method, Scheme: e.rec.Scheme,
		Host: e.rec.Host, URI: e.rec.URI, Proto: e.rec.Proto, UserAgent: e.rec.UserAgent, Duration: now.Sub(e.rec.Time),
	}
	if phase >= phaseRouted {
		r.Origin = e.rec.Origin
	}
	return r, phase
}
