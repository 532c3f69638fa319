package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// innocentAddr is where the innocent visitor comes from.
	innocentAddr = "127.0.0.3"

	innocentEvery    = 100 * time.Millisecond
	innocentPatience = 10 * time.Second // then it gives up
)

// An innocent asks for a small file every tenth of a second, whether the one
// before was answered or not, on a connection of its own each time.
type innocent struct {
	site *site
	stop context.CancelFunc
	all  sync.WaitGroup

	mu     sync.Mutex
	took   []time.Duration // guarded by mu
	failed map[string]int  // guarded by mu; by reason
}

func (s *site) newInnocent() *innocent { return &innocent{site: s, failed: map[string]int{}} }

func (v *innocent) start(ctx context.Context) {
	running, stop := context.WithCancel(ctx)
	v.stop = stop
	client := v.site.client(innocentAddr)
	// Ends with running; finish waits for it and for each request.
	v.all.Go(func() {
		tick := time.NewTicker(innocentEvery)
		defer tick.Stop()
		for {
			// Ends within innocentPatience.
			v.all.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, innocentPatience)
				defer cancel()
				began := time.Now()
				err := v.site.ask(ctx, client)
				v.mu.Lock()
				defer v.mu.Unlock()
				v.took = append(v.took, time.Since(began))
				if err != nil {
					v.failed[err.Error()]++
				}
			})
			select {
			case <-tick.C:
			case <-running.Done():
				return
			}
		}
	})
}

// finish waits for what was asked, and adds how it went to a verdict.
func (v *innocent) finish(to *verdict) {
	if v.stop == nil {
		return // it never came
	}
	v.stop()
	v.all.Wait()
	slices.Sort(v.took)
	to.p50, to.worst = v.took[len(v.took)/2], v.took[len(v.took)-1]
	limit := maxWait
	if v.site.patience > 0 {
		limit = v.site.patience
	}
	if late, _ := slices.BinarySearch(v.took, limit+1); late < len(v.took) {
		to.problems = append(to.problems, fmt.Sprintf("%d of %d innocent requests took more than %v", len(v.took)-late, len(v.took), limit))
	}
	for _, why := range slices.Sorted(maps.Keys(v.failed)) {
		if why == v.site.excuse {
			to.notes = append(to.notes, fmt.Sprintf("%d of %d innocent requests: %s", v.failed[why], len(v.took), why))
			continue
		}
		to.problems = append(to.problems, fmt.Sprintf("%d of %d innocent requests failed: %s", v.failed[why], len(v.took), why))
	}
}
