package policy

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// line is where pieces of an origin's bodies, in one direction, wait until they may
// pass. Who waits has taken nothing yet, and who leaves leaves nothing behind. The
// visitors' addresses take turns, however many requests each has in the line.
type line struct {
	limited atomic.Bool // as mu has it: whoever is not limited need not lock

	mu sync.Mutex
	// Guarded by mu.
	bytes bucket
	turns turns
	timer *time.Timer // runs while somebody waits, until the first one's piece may pass
}

// set changes the rate, also for those who wait.
func (l *line) set(to rate, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes.set(to, now)
	l.limited.Store(l.bytes.limit != nil)
	l.serveLocked()
}

// pass returns how many of n bytes of who's may pass now: as many as there can be at
// once, or 0 when ctx has ended. waits, if not nil, is called before it waits.
func (l *line) pass(ctx context.Context, who netip.Addr, n int, waits func()) int {
	if !l.limited.Load() {
		return n
	}
	if piece := l.try(n); piece > 0 {
		return piece
	}
	if waits != nil {
		waits() // which may take long itself: nobody is to wait for that
	}
	w := l.join(who, n)
	select {
	case <-w.ready:
	case <-ctx.Done():
		if !l.leave(w) {
			return 0
		}
	}
	return w.n
}

// try takes a piece if that need not wait, and nobody does; else it returns 0.
func (l *line) try(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	piece := l.pieceLocked(n)
	if l.turns.first() != nil || l.bytes.early(piece, time.Now()) > 0 {
		return 0
	}
	l.bytes.take(piece)
	return piece
}

// pieceLocked returns how many of n bytes may pass at once.
func (l *line) pieceLocked(n int) int {
	if l.bytes.limit == nil {
		return n
	}
	return min(n, l.bytes.rate.burst)
}

// join waits for a piece of n bytes; w.ready says when it has one.
func (l *line) join(who netip.Addr, n int) (w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w = l.turns.add(who, n)
	l.serveLocked()
	return w
}

// leave takes w out of the line. It reports true if w has its piece already.
func (l *line) leave(w *waiter) (served bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.of == nil {
		return true
	}
	l.turns.remove(w)
	l.serveLocked()
	return false
}

func (l *line) serve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serveLocked()
}

// serveLocked gives those their pieces whose turn it is, as far as there is enough, and
// has the timer come back for the next one.
func (l *line) serveLocked() {
	for w := l.turns.first(); w != nil; w = l.turns.first() {
		piece := l.pieceLocked(w.n)
		if early := l.bytes.early(piece, time.Now()); early > 0 {
			if l.timer == nil {
				l.timer = time.AfterFunc(early, l.serve)
			} else {
				l.timer.Reset(early)
			}
			return
		}
		l.bytes.take(piece)
		w.n = piece
		l.turns.next(w)
		close(w.ready)
	}
	if l.timer != nil {
		l.timer.Stop()
	}
}

// turns are those who wait, in the order in which they go: one of each IPv6 site or IPv4
// address after the other, of a site one of each address after the other, and of an
// address the one that has waited longest. A site with several addresses has as many
// turns running, addrkey.SiteFactor at most.
type turns struct {
	all    group
	groups map[groupKey]*group
}

// waiter waits for a piece.
type waiter struct {
	ready chan struct{} // closed when it has it
	n     int           // bytes that it wants, and then those that it has
	of    *group        // nil: it waits no more
	at    *list.Element // in of.list
}

// group is those who have one turn.
type group struct {
	key  groupKey
	of   *group        // nil: all
	at   *list.Element // in of.list
	list list.List     // of *group, or of *waiter for an address; the first one is the next
	ran  int           // turns since the one of another group
}

type groupKey struct {
	addr netip.Addr
	site bool
}

// first returns whose turn it is, nil if nobody waits.
func (t *turns) first() *waiter {
	for g := &t.all; ; {
		e := g.list.Front()
		if e == nil {
			return nil
		}
		if w, ok := e.Value.(*waiter); ok {
			return w
		}
		g = e.Value.(*group)
	}
}

// add has a request of who's wait for n bytes, as the last one.
func (t *turns) add(who netip.Addr, n int) *waiter {
	site := t.group(&t.all, groupKey{addrkey.Site(who), true})
	w := &waiter{ready: make(chan struct{}), n: n, of: t.group(site, groupKey{addrkey.Addr(who), false})}
	w.at = w.of.list.PushBack(w)
	return w
}

// group returns that of key, a new one as the last in of if there is none.
func (t *turns) group(of *group, key groupKey) *group {
	g := t.groups[key]
	if g == nil {
		if t.groups == nil {
			t.groups = make(map[groupKey]*group)
		}
		g = &group{key: key, of: of}
		g.at = of.list.PushBack(g)
		t.groups[key] = g
	}
	return g
}

// next takes w, which was the first, away, and has the others have their turns.
func (t *turns) next(w *waiter) {
	g := w.of
	t.remove(w)
	for ; g.of != nil; g = g.of {
		if g.ran++; g.key.site && g.ran < min(addrkey.SiteFactor, g.list.Len()) {
			continue
		}
		g.ran = 0
		g.of.list.MoveToBack(g.at) // nothing, if it is empty and gone
	}
}

// remove takes w away, and the groups that are empty then.
func (t *turns) remove(w *waiter) {
	g := w.of
	g.list.Remove(w.at)
	w.of = nil
	for ; g.of != nil && g.list.Len() == 0; g = g.of {
		g.of.list.Remove(g.at)
		delete(t.groups, g.key)
	}
}
