package control

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func at(addr string) site {
	return siteOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
}

// awaited enters a handshake whose peer was awaited for long.
func awaited(h *handshakes, addr string) (*pending, []*pending) {
	x, victims := h.enter(context.Background(), at(addr), nil)
	x.awaits = time.Now().Add(-answerTime)
	return x, victims
}

// The one that is dropped when there is no room is the oldest of those who have
// most.
func TestOldestIsDropped(t *testing.T) {
	h := newHandshakes(8)
	h.chance = func() float64 { return 2 } // nothing goes early
	enter := func(addr string) (*pending, *pending) {
		t.Helper()
		x, victims := awaited(h, addr)
		if len(victims) == 0 {
			return x, nil
		}
		if len(victims) > 1 || h.leave(victims[0]) {
			t.Errorf("%s put out %d, want one and that it is out", addr, len(victims))
		}
		return x, victims[0]
	}
	// Three of one address, two others of its network, three alone.
	from := []string{"203.0.113.1:1", "192.0.2.1:1", "192.0.2.7:1", "192.0.2.7:2", "192.0.2.7:3", "192.0.2.2:1", "203.0.114.1:1", "203.0.115.1:1"}
	var all []*pending
	for i, addr := range from {
		x, victim := enter(addr)
		if victim != nil {
			t.Fatalf("handshake %d put another out", i)
		}
		all = append(all, x)
	}
	for n, want := range []int{2, 3, 1, 4, 0, 5, 6, 7} {
		if _, victim := enter(fmt.Sprintf("198.51.%d.1:1", n)); victim != all[want] {
			t.Errorf("newcomer %d put out %v, want %v", n, victim.site, all[want].site)
		}
		if n := h.size(); n != 8 {
			t.Errorf("%d handshakes, want 8", n)
		}
	}
	// A newcomer that makes its own network the one that has most drops none of others.
	if _, victim := enter("198.51.0.2:1"); victim.site != at("198.51.0.1:1") {
		t.Errorf("%v was put out by another network", victim.site)
	}
}

// Nobody goes who has done its part, or may not have had the time to. A newcomer waits.
func TestNobodyGoesTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandshakes(4 * modestPart)
		h.chance = func() float64 { return 0 } // one goes early whenever it may
		var all []*pending
		enter := func(i int) []*pending {
			t.Helper()
			x, victims := h.enter(t.Context(), at(fmt.Sprintf("10.0.%d.1:1", i)), nil)
			all = append(all, x)
			return victims
		}
		for i := range h.full {
			if victims := enter(i); len(victims) > 0 {
				t.Fatalf("newcomer %d put out %v", i, victims[0].site)
			}
			if i < 3 {
				h.await(all[i])
			}
		}
		began := time.Now()
		victims := enter(200)
		if took := time.Since(began); took != answerTime || len(victims) != 2 || victims[0] != all[0] || victims[1] != all[1] {
			t.Errorf("one more put out %d after %v, want the first two after %v", len(victims), took, answerTime)
		}
		h.proceed(all[2])
		enter(201) // there was room for it
		ended, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		if x, _ := h.enter(ended, at("10.0.202.1:1"), nil); x != nil {
			t.Error("one more came in while nobody may go")
		}
		// Ends when the newcomer below has come in.
		go func() {
			time.Sleep(time.Second)
			h.leave(all[7])
		}()
		began = time.Now()
		if victims := enter(203); len(victims) > 0 || time.Since(began) != time.Second {
			t.Errorf("one more put out %d after %v, want none after 1 s, when another has left", len(victims), time.Since(began))
		}
		// A network that has more than its part has no such claim.
		for i := range 4 {
			h.leave(all[10+i])
			h.enter(t.Context(), at(fmt.Sprintf("10.9.9.%d:1", i)), nil)
		}
		h.leave(all[20])
		if _, victims := h.enter(t.Context(), at("10.9.9.9:1"), nil); len(victims) != 1 || victims[0].site.net != "10.9.9.0" {
			t.Errorf("%d were put out for one more of a network that has more than its part, want one of that", len(victims))
		}
		if len(h.held) > 2*h.full {
			t.Errorf("%d counts for %d places", len(h.held), h.full)
		}
	})
}

// A peer of which a byte comes now and then is awaited all the same.
func TestTricklesAreAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandshakes(modestPart)
		h.chance = func() float64 { return 2 } // nothing goes early
		work := make(turns, 1)
		var running sync.WaitGroup
		for i := range h.full {
			place, _ := h.enter(t.Context(), at(fmt.Sprintf("10.0.%d.1:1", i)), nil)
			own, peer := net.Pipe()
			c := &turnConn{Conn: own, ctx: t.Context(), turns: work, pending: h, place: place}
			// Both end with the peer's last byte; waited for below.
			running.Go(func() {
				io.Copy(io.Discard, c)
				c.finish()
			})
			running.Go(func() {
				defer peer.Close()
				for range 10 {
					time.Sleep(answerTime - answerTime/20)
					peer.Write([]byte{22})
				}
			})
		}
		began := time.Now()
		limited, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		newcomer, victims := h.enter(limited, at("192.0.2.1:1"), nil)
		if took := time.Since(began); newcomer == nil || len(victims) != 1 || took > answerTime+time.Millisecond {
			t.Errorf("one more put out %d after %v, want one after %v", len(victims), took, answerTime)
		}
		running.Wait()
	})
}

// Beyond half of the places some go early, whatever their age.
func TestDroppedEarly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	h := newHandshakes(100)
	h.chance = random.Float64
	early, full, age := 0, 0, 0
	for i := range 2000 {
		n := h.size()
		was := append([]*pending(nil), h.waiting...)
		_, victims := awaited(h, fmt.Sprintf("10.%d.%d.1:1", i/256, i%256))
		if n <= 50 && len(victims) > 0 {
			t.Fatalf("dropped at %d of 100", n)
		}
		if n == 100 {
			full++
			continue
		}
		for _, v := range victims {
			early++
			age += slices.Index(was, v)
		}
	}
	if mean := age / early; early < 1500 || full > 300 || mean < 40 || mean > 55 {
		t.Errorf("%d early, their mean place %d in some 95, %d times it was full; want most early and in the middle", early, mean, full)
	}
}

// Who fills all the places anew in the time of one handshake, from as many
// networks, still lets one C in three through. If always the oldest went, it
// would be none.
func TestFloodThatIsQuickerThanAHandshake(t *testing.T) {
	const tries, full = 500, 64
	random := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		rounds float64 // how often the places are filled anew during a handshake
		least  float64 // part of the Cs that get in
	}{{0.25, 0.7}, {1, 0.3}, {2, 0.1}, {3, 0.03}} {
		h := newHandshakes(full)
		h.chance = random.Float64
		n := 0
		attack := func(times int) {
			for range times {
				n++
				awaited(h, fmt.Sprintf("%d.%d.%d.1:1", 11+n>>16, n>>8&0xff, n&0xff))
			}
		}
		attack(2 * full)
		in := 0
		for range tries {
			c, _ := awaited(h, "9.9.9.9:1")
			attack(int(tt.rounds * full))
			if h.leave(c) {
				in++
			}
		}
		part := float64(in) / tries
		t.Logf("%v rounds in a handshake: %.2f of all get in", tt.rounds, part)
		if part < tt.least {
			t.Errorf("%v rounds in a handshake: %.2f of all got in, want %v", tt.rounds, part, tt.least)
		}
		if len(h.waiting) > full || len(h.held) != 2*len(h.waiting) {
			t.Errorf("%d handshakes and %d counts, want at most %d and twice as many", len(h.waiting), len(h.held), full)
		}
	}
}

func TestSiteOf(t *testing.T) {
	for addr, want := range map[string]site{
		"192.0.2.7:5":           {"192.0.2.7", "192.0.2.0"},
		"[::ffff:192.0.2.7]:5":  {"192.0.2.7", "192.0.2.0"},
		"[2001:db8:1:2:3::4]:5": {"2001:db8:1:2::/64", "2001:db8:1::"},
		"[fe80::1%lo]:5":        {"fe80::/64", "fe80::"},
		"[::1]:1":               {"::/64", "::"},
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := siteOf(a); got != want {
			t.Errorf("siteOf(%s) = %v, want %v", addr, got, want)
		}
	}
	if got := siteOf(&net.UnixAddr{Name: "x"}); got != (site{"x", "x"}) {
		t.Errorf("siteOf a Unix socket = %v", got)
	}
}
