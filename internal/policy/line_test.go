package policy

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/front"
)

// passes has one request of ip's pass so many bytes from the origin, and returns how long
// it takes.
func passes(ctx context.Context, p *Policies, ip string, total int) time.Duration {
	began := time.Now()
	v := p.For("a", netip.MustParseAddr(ip), true)
	for total > 0 {
		n := v.Pace(ctx, false, min(total, 32<<10), nil)
		if n == 0 {
			break
		}
		total -= n
	}
	return time.Since(began)
}

// wantEmpty checks that nothing is left of those who waited.
func wantEmpty(t *testing.T, p *Policies) {
	t.Helper()
	for _, c := range p.origins {
		for _, l := range []*line{&c.to, &c.from} {
			if n := l.turns.all.list.Len(); n != 0 || len(l.turns.groups) != 0 || l.timer != nil && l.timer.Stop() {
				t.Errorf("there are %d sites and %d groups in a line where nobody waits", n, len(l.turns.groups))
			}
		}
	}
}

// Whoever leaves the line has taken nothing: the next one waits for its own bytes alone.
func TestPaceLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := with(t, Table{BytesPerSecond: "80kB"})
		passes(t.Context(), p, "192.0.2.1", 10_000)
		ctx, leave := context.WithTimeout(t.Context(), 1010*time.Millisecond)
		defer leave()
		const all = 5000
		sent := make(chan int, all)
		for i := range all {
			v := p.For("a", netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i%100)), true)
			go func() { sent <- v.Pace(ctx, false, 10_000, nil) }() // until ctx ends
		}
		total := 0
		for range all {
			total += <-sent
		}
		if total != 80_000 {
			t.Errorf("%d bytes have passed in a second, want 80000", total)
		}
		wantEmpty(t, p)
		if d := passes(t.Context(), p, "192.0.2.200", 10_000); d > 125*time.Millisecond {
			t.Errorf("after they have left, one alone waits %v, want 125 ms", d)
		}
	})
}

// The visitors share what there is, however many requests one of them has; a site of
// many IPv6 addresses has more, and not without end.
func TestPaceTurns(t *testing.T) {
	for _, c := range []struct {
		what, ip string
		hog      func(i int) string
		want     time.Duration
	}{
		{"an address", "192.0.2.1", func(int) string { return "192.0.2.2" }, 2 * time.Second},
		{"a /64", "192.0.2.1", func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }, 2 * time.Second},
		{"a /48", "192.0.2.1", func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i) }, 5 * time.Second},
		{"a /64 of the same /48", "2001:db8:0:ffff::1", func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }, 2 * time.Second},
		{"many", "192.0.2.1", func(i int) string { return fmt.Sprintf("192.0.2.%d", 2+i%9) }, 10 * time.Second},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := with(t, Table{BytesPerSecond: "80kB"})
				ctx, leave := context.WithCancel(t.Context())
				for i := range 200 {
					go passes(ctx, p, c.hog(i), 1<<30) // until leave
				}
				synctest.Wait()
				// 80 kB are a second's.
				if d := passes(t.Context(), p, c.ip, 80_000); d < c.want*9/10 || d > c.want*11/10 {
					t.Errorf("80 kB took %v, want %v", d, c.want)
				}
				leave()
				synctest.Wait()
				wantEmpty(t, p)
			})
		})
	}
}

// A rate that is raised, or goes, reaches those who wait at once.
func TestPaceSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := with(t, Table{BytesPerSecond: "1"})
		passes(t.Context(), p, "192.0.2.1", 1<<10)
		took := make(chan time.Duration)
		for range 2 {
			go func() { took <- passes(t.Context(), p, "192.0.2.1", 1<<10) }() // until it has passed
		}
		synctest.Wait()
		set1(t, p, Table{BytesPerSecond: "1KiB"})
		if d := <-took; d != time.Second {
			t.Errorf("at a new rate it took %v, want 1 s", d)
		}
		set1(t, p, Table{})
		if d := <-took; d != time.Second {
			t.Errorf("without a rate it took %v, want no more than 1 s", d)
		}
		wantEmpty(t, p)
	})
}

// What a piece costs that need not wait.
func BenchmarkPace(b *testing.B) {
	for _, c := range []struct{ name, rate string }{{"unlimited", ""}, {"below its limit", "100000GB"}} {
		b.Run(c.name, func(b *testing.B) {
			p := New(front.NewChecks(), nil)
			if err := p.Set([]Table{{Name: "*", BytesPerSecond: Size(c.rate)}}); err != nil {
				b.Fatal(err)
			}
			v := p.For("a", client, true)
			b.ReportAllocs()
			for b.Loop() {
				v.Pace(b.Context(), false, 1, nil)
			}
		})
	}
}
