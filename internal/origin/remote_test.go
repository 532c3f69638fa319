package origin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// attach registers a session of another node's.
func (b *bench) attach(name Name, node string, f *fake) *Member {
	b.Helper()
	m, err := b.Register(Registration{Name: name, Instance: "x.0", Remote: node, Session: f})
	if err != nil {
		b.Fatalf("Register(%v) of %s: %v", name, node, err)
	}
	return m
}

// Which of several sessions is picked: not the one to avoid, the one that is asked
// for, one here, one that has room, the one with the fewest streams, whose turn it is.
func TestPickAmongNodes(t *testing.T) {
	type session struct {
		node            string // "": here
		open, available int
		gone            bool
	}
	here, there := session{available: 100}, session{node: "p2", available: 100}
	full := func(s session) session { s.available = 0; return s }
	busy := func(s session, n int) session { s.open = n; return s }
	gone := func(s session) session { s.gone = true; return s }
	for _, test := range []struct {
		what          string
		sessions      []session
		avoid, prefer int // of them, from 1; 0: none
		local         bool
		want          int // 0: none
	}{
		{"one elsewhere", []session{there}, 0, 0, false, 1},
		{"one elsewhere, and none is wanted", []session{there}, 0, 0, true, 0},
		{"one elsewhere that is to be avoided", []session{there}, 1, 0, false, 1},
		{"here before elsewhere", []session{there, here}, 0, 0, false, 2},
		{"here before elsewhere, however busy", []session{there, busy(here, 50)}, 0, 0, false, 2},
		{"here before elsewhere, even without room", []session{there, full(here)}, 0, 0, false, 2},
		{"not the one here that has refused", []session{there, here}, 2, 0, false, 1},
		{"not the one elsewhere that has refused", []session{there, there}, 1, 0, false, 2},
		{"the one that has refused, if nothing else is wanted", []session{there, here}, 2, 0, true, 2},
		{"room before few streams, elsewhere", []session{full(there), busy(there, 90)}, 0, 0, false, 2},
		{"few streams, elsewhere", []session{busy(there, 2), busy(there, 1)}, 0, 0, false, 2},
		{"few streams, here", []session{busy(here, 2), there, busy(here, 1)}, 0, 0, false, 3},
		{"the one asked for", []session{here, busy(here, 50), there}, 0, 2, false, 2},
		{"the one asked for has gone", []session{here, gone(here)}, 0, 2, false, 1},
		{"the one asked for is elsewhere, and none such is wanted", []session{here, there}, 0, 2, true, 1},
		{"the one asked for has refused", []session{here, here}, 2, 2, false, 1},
		{"all have gone", []session{gone(here), gone(there)}, 0, 0, false, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			run(t, Config{}, func(b *bench) {
				var members []*Member
				for i, s := range test.sessions {
					f := newFake(fmt.Sprint(i + 1))
					f.open, f.available = s.open, s.available
					var m *Member
					if s.node == "" {
						m = b.register("films", fmt.Sprint("x.", i), f)
					} else {
						m = b.attach("films", s.node, f)
					}
					if s.gone {
						f.stubborn = true
						f.leave()
					}
					members = append(members, m)
				}
				q := Query{Name: "films", Local: test.local}
				if test.avoid > 0 {
					q.Avoid = members[test.avoid-1]
				}
				if test.prefer > 0 {
					q.Prefer = members[test.prefer-1].ID()
				}
				u, _, err := b.Acquire(b.Context(), q)
				got := 0
				if err == nil {
					fmt.Sscan(u.(*Member).Session.(*fake).name, &got)
				}
				if got != test.want {
					t.Errorf("got session %d, %v, want %d", got, err, test.want)
				}
				for _, m := range members {
					m.Session.(*fake).die(errors.New("cut"))
					b.Withdraw(m)
				}
			})
		})
	}
}

// Sessions of other nodes are candidates, and nothing else.
func TestRemoteStaysOut(t *testing.T) {
	run(t, Config{MaxOrigins: 2, MaxPerCredential: 2, MaxSessions: 1}, func(b *bench) {
		var remote []*fake
		attach := func(name Name, node string) *Member {
			f := newFake(string(name) + "@" + node)
			f.silent, f.stubborn = true, true
			remote = append(remote, f)
			return b.attach(name, node, f)
		}
		// More than any limit.
		for _, name := range []Name{"a", "b", "c", "d", "films"} {
			attach(name, "p2")
			attach(name, "p3")
		}
		films := newFake("films")
		b.register("films", "x.0", films) // of the same instance
		b.register("songs", "x.0", newFake("songs"))
		if _, err := b.Register(Registration{Name: "a", Session: newFake("a")}); !errors.Is(err, ErrTooManyOrigins) {
			t.Errorf("a third origin here: got %v, want ErrTooManyOrigins", err)
		}
		b.log.want(t, "films: origin connected (1)", "songs: origin connected (1)")
		time.Sleep(time.Hour) // far beyond every PING's time
		if got := b.EndByCredential(func(_ any, name Name) bool { return name == "a" }); got != 0 {
			t.Errorf("revoked: got %d sessions, want none", got)
		}
		if got := b.Totals(); got != (Totals{}) {
			t.Errorf("Totals: got %+v, want none", got)
		}
		b.Dismiss(nil)
		synctest.Wait()
		slices.Sort(b.log.events) // whichever was first
		b.log.want(t, "films: origin disconnected (0)", "songs: origin disconnected (0)")
		b.want("films", "films@p2")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		b.Shutdown(ctx)
		for _, f := range remote {
			if shut, closed := f.counts(); shut != 0 || closed != 0 {
				t.Errorf("%s: got %d Shutdown, %d Close, want none", f.name, shut, closed)
			}
		}
		if _, err := b.Register(Registration{Name: "a", Remote: "p2", Session: newFake("a")}); !errors.Is(err, ErrStopping) {
			t.Errorf("after Shutdown: got %v, want ErrStopping", err)
		}
	})
}

// A name is connected while any node serves it, and known for a while afterwards.
func TestRemoteConnects(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		wantIs := func(connected, known bool, max int) {
			t.Helper()
			if c, k, n := b.Connected("films"), b.Known("films"), b.MaxStreams("films"); c != connected || k != known || n != max {
				t.Errorf("got connected %v, known %v, %d streams, want %v, %v, %d", c, k, n, connected, known, max)
			}
		}
		wantIs(false, false, -1)
		far := newFake("far")
		m := b.attach("films", "p2", far)
		wantIs(true, true, 100)
		near := newFake("near")
		b.register("films", "x.0", near)
		wantIs(true, true, 200)
		if s := b.Snapshot(); len(s) != 1 || len(s[0].Sessions) != 2 || s[0].Sessions[0].Node() != "p2" || s[0].Sessions[1].Node() != "" {
			t.Errorf("Snapshot: got %+v, want both sessions", s)
		}
		near.die(errors.New("cut"))
		synctest.Wait()
		wantIs(true, true, 100)
		far.leave()
		wantIs(false, true, 100)
		b.Withdraw(m)
		b.Withdraw(m) // again
		wantIs(false, true, -1)
		time.Sleep(time.Minute + time.Second)
		wantIs(false, false, -1)
		b.attach("other", "p2", newFake("other"))
		if len(b.entries) != 1 || b.connected != 0 || b.served != 1 {
			t.Errorf("got %d entries, %d connected, %d served, want 1, 0, 1", len(b.entries), b.connected, b.served)
		}
	})
}

// A request that waits takes what comes, wherever that is; unless it is to be here.
func TestRemoteEndsTheHold(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		f := newFake("f")
		b.register("films", "x.0", f)
		f.die(errors.New("cut"))
		synctest.Wait()
		got := make(chan string, 2)
		for _, local := range []bool{false, true} {
			go func() {
				u, waited, err := b.Acquire(b.Context(), Query{Name: "films", Hold: 10 * time.Second, Local: local})
				if err != nil {
					got <- fmt.Sprint(err, " ", waited)
					return
				}
				got <- fmt.Sprint(u.(*Member).Session.(*fake).name, " ", waited)
			}()
		}
		time.Sleep(time.Second)
		b.attach("films", "p2", newFake("far"))
		if s := <-got; s != "far 1s" {
			t.Errorf("got %s, want far 1s", s)
		}
		if s := <-got; s != fmt.Sprint(ErrHoldExpired, " 10s") {
			t.Errorf("one that is to be here: got %s, want %v after 10s", s, ErrHoldExpired)
		}
	})
}

// Retire ends a session whose C is elsewhere by now.
func TestRetire(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		f := newFake("f")
		f.stubborn = true
		m := b.register("films", "x.0", f)
		far := b.attach("films", "p2", newFake("far"))
		b.Retire(m)
		b.Retire(m) // again
		b.Retire(far)
		b.want("films", "far")
		b.log.want(t, "f: origin connected (1)", "f: origin replaced by a newer connection (0)")
		if shut, closed := f.counts(); shut == 0 || closed != 0 {
			t.Errorf("got %d Shutdown, %d Close; want it to finish what it serves", shut, closed)
		}
		time.Sleep(31 * time.Second)
		b.log.want(t, "f: origin disconnected (0)")
		b.Retire(m)
		b.log.want(t)
	})
}
