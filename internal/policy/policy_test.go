package policy

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// client is a visitor's address.
var client = netip.MustParseAddr("192.0.2.1")

func originName(s string) origin.Name { return origin.Name(s) }

// with returns policies with one table, for all origins.
func with(t *testing.T, table Table) *Policies {
	t.Helper()
	p := New(front.NewChecks(), nil)
	set1(t, p, table)
	return p
}

func set1(t *testing.T, p *Policies, table Table) {
	t.Helper()
	table.Name = "*"
	if err := p.Set([]Table{table}); err != nil {
		t.Fatal(err)
	}
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// visits counts how many of n requests of ip's may go on, at a moment.
func visits(p *Policies, name, ip string, at time.Duration, n int) (passed int) {
	for range n {
		if p.For(origin.Name(name), netip.MustParseAddr(ip), true).Visit(start.Add(at)) == 0 {
			passed++
		}
	}
	return passed
}

// Each visitor has a rate of its own, at each origin.
func TestVisitorRate(t *testing.T) {
	p := with(t, Table{VisitorRequestsPerSecond: 2, VisitorBurst: 5})
	for _, c := range []struct {
		origin, ip string
		at         time.Duration
		n, want    int
	}{
		{"a", "192.0.2.1", 0, 9, 5},
		{"a", "::ffff:192.0.2.1", 0, 9, 0},
		{"a", "192.0.2.2", 0, 9, 5},
		{"b", "192.0.2.1", 0, 9, 5},
		{"a", "192.0.2.1", time.Second, 9, 2},
		{"a", "192.0.2.1", time.Hour, 9, 5},
		{"a", "127.0.0.1", 0, 9, 5}, // as any other: the operator has asked for it
	} {
		if got := visits(p, c.origin, c.ip, c.at, c.n); got != c.want {
			t.Errorf("%s at %s after %v: %d passed, want %d", c.ip, c.origin, c.at, got, c.want)
		}
	}
	if early := p.For("a", netip.MustParseAddr("192.0.2.1"), true).Visit(start.Add(time.Hour)); early != time.Second/2 {
		t.Errorf("too early by %v, want 500ms", early)
	}
	// What cannot be an origin's keeps nothing.
	if p.For("c", netip.MustParseAddr("192.0.2.1"), false).Visit(start) != 0 || p.origins["c"] != nil {
		t.Error("something is counted of an origin that is not known")
	}
}

// An IPv6 visitor has a /64, and a site of many such no more than some of them.
func TestVisitorRateIPv6(t *testing.T) {
	p := with(t, Table{VisitorRequestsPerSecond: 1, VisitorBurst: 5})
	if got := visits(p, "a", "2001:db8:1:1::1", 0, 9) + visits(p, "a", "2001:db8:1:1::2", 0, 9); got != 5 {
		t.Errorf("%d of one /64 passed, want 5", got)
	}
	got := 0
	for i := range 100 {
		got += visits(p, "a", fmt.Sprintf("2001:db8:1:%x::1", i+2), 0, 9)
	}
	if got != 15 {
		t.Errorf("%d more of the /48 passed, want 15", got)
	}
	if got := visits(p, "a", "2001:db8:2:1::1", 0, 9); got != 5 {
		t.Errorf("%d of another site passed, want 5", got)
	}
	p = with(t, Table{VisitorRequestsPerSecond: 1, VisitorBurst: math.MaxInt})
	if got := visits(p, "a", "2001:db8:1:1::1", 0, 9); got != 9 {
		t.Errorf("%d of 9 passed, of any number at once", got)
	}
}

// However many visitors come, what is kept of them is bounded, and those who have been
// away go first.
func TestVisitorsAreBounded(t *testing.T) {
	p := with(t, Table{VisitorRequestsPerSecond: 1})
	for i := range maxVisitors + 5000 {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		p.For("a", ip, true).Visit(start.Add(time.Duration(i) * time.Millisecond))
	}
	if n := len(p.visitors); n > maxVisitors || n < maxVisitors/2 {
		t.Errorf("%d visitors are kept, want %d at most", n, maxVisitors)
	}
}

// The rate of all, of who is in nobody's share, and how many are in flight.
func TestEnter(t *testing.T) {
	p := with(t, Table{RequestsPerSecond: 10, Burst: 3, MaxRequests: 2})
	enter := func(at time.Duration) (front.Policy, time.Duration) {
		v := p.For("a", client, true)
		return v, v.Enter(netip.Addr{}, start.Add(at))
	}
	var in []front.Policy
	for i := range 3 {
		v, early := enter(0)
		if early != 0 {
			t.Fatalf("request %d of the burst is early by %v", i, early)
		}
		in = append(in, v)
	}
	if n := in[0].MaxRequests(); n != 2 {
		t.Errorf("%d may be in flight, want 2", n)
	}
	if _, early := enter(0); early != 100*time.Millisecond {
		t.Errorf("beyond the burst: early by %v", early)
	}
	v, early := enter(100 * time.Millisecond)
	if early != 0 {
		t.Error("not even after that")
	}
	for _, v := range append(in, v) {
		v.Leave()
	}
	if n := p.origins["a"].flight.Load(); n != 0 {
		t.Errorf("%d are in flight at the end", n)
	}
	// Another origin has its own.
	if early := p.For("b", client, true).Enter(netip.Addr{}, start); early != 0 {
		t.Error("another origin has none of its own")
	}
}

// One address, or IPv6 site, that asks without end has what others leave, and they have
// half of the rate; where nobody else asks, it has the whole, but of a burst of one.
func TestShareOfRate(t *testing.T) {
	greedy := func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }
	for _, test := range []struct {
		name                      string
		table                     Table
		one                       func(i int) string
		theirs                    int // what others ask for a second
		wantOne, wantOthers, slip int // in a minute
	}{
		{"alone", Table{RequestsPerSecond: 20}, func(int) string { return "192.0.2.1" }, 0, 1200, 0, 20},
		{"beside others", Table{RequestsPerSecond: 20}, func(int) string { return "192.0.2.1" }, 10, 600, 600, 30},
		{"beside many", Table{RequestsPerSecond: 20}, func(int) string { return "192.0.2.1" }, 100, 600, 600, 30},
		{"an IPv6 site", Table{RequestsPerSecond: 20}, greedy, 10, 600, 600, 30},
		{"alone, of a burst of one", Table{RequestsPerSecond: 1}, func(int) string { return "192.0.2.1" }, 0, 30, 0, 1},
		{"a burst of one", Table{RequestsPerSecond: 1}, func(int) string { return "192.0.2.1" }, 20, 30, 30, 3},
	} {
		p := with(t, test.table)
		enter := func(ip string, at time.Duration) int {
			who := netip.MustParseAddr(ip)
			if p.For("a", who, true).Enter(addrkey.Addr(who), start.Add(at)) > 0 {
				return 0
			}
			return 1
		}
		one, others := 0, 0
		for i := range 60 * 1000 {
			at := time.Duration(i) * time.Millisecond
			one += enter(test.one(i), at)
			if test.theirs > 0 && i%(1000/test.theirs) == 0 {
				others += enter(fmt.Sprintf("198.51.100.%d", i%250), at)
			}
		}
		near := func(got, want int) bool { return got >= want-test.slip && got <= want+test.slip }
		if !near(one, test.wantOne) || !near(others, test.wantOthers) {
			t.Errorf("%s: %d of the one passed, %d of others; want %d and %d, or %d more or less", test.name, one, others, test.wantOne, test.wantOthers, test.slip)
		}
	}
}

// A burst is anybody's who comes first, and who comes too early is told when not to be.
func TestBurstOfOne(t *testing.T) {
	p := with(t, Table{RequestsPerSecond: 10, Burst: 30})
	passed := 0
	for range 100 {
		if p.For("a", client, true).Enter(client, start) == 0 {
			passed++
		}
	}
	if passed != 30 {
		t.Errorf("%d of 30 passed at once", passed)
	}
	early := p.For("a", client, true).Enter(client, start)
	if early != 200*time.Millisecond {
		t.Errorf("early by %v, want 200ms: half of the rate", early)
	}
	if early := p.For("a", client, true).Enter(client, start.Add(early)); early != 0 {
		t.Errorf("then it is early by %v", early)
	}
}

// Requests come in another order than their times, and no time is counted twice.
func TestRatesOutOfOrder(t *testing.T) {
	p := with(t, Table{RequestsPerSecond: 1, Burst: 10, VisitorRequestsPerSecond: 1, VisitorBurst: 10})
	for what, ask := range map[string]func(at time.Time) time.Duration{
		"in all":       func(at time.Time) time.Duration { return p.For("a", client, true).Enter(client, at) },
		"of a visitor": p.For("a", client, true).Visit,
		"of an IPv6 one": func(at time.Time) time.Duration {
			return p.For("a", netip.MustParseAddr("2001:db8::1"), true).Visit(at)
		},
	} {
		passed := 0
		for i := range 200 {
			if early := ask(start.Add(time.Duration(i%2) * 10 * time.Second)); early == 0 {
				passed++
			} else if early > time.Second {
				t.Errorf("%s: request %d is early by %v at 1 a second", what, i, early)
			}
		}
		if passed != 11 { // one at first, then a burst
			t.Errorf("%s: %d passed, want 11", what, passed)
		}
	}
}

// Who comes too early counts for nothing, and many at once are told in one order.
func TestEnterAtOnce(t *testing.T) {
	p := with(t, Table{RequestsPerSecond: 1, Burst: 50, MaxRequests: 100})
	var passed, early atomic.Int32
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for range 20 {
				if p.For("a", client, true).Enter(client, start.Add(time.Duration(i%8)*time.Millisecond)) > 0 {
					early.Add(1)
				} else {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 50 || early.Load() != 64*20-50 {
		t.Errorf("%d passed, %d were early; want 50, and the others", passed.Load(), early.Load())
	}
	if n := p.origins["a"].flight.Load(); n != 50 {
		t.Errorf("%d are in flight, want 50", n)
	}
}

// New numbers reach what is counted already, and what did not change stays.
func TestSetAgain(t *testing.T) {
	p := with(t, Table{VisitorRequestsPerSecond: 1, VisitorBurst: 2, RequestsPerSecond: 1, Burst: 1, MaxRequests: 5})
	visits(p, "a", "192.0.2.1", 0, 9)
	p.For("a", client, true).Enter(client, start)
	set1(t, p, Table{VisitorRequestsPerSecond: 1, VisitorBurst: 2, RequestsPerSecond: 1, Burst: 1, MaxRequests: 1})
	if got := visits(p, "a", "192.0.2.1", 0, 1); got != 0 {
		t.Error("the visitor began anew")
	}
	if n := p.For("a", client, true).MaxRequests(); n != 1 {
		t.Errorf("%d may be in flight, want 1", n)
	}
	set1(t, p, Table{VisitorRequestsPerSecond: 100})
	visits(p, "a", "192.0.2.1", time.Second, 9)
	if got := visits(p, "a", "192.0.2.1", 1100*time.Millisecond, 99); got != 10 {
		t.Errorf("%d passed at the new rate, want 10", got)
	}
	// What was not limited has its whole burst at first.
	set1(t, p, Table{RequestsPerSecond: 1, Burst: 3})
	now := time.Now()
	for i := range 4 {
		if early := p.For("a", client, true).Enter(netip.Addr{}, now); (early > 0) != (i == 3) {
			t.Errorf("request %d is early by %v", i, early)
		}
	}
}

// Bytes pass at the rate, of all requests together, each way by itself; a changed rate
// holds from the next piece on.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := with(t, Table{BytesPerSecond: "80kB"})
		pass := func(toOrigin bool, total int) {
			v := p.For("a", client, true)
			for total > 0 {
				n := v.Pace(t.Context(), toOrigin, min(total, 32<<10), nil)
				if n <= 0 || n > 10_000 {
					t.Errorf("a piece of %d bytes, want 10000 at most", n)
					return
				}
				total -= n
			}
		}
		took := func(f func()) time.Duration { began := time.Now(); f(); return time.Since(began) }
		if d := took(func() { pass(false, 90_000) }); d != time.Second {
			t.Errorf("90 kB took %v, want 1 s after the 10 kB that pass at once", d)
		}
		var both sync.WaitGroup
		if d := took(func() {
			for range 2 {
				both.Go(func() { pass(false, 80_000) })
			}
			both.Go(func() { pass(true, 90_000) })
			both.Wait()
		}); d < 1990*time.Millisecond || d > 2010*time.Millisecond {
			t.Errorf("two of 80 kB took %v, want 2 s", d)
		}
		// Whoever leaves waits no longer.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		v := p.For("a", client, true)
		for v.Pace(ctx, false, 10_000, nil) > 0 {
		}
		if err := ctx.Err(); err == nil {
			t.Error("it passed at no rate")
		}
		set1(t, p, Table{})
		if d := took(func() {
			if n := v.Pace(t.Context(), false, 1<<20, nil); n != 1<<20 {
				t.Errorf("a piece of %d bytes without a rate", n)
			}
		}); d != 0 {
			t.Errorf("without a rate it took %v", d)
		}
	})
}

// Origins that come and go are not remembered for ever.
func TestOriginsAreBounded(t *testing.T) {
	p := with(t, Table{RequestsPerSecond: 1})
	busy := p.For("busy", client, true)
	busy.Enter(client, start)
	for i := range 2 * maxIdle {
		v := p.For(origin.Name(fmt.Sprint("o", i)), client, true)
		v.Enter(client, start)
		v.Leave()
	}
	if n := len(p.origins); n > maxIdle+1 || p.origins["busy"] == nil {
		t.Errorf("%d origins are remembered; that with a request: %t", n, p.origins["busy"] != nil)
	}
}
