package origin

import (
	"slices"
	"time"
)

// attachLocked takes in a session of another node's.
func (t *Table) attachLocked(m *Member) error {
	if t.stopped {
		return ErrStopping
	}
	t.purgeLocked()
	e := t.entryLocked(m.name)
	if e.sessions()+len(e.remote) == 0 {
		t.served++
	}
	t.lastID++
	m.id = t.lastID
	e.remote = append(e.remote, m)
	e.change()
	return nil
}

// Withdraw takes a session of another node's out at once. Requests on it go on. The
// name counts as connected a moment ago, as any other.
func (t *Table) Withdraw(m *Member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.left || m.node == "" {
		return
	}
	m.left = true
	e := t.entries[m.name]
	e.remote = slices.DeleteFunc(e.remote, func(o *Member) bool { return o == m })
	if !e.served() {
		e.lost = time.Now()
	}
	if e.sessions()+len(e.remote) == 0 {
		t.served--
	}
}
