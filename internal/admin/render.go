package admin

import (
	"sync"
	"time"
)

// renderedFor is how old the events of a page may be that somebody is sent.
const renderedFor = 900 * time.Millisecond

// renders are the events of pages as they were made last, so that all who follow a page
// share them. The zero value is empty. As many are kept as there may be streams.
type renders struct {
	mu   sync.Mutex
	made map[string]render // guarded by mu; by the page's address
}

// render is what was made of one page.
type render struct {
	at     time.Time
	events []byte // not changed
}

// get returns the events of a page, which events makes if there are none that are new, or
// if they are the first that somebody is sent: the page that has just been loaded may be
// younger than what there is. They must not be changed.
func (r *renders) get(address string, first bool, events func() []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if made, ok := r.made[address]; ok && !first && time.Since(made.at) < renderedFor {
		return made.events
	}
	for old, made := range r.made {
		if time.Since(made.at) >= renderedFor {
			delete(r.made, old)
		}
	}
	if r.made == nil {
		r.made = make(map[string]render)
	}
	made := render{time.Now(), events()}
	if _, again := r.made[address]; again || len(r.made) < maxStreams { // streams come and go, too
		r.made[address] = made
	}
	return made.events
}
