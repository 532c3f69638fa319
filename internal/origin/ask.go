package origin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// askTick is how often Ask sends some of its requests, and askAtOnce how many go
	// together where they need not be more.
	askTick   = 10 * time.Millisecond
	askAtOnce = 10
)

// Ask sends a request of P's own, as request makes it, on each session whose
// Registration says DialsAgain, of those alone that have come by the front port, or
// have not. It returns those that answered it with success before ctx ended.
//
// The requests are sent little by little over a time, or sooner if there are fewer than
// a thousand for each second of it: thousands at once would have whatever a visitor asks
// for meanwhile stand in line behind all of them, at each step of its way.
func (t *Table) Ask(ctx context.Context, byFront bool, over time.Duration, request func(context.Context) *http.Request) map[*Member]bool {
	members := slices.DeleteFunc(t.serving(), func(m *Member) bool { return !m.dialsAgain || m.byFront != byFront })
	ticks := max(1, int(over/askTick))
	atOnce := max(askAtOnce, (len(members)+ticks-1)/ticks)
	begun := time.Now()
	var mu sync.Mutex
	answered := make(map[*Member]bool) // guarded by mu
	var asking sync.WaitGroup
	for i, m := range members {
		if i > 0 && i%atOnce == 0 {
			// When it is due, whatever came between: who runs late catches up.
			select {
			case <-time.After(time.Until(begun.Add(time.Duration(i/atOnce) * askTick))):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
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
		ok := t.dismissLocked(m)
		t.mu.Unlock()
		if !ok {
			return
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
	// Another node's are its own to end.
	members := slices.DeleteFunc(slices.Clone(e.serving), func(m *Member) bool { return m.node != "" })
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

// Retire has m take no more requests and finish what it serves, as when another
// registration has replaced it: its C has connected to another node since.
func (t *Table) Retire(m *Member) {
	t.mu.Lock()
	ok := m.node == "" && !m.left && t.dismissLocked(m)
	if ok {
		t.entries[m.name].leave(m)
	}
	t.mu.Unlock()
	if ok {
		t.emit(Replaced, m, nil)
		// Ends within Drain, or with ctx; Shutdown waits for it.
		go t.retire(m)
	}
}

// dismissLocked prepares for retire. It reports false when the table is stopped:
// Shutdown sees to all then.
func (t *Table) dismissLocked(m *Member) bool {
	if t.stopped {
		return false
	}
	t.running.Add(1)
	m.told = true
	return true
}

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
