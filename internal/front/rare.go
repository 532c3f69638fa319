package front

import (
	"sync"
	"time"
)

// rareEvery is how often a line is logged about what anybody can cause at will.
const rareEvery = time.Minute

// rare counts such events between the lines about them.
type rare struct {
	mu sync.Mutex
	// Guarded by mu.
	next time.Time // of a line
	n    int
}

// happened counts one event at now. It returns how many there were since the
// last line if it is time for another, else 0.
func (r *rare) happened(now time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if now.Before(r.next) {
		return 0
	}
	n, r.n = r.n, 0
	r.next = now.Add(rareEvery)
	return n
}
