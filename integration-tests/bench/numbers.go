package main

import (
	"math"
	"slices"
	"sync"
	"time"
)

// durations collects how long requests took.
type durations struct {
	mu   sync.Mutex
	list []time.Duration // guarded by mu until all that add have ended
}

func (d *durations) add(list []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, list...)
}

// quantiles returns the median and the 99th percentile, in milliseconds.
func (d *durations) quantiles() (p50, p99 float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.list)
	ms := func(q float64) float64 { return float64(quantile(d.list, q)) / float64(time.Millisecond) }
	return ms(0.50), ms(0.99)
}

// quantile returns the smallest element that at least the part q of a sorted
// list does not exceed (the nearest rank), the zero value if it is empty.
func quantile[T any](sorted []T, q float64) (v T) {
	if len(sorted) == 0 {
		return v
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// median returns the middle of a list in any order; of two in the middle their
// mean. NaN if the list is empty.
func median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(list))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
