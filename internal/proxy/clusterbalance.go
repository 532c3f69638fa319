package proxy

import (
	"context"
	"time"

	"github.com/amahi/spdy-proxy/internal/origin"
)

const (
	// A node with more than shedAbove of what the nodes have on average, and shedLeast
	// sessions, sends one in shedPart of them to others each shedEvery, and one at least:
	// a node that was started again gets its part of the Cs within minutes, and nobody
	// sees it.
	shedAbove = 1.25
	shedLeast = 100
	shedPart  = 200
	shedEvery = time.Second

	// A C that is back within backWithin goes nowhere else, and is not sent away again.
	// So many are remembered.
	backWithin = time.Minute
	maxBack    = 10_000
)

// toShed returns how many of own sessions a node sends away at once, where other nodes
// have so many.
func toShed(own int, others []int) int {
	sum := own
	for _, n := range others {
		sum += n
	}
	mean := float64(sum) / float64(1+len(others))
	if len(others) == 0 || own < shedLeast || float64(own) <= shedAbove*mean {
		return 0
	}
	return max(1, own/shedPart)
}

// balance sends Cs to nodes that have fewer, until ctx ends.
func (c *cluster) balance(ctx context.Context) {
	for wait(ctx, shedEvery) {
		var others []int
		for _, n := range c.registry.Nodes() {
			// Cs can go to no other.
			if n.Linked && n.Synced && !n.Draining && n.ControlAddr != "" {
				others = append(others, n.Sessions)
			}
		}
		if n := c.shed(others); n > 0 {
			c.log.Debug("this node has more origins than others, some are sent there", "sessions", n)
		}
	}
}

// shed sends away what is too much beside others, and returns how many that were.
func (c *cluster) shed(others []int) int {
	var members []*origin.Member
	c.mu.Lock()
	n := toShed(len(c.own), others)
	if n > 0 && len(c.sent) > maxBack {
		clear(c.sent)
	}
	for _, m := range c.own { // in any order
		if len(members) == n {
			break
		}
		if _, back := c.back[m.Instance()]; m.Instance() == "" || back || time.Since(m.Since()) < backWithin {
			continue
		}
		c.sent[m.Instance()] = time.Now()
		members = append(members, m)
	}
	c.mu.Unlock()
	for _, m := range members {
		c.p.origins.Retire(m)
	}
	return len(members)
}

// cameLocked notes a session here whose C may have been sent away a moment ago.
func (c *cluster) cameLocked(m *origin.Member) {
	at, sent := c.sent[m.Instance()]
	if !sent {
		return
	}
	delete(c.sent, m.Instance())
	if time.Since(at) < backWithin {
		if len(c.back) >= maxBack {
			clear(c.back)
		}
		c.back[m.Instance()] = struct{}{}
	}
}
