package origin

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"
)

// Query is what Acquire is asked for.
type Query struct {
	Name Name
	// Hold is how long the request may wait for an origin that was connected a
	// moment ago. Zero or less: not at all.
	Hold time.Duration
	// Cost is what the request holds in bytes while it waits.
	Cost int
	// From is whose request it is. An eighth of Config.MaxWaitingPerOrigin is how
	// many of one address may wait, for all names together. The zero Addr has no
	// such bound.
	From netip.Addr
	// Avoid, if not nil, is picked only if there is no other.
	Avoid *Member
}

// Acquire returns the session of q.Name with the fewest open streams. If there
// is none, but was within Config.Memory, it waits for one; waited says how long
// it did, 0 if it did not have to. It returns as soon as ctx ends, with ctx's
// error; other errors are ErrNotConnected, ErrHoldExpired, ErrHoldFull and
// ErrStopping.
func (t *Table) Acquire(ctx context.Context, q Query) (m *Member, waited time.Duration, err error) {
	t.mu.Lock()
	if t.stopped {
		// Requests that were there before the stop end by themselves; new ones
		// are not begun.
		t.mu.Unlock()
		return nil, 0, ErrStopping
	}
	e := t.entries[q.Name]
	if e == nil {
		t.mu.Unlock()
		return nil, 0, ErrNotConnected
	}
	if m := t.pickLocked(e, q.Avoid); m != nil {
		t.mu.Unlock()
		return m, 0, nil
	}
	if len(e.serving) == 0 && time.Since(e.lost) > t.cfg.Memory {
		t.mu.Unlock()
		return nil, 0, ErrNotConnected
	}
	if q.Hold <= 0 {
		t.mu.Unlock()
		return nil, 0, ErrHoldExpired
	}
	if t.waiting >= t.cfg.MaxWaiting || e.waiting >= t.cfg.MaxWaitingPerOrigin || t.waitingBytes+int64(q.Cost) > t.cfg.MaxWaitingBytes ||
		q.From.IsValid() && t.waitingFrom[q.From] >= max(1, t.cfg.MaxWaitingPerOrigin/8) {
		t.mu.Unlock()
		return nil, 0, ErrHoldFull
	}
	t.waitsLocked(e, q, 1)
	changed := e.changed
	t.mu.Unlock()

	defer func() {
		t.mu.Lock()
		t.waitsLocked(e, q, -1)
		t.mu.Unlock()
	}()
	start := time.Now()
	timer := time.NewTimer(q.Hold)
	defer timer.Stop()
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, time.Since(start), ctx.Err()
		case <-t.stopping:
			return nil, time.Since(start), ErrStopping
		case <-timer.C:
			return nil, time.Since(start), ErrHoldExpired
		}
		t.mu.Lock()
		m := t.pickLocked(e, q.Avoid)
		changed = e.changed
		t.mu.Unlock()
		if m != nil {
			// At least 1 ns: it did wait.
			return m, max(1, time.Since(start)), nil
		}
	}
}

// pickLocked returns nil if no session takes requests. One that can open a
// stream at once comes before one that cannot, then the fewest open streams
// count, then who was picked longest ago.
func (t *Table) pickLocked(e *entry, avoid *Member) *Member {
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
		t.picks++
		best.picked = t.picks
	}
	return best
}
