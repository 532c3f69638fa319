package inspect

import (
	"slices"
	"sync/atomic"
	"time"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

// bounds are the upper bounds of the classes in which durations are counted: fine
// enough to tell a quantile within a fifth, and few enough to be kept for each of
// ten thousand origins. A last class has what is longer.
var bounds = [...]time.Duration{
	ms / 10, ms / 5, ms * 3 / 10, ms / 2, ms * 7 / 10,
	1 * ms, 1500 * ms / 1000, 2 * ms, 2500 * ms / 1000, 3 * ms, 4 * ms, 5 * ms, 7 * ms,
	10 * ms, 15 * ms, 20 * ms, 25 * ms, 30 * ms, 40 * ms, 50 * ms, 70 * ms,
	100 * ms, 150 * ms, 200 * ms, 250 * ms, 300 * ms, 400 * ms, 500 * ms, 700 * ms,
	1 * s, 1500 * ms, 2 * s, 2500 * ms, 3 * s, 4 * s, 5 * s, 7 * s,
	10 * s, 15 * s, 20 * s, 30 * s, 45 * s, 60 * s, 120 * s, 300 * s, 600 * s, 1800 * s, 7200 * s,
}

const classesOfTime = len(bounds) + 1

// histogram counts durations. Its methods may be called at once.
type histogram struct {
	counts [classesOfTime]atomic.Uint64
	sum    atomic.Int64 // a time.Duration
}

func (h *histogram) observe(d time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], d)
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// load returns what was counted so far.
func (h *histogram) load() Histogram {
	c := Histogram{Sum: time.Duration(h.sum.Load())}
	for i := range h.counts {
		c.Counts[i] = h.counts[i].Load()
	}
	return c
}

// Histogram is how many durations there were of each class, which ends at the
// bound of the same index; the last one has no end.
type Histogram struct {
	Counts [classesOfTime]uint64
	Sum    time.Duration
}

// Below returns how many durations there were in all, and how many of at most d,
// which must be a bound.
func (h *Histogram) Below(d time.Duration) (below, all uint64) {
	for i, n := range h.Counts {
		all += n
		if i < len(bounds) && bounds[i] <= d {
			below += n
		}
	}
	return below, all
}

func (h *Histogram) add(o *Histogram) {
	for i := range h.Counts {
		h.Counts[i] += o.Counts[i]
	}
	h.Sum += o.Sum
}

// minus returns what came after old.
func (h *Histogram) minus(old *[classesOfTime]uint32) *[classesOfTime]uint32 {
	var d [classesOfTime]uint32
	for i := range d {
		d[i] = uint32(h.Counts[i]) - old[i] // both may have wrapped
	}
	return &d
}

// short returns the counts, of which differences are taken.
func (h *Histogram) short() (c [classesOfTime]uint32) {
	for i := range c {
		c[i] = uint32(h.Counts[i])
	}
	return c
}

// quantiles returns how long the middle one took, and the one below which 99 of 100
// are; 0 if there is none.
func quantiles(counts *[classesOfTime]uint32) (p50, p99 time.Duration) {
	return quantile(counts, 0.5), quantile(counts, 0.99)
}

// quantile takes the durations of a class as spread evenly over it.
func quantile(counts *[classesOfTime]uint32, q float64) time.Duration {
	all := 0.0
	for _, n := range counts {
		all += float64(n)
	}
	rank := q * all
	for i, n := range counts {
		if n == 0 || rank > float64(n) {
			rank -= float64(n)
			continue
		}
		if i == len(bounds) {
			return bounds[i-1]
		}
		from := time.Duration(0)
		if i > 0 {
			from = bounds[i-1]
		}
		return from + time.Duration(float64(bounds[i]-from)*rank/float64(n))
	}
	return 0
}
