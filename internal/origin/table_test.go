package origin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
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

// A cluster's names may be more than are remembered, and be lost and come back together:
// one walk through them makes room for many.
func TestManyNamesComeBack(t *testing.T) {
	const most, names = 800, 8000
	run(t, Config{MaxOrigins: most}, func(b *bench) {
		var members []*Member
		come := func() (walks int) {
			members = nil
			for i := range names {
				time.Sleep(time.Microsecond)
				before := b.purged
				members = append(members, b.attach(Name(fmt.Sprint("n", i)), "p2", newFake("f")))
				walks += one(b.purged != before)
			}
			return walks
		}
		leave := func() {
			for _, m := range members {
				b.Withdraw(m)
			}
		}
		come()
		leave()
		b.purged = time.Now() // not a walk of each second
		if walks, want := come(), purgeShare+2; walks > want {
			t.Errorf("all names were walked through %d times while %d came back, want at most %d", walks, names, want)
		}
		if n := len(b.entries); n > names+most {
			t.Errorf("%d names, want at most %d", n, names+most)
		}
		leave()
	})
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
