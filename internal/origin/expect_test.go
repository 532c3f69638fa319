package origin

import (
	"errors"
	"testing"
	"time"
)

// A young table waits for names that it has not seen, if they are expected; for
// no other, and no longer than it is young.
func TestExpected(t *testing.T) {
	young := Config{Expect: func(n Name) bool { return n == "films" }, ExpectFor: 10 * time.Second}
	type result struct {
		m      Upstream
		waited time.Duration
		err    error
	}
	ask := func(b *bench, name Name) <-chan result {
		ch := make(chan result, 1)
		// Ends with Acquire, within its hold.
		go func() {
			m, waited, err := b.Acquire(b.Context(), Query{Name: name, Hold: 10 * time.Second})
			ch <- result{m, waited, err}
		}()
		return ch
	}
	run(t, young, func(b *bench) {
		if r := <-ask(b, "music"); r.err != ErrNotConnected || r.waited != 0 {
			b.Errorf("a name that nobody may register: %v after %v, want ErrNotConnected at once", r.err, r.waited)
		}
		time.Sleep(4 * time.Second)
		if !b.Expected("films") || b.Known("films") || b.Expected("music") {
			b.Errorf("Expected %v, Known %v, another expected %v; want true, false, false", b.Expected("films"), b.Known("films"), b.Expected("music"))
		}
		first, second := ask(b, "films"), ask(b, "films")
		time.Sleep(time.Second)
		f := newFake("c")
		m := b.register("films", "", f)
		for _, ch := range []<-chan result{first, second} {
			if r := <-ch; r.m != m || r.waited != time.Second {
				b.Errorf("got %v after %v, %v; want the session after 1s", r.m, r.waited, r.err)
			}
		}
		f.die(errors.New("over"))
	})
	run(t, young, func(b *bench) {
		time.Sleep(4 * time.Second)
		if r := <-ask(b, "films"); r.err != ErrNotConnected || r.waited != 6*time.Second {
			b.Errorf("nobody came: %v after %v, want ErrNotConnected after 6s", r.err, r.waited)
		}
		if r := <-ask(b, "films"); r.err != ErrNotConnected || r.waited != 0 || b.Expected("films") {
			b.Errorf("later: %v after %v, want ErrNotConnected at once", r.err, r.waited)
		}
		if len(b.entries) != 0 || b.Waiting() != 0 {
			b.Errorf("%d entries and %d waiting, want none: names are strangers' to choose", len(b.entries), b.Waiting())
		}
	})
}

// A table that is opened late is young from there.
func TestExpectedFromOpen(t *testing.T) {
	run(t, Config{Expect: func(Name) bool { return true }, ExpectFor: 10 * time.Second}, func(b *bench) {
		time.Sleep(30 * time.Second)
		if b.Expected("films") {
			b.Error("a name is expected 30s after the start")
		}
		b.Open()
		time.Sleep(9 * time.Second)
		if !b.Expected("films") {
			b.Error("no name is expected 9s after the table was opened")
		}
		time.Sleep(2 * time.Second)
		if b.Expected("films") {
			b.Error("a name is expected 11s after the table was opened")
		}
	})
}
