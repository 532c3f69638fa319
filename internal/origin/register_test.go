package origin

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

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

func TestLimits(t *testing.T) {
	run(t, Config{MaxOrigins: 4, MaxPerCredential: 2, MaxSessions: 2}, func(b *bench) {
		try := func(name Name, instance string, credential any, want error) *fake {
			t.Helper()
			f := newFake(string(name))
			r := Registration{Name: name, Instance: instance, Credential: credential, Session: f}
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
