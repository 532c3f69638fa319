package inspect

import (
	"slices"
	"time"
)

// maxRefusals is how many refusals at the control port are remembered.
const maxRefusals = 100

// Refusal is a C, or a stranger, that was not let in at the control port.
type Refusal struct {
	Time   time.Time
	Remote string // its address
	Origin string // "@" for the default one; "" if it named none
	Status int    // of the answer; 0: it was sent none
	Kind   string // one of a dozen words, see RefusalKinds
	Why    string
}

// RefusalKinds are the values of Refusal.Kind.
var RefusalKinds = [...]string{
	"tls", "no_request", "crowded", "method", "token", "throttled", "name", "not_allowed", "too_large", "unavailable", "other",
}

// RequestRefusals are the values of Request.Refused: why requests of visitors were not let
// through to an origin, by what the operator has said or by a limit.
var RequestRefusals = [...]string{"address", "in_flight", "password", "rate", "share", "visitor_rate"}

// refusals counts and remembers. Guarded by Board.mu.
type refusals struct {
	last   []Refusal // the latest last
	counts [len(RefusalKinds)]uint64
}

func (l *refusals) add(r Refusal) {
	i := slices.Index(RefusalKinds[:], r.Kind)
	if i < 0 {
		i = len(RefusalKinds) - 1
	}
	l.counts[i]++
	l.last = appendLast(l.last, r, maxRefusals)
}

// Refused notes a refusal. An origin that is known and has no session that takes requests
// counts as refused from then on. Of one that has, it says nothing: anybody can be refused
// a name, and why its session ends some day is another matter. anew says that it was not
// refused before.
func (b *Board) Refused(r Refusal) (anew bool) {
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	r.Why = clip(r.Why, maxWhy)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusals.add(r)
	if r.Origin == "" {
		return false
	}
	if e := b.find(r.Origin); e != nil {
		b.stale.Store(true)
		if e.refused.IsZero() && !e.serving {
			e.refused = r.Time
			anew = !e.revoked
		}
		e.refusal = &r
	}
	return anew
}

// Refusals returns the last ones, the latest first.
func (b *Board) Refusals() []Refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.refusals.last[max(0, len(b.refusals.last)-maxRefusals):])
	slices.Reverse(list)
	return list
}

// RefusalCounts returns how many there were since the start, by the index in
// RefusalKinds.
func (b *Board) RefusalCounts() [len(RefusalKinds)]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusals.counts
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
