package origin

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

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
