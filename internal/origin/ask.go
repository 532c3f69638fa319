package origin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
)

// Ask sends a request of P's own, as request makes it, on each session whose
// Registration says DialsAgain, of those alone that have come by the front port, or
// have not. It returns those that answered it with success before ctx ended.
func (t *Table) Ask(ctx context.Context, byFront bool, request func(context.Context) *http.Request) map[*Member]bool {
	var mu sync.Mutex
	answered := make(map[*Member]bool) // guarded by mu
	var asking sync.WaitGroup
	for _, m := range t.serving() {
		if !m.dialsAgain || m.byFront != byFront {
			continue
		}
		// Ends with the answer, the session or ctx; waited for below.
		asking.Go(func() {
			resp, err := m.RoundTrip(request(ctx))
			if err != nil {
				return
			}
			resp.Body.Close()
			if resp.StatusCode/100 == 2 {
				mu.Lock()
				defer mu.Unlock()
				answered[m] = true
			}
		})
	}
	asking.Wait()
	return answered
}

// Dismiss has each session finish what it serves, but those to keep, as if another
// had replaced it. It waits for none.
func (t *Table) Dismiss(keep map[*Member]bool) {
	for _, m := range t.serving() {
		if keep[m] {
			continue
		}
		t.mu.Lock()
		stopped := t.stopped
		if !stopped {
			t.running.Add(1)
			m.told = true
		}
		t.mu.Unlock()
		if stopped {
			return // Shutdown sees to them
		}
		// Ends within Drain, or with ctx; Shutdown waits for it.
		go t.retire(m)
	}
}

// Disconnect has each session of a name finish what it serves, as if another had
// replaced it, and returns how many there were: their Cs connect anew. It waits for
// none.
func (t *Table) Disconnect(name Name) int {
	t.mu.Lock()
	e := t.entries[name]
	if e == nil || t.stopped {
		t.mu.Unlock()
		return 0
	}
	members := slices.Clone(e.serving)
	for _, m := range members {
		e.leave(m)
		m.told = true
	}
	t.running.Add(len(members))
	t.mu.Unlock()
	for _, m := range members {
		t.emit(Leaving, m, errDisconnected)
		// Ends within Drain, or with ctx; Shutdown waits for it.
		go t.retire(m)
	}
	return len(members)
}

var errDisconnected = errors.New("the operator has it connect anew")

// serving returns the sessions that take requests.
func (t *Table) serving() []*Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	var members []*Member
	for _, e := range t.entries {
		members = append(members, e.serving...)
	}
	return members
}
