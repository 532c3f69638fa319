package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

func TestHoldIsBounded(t *testing.T) {
	for _, test := range []struct {
		name string
		c    Config
		fits int
	}{
		{"requests in all", Config{MaxWaiting: 3}, 3},
		{"requests of one origin", Config{MaxWaitingPerOrigin: 2}, 2},
		{"bytes", Config{MaxWaitingBytes: 450}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, test.c, func(b *bench) {
				f := newFake("lost")
				b.register("films", "", f)
				f.die(errors.New("cut"))
				synctest.Wait()
				q := Query{Name: "films", Hold: 10 * time.Second, Cost: 100}
				var wg sync.WaitGroup
				for range test.fits {
					wg.Go(func() { b.Acquire(b.Context(), q) })
				}
				synctest.Wait()
				if got := b.Waiting(); got != test.fits {
					t.Errorf("%d wait, want %d", got, test.fits)
				}
				if _, waited, err := b.Acquire(b.Context(), q); !errors.Is(err, ErrHoldFull) || waited != 0 {
					t.Errorf("one more: %v after %v, want ErrHoldFull at once", err, waited)
				}
				wg.Wait()
				if got := b.Waiting(); got != 0 {
					t.Errorf("%d wait at the end", got)
				}
			})
		})
	}
}

// One address does not take all places to wait, whatever names it asks for.
func TestHoldShare(t *testing.T) {
	run(t, Config{MaxWaitingPerOrigin: 16}, func(b *bench) {
		for _, name := range []Name{"films", "photos"} {
			f := newFake(string(name))
			b.register(name, "", f)
			f.die(errors.New("cut"))
		}
		synctest.Wait()
		a, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		ask := func(name Name, from netip.Addr) error {
			_, _, err := b.Acquire(b.Context(), Query{Name: name, Hold: 10 * time.Second, From: from})
			return err
		}
		var wg sync.WaitGroup
		wg.Go(func() { ask("films", a) })
		wg.Go(func() { ask("photos", a) })
		synctest.Wait()
		if err := ask("photos", a); !errors.Is(err, ErrHoldFull) {
			t.Errorf("one more of an address that has an eighth: %v, want ErrHoldFull", err)
		}
		for _, from := range []netip.Addr{other, {}, {}, {}} {
			wg.Go(func() { ask("films", from) })
		}
		synctest.Wait()
		if got := b.Waiting(); got != 6 {
			t.Errorf("%d wait, want the two of one address and four others", got)
		}
		wg.Wait()
		if len(b.waiting.from) != 0 || b.Waiting() != 0 {
			t.Errorf("left over: %v, %d wait", b.waiting.from, b.Waiting())
		}
	})
}

// An IPv6 /48 has 65536 addresses such as one visitor has: it is bounded too.
func TestHoldOfASite(t *testing.T) {
	run(t, Config{MaxWaitingPerOrigin: 64}, func(b *bench) {
		f := newFake("films")
		b.register("films", "", f)
		f.die(errors.New("cut"))
		synctest.Wait()
		var full atomic.Int32
		ask := func(from string) {
			if _, _, err := b.Acquire(b.Context(), Query{Name: "films", Hold: 10 * time.Second, From: netip.MustParseAddr(from)}); errors.Is(err, ErrHoldFull) {
				full.Add(1)
			}
		}
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() { ask(fmt.Sprintf("2001:db8:1:%x::1", i)) })
		}
		synctest.Wait()
		if got, limit := b.Waiting(), addrkey.SiteFactor*64/8; got != limit || int(full.Load()) != 40-limit {
			t.Errorf("%d of a /48 wait and %d may not, want %d and %d", got, full.Load(), limit, 40-limit)
		}
		for i := range 9 {
			wg.Go(func() { ask(fmt.Sprintf("2001:db8:2:2::%x", i)) }) // its /64, which has 8
		}
		wg.Go(func() { ask("192.0.2.1") })
		synctest.Wait()
		if got := b.Waiting(); got != 32+8+1 {
			t.Errorf("%d wait, want those of the /48, 8 of a /64 elsewhere, and one", got)
		}
		wg.Wait()
		if len(b.waiting.from)+len(b.waiting.sites)+b.Waiting() != 0 {
			t.Errorf("left over: %v, %v, %d wait", b.waiting.from, b.waiting.sites, b.Waiting())
		}
	})
}
