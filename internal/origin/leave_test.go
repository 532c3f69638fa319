package origin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
)

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

// A session to whose C nothing can be written any more takes no request from there on,
// though what its C has answered is still read: requests go to the next one.
func TestWriteFailed(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		f := newFake("f")
		b.register("films", "", f)
		lost := &spdy.SessionError{Status: spdy.GoAwayInternalError, Cause: fmt.Errorf("%w: write: broken pipe", spdy.ErrLost)}
		f.goAway(lost)
		if _, _, err := b.Acquire(b.Context(), Query{Name: "films"}); err == nil {
			t.Error("a session whose writes fail was acquired")
		}
		b.log.want(t, "f: origin connected (1)")
		if b.Connected("films") {
			t.Error("the origin counts as connected")
		}
		b.register("films", "", newFake("next"))
		b.want("films", "next")
		b.log.want(t, "next: origin connected (1)")
		f.end(lost)
		b.log.want(t, "f: origin disconnected (1)")
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
		b.log.want(t, "f: origin closed, its token is gone (0)", "f: origin disconnected (0)")
		b.want("books", "books")
	})
}
