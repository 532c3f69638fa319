package front

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/origin"
)

func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(n >> 16), byte(n >> 8), byte(n)})
}

// take enters as often as it can without waiting, and says why it ended.
func (s *shares) take(who netip.Addr, room int) (n int, w *waiter, err error) {
	for {
		if w, err = s.enter("o", who, room, s.most); w != nil || err != nil {
			return n, w, err
		}
		n++
	}
}

// The contract's numbers: 16384 an origin, and 1/8 of that an address.
func TestOneShare(t *testing.T) {
	s := newShares(defaultMaxRequests)
	n, _, err := s.take(address(1), 1<<31-1)
	if n != 2048 || !errors.Is(err, errShareUsed) {
		t.Errorf("one address got %d places, then %v; want 2048, then %v", n, err, errShareUsed)
	}
	s.leave("o", address(1))
	if n, _, _ := s.take(address(1), 1<<31-1); n != 1 {
		t.Errorf("for one that left it got %d, want 1", n)
	}
	if n, _, err := s.take(netip.Addr{}, 1<<31-1); n != defaultMaxRequests-2048 || !errors.Is(err, errOriginFull) {
		t.Errorf("those without bounds got %d places, then %v; want all others, then %v", n, err, errOriginFull)
	}
	if _, _, err := s.take(address(2), 1<<31-1); !errors.Is(err, errOriginFull) {
		t.Errorf("with no place left: %v, want %v", err, errOriginFull)
	}
}

// Where several addresses take what they can, there is room for one more, and a
// share of it that is worth something.
func TestRoomForAnother(t *testing.T) {
	for _, greedy := range []int{1, 2, 8, 20} {
		s := newShares(defaultMaxRequests)
		total := 0
		for round := 0; round < 3; round++ { // also of what is left
			for i := range greedy {
				n, _, err := s.take(address(i), 1<<31-1)
				if total += n; err == nil {
					t.Fatalf("%d addresses: one waits, though streams are there", greedy)
				}
			}
		}
		n, _, _ := s.take(address(greedy), 1<<31-1)
		if left := defaultMaxRequests - total; n < 100 || n != (left+sharePart-1)/sharePart {
			t.Errorf("%d addresses leave %d places, another got %d, want an eighth", greedy, left, n)
		}
	}
}

// Of what a policy allows an origin one address has half, and where others have much, half
// of what they leave; so has an IPv6 site.
func TestShareOfTable(t *testing.T) {
	local := netip.Addr{}
	ip := netip.MustParseAddr
	type from struct {
		who  netip.Addr
		want int   // places that it gets
		err  error // then
	}
	for _, test := range []struct {
		name  string
		table int
		have  []from
	}{
		{"IPv4", 10, []from{{address(1), 5, errShareUsed}, {address(2), 3, errTableFull}, {address(3), 1, errTableFull}, {address(4), 1, errTableFull}, {address(5), 0, errTableFull}}},
		{"an IPv6 site", 10, []from{
			{ip("2001:db8::"), 5, errShareUsed}, {ip("2001:db8:0:1::"), 0, errShareUsed}, {ip("2001:db8:1::"), 3, errTableFull}, {address(1), 1, errTableFull},
		}},
		{"in nobody's share", 10, []from{{local, 10, errTableFull}, {address(1), 0, errTableFull}}},
		{"three", 3, []from{{address(1), 2, errShareUsed}, {address(2), 1, errTableFull}}},
		{"one", 1, []from{{address(1), 1, errTableFull}}},
		{"more than there are", 1 << 20, []from{{address(1), 100, errShareUsed}, {address(2), 88, errOriginFull}}},
	} {
		s := newShares(800)
		for _, f := range test.have {
			n, err := 0, error(nil)
			for ; err == nil; n++ {
				_, err = s.enter("o", f.who, 1<<20, test.table)
			}
			if n--; n != f.want || err != f.err {
				t.Errorf("%s: %v got %d places, then %v; want %d, then %v", test.name, f.who, n, err, f.want, f.err)
			}
		}
	}
}

// An origin that lets P open few streams: an address has a part of them at once,
// and waits with the rest. Who has least has its turn first.
func TestTurn(t *testing.T) {
	const room = 80
	s := newShares(1000)
	a, b, c := address(1), address(2), address(3)
	n, first, err := s.take(a, room)
	if n != room/sharePart || first == nil || err != nil {
		t.Fatalf("got %d of %d streams, then %v, %v; want an eighth, then to wait", n, room, first, err)
	}
	_, second, _ := s.take(a, room)
	if n, w, _ := s.take(b, room); n < room/sharePart-1 || w == nil {
		t.Fatalf("another got %d of %d streams, then %v", n, room, w)
	}
	gone := func(w *waiter) bool {
		select {
		case <-w.ready:
			return true
		default:
			return false
		}
	}
	if gone(first) || gone(second) {
		t.Fatal("who waits was let go without a place")
	}
	// Somebody who has nothing has room at once.
	if w, err := s.enter("o", c, room, s.most); w != nil || err != nil {
		t.Fatalf("one that has nothing: %v, %v", w, err)
	}
	for range 2 { // the other has taken a part of what this one left
		if gone(first) || !s.leave("o", a) {
			t.Error("nobody is said to wait, or has a place too early")
		}
		s.admit("o", room)
	}
	if !gone(first) || gone(second) || !first.granted {
		t.Errorf("for a stream that ended: the first goes %v, the second %v; want the first alone", gone(first), gone(second))
	}
	if n, _, err := s.take(a, room); n != 0 || err != nil {
		t.Errorf("a newcomer overtook %d times those of its address that wait (%v)", n, err)
	}
	// It has no more than its place in the line.
	if s.giveUp("o", a, second) || !s.giveUp("o", a, first) {
		t.Error("giveUp does not know who has a place")
	}
	// The origin lets more be opened.
	s.admit("o", 8*room)
	if len(s.crowded()) != 0 {
		t.Errorf("%v: some wait, with room for all", s.crowded())
	}
}

// A place that a session has for nobody (MAX_CONCURRENT_STREAMS 0): the first of
// each address waits there.
func TestNoRoom(t *testing.T) {
	s := newShares(1000)
	for i := range 3 {
		if n, w, err := s.take(address(i), 0); n != 1 || w == nil || err != nil {
			t.Errorf("got %d places, then %v, %v; want 1, then to wait", n, w, err)
		}
	}
}

// What waits counts as in flight.
func TestWaitingIsBounded(t *testing.T) {
	s := newShares(80)
	for i := 0; ; i++ {
		if _, err := s.enter("o", address(1), 8, s.most); err != nil {
			if i != 10 || !errors.Is(err, errShareUsed) {
				t.Errorf("after %d requests: %v, want %v after 10", i, err, errShareUsed)
			}
			return
		}
	}
}

func TestStopSharing(t *testing.T) {
	s := newShares(1000)
	_, w, _ := s.take(address(1), 8)
	s.stop()
	<-w.ready
	if s.giveUp("o", address(1), w) {
		t.Error("who was sent away has a place")
	}
	if w, err := s.enter("o", address(1), 8, s.most); w != nil || err != nil {
		t.Errorf("after the stop: %v, %v; want no wait", w, err)
	}
	s.leave("o", address(1))
	s.leave("o", address(1))
	if c := s.crowds["o"]; c.open != 0 || c.served != 0 || len(c.tallies) != 0 {
		t.Errorf("left over: %+v", c)
	}
}

// What an address has open at all origins, and P's own answers, count together.
func TestStanding(t *testing.T) {
	s := newShares(800) // 100 an address
	type from struct {
		addr string
		n    int
		want standing
	}
	for _, test := range []struct {
		name string
		have []from // in order; want is what the last of them is
	}{
		{"few", []from{{"192.0.2.1", 100, within}}},
		{"one too many", []from{{"192.0.2.1", 101, over}}},
		{"who does not read refusals", []from{{"192.0.2.1", 113, farOver}}},
		{"another address", []from{{"192.0.2.1", 113, farOver}, {"192.0.2.2", 1, within}}},
		{"one IPv6 /64", []from{{"2001:db8::1", 100, within}, {"2001:db8::2", 1, over}}},
		{"another IPv6 /64", []from{{"2001:db8::1", 100, within}, {"2001:db8:0:1::1", 1, within}}},
		{"one IPv6 /48", []from{
			{"2001:db8::1", 100, within}, {"2001:db8:0:1::1", 100, within}, {"2001:db8:0:2::1", 100, within},
			{"2001:db8:0:3::1", 100, within}, {"2001:db8:0:4::1", 1, over}, {"2001:db8:1::1", 1, within},
		}},
	} {
		var opened []netip.Addr
		for _, f := range test.have {
			who := addrkey.Addr(netip.MustParseAddr(f.addr))
			var got standing
			for range f.n {
				got = s.begin(who, 1)
				opened = append(opened, who)
			}
			if got != f.want {
				t.Errorf("%s: %d from %s: %v, want %v", test.name, f.n, f.addr, got, f.want)
			}
		}
		for _, who := range opened {
			s.end(who, 1)
		}
		if len(s.open.one)+len(s.open.wide) != 0 {
			t.Errorf("%s: left over: %v", test.name, s.open)
		}
	}
	// Large heads.
	who := address(1)
	for i := range 100 {
		got := s.begin(who, 64<<10)
		if want := (i+1)*64<<10 > 100*headBytes; (got == over) != want {
			t.Fatalf("request %d of 64 KiB: %v", i+1, got)
		}
	}
	if got := s.begin(address(2), 10<<20); got != within {
		t.Errorf("one large head alone: %v", got)
	}
	if got := s.begin(netip.Addr{}, 64<<20); got != within {
		t.Errorf("one without bounds: %v", got)
	}
}

// Whatever comes and goes, nothing is left over, nobody is forgotten, and no
// address but the first of an origin has more than its share.
func TestSharesAddUp(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := newShares(400)
	type held struct {
		name origin.Name
		who  netip.Addr
		w    *waiter
	}
	var open []held
	leave := func(i int) {
		h := open[i]
		open = append(open[:i], open[i+1:]...)
		if h.w != nil && !s.giveUp(h.name, h.who, h.w) {
			return
		}
		if s.leave(h.name, h.who) {
			s.admit(h.name, random.IntN(100))
		}
	}
	for range 20000 {
		if len(open) > 0 && random.IntN(100) < 45 {
			leave(random.IntN(len(open)))
			continue
		}
		h := held{name: origin.Name(fmt.Sprint("o", random.IntN(3)))}
		switch n := random.IntN(12); {
		case n > 9:
			h.who = netip.AddrFrom16([16]byte{0x20, 1, 7: byte(n)})
		case n > 0:
			h.who = address(n)
		}
		var err error
		if h.w, err = s.enter(h.name, h.who, random.IntN(100), 50+random.IntN(400)); err == nil {
			open = append(open, h)
		}
	}
	for name, c := range s.crowds {
		served, waiting := 0, 0
		for _, t := range c.tallies {
			served += t.served
			waiting += len(t.waiters)
		}
		if have := c.open - c.served; have != waiting || served > c.served || c.open > s.most {
			t.Errorf("%s: %d open, %d served, by address %d served and %d waiting", name, c.open, c.served, served, waiting)
		}
	}
	for len(open) > 0 {
		// Who has a place goes first; then everybody who waits has one.
		i := 0
		for ; i < len(open) && open[i].w != nil; i++ {
			select {
			case <-open[i].w.ready:
			default:
				continue
			}
			break
		}
		if i == len(open) {
			t.Fatalf("%d wait and nobody is served", len(open))
		}
		leave(i)
	}
	for name, c := range s.crowds {
		if c.open != 0 || c.served != 0 || len(c.tallies)+len(c.wide) != 0 || len(c.waiting) != 0 {
			t.Errorf("%s: left over: %+v", name, c)
		}
	}
}
