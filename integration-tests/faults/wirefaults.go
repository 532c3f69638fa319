//go:build linux

package main

import (
	"context"
	"time"
)

// longFreeze is more than the two --keepalive after which a silent peer is dead.
const longFreeze = 14 * time.Second

func wireFaults() []fault {
	under := func(d time.Duration, upwards, downwards condition) func(context.Context, *lab) error {
		return func(ctx context.Context, l *lab) error {
			l.wire.set(upwards, downwards)
			defer l.wire.both(condition{})
			return pause(ctx, d)
		}
	}
	frozen := condition{frozen: true}
	return []fault{
		{name: "delay", about: "the line takes 80 ms each way", lasts: 4 * time.Second, spared: everything, soak: true,
			inflict: under(4*time.Second, condition{delay: 80 * time.Millisecond}, condition{delay: 80 * time.Millisecond})},
		{name: "jitter", about: "each piece takes 0 to 200 ms, and what comes behind waits for it: what packets that overtake each other are to TCP",
			lasts: 4 * time.Second, spared: everything, soak: true,
			inflict: under(4*time.Second, condition{jitter: 200 * time.Millisecond}, condition{jitter: 200 * time.Millisecond})},
		{name: "loss", about: "one piece in 30 stands still for 400 ms: what a lost packet is to TCP", lasts: 5 * time.Second, spared: everything, soak: true,
			inflict: under(5*time.Second, condition{lose: 1. / 30, stall: 400 * time.Millisecond}, condition{lose: 1. / 30, stall: 400 * time.Millisecond})},
		{name: "rate", about: "the line carries 500 kB/s each way", lasts: 5 * time.Second, spared: everything, soak: true,
			inflict: under(5*time.Second, condition{rate: 500_000, queue: 100 * time.Millisecond}, condition{rate: 500_000, queue: 100 * time.Millisecond})},
		{name: "queue", about: "the line carries 500 kB/s each way, and takes 3 s of it at once", lasts: 6 * time.Second, spared: everything, soak: true,
			inflict: under(6*time.Second, condition{rate: 500_000, queue: 3 * time.Second}, condition{rate: 500_000, queue: 3 * time.Second})},
		{name: "freeze", about: "nothing passes for 3 s", lasts: 3 * time.Second, spared: everything, soak: true,
			inflict: under(3*time.Second, frozen, frozen)},
		{name: "freeze-up", about: "nothing passes from c to p for 14 s: p takes c for dead", lasts: longFreeze, spared: held, soak: true,
			inflict: under(longFreeze, frozen, condition{})},
		{name: "freeze-down", about: "nothing passes from p to c for 14 s: c takes p for dead", lasts: longFreeze, spared: held, soak: true,
			inflict: under(longFreeze, condition{}, frozen)},
		{name: "freeze-long", about: "nothing passes for 70 s, and nothing ends", lasts: 70 * time.Second, slow: true,
			inflict: under(70*time.Second, frozen, frozen)},
		{name: "forget", about: "nothing passes any more on the connections that there are, new ones do: a router that has lost its table", lasts: 2 * time.Second,
			spared: held, soak: true, inflict: func(ctx context.Context, l *lab) error {
				l.wire.forget()
				return pause(ctx, 2*time.Second)
			}},
		{name: "resets", about: "the connections are reset, five times, a second apart", lasts: 5 * time.Second, spared: []kind{get}, soak: true,
			inflict: func(ctx context.Context, l *lab) error {
				for range 5 {
					l.wire.cut(true)
					if err := pause(ctx, time.Second); err != nil {
						return err
					}
				}
				return nil
			}},
		{name: "cut-1s", about: "the connections end, and none is taken for 1 s", lasts: time.Second, spared: held, soak: true, inflict: cut(time.Second)},
		{name: "cut-5s", about: "the same for 5 s", lasts: 5 * time.Second, spared: held, soak: true, inflict: cut(5 * time.Second)},
		{name: "cut-20s", about: "the same for 20 s", lasts: 20 * time.Second, slow: true, inflict: cut(20 * time.Second)},
		{name: "cut-70s", about: "the same for 70 s", lasts: 70 * time.Second, slow: true, inflict: cut(70 * time.Second)},
		{name: "corrupt", about: "of one piece in 20 a bit is changed, then it is left out, sent twice, or its halves are exchanged, all with right checksums: TLS must notice",
			lasts: 8 * time.Second, soak: true, inflict: corrupt},
	}
}

func cut(d time.Duration) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		l.wire.refuse(true)
		defer l.wire.refuse(false)
		l.wire.cut(false)
		return pause(ctx, d)
	}
}

func corrupt(ctx context.Context, l *lab) error {
	defer l.wire.both(condition{})
	for _, d := range []damage{flip, drop, twice, swap} {
		l.wire.both(condition{damage: d, every: 20})
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}
