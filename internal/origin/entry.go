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
	changed chan struct{} // closed and replaced at each registration
	waiting int           // requests in Acquire
	lost    time.Time     // when serving became empty
	picks   uint64        // calls of pick that returned a session
}

// sessions returns how many there are, serving or leaving.
func (e *entry) sessions() int { return len(e.serving) + len(e.leaving) }

// leave makes m take no more requests.
func (e *entry) leave(m *Member) {
	if m.left {
		return
	}
	m.left = true
	e.serving = slices.DeleteFunc(e.serving, func(o *Member) bool { return o == m })
	e.leaving = append(e.leaving, m)
	if len(e.serving) == 0 {
		e.lost = time.Now()
	}
}

// crowd returns the oldest of the sessions that are finishing, as many as are
// more than limit. A C that registers again and again is bounded by it.
func (e *entry) crowd(limit int) []*Member {
	return slices.Clone(e.leaving[:max(0, len(e.leaving)-limit)])
}

// pick returns the session for the next request, nil if none takes requests. One
// that can open a stream at once comes before one that cannot, then the fewest
// open streams count, then who was picked longest ago. avoid is picked only if
// there is no other.
func (e *entry) pick(avoid Upstream) *Member {
	var best *Member
	var bestKey [3]int
	for _, m := range e.serving {
		if m.goingAway() {
			continue
		}
		var key [3]int
		if m == avoid {
			key[0] = 1
		}
		if len(e.serving) > 1 {
			if m.Available() == 0 {
				key[1] = 1
			}
			key[2] = m.InFlight()
		}
		if best == nil || cmp.Or(slices.Compare(key[:], bestKey[:]), cmp.Compare(m.picked, best.picked)) < 0 {
			best, bestKey = m, key
		}
	}
	if best != nil {
		e.picks++
		best.picked = e.picks
	}
	return best
}
