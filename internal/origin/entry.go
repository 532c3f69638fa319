package origin

import (
	"cmp"
	"slices"
	"time"
)

// entry is one name. Guarded by Table.mu.
type entry struct {
	name    Name
	serving []*Member     // take requests, oldest first
	leaving []*Member     // finish what they serve, oldest first
	remote  []*Member     // other nodes' sessions that take requests, oldest first
	changed chan struct{} // closed at the next registration; nil if nobody waits for that
	waiting int           // requests in Acquire
	lost    time.Time     // when serving and remote became empty
	picks   uint64        // calls of pick that returned a session
}

// sessions returns how many there are here, serving or leaving.
func (e *entry) sessions() int { return len(e.serving) + len(e.leaving) }

// served reports whether there is a session that takes requests, here or elsewhere.
func (e *entry) served() bool { return len(e.serving)+len(e.remote) > 0 }

// idle reports whether there is nothing but the memory of a name.
func (e *entry) idle() bool { return e.sessions()+len(e.remote)+e.waiting == 0 }

// awaitChange returns what is closed at the next registration.
func (e *entry) awaitChange() <-chan struct{} {
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}

// change tells those that wait for a registration.
func (e *entry) change() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// leave makes m take no more requests.
func (e *entry) leave(m *Member) {
	if m.left {
		return
	}
	m.left = true
	e.serving = slices.DeleteFunc(e.serving, func(o *Member) bool { return o == m })
	e.leaving = append(e.leaving, m)
	if !e.served() {
		e.lost = time.Now()
	}
}

// crowd returns the oldest of the sessions that are finishing, as many as are
// more than limit. A C that registers again and again is bounded by it.
func (e *entry) crowd(limit int) []*Member {
	return slices.Clone(e.leaving[:max(0, len(e.leaving)-limit)])
}

// pick returns the session for q's request, nil if none takes requests. q.Avoid is
// picked only if there is no other; q.Prefer comes before all that are left; sessions
// here before those elsewhere, which cost a hop; one that can open a stream at once
// before one that cannot; then the fewest open streams count, then who was picked
// longest ago.
func (e *entry) pick(q Query) *Member {
	var best *Member
	var bestKey [5]int
	alone := len(e.serving)+len(e.remote) == 1
	consider := func(m *Member) {
		if m.goingAway() {
			return
		}
		var key [5]int
		if !alone {
			key = [5]int{one(m == q.Avoid), one(m.id != q.Prefer), one(m.node != ""), one(m.Available() == 0), m.InFlight()}
		}
		if best == nil || cmp.Or(slices.Compare(key[:], bestKey[:]), cmp.Compare(m.picked, best.picked)) < 0 {
			best, bestKey = m, key
		}
	}
	for _, m := range e.serving {
		consider(m)
	}
	if !q.Local {
		for _, m := range e.remote {
			consider(m)
		}
	}
	if best != nil {
		e.picks++
		best.picked = e.picks
	}
	return best
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
