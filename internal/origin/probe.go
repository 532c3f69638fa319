package origin

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// maxPings is how often a session that sends frames but no answer to a PING is
// asked again. Its PING waits behind data on a slow link; it is not dead.
const maxPings = 15

// Probe asks the sessions of a name, as a registration of it does: there was one at
// another node, by the same C perhaps. It waits for none.
func (t *Table) Probe(name Name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	if e == nil || t.stopped {
		return
	}
	for _, m := range e.toAsk() {
		t.running.Add(1)
		// As in Register.
		go t.probe(m)
	}
}

// toAsk returns the sessions here that no PING is under way to, for probe.
func (e *entry) toAsk() (list []*Member) {
	for _, m := range slices.Concat(e.leaving, e.serving) {
		if !m.asked {
			m.asked = true
			list = append(list, m)
		}
	}
	return list
}

// probe closes m if it is silent. One that sends other frames while its answer
// is awaited is alive: on a slow link the answer stands in line behind data.
func (t *Table) probe(m *Member) {
	defer t.running.Done()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		m.asked = false
	}()
	for range maxPings {
		heard := m.Stats().FramesReceived
		ctx, cancel := context.WithTimeout(t.ctx, t.cfg.PingTimeout)
		_, err := m.PingContext(ctx)
		silent := errors.Is(ctx.Err(), context.DeadlineExceeded)
		cancel()
		if err == nil || !silent {
			return // it has answered, or it ends: that is told elsewhere
		}
		select {
		case <-m.Done():
			return
		default:
		}
		if m.Stats().FramesReceived == heard {
			t.drop(Dropped, m, fmt.Errorf("no answer to a PING in %v", t.cfg.PingTimeout))
			return
		}
	}
}
