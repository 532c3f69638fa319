package front

import (
	"container/heap"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/origin"
)

const (
	// sharePart: one visitor's address gets one part in so many.
	sharePart = 8

	// tablePart is the same of what a [Policy] says: that may be few, of which one
	// page wants many. An IPv6 site has no more than one address.
	tablePart = 2

	// headBytes is what the heads of the requests in flight may take on
	// average, where one address has its whole share of them.
	headBytes = 8 << 10

	// idleCrowds is how many origins without a request are kept in mind.
	idleCrowds = 64
)

var (
	errOriginFull = errors.New("too many requests to this origin")
	errTableFull  = errors.New("this origin has as many requests in flight as it may")
	errShareUsed  = errors.New("this address has as many requests open as one may have")
)

// shares divides the places for requests among the visitors' addresses. One
// address has a part of them at most, and where others have much, a part of what
// they leave: it takes dozens to leave nothing. That goes for the requests in
// flight, above which requests are refused, and for the streams that an origin
// lets P open, for which they wait.
//
// An address that is not valid has no bounds of its own.
type shares struct {
	// Fixed by New.
	most int // requests in flight at one origin

	mu sync.Mutex
	// Guarded by mu.
	open    loads
	crowds  map[origin.Name]*crowd
	spare   []*tally
	stopped bool
}

func newShares(most int) *shares {
	return &shares{most: most, crowds: make(map[origin.Name]*crowd)}
}

// standing is how many requests an address has open, beside what it may have.
type standing uint8

const (
	within  standing = iota
	over             // the request is to be refused
	farOver          // it is not even to be answered: the visitor does not read answers
)

// begin counts a request of who, whose head has so many bytes, until end.
func (s *shares) begin(who netip.Addr, cost int) standing {
	if !who.IsValid() {
		return within
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one, wide := s.open.add(who, 1, cost)
	return max(s.standing(one, 1), s.standing(wide, addrkey.SiteFactor))
}

func (s *shares) standing(l load, factor int) standing {
	one := max(1, s.most/sharePart) * factor
	switch {
	case l.requests > one+max(1, one/sharePart):
		return farOver
	case l.requests > one, l.requests > 1 && l.bytes > int64(one)*headBytes:
		return over
	}
	return within
}

func (s *shares) end(who netip.Addr, cost int) {
	if !who.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open.add(who, -1, -cost)
}

// crowd is the requests of one origin. Guarded by shares.mu.
type crowd struct {
	open    int // requests in flight
	served  int // of those, the ones that do not wait here
	room    int // streams that the origin has, at the last look
	tallies map[netip.Addr]*tally
	wide    map[netip.Addr]int // requests in flight of each IPv6 site
	waiting queue              // the tallies with waiters
	turn    uint64
}

// tally is what one address has of a crowd. It exists while it has anything.
type tally struct {
	who     netip.Addr
	served  int
	waiters []*waiter // in the order in which they came
	index   int       // in crowd.waiting
}

// waiter is a request that waits for its turn.
type waiter struct {
	ready   chan struct{} // closed when it need not wait any more
	turn    uint64
	granted bool // guarded by shares.mu; false with ready closed: the handler stops
}

// fits reports whether one who has n of what there is, of which used is taken
// by all, may have one more: less than 1/(part-1) of what is left, which makes
// 1/part of it all for one that is alone. Who has nothing may always.
func fits(n, used, all, part int) bool { return n == 0 || n*(part-1) < all-used }

// add counts d requests in flight of who's.
func (c *crowd) add(who netip.Addr, d int) {
	c.open += d
	if !who.Is6() {
		return
	}
	site := addrkey.Site(who)
	if c.wide[site] += d; c.wide[site] == 0 {
		delete(c.wide, site)
	}
}

// ofSite returns how many requests in flight who's site has; n are who's.
func (c *crowd) ofSite(who netip.Addr, n int) int {
	if who.Is6() {
		return c.wide[addrkey.Site(who)]
	}
	return n
}

// refuses returns why who, who has n requests in flight, may not have one more, where
// table is how many the origin may have by its policy.
func (s *shares) refuses(c *crowd, who netip.Addr, n, table int) error {
	switch {
	case c.open >= s.most:
		return errOriginFull
	case c.open >= table:
		return errTableFull
	case !who.IsValid():
		return nil
	case !fits(n, c.open, s.most, sharePart):
		if n >= s.most/sharePart {
			return errShareUsed
		}
		return errOriginFull
	}
	if m := c.ofSite(who, n); table < s.most && !fits(m, c.open, table, tablePart) {
		if m >= table/tablePart {
			return errShareUsed
		}
		return errTableFull
	}
	return nil
}

// enter takes a place at an origin that lets P open room streams in all, and may have
// table requests in flight by its policy. If the request has to wait for its turn, it
// returns a waiter, and the place is taken when that says so. The error is one of
// errOriginFull, errTableFull and errShareUsed.
func (s *shares) enter(name origin.Name, who netip.Addr, room, table int) (*waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.crowds[name]
	if c == nil {
		c = &crowd{tallies: make(map[netip.Addr]*tally), wide: make(map[netip.Addr]int)}
		s.crowds[name] = c
	}
	c.room = room
	t, n := c.tallies[who], 0
	if t != nil {
		n = t.served + len(t.waiters)
	}
	if err := s.refuses(c, who, n, table); err != nil {
		return nil, err
	}
	c.add(who, 1)
	if !who.IsValid() {
		c.served++
		return nil, nil
	}
	if t == nil {
		t = s.newTally(who)
		c.tallies[who] = t
	}
	if len(t.waiters) == 0 && s.hasTurn(c, t) || s.stopped {
		t.served++
		c.served++
		return nil, nil
	}
	c.turn++
	w := &waiter{ready: make(chan struct{}), turn: c.turn}
	t.waiters = append(t.waiters, w)
	if len(t.waiters) == 1 {
		heap.Push(&c.waiting, t)
	}
	return w, nil
}

// hasTurn reports whether t may have one more of c's streams. One it may have
// in any case: the session lets it wait there.
func (s *shares) hasTurn(c *crowd, t *tally) bool {
	return fits(t.served, c.served, min(c.room, s.most), sharePart)
}

// leave gives a place back. It reports whether others wait for one: admit then.
func (s *shares) leave(name origin.Name, who netip.Addr) (waiting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.crowds[name]
	c.add(who, -1)
	c.served--
	if t := c.tallies[who]; t != nil {
		t.served--
		if len(t.waiters) > 0 {
			heap.Fix(&c.waiting, t.index)
		}
		s.dropIfEmpty(c, t)
	}
	if c.open == 0 && len(s.crowds) > idleCrowds {
		delete(s.crowds, name)
	}
	return len(c.waiting) > 0
}

// giveUp takes w out of the line. It reports true if w has its place already:
// that is then to be left as any other.
func (s *shares) giveUp(name origin.Name, who netip.Addr, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.granted || s.stopped {
		return w.granted
	}
	c := s.crowds[name]
	t := c.tallies[who]
	t.waiters = slices.DeleteFunc(t.waiters, func(o *waiter) bool { return o == w })
	c.add(who, -1)
	if len(t.waiters) == 0 {
		heap.Remove(&c.waiting, t.index)
	} else {
		heap.Fix(&c.waiting, t.index)
	}
	s.dropIfEmpty(c, t)
	return false
}

// admit lets those go on whose turn it is, where the origin lets P open room
// streams: first the ones whose address has least.
func (s *shares) admit(name origin.Name, room int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.crowds[name]
	if c == nil {
		return
	}
	c.room = room
	for len(c.waiting) > 0 && s.hasTurn(c, c.waiting[0]) {
		t := c.waiting[0]
		w := t.waiters[0]
		t.waiters[0] = nil
		t.waiters = t.waiters[1:]
		t.served++
		c.served++
		w.granted = true
		close(w.ready)
		if len(t.waiters) == 0 {
			heap.Remove(&c.waiting, t.index)
		} else {
			heap.Fix(&c.waiting, t.index)
		}
	}
}

// crowded returns the origins for which requests wait.
func (s *shares) crowded() (names []origin.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, c := range s.crowds {
		if len(c.waiting) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// stop sends all waiters away, and lets nobody wait from now on.
func (s *shares) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	for _, c := range s.crowds {
		for _, t := range c.waiting {
			for _, w := range t.waiters {
				c.add(t.who, -1)
				close(w.ready)
			}
			t.waiters = nil
			s.dropIfEmpty(c, t)
		}
		c.waiting = nil
	}
}

func (s *shares) newTally(who netip.Addr) *tally {
	if n := len(s.spare); n > 0 {
		t := s.spare[n-1]
		s.spare = s.spare[:n-1]
		t.who = who
		return t
	}
	return &tally{who: who}
}

func (s *shares) dropIfEmpty(c *crowd, t *tally) {
	if t.served > 0 || len(t.waiters) > 0 {
		return
	}
	delete(c.tallies, t.who)
	*t = tally{}
	if len(s.spare) < idleCrowds {
		s.spare = append(s.spare, t)
	}
}

// queue is a heap: the addresses that have least come first, and of those the
// one that has waited longest.
type queue []*tally

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].served != q[j].served {
		return q[i].served < q[j].served
	}
	return q[i].waiters[0].turn < q[j].waiters[0].turn
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(t any) {
	t.(*tally).index = len(*q)
	*q = append(*q, t.(*tally))
}

func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return t
}
