package proxy

import (
	"container/heap"
	"net/netip"
	"sync"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// places are those of the front port's connections, a bounded number in all and
// for each address that is capped.
//
// Where all are taken, a newcomer gets the place of another: of one that has not
// asked for anything yet, the oldest of the address that has most of them in the
// network that has most; else, chosen in the same way, of one that waits for its
// next request. So connections that cost their owner nothing keep nobody out. Where
// each one has a request in flight, the newcomer has to go.
type places struct {
	// Fixed when it is made.
	max    int
	maxOne int // of one address; an IPv6 site has addrkey.SiteFactor times as many

	mu sync.Mutex
	// Guarded by mu, which is never held across a call of another's.
	taken  int
	addrs  map[netip.Addr]*tally // by addrkey.Addr
	nets   map[netip.Addr]*tally // by addrkey.Net
	silent most                  // the networks with silent connections
	idle   most                  // the networks with idle connections
	turn   uint64
}

// place is a connection's. It is a part of visitor.
type place struct {
	// Fixed before places.enter.
	addr   netip.Addr // the zero Addr if it has none
	capped bool       // its address may have so many

	// Guarded by places.mu.
	state      placeState
	of         *tally   // its address's
	prev, next *visitor // in the queue that it is in
}

// placeState is what a connection that has a place does.
type placeState uint8

const (
	placeless   placeState = iota // it has none, not yet or not any more
	placeSilent                   // no request has come yet: TLS, or a head, is not complete
	placeBusy                     // a request is in flight, or it was hijacked
	placeIdle                     // it waits for the next request
)

// tally is what an address has, or a network.
type tally struct {
	key    netip.Addr
	net    *tally // of an address alone
	all    int    // connections with a place
	capped int    // of those, the ones that are capped

	silent, idle part
}

// part is the connections of an address or a network that are in one state.
type part struct {
	n     int
	since uint64 // the turn in which n became 1
	index int    // in the heap

	conns queue // of an address alone
	addrs most  // of a network alone: its addresses with such connections
}

// part returns what t has of a state, nil if nobody goes because of that.
func (t *tally) part(state placeState) *part {
	switch state {
	case placeSilent:
		return &t.silent
	case placeIdle:
		return &t.idle
	}
	return nil
}

// enter takes a place for c. gone is who goes for it, nil if nobody has to: it
// is c if there is no place for that. It has no place any more, and is the
// caller's to close.
func (p *places) enter(c *visitor) (gone *visitor, why refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addLocked(c)
	crowded := p.aboveLocked(c, fewConns)
	switch {
	case p.aboveLocked(c, p.maxOne):
		gone, why = c, refusedAddress
	case p.taken > p.max:
		gone, why = p.victimLocked(c)
	}
	if gone != nil {
		p.removeLocked(gone)
	}
	c.crowded = crowded
	return gone, why
}

// aboveLocked reports whether c's address has more than n connections, or its
// IPv6 site, which is its network, as many times more as it may.
func (p *places) aboveLocked(c *visitor, n int) bool {
	return c.capped && (c.of.capped > n || c.addr.Is6() && c.of.net.capped > addrkey.SiteFactor*n)
}

// victimLocked returns who goes for the newcomer c, which is the last of those
// that are silent: it comes first only if there is no other.
func (p *places) victimLocked(c *visitor) (*visitor, refusal) {
	if silent := p.silent.oldest(); silent != c {
		return silent, droppedSilent
	}
	if idle := p.idle.oldest(); idle != nil {
		return idle, droppedIdle
	}
	return c, refusedTotal
}

// set notes what c does now. One that has lost its place stays without.
func (p *places) set(c *visitor, state placeState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.state != placeless && c.state != state {
		p.unlinkLocked(c)
		p.linkLocked(c, state)
	}
}

// leave gives c's place back, if it has one.
func (p *places) leave(c *visitor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.state != placeless {
		p.removeLocked(c)
	}
}

func (p *places) addLocked(c *visitor) {
	key := addrkey.Addr(c.addr)
	c.of = p.addrs[key]
	if c.of == nil {
		c.of = &tally{key: key, net: p.nets[addrkey.Net(key)]}
		p.addrs[key] = c.of
		if c.of.net == nil {
			c.of.net = &tally{key: addrkey.Net(key)}
			p.nets[c.of.net.key] = c.of.net
		}
	}
	p.countLocked(c, 1)
	p.linkLocked(c, placeSilent)
}

func (p *places) removeLocked(c *visitor) {
	p.unlinkLocked(c)
	p.countLocked(c, -1)
	if c.of.all == 0 {
		delete(p.addrs, c.of.key)
	}
	if c.of.net.all == 0 {
		delete(p.nets, c.of.net.key)
	}
	c.of = nil
}

func (p *places) countLocked(c *visitor, n int) {
	p.taken += n
	for _, t := range []*tally{c.of, c.of.net} {
		t.all += n
		if c.capped {
			t.capped += n
		}
	}
}

// linkLocked puts c, which is in no queue, into that of its state.
func (p *places) linkLocked(c *visitor, state placeState) {
	c.state = state
	if part := c.of.part(state); part != nil {
		part.conns.add(c)
		p.rankLocked(c.of, state, 1)
	}
}

// unlinkLocked takes c out of the queue of its state.
func (p *places) unlinkLocked(c *visitor) {
	if part := c.of.part(c.state); part != nil {
		part.conns.remove(c)
		p.rankLocked(c.of, c.state, -1)
	}
	c.state = placeless
}

// rankLocked counts n more connections of an address in a state.
func (p *places) rankLocked(t *tally, state placeState, n int) {
	nets := &p.silent
	if state == placeIdle {
		nets = &p.idle
	}
	p.turn++
	t.net.part(state).addrs.count(t.part(state), n, p.turn)
	nets.count(t.net.part(state), n, p.turn)
}

// most is a heap of addresses, or of networks, by what each has of one state: those
// that have most come first, and of those the one that has had some for longest.
type most []*part

// oldest returns the oldest connection of the first address of the first network,
// nil if there is none.
func (m most) oldest() *visitor {
	if len(m) == 0 {
		return nil
	}
	return m[0].addrs[0].conns.first
}

// count notes n more connections of t, which is in the heap while it has any.
func (m *most) count(t *part, n int, turn uint64) {
	had := t.n > 0
	t.n += n
	switch {
	case !had:
		t.since = turn
		heap.Push(m, t)
	case t.n == 0:
		heap.Remove(m, t.index)
	default:
		heap.Fix(m, t.index)
	}
}

func (m most) Len() int { return len(m) }

func (m most) Less(i, j int) bool {
	if m[i].n != m[j].n {
		return m[i].n > m[j].n
	}
	return m[i].since < m[j].since
}

func (m most) Swap(i, j int) {
	m[i], m[j] = m[j], m[i]
	m[i].index, m[j].index = i, j
}

func (m *most) Push(t any) {
	t.(*part).index = len(*m)
	*m = append(*m, t.(*part))
}

func (m *most) Pop() any {
	old := *m
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*m = old[:len(old)-1]
	return t
}

// queue is connections in the order in which they came into it. The zero value is
// empty. A connection is in one queue at most.
type queue struct{ first, last *visitor }

func (q *queue) add(c *visitor) {
	c.prev = q.last
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
}

func (q *queue) remove(c *visitor) {
	if c.prev == nil {
		q.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		q.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}
