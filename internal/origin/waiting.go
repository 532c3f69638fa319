package origin

import "net/netip"

// waiting counts the requests that wait in Table.Acquire, for all names together.
// Guarded by Table.mu.
type waiting struct {
	requests int
	bytes    int64              // the sum of Query.Cost
	from     map[netip.Addr]int // requests by Query.From
}

// full reports whether q may not wait for e beside those that do.
func (w *waiting) full(c *Config, e *entry, q Query) bool {
	return w.requests >= c.MaxWaiting || e.waiting >= c.MaxWaitingPerOrigin || w.bytes+int64(q.Cost) > c.MaxWaitingBytes ||
		q.From.IsValid() && w.from[q.From] >= max(1, c.MaxWaitingPerOrigin/8)
}

// count notes that q begins to wait for e (n is 1), or ends it (-1).
func (w *waiting) count(e *entry, q Query, n int) {
	w.requests += n
	e.waiting += n
	w.bytes += int64(n) * int64(q.Cost)
	if q.From.IsValid() {
		if w.from[q.From] += n; w.from[q.From] == 0 {
			delete(w.from, q.From)
		}
	}
}
