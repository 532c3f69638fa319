package origin

import (
	"context"
	"net/http"
	"net/netip"
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
	// many of one address (IPv6: one /64) may wait, for all names together, and
	// addrkey.SiteFactor times as many of one IPv6 /48. The zero Addr has no such
	// bound.
	From netip.Addr
	// Avoid, if not nil, is picked only if there is no other.
	Avoid Upstream
	// Local: sessions of other nodes are not picked.
	Local bool
	// Prefer, if not 0, is the ID of the session that is picked before others.
	Prefer uint64
}

// Upstream is a session that a request can be sent on. Acquire's are Members.
type Upstream interface {
	RoundTrip(*http.Request) (*http.Response, error)
	// ID tells sessions apart, as SessionInfo.ID. It is not 0.
	ID() uint64
	// GoingAway is closed when it takes no new request. Leaves says whether that is
	// so because C stops or has another session: not because its stream ids are
	// used up.
	GoingAway() <-chan struct{}
	Leaves() bool
}

// Acquire returns the session of q.Name that fits best: see entry.pick. If there
// is none, but was within Config.Memory or is Expected, it waits for one; waited
// says how long it did, 0 if it did not have to. It returns as soon as ctx ends,
// with ctx's error; other errors are ErrNotConnected, ErrHoldExpired, ErrHoldFull
// and ErrStopping.
func (t *Table) Acquire(ctx context.Context, q Query) (u Upstream, waited time.Duration, err error) {
	t.mu.Lock()
	if t.stopped {
		// Requests that were there before the stop end by themselves; new ones
		// are not begun.
		t.mu.Unlock()
		return nil, 0, ErrStopping
	}
	e := t.entries[q.Name]
	if e != nil {
		if m := e.pick(q); m != nil {
			t.mu.Unlock()
			return m, 0, nil
		}
	}
	hold, expired := q.Hold, ErrHoldExpired
	if !t.knownLocked(e) {
		hold, expired = min(hold, t.expected(q.Name)), ErrNotConnected
	}
	if hold <= 0 {
		t.mu.Unlock()
		return nil, 0, expired
	}
	e = t.entryLocked(q.Name)
	if t.waiting.full(&t.cfg, e, q) {
		t.forgetLocked(e)
		t.mu.Unlock()
		return nil, 0, ErrHoldFull
	}
	t.waiting.count(e, q, 1)
	changed := e.awaitChange()
	t.mu.Unlock()

	defer func() {
		t.mu.Lock()
		t.waiting.count(e, q, -1)
		t.forgetLocked(e)
		t.mu.Unlock()
	}()
	start := time.Now()
	timer := time.NewTimer(hold)
	defer timer.Stop()
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, time.Since(start), ctx.Err()
		case <-t.stopping:
			return nil, time.Since(start), ErrStopping
		case <-timer.C:
			return nil, time.Since(start), expired
		}
		t.mu.Lock()
		m := e.pick(q)
		changed = e.awaitChange()
		t.mu.Unlock()
		if m != nil {
			// At least 1 ns: it did wait.
			return m, max(1, time.Since(start)), nil
		}
	}
}

// forgetLocked takes e out if it was only waited for, and is no more.
func (t *Table) forgetLocked(e *entry) {
	if e.idle() && e.lost.IsZero() {
		delete(t.entries, e.name)
	}
}
