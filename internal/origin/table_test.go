package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// eventLog keeps the events of a table.
type eventLog struct {
	mu     sync.Mutex
	events []string // guarded by mu
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, fmt.Sprintf("%s: %v (%d)", e.Member.Session.(*fake).name, e.Kind, e.Sessions))
}

func (l *eventLog) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.events, want) {
		t.Errorf("events:\n got %q\nwant %q", l.events, want)
	}
	l.events = nil
}

func (l *eventLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = nil
}

// bench is a table in a bubble.
type bench struct {
	*testing.T
	*Table
	log *eventLog
}

// run runs f in a bubble, and ends the table at its end.
func run(t *testing.T, c Config, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := &eventLog{}
		c.OnEvent = log.add
		b := &bench{T: t, Table: NewTable(c), log: log}
		f(b)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		b.Shutdown(ctx)
	})
}

func (b *bench) register(name Name, instance string, f *fake) *Member {
	b.Helper()
	m, err := b.Register(Registration{Name: name, Instance: instance, RemoteAddr: "192.0.2.1:1", Session: f})
	if err != nil {
		b.Fatalf("Register(%v, %q): %v", name, instance, err)
	}
	return m
}

// now acquires without waiting, and returns the session's name.
func (b *bench) now(name Name) string {
	b.Helper()
	m, _, err := b.Acquire(b.Context(), Query{Name: name})
	if err != nil {
		return err.Error()
	}
	return m.(*Member).Session.(*fake).name
}

func (b *bench) want(name Name, session string) {
	b.Helper()
	if got := b.now(name); got != session {
		b.Errorf("Acquire(%v): got %s, want %s", name, got, session)
	}
}

func TestSameInstanceReplaces(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		first, second := newFake("first"), newFake("second")
		first.stubborn = true
		b.register("films", "x.0", first)
		b.register("films", "x.0", second)
		b.want("films", "second")
		b.log.want(t, "first: origin connected (1)", "second: origin connected (1)", "first: origin replaced by a newer connection (1)")
		if shut, closed := first.counts(); shut == 0 || closed != 0 {
			t.Errorf("the replaced session: %d Shutdown, %d Close; want it to finish what it serves", shut, closed)
		}
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if _, closed := first.counts(); closed != 0 {
			t.Error("closed before the drain is over")
		}
		time.Sleep(2 * time.Second)
		b.log.want(t, "first: origin disconnected (1)")
	})
}

func TestNoInstanceReplaces(t *testing.T) {
	for _, test := range [][2]string{{"", ""}, {"x.0", ""}, {"", "x.0"}} {
		run(t, Config{}, func(b *bench) {
			b.register("", test[0], newFake("first"))
			b.register("", test[1], newFake("second"))
			synctest.Wait()
			b.want("", "second")
			b.want("", "second")
			if got := len(b.Snapshot()[0].Sessions); got != 1 {
				t.Errorf("instances %q: %d sessions, want 1", test, got)
			}
		})
	}
}

func TestOtherInstanceShares(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		one, two := newFake("one"), newFake("two")
		b.register("films", "x.0", one)
		b.register("films", "y.0", two)
		b.want("films", "one")
		b.want("films", "two") // equals take turns
		one.set(func() { one.open = 3 })
		two.set(func() { two.open = 2 })
		b.want("films", "two")
		b.want("films", "two")
		two.set(func() { two.available = 0 })
		b.want("films", "one") // two could not begin at once
		// Nobody is thrown out, however often and in whatever order they answer.
		time.Sleep(time.Hour)
		b.log.want(t, "one: origin connected (1)", "two: origin connected (2)")
	})
}

func TestSilentIsDroppedAtRegistration(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		dead, slow := newFake("dead"), newFake("slow")
		b.register("films", "x.0", dead)
		b.register("films", "y.0", slow)
		synctest.Wait()
		dead.set(func() { dead.silent = true })
		slow.set(func() { slow.silent, slow.chatty = true, true })
		b.register("films", "z.0", newFake("new"))
		b.log.reset()
		time.Sleep(2*time.Second - 1)
		b.log.want(t)
		time.Sleep(time.Nanosecond)
		b.log.want(t, "dead: origin dropped, it does not answer (2)", "dead: origin disconnected (2)")
		// It sends frames: the PING's answer stands in line on a slow link.
		time.Sleep(10 * time.Second)
		slow.set(func() { slow.silent = false })
		time.Sleep(time.Minute)
		b.log.want(t)
	})
}

func TestSilentIsDroppedWhenReplaced(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		dead := newFake("dead")
		dead.silent, dead.stubborn = true, true
		b.register("films", "x.0", dead)
		b.register("films", "x.0", newFake("new"))
		b.log.reset()
		time.Sleep(2 * time.Second)
		b.log.want(t, "dead: origin dropped, it does not answer (1)", "dead: origin disconnected (1)")
	})
}

func TestNotConnectedAtOnce(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		_, waited, err := b.Acquire(b.Context(), Query{Name: "films", Hold: time.Hour})
		if !errors.Is(err, ErrNotConnected) || waited != 0 {
			t.Errorf("Acquire of a name never connected: %v after %v, want ErrNotConnected at once", err, waited)
		}
		f := newFake("f")
		b.register("films", "", f)
		f.die(errors.New("cut"))
		synctest.Wait()
		time.Sleep(time.Minute + 1)
		_, waited, err = b.Acquire(b.Context(), Query{Name: "films", Hold: time.Hour})
		if !errors.Is(err, ErrNotConnected) || waited != 0 {
			t.Errorf("Acquire a minute after the loss: %v after %v, want ErrNotConnected at once", err, waited)
		}
		b.register("other", "", newFake("other")) // purges
		if b.Known("films") || len(b.entries) != 1 {
			t.Errorf("films is still remembered: %d names", len(b.entries))
		}
	})
}

func TestHold(t *testing.T) {
	for _, test := range []struct {
		name   string
		after  time.Duration // until something happens
		event  func(b *bench, cancel context.CancelFunc)
		want   string
		waited time.Duration
	}{
		{"it comes back", 3 * time.Second, func(b *bench, _ context.CancelFunc) { b.register("films", "", newFake("back")) }, "back", 3 * time.Second},
		{"another comes", 3 * time.Second, func(b *bench, _ context.CancelFunc) { b.register("books", "", newFake("books")) }, ErrHoldExpired.Error(), 10 * time.Second},
		{"nobody comes", time.Hour, func(*bench, context.CancelFunc) {}, ErrHoldExpired.Error(), 10 * time.Second},
		{"A leaves", 3 * time.Second, func(_ *bench, cancel context.CancelFunc) { cancel() }, context.Canceled.Error(), 3 * time.Second},
		{"P stops", 3 * time.Second, func(b *bench, _ context.CancelFunc) { b.Stop() }, ErrStopping.Error(), 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, Config{}, func(b *bench) {
				f := newFake("lost")
				b.register("films", "", f)
				f.die(errors.New("cut"))
				synctest.Wait()
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				time.AfterFunc(test.after, func() { test.event(b, cancel) })
				start := time.Now()
				m, waited, err := b.Acquire(ctx, Query{Name: "films", Hold: 10 * time.Second, Cost: 100})
				got := ""
				if err != nil {
					got = err.Error()
				} else {
					got = m.(*Member).Session.(*fake).name
				}
				if took := time.Since(start); got != test.want || took != test.waited || waited != took {
					t.Errorf("got %s after %v (says %v), want %s after %v", got, took, waited, test.want, test.waited)
				}
				if b.Waiting() != 0 || b.waiting.bytes != 0 {
					t.Errorf("%d requests with %d bytes still wait", b.Waiting(), b.waiting.bytes)
				}
			})
		})
	}
}

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

// What the sessions of a name have together.
func TestMaxStreams(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		f, g := newFake("f"), newFake("g")
		f.max, g.max = 7, 20
		for _, step := range []struct {
			do   func()
			want int
		}{
			{func() {}, -1},
			{func() { b.register("films", "a", f) }, 7},
			{func() { b.register("films", "b", g) }, 27},
			{func() { f.stubborn, f.open = true, 3; f.leave() }, 23},
			{func() { f.die(errors.New("cut")) }, 20},
			{func() { g.max = 1<<31 - 1; b.register("films", "c", newFake("h")) }, 1<<31 - 1},
		} {
			step.do()
			synctest.Wait()
			if got := b.MaxStreams("films"); got != step.want {
				t.Errorf("got %d, want %d", got, step.want)
			}
		}
	})
}

func TestLeavingFinishes(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		f := newFake("f")
		f.stubborn = true
		b.register("films", "", f)
		f.leave()
		// Before watch has seen it as well as after.
		if _, _, err := b.Acquire(b.Context(), Query{Name: "films"}); err == nil {
			t.Error("a session that is going away was acquired")
		}
		b.log.want(t, "f: origin connected (1)", "f: origin is leaving (0)")
		if b.Connected("films") || !b.Known("films") {
			t.Errorf("Connected %v, Known %v; want false, true", b.Connected("films"), b.Known("films"))
		}
		s := b.Snapshot()
		if len(s) != 1 || len(s[0].Sessions) != 1 || !s[0].Sessions[0].Leaving {
			t.Errorf("Snapshot: %+v, want one session that leaves", s)
		}
		// The C that leaves decides how long that takes.
		time.Sleep(time.Hour)
		b.log.want(t)
		f.die(spdy.ErrGoingAway)
		b.log.want(t, "f: origin disconnected (0)")
		if s := b.Snapshot(); len(s) != 0 {
			t.Errorf("Snapshot at the end: %+v", s)
		}
	})
}

// A session whose stream ids are used up takes no request, keeps nobody from
// coming back, and has all the time it needs for what it serves: its C registers
// again at once, with the same instance.
func TestStreamIDsUsedUp(t *testing.T) {
	for _, early := range []bool{false, true} {
		run(t, Config{}, func(b *bench) {
			old := newFake("old")
			old.stubborn = true
			b.register("films", "x.0", old)
			synctest.Wait()
			b.log.reset()
			held := make(chan string, 1)
			// Ends with the next registration, for which the test waits.
			go func() {
				old.usedUp()
				m, _, err := b.Acquire(b.Context(), Query{Name: "films", Hold: 10 * time.Second})
				if err != nil {
					held <- err.Error()
					return
				}
				held <- m.(*Member).Session.(*fake).name
			}()
			if early {
				old.usedUp() // before the table has seen it
			} else {
				synctest.Wait()
				if b.Connected("films") || !b.Known("films") {
					t.Errorf("Connected %v, Known %v; want false, true", b.Connected("films"), b.Known("films"))
				}
			}
			b.register("films", "x.0", newFake("new"))
			if got := <-held; got != "new" {
				t.Errorf("a request in between got %s, want new", got)
			}
			b.want("films", "new")
			time.Sleep(time.Hour)
			if shut, closed := old.counts(); shut == 0 || closed != 0 {
				t.Errorf("the old session: %d Shutdown, %d Close; want that it finishes what it serves", shut, closed)
			}
			old.die(spdy.ErrGoingAway)
			synctest.Wait()
			b.log.mu.Lock()
			defer b.log.mu.Unlock()
			if !slices.Contains(b.log.events, "old: origin disconnected (1)") || slices.ContainsFunc(b.log.events, func(e string) bool { return strings.Contains(e, "replaced") }) {
				t.Errorf("events %q, want that it left and ended, and nothing of a replacement", b.log.events)
			}
			if n := strings.Count(strings.Join(b.log.events, " "), "old: origin is leaving"); n != 1 {
				t.Errorf("events %q, want one of leaving", b.log.events)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	run(t, Config{MaxOrigins: 4, MaxPerCredential: 2, MaxSessions: 2}, func(b *bench) {
		try := func(name Name, instance string, credential any, want error) *fake {
			t.Helper()
			f := newFake(string(name))
			r := Registration{Name: name, Instance: instance, Credential: credential, Session: f}
			if err := b.Admit(r); !errors.Is(err, want) {
				t.Errorf("Admit(%v, %q): %v, want %v", name, instance, err, want)
			}
			if _, err := b.Register(r); !errors.Is(err, want) {
				t.Errorf("Register(%v, %q): %v, want %v", name, instance, err, want)
			}
			synctest.Wait()
			return f
		}
		a := try("a", "1", "anna", nil)
		try("b", "1", "anna", nil)
		try("c", "1", "anna", ErrTooManyForCredential)
		try("a", "1", "anna", nil) // replaces
		try("a", "2", "anna", nil)
		try("a", "3", "anna", ErrTooManySessions)
		try("a", "", "anna", nil) // replaces both
		try("c", "1", "bert", nil)
		try("d", "1", "bert", nil)
		try("e", "1", "carl", ErrTooManyOrigins)
		try("d", "2", "carl", nil)
		if _, closed := a.counts(); closed != 0 {
			t.Error("a limit closed a session that was there")
		}
		if n := b.EndByCredential(func(c any, n Name) bool { return c == "bert" && n == "c" }); n != 1 {
			t.Errorf("EndByCredential: %d, want 1", n)
		}
		synctest.Wait()
		try("e", "1", "carl", nil) // there is room again
	})
}

func TestReplacedAgainAndAgain(t *testing.T) {
	run(t, Config{MaxSessions: 3}, func(b *bench) {
		var all []*fake
		for i := range 10 {
			f := newFake(fmt.Sprint(i))
			f.stubborn = true
			b.register("films", "x", f)
			all = append(all, f)
		}
		synctest.Wait()
		open := 0
		for _, f := range all {
			if _, closed := f.counts(); closed == 0 {
				open++
			}
		}
		if open != 4 {
			t.Errorf("%d sessions open, want the last and 3 that finish", open)
		}
		b.want("films", "9")
	})
}

func TestRevoked(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		f := newFake("f")
		f.stubborn = true
		if _, err := b.Register(Registration{Name: "films", Credential: 7, Session: f}); err != nil {
			t.Fatal(err)
		}
		b.register("books", "", newFake("books"))
		synctest.Wait()
		b.log.reset()
		b.EndByCredential(func(c any, _ Name) bool { return c == 7 })
		b.log.want(t, "f: origin closed, its credential is gone (0)", "f: origin disconnected (0)")
		b.want("books", "books")
	})
}

func TestShutdown(t *testing.T) {
	t.Run("in good order", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := NewTable(Config{})
			f := newFake("f")
			if _, err := table.Register(Registration{Session: f}); err != nil {
				t.Fatal(err)
			}
			if err := table.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if shut, closed := f.counts(); shut == 0 || closed != 0 {
				t.Errorf("%d Shutdown, %d Close", shut, closed)
			}
			if _, err := table.Register(Registration{Session: newFake("late")}); !errors.Is(err, ErrStopping) {
				t.Errorf("Register after it: %v, want ErrStopping", err)
			}
			if _, _, err := table.Acquire(t.Context(), Query{}); !errors.Is(err, ErrStopping) {
				t.Errorf("Acquire after it: %v, want ErrStopping", err)
			}
		})
	})
	t.Run("out of time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := NewTable(Config{Drain: time.Hour})
			old, f := newFake("old"), newFake("f")
			old.stubborn, f.stubborn = true, true
			for _, f := range []*fake{old, f} {
				if _, err := table.Register(Registration{Session: f}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			if err := table.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v, want the context's error", err)
			}
			if took := time.Since(start); took != 5*time.Second {
				t.Errorf("it took %v, want 5s", took)
			}
		})
	})
}

func TestMemoryOfNamesIsBounded(t *testing.T) {
	run(t, Config{MaxOrigins: 5}, func(b *bench) {
		for i := range 50 {
			f := newFake("f")
			b.register(Name(fmt.Sprint("n", i)), "", f)
			f.die(errors.New("cut"))
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		if got := len(b.entries); got > 7 {
			t.Errorf("%d names remembered, want at most 7", got)
		}
		if len(b.credentials) != 0 || b.connected != 0 {
			t.Errorf("left over: %d credentials, %d connected", len(b.credentials), b.connected)
		}
	})
}

func TestTotals(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		for range 2 {
			f := newFake("f")
			f.stats = spdy.Stats{StreamsOpened: 2, BytesSent: 10, BytesReceived: 100}
			f.stats.ResetsReceived[spdy.Cancel] = 3
			b.register("films", "", f)
			synctest.Wait()
		}
		got := b.Totals()
		if got.Streams != 4 || got.BytesSent != 20 || got.BytesReceived != 200 || got.ResetsReceived[spdy.Cancel] != 6 {
			t.Errorf("Totals of one that ended and one that did not: %+v", got)
		}
	})
}

// logged returns what LogEvents writes of some events, without the time.
func logged(events func(log func(Event))) string {
	var out bytes.Buffer
	events(LogEvents(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))))
	return out.String()
}

// A session that ends has one line that says why, whoever ended it.
func TestLogEvents(t *testing.T) {
	m := &Member{name: "films", instance: "x.0", remote: "192.0.2.1:5", credential: "SECRET"}
	got := logged(func(log func(Event)) {
		log(Event{Kind: Connected, Member: m, Sessions: 1})
		log(Event{Kind: Leaving, Member: m, Err: errors.New("used up")})
		log(Event{Kind: Ended, Member: m, Lasted: 1500 * time.Millisecond, Err: errors.New("cut")})
		log(Event{Kind: Dropped, Member: m, Lasted: time.Second, Err: context.DeadlineExceeded})
		log(Event{Kind: Ended, Member: m, Lasted: 2 * time.Second, Told: true})
	})
	want := `level=INFO msg="origin connected" origin=films remote=192.0.2.1:5 instance=x.0 sessions=1
level=INFO msg="origin is leaving" origin=films remote=192.0.2.1:5 instance=x.0 sessions=0 reason="used up"
level=WARN msg="origin disconnected" origin=films remote=192.0.2.1:5 instance=x.0 sessions=0 lasted=1.5s reason=cut
level=WARN msg="origin dropped, it does not answer" origin=films remote=192.0.2.1:5 instance=x.0 sessions=0 lasted=1s reason="context deadline exceeded"
`
	if got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
}

// Whoever comes and goes all day does not fill the log, nor keep others out of it.
func TestLogOfAFlappingOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(func(log func(Event)) {
			for range 10_000 {
				log(Event{Kind: Connected, Member: &Member{name: "films"}})
				log(Event{Kind: Ended, Member: &Member{name: "films"}, Err: errors.New("cut")})
			}
			log(Event{Kind: Connected, Member: &Member{name: "books"}})
			time.Sleep(time.Minute)
			synctest.Wait()
		})
		if n := strings.Count(got, "\n"); n != 2*(eventBurst+1)+1 || strings.Count(got, fmt.Sprint(" times=", 10_000-eventBurst)) != 2 || strings.Count(got, "origin=books") != 1 {
			t.Errorf("%d lines, want %d and two that say how many there were:\n%s", n, 2*(eventBurst+1)+1, got)
		}
	})
}

// What Ended says is what happened, and nothing if all is well.
func TestWhyItEnded(t *testing.T) {
	cut := errors.New("connection reset by peer")
	for _, test := range []struct {
		name string
		err  error
		want error
	}{
		{"closed here", &spdy.SessionError{Cause: spdy.ErrClosed}, nil},
		{"it said goodbye", &spdy.SessionError{Remote: true, Cause: spdy.ErrGoingAway}, nil},
		{"it said what is wrong", &spdy.SessionError{Remote: true, Status: spdy.GoAwayProtocolError, Cause: spdy.ErrGoingAway}, spdy.ErrGoingAway},
		{"cut", &spdy.SessionError{Remote: true, Status: spdy.GoAwayInternalError, Cause: cut}, cut},
	} {
		synctest.Test(t, func(t *testing.T) {
			events := make(chan Event, 10)
			table := NewTable(Config{OnEvent: func(e Event) { events <- e }})
			f := newFake("f")
			if _, err := table.Register(Registration{Session: f}); err != nil {
				t.Fatal(err)
			}
			f.end(test.err)
			table.Shutdown(t.Context())
			close(events)
			for e := range events {
				if e.Kind == Ended && !errors.Is(e.Err, test.want) {
					t.Errorf("%s: %v, want %v", test.name, e.Err, test.want)
				}
				if e.Kind == Leaving && test.name != "it said goodbye" {
					t.Errorf("%s: its loss was said to be a leave", test.name)
				}
			}
		})
	}
}

// Any mix of registrations, losses and requests leaves the table's counts right.
func TestAtOnce(t *testing.T) {
	run(t, Config{MaxSessions: 4}, func(b *bench) {
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				f := newFake("f")
				f.silent = i%5 == 0
				if _, err := b.Register(Registration{Name: Name(fmt.Sprint("n", i%3)), Instance: fmt.Sprint(i % 4), Session: f}); err != nil {
					return
				}
				time.Sleep(time.Duration(i) * time.Millisecond)
				switch i % 4 {
				case 0:
					f.die(errors.New("cut"))
				case 1:
					f.leave()
				}
			})
			wg.Go(func() {
				b.Acquire(b.Context(), Query{Name: Name(fmt.Sprint("n", i%3)), Hold: time.Duration(i) * time.Millisecond, Cost: 1})
			})
			wg.Go(func() { b.Snapshot(); b.Totals(); b.Waiting() })
		}
		wg.Wait()
		b.EndByCredential(func(any, Name) bool { return true })
		synctest.Wait()
		if b.connected != 0 || len(b.credentials) != 0 || b.waiting.requests != 0 || b.waiting.bytes != 0 {
			t.Errorf("left over: connected %d, credentials %d, waiting %d, bytes %d", b.connected, len(b.credentials), b.waiting.requests, b.waiting.bytes)
		}
	})
}
