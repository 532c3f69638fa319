package origin

import (
	"net/netip"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// addressPart: one visitor's address gets one part in so many of
// Config.MaxWaitingPerOrigin, and an IPv6 site addrkey.SiteFactor parts.
const addressPart = 8

// waiting counts the requests that wait in Table.Acquire, for all names together.
// Guarded by Table.mu.
type waiting struct {
	requests int
	bytes    int64              // the sum of Query.Cost
	from     map[netip.Addr]int // requests by addrkey.Addr of Query.From
	sites    map[netip.Addr]int // those of IPv6 by addrkey.Site
}

func newWaiting() waiting {
	return waiting{from: make(map[netip.Addr]int), sites: make(map[netip.Addr]int)}
}

// full reports whether q may not wait for e beside those that do.
func (w *waiting) full(c *Config, e *entry, q Query) bool {
	if w.requests >= c.MaxWaiting || e.waiting >= c.MaxWaitingPerOrigin || w.bytes+int64(q.Cost) > c.MaxWaitingBytes {
		return true
	}
	// No site has the zero Addr, nor has IPv4.
	one := max(1, c.MaxWaitingPerOrigin/addressPart)
	return q.From.IsValid() && (w.from[addrkey.Addr(q.From)] >= one || w.sites[addrkey.Site(q.From)] >= addrkey.SiteFactor*one)
}

// count notes that q begins to wait for e (n is 1), or ends it (-1).
func (w *waiting) count(e *entry, q Query, n int) {
	w.requests += n
	e.waiting += n
	w.bytes += int64(n) * int64(q.Cost)
	if !q.From.IsValid() {
		return
	}
	who := addrkey.Addr(q.From)
	add(w.from, who, n)
	if who.Is6() {
		add(w.sites, addrkey.Site(who), n)
	}
}

// add adds n to what m has for key, and forgets it at 0.
func add(m map[netip.Addr]int, key netip.Addr, n int) {
	if m[key] += n; m[key] == 0 {
		delete(m, key)
	}
}
