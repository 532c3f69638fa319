//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// soakTrials are one long run of each variant, in which faults follow each other at
// random, and between them nothing is the matter for up to three seconds.
func (o *options) soakTrials(stdout io.Writer) (all []*trial) {
	var list []fault
	for _, f := range faults() {
		if f.soak {
			list = append(list, f)
		}
	}
	var mu sync.Mutex // of stdout
	variants := []variant{asReleased}
	if o.raced != nil {
		variants = append(variants, withRace)
	}
	for _, v := range variants {
		about := fmt.Sprintf("one pair for %v; faults of these, at random: ", o.soak)
		for i, f := range list {
			if i > 0 {
				about += ", "
			}
			about += f.name
		}
		soak := fault{name: "soak", about: about, lasts: o.soak + time.Minute, inflict: func(ctx context.Context, l *lab) error {
			began := time.Now()
			n := 0
			for ; time.Since(began) < o.soak; n++ {
				f := list[l.rand.IntN(len(list))]
				mu.Lock()
				fmt.Fprintf(stdout, "%6.1f s  %-9s %s\n", time.Since(began).Seconds(), v.name, f.name)
				mu.Unlock()
				if err := l.suffer(ctx, f); err != nil {
					return fmt.Errorf("%s, after %.0f s: %w", f.name, time.Since(began).Seconds(), err)
				}
				if err := pause(ctx, time.Duration(l.rand.Int64N(int64(3*time.Second)))); err != nil {
					return err
				}
			}
			l.notef("%d faults", n)
			return nil
		}}
		all = append(all, &trial{fault: soak, variant: v, seed: o.seed})
	}
	return all
}
