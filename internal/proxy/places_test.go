package proxy

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// crowdedPort is a front port in memory with few places.
type crowdedPort struct {
	t    *testing.T
	v    *visitors
	next chan any
}

func newCrowdedPort(t *testing.T, places, onePlaces int) *crowdedPort {
	v, next := newTestVisitors(t, time.Hour)
	v.places.max, v.places.maxOne = places, onePlaces
	return &crowdedPort{t, v, next}
}

// guest is a connection of a crowdedPort.
type guest struct {
	*visitor
	far net.Conn
}

// dial makes a connection, which must be taken.
func (p *crowdedPort) dial(from string) guest {
	p.t.Helper()
	ours, theirs := pipe(from)
	c := p.v.take(ours)
	if c == nil {
		p.t.Fatalf("a newcomer from %s was closed", from)
	}
	p.t.Cleanup(func() { c.Close() })
	if open, _ := p.v.counts(); open > p.v.places.max {
		p.t.Fatalf("%d connections are open, more than there are places", open)
	}
	return guest{c, theirs}
}

// refused makes a connection, which must be closed.
func (p *crowdedPort) refused(why refusal, from string) {
	p.t.Helper()
	_, before := p.v.counts()
	ours, theirs := pipe(from)
	if p.v.take(ours) != nil {
		p.t.Fatalf("a connection from %s was taken", from)
	}
	closedSoon(p.t, theirs)
	if before[why]++; !p.counted(before) {
		p.t.Errorf("a refusal of %s is not counted as %d", from, why)
	}
}

func (p *crowdedPort) counted(want [refusalKinds]uint64) bool {
	_, got := p.v.counts()
	return got == want
}

// asks is what http.Server and the handler tell of a request that begins.
func (g guest) asks() guest {
	noteState(g.visitor, http.StateActive)
	g.Began()
	return g
}

// answered is the same of its end.
func (g guest) answered() guest {
	g.Ended()
	noteState(g.visitor, http.StateIdle)
	return g
}

// closed looks whether the connection is: a write to a pipe whose other end is
// open would wait for a reader, and there is none.
func (g guest) closed() bool {
	g.far.SetWriteDeadline(time.Now().Add(-time.Second))
	_, err := g.far.Write([]byte("x"))
	return errors.Is(err, io.ErrClosedPipe)
}

// Many who say nothing, from many addresses that each keep to their cap, keep
// nobody out.
func TestSilentCrowd(t *testing.T) {
	const each, addrs = 25, 20
	p := newCrowdedPort(t, each*addrs, each)
	var crowd []guest
	for i := range each * addrs {
		crowd = append(crowd, p.dial(fmt.Sprintf("198.51.%d.1", i/each)))
	}
	// Each of the crowd comes again as soon as it was closed.
	again := func() {
		t.Helper()
		closed := 0
		for i, c := range crowd {
			if c.closed() {
				closed++
				crowd[i] = p.dial(fmt.Sprintf("198.51.%d.1", i/each))
			}
		}
		if closed == 0 {
			t.Fatal("none of the crowd made room")
		}
	}
	for i := range 50 {
		// It takes its time for TLS and a head, in which the crowd comes again.
		honest := p.dial(fmt.Sprintf("203.0.113.%d", i))
		again()
		if honest.closed() {
			t.Fatalf("newcomer %d was closed before it could ask", i)
		}
		honest.asks()
		again()
		if honest.answered(); honest.closed() {
			t.Fatalf("newcomer %d was closed in its request", i)
		}
		honest.Close()
	}
	if _, n := p.v.counts(); n[refusedAddress]+n[refusedTotal]+n[droppedIdle] > 0 || n[droppedSilent] < 50 {
		t.Errorf("refused and dropped: %v, want silent ones dropped and nobody else", n)
	}
}

// Who goes for newcomers: first who is silent, then who is idle, nobody who has a
// request in flight. Where each address has one, the longest goes first.
func TestWhoGoes(t *testing.T) {
	p := newCrowdedPort(t, 8, 8)
	busy := p.dial("192.0.2.1").asks()
	idle := p.dial("192.0.2.2").asks().answered()
	idleFirst := p.dial("192.0.2.3").asks().answered()
	idle.asks().answered() // it has moved since
	one, two := p.dial("192.0.2.4"), p.dial("192.0.2.4")
	hijacked := p.dial("192.0.2.5").asks()
	noteState(hijacked.visitor, http.StateHijacked)
	// That TLS is done, of h2 and SPDY, is no request.
	alone := p.dial("192.0.2.6")
	noteState(alone.visitor, http.StateActive)
	noteState(alone.visitor, http.StateIdle)
	second := p.dial("192.0.2.7").asks().answered().asks()

	order := []guest{one, two, alone, idleFirst, idle}
	for i, victim := range order {
		if victim.closed() {
			t.Fatalf("victim %d went too early", i)
		}
		p.dial(fmt.Sprintf("203.0.113.%d", i)).asks()
		if !victim.closed() {
			t.Fatalf("newcomer %d was taken, and victim %d has not gone for it", i, i)
		}
	}
	for range 3 {
		p.refused(refusedTotal, "203.0.113.9")
	}
	for _, g := range []guest{busy, hijacked, second} {
		if g.closed() {
			t.Error("one with a request in flight was closed")
		}
	}
	if !p.counted([refusalKinds]uint64{refusedTotal: 3, droppedSilent: 3, droppedIdle: 2}) {
		_, n := p.v.counts()
		t.Errorf("refused and dropped: %v", n)
	}
	// What is told of one that was closed changes nothing.
	for _, g := range order {
		g.asks().answered()
	}
	p.refused(refusedTotal, "203.0.113.9")
	busy.answered()
	p.dial("203.0.113.9")
	if !busy.closed() {
		t.Error("one that became idle has not gone")
	}
}

// Neighbours are looked at first, then addresses, among those who are silent and
// among those who are idle.
func TestMostGoFirst(t *testing.T) {
	for what, settle := range map[string]func(guest) guest{
		"silent": func(g guest) guest { return g },
		"idle":   func(g guest) guest { return g.asks().answered() },
	} {
		p := newCrowdedPort(t, 8, 8)
		var all []guest
		// Three of one address, two others of its network, three alone.
		for _, from := range []string{
			"2001:db8:1::1", "2001:db8:2:1::1", "2001:db8:2:7::1", "2001:db8:2:7::2", "2001:db8:2:7::3", "2001:db8:2:2::1", "2001:db8:3::1", "2001:db8:4::1",
		} {
			all = append(all, settle(p.dial(from)))
		}
		for n, want := range []int{2, 3, 1, 4, 0, 5, 6, 7} {
			settle(p.dial(fmt.Sprintf("198.51.%d.1", n)))
			for i, g := range all {
				if g.closed() != (i == want) {
					t.Fatalf("%s, newcomer %d: %d is closed: %v, want %d alone", what, n, i, g.closed(), want)
				}
			}
			all[want].far = nopConn{}
		}
	}
}

// nopConn is a connection that was seen closed.
type nopConn struct{ net.Conn }

func (nopConn) SetWriteDeadline(time.Time) error { return nil }
func (nopConn) Write([]byte) (int, error)        { return 0, nil }

// The caps of an address hold where there are places, for who is silent and who is
// not. An IPv6 /48 has a cap of its own.
func TestCapsOfAddresses(t *testing.T) {
	const one = 5
	p := newCrowdedPort(t, 1000, one)
	for range one {
		p.dial("192.0.2.1").asks()
		p.dial("192.0.2.2")
	}
	p.refused(refusedAddress, "192.0.2.1")
	p.refused(refusedAddress, "192.0.2.2")
	p.refused(refusedAddress, "::ffff:192.0.2.2")
	var home []guest
	for i := range addrkey.SiteFactor * one {
		home = append(home, p.dial(fmt.Sprintf("2001:db8:0:%x::1", i/one)))
	}
	p.refused(refusedAddress, "2001:db8::2")      // its /64
	p.refused(refusedAddress, "2001:db8:0:ff::1") // its /48
	p.dial("2001:db8:1::1")
	home[0].Close()
	p.dial("2001:db8:0:ff::1")
	p.refused(refusedAddress, "2001:db8:0:ff::1")
	// IPv4 has no such cap for neighbours, nor have a trusted proxy and this machine.
	for i := range addrkey.SiteFactor * one {
		p.dial(fmt.Sprintf("198.51.100.%d", i))
		p.dial("10.1.1.1")
		p.dial("::1")
	}
}

// A /48 has some connections that may leave what net/http does not count.
func TestCrowdedSite(t *testing.T) {
	p := newCrowdedPort(t, 1000, 1000)
	crowded := 0
	for i := range addrkey.SiteFactor*fewConns + 3 {
		if p.dial(fmt.Sprintf("2001:db8:0:%x::1", i)).Crowded() {
			crowded++
		}
	}
	if crowded != 3 {
		t.Errorf("%d are crowded, want the last 3", crowded)
	}
}

// Whatever comes and goes, the rule is kept, and nothing stays.
func TestPlacesAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := &places{max: 40, maxOne: 3, addrs: map[netip.Addr]*tally{}, nets: map[netip.Addr]*tally{}}
	var in []*visitor // in the order in which they came into their state
	gone := [refusalKinds]int{}
	for i := range 20_000 {
		// By turns there are many newcomers, or many requests.
		newcomers := []int{6, 1, 1}[i/500%3]
		switch n := random.IntN(10); {
		case n < newcomers:
			c := randomVisitor(random)
			before := newRollCall(in, c)
			victim, why := p.enter(c)
			if victim != nil {
				gone[why]++
				before.judge(t, victim, why, len(in) == p.max)
			}
			in = slices.DeleteFunc(append(in, c), func(o *visitor) bool { return o == victim })
		case len(in) == 0:
		case n < 9:
			state := []placeState{placeBusy, placeBusy, placeBusy, placeIdle, placeSilent}[random.IntN([]int{5, 4, 1}[i/500%3])]
			at := random.IntN(len(in))
			c := in[at]
			if c.state != state {
				in = append(slices.Delete(in, at, at+1), c)
			}
			p.set(c, state)
		case random.IntN(4) == 0:
			at := random.IntN(len(in))
			c := in[at]
			p.leave(c)
			p.leave(c)
			p.set(c, placeIdle)
			in = slices.Delete(in, at, at+1)
		}
		if p.taken != len(in) || p.taken > p.max {
			t.Fatalf("%d places are taken by %d", p.taken, len(in))
		}
	}
	for why, n := range gone {
		if n < 20 {
			t.Errorf("only %d went because of %d: %v", n, why, gone)
		}
	}
	for _, c := range in {
		p.leave(c)
	}
	if p.taken != 0 || len(p.addrs)+len(p.nets)+len(p.silent)+len(p.idle) != 0 {
		t.Errorf("left over: %d, %v, %v, %v, %v", p.taken, p.addrs, p.nets, p.silent, p.idle)
	}
}

func randomVisitor(random *rand.Rand) *visitor {
	c := &visitor{}
	c.addr = netip.AddrFrom4([4]byte{198, 51, byte(random.IntN(4)), byte(random.IntN(4))})
	if random.IntN(2) == 0 {
		c.addr = netip.AddrFrom16([16]byte{0x20, 1, 5: byte(random.IntN(2)), 7: byte(random.IntN(6)), 15: byte(random.IntN(9))})
	}
	c.capped = random.IntN(5) > 0
	return c
}

// rollCall is what all did when a newcomer came, it included, as slow and simple
// as can be.
type rollCall struct {
	newcomer *visitor
	states   []placeState
	all      []*visitor
}

func newRollCall(in []*visitor, newcomer *visitor) *rollCall {
	r := &rollCall{newcomer: newcomer, all: append(slices.Clone(in), newcomer)}
	for _, c := range in {
		r.states = append(r.states, c.state)
	}
	r.states = append(r.states, placeSilent)
	return r
}

// with returns those in a state whose address, by a key, is like's.
func (r *rollCall) with(state placeState, key func(netip.Addr) netip.Addr, like *visitor) (with []*visitor) {
	for i, c := range r.all {
		if r.states[i] == state && key(c.addr) == key(like.addr) {
			with = append(with, c)
		}
	}
	return with
}

func (r *rollCall) judge(t *testing.T, victim *visitor, why refusal, full bool) {
	t.Helper()
	all := func(netip.Addr) netip.Addr { return netip.Addr{} }
	silent, idle := r.with(placeSilent, all, victim), r.with(placeIdle, all, victim)
	if why == refusedAddress {
		return // TestCapsOfAddresses
	}
	if !full {
		t.Fatal("one went, and there was room")
	}
	switch why {
	case droppedSilent:
		r.judgeMost(t, victim, placeSilent, silent)
	case droppedIdle:
		if len(silent) > 1 {
			t.Fatal("an idle one went, and there was a silent one beside the newcomer")
		}
		r.judgeMost(t, victim, placeIdle, idle)
	case refusedTotal:
		if len(silent) > 1 || len(idle) > 0 || victim != r.newcomer {
			t.Fatal("a newcomer was refused, and not all are busy")
		}
	}
}

// judgeMost checks that victim is the oldest in its state of the address that has
// most such in the network that has most.
func (r *rollCall) judgeMost(t *testing.T, victim *visitor, state placeState, all []*visitor) {
	t.Helper()
	inNet, ofAddr := r.with(state, addrkey.Net, victim), r.with(state, addrkey.Addr, victim)
	if len(ofAddr) == 0 || ofAddr[0] != victim {
		t.Fatalf("%v went in state %d, which is not the oldest such of its address", victim.addr, state)
	}
	for _, c := range all {
		if n := len(r.with(state, addrkey.Net, c)); n > len(inNet) {
			t.Fatalf("%v went in state %d, whose network has %d such; that of %v has %d", victim.addr, state, len(inNet), c.addr, n)
		}
	}
	for _, c := range inNet {
		if n := len(r.with(state, addrkey.Addr, c)); n > len(ofAddr) {
			t.Fatalf("%v went in state %d, whose address has %d such; that of %v has %d", victim.addr, state, len(ofAddr), c.addr, n)
		}
	}
}

// What a newcomer costs in a full port does not grow with the places.
func BenchmarkNewcomerInCrowd(b *testing.B) {
	for _, n := range []int{1 << 8, maxVisitors} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := &places{max: n, maxOne: n, addrs: map[netip.Addr]*tally{}, nets: map[netip.Addr]*tally{}}
			i := 0
			enter := func() {
				i++
				c := &visitor{}
				c.addr = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
				p.enter(c)
			}
			for range n {
				enter()
			}
			b.ReportAllocs()
			for b.Loop() {
				enter()
			}
		})
	}
}

// What is noted of each request costs no memory.
func TestNotingStatesAllocatesNothing(t *testing.T) {
	p := newCrowdedPort(t, 8, 8)
	g := p.dial("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() { g.asks().answered() }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}

// However many files there may be, a part of them is for visitors, on a system of 32 bits too.
func TestVisitorPlaces(t *testing.T) {
	for files, want := range map[uint64]int{100: 75, 65536: 49152, 1<<30 - 8: maxVisitors, math.MaxInt64: maxVisitors, math.MaxUint64: maxVisitors} {
		if got := visitorPlaces(files); got != min(want, maxVisitors) {
			t.Errorf("%d files: %d places, want %d", files, got, want)
		}
	}
}
