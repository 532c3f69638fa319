package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// A comeback is how soon so many origins are all back when p is killed and started
// again at once, with its samples in the order of the figures below.
type comeback struct {
	n int
	cell
}

const (
	comebackTook   = iota // s, from the start of the new p
	comebackPublic        // s of CPU that p takes until then
	comebackOrigin        // s of CPU that all origins take until then
	comebackIdle          // KB that p has resident for each idle origin
)

// comebackSettle is how long all is quiet before what p has resident is read: what is
// garbage goes back to the system seconds after the last has come.
const comebackSettle = 10 * time.Second

func comebacks() []comeback { return []comeback{{n: 100}, {n: 1000}, {n: 9000}} }

func (c *comeback) sample(ctx context.Context, b *bench) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*budget)
	defer cancel()
	none, err := upMany(ctx, b, 0)
	if err != nil {
		return nil, err
	}
	empty, err := process.Resident(none.public)
	none.stop()
	if err != nil {
		return nil, err
	}
	m, err := upMany(ctx, b, c.n)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	select {
	case <-time.After(comebackSettle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	full, err := process.Resident(m.public)
	if err != nil {
		return nil, err
	}
	before, err := process.CPU(m.origin)
	if err != nil {
		return nil, err
	}
	m.public[0].Kill()
	m.public = nil
	began := time.Now()
	if err := m.startP(b); err != nil {
		return nil, err
	}
	if err := m.present(ctx); err != nil {
		return nil, err
	}
	took := time.Since(began)
	public, err := process.CPU(m.public)
	if err != nil {
		return nil, err
	}
	after, err := process.CPU(m.origin)
	if err != nil {
		return nil, err
	}
	return sample{took.Seconds(), public.Seconds(), (after - before).Seconds(), float64(full-empty) / float64(c.n) / 1000}, nil
}

func comebackTable(all []comeback) string {
	var text strings.Builder
	text.WriteString("\n## After p was killed\n\nSo many idle origins, when p is killed and started again at once: when the last of them is back, what CPU that takes, " +
		"and what p has resident for each when all has been quiet for ten seconds.\n\n")
	rows := [][]string{{"connected origins", "all back after, s", "CPU of p, s", "CPU of all origins, s", "memory of p an origin, KB"}}
	for _, c := range all {
		row := []string{thousands(int64(c.n)), "failed", "failed", "failed", "failed"}
		for i, v := range c.medians() {
			row[i+1] = number(v)
		}
		rows = append(rows, row)
	}
	text.WriteString(table(rows))
	for _, c := range all {
		for _, why := range c.failed {
			fmt.Fprintf(&text, "\n%d failed in a round: %s\n", c.n, strings.ReplaceAll(why, "\n", " "))
		}
	}
	return text.String()
}
