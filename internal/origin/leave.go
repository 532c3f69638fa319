package origin

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/amahi/spdy"
)

// watch takes m out of the table, where it goes away already, and again when it has
// ended.
func (t *Table) watch(e *entry, m *Member) {
	defer t.running.Done()
	why := m.Err()
	t.mu.Lock()
	e.leave(m)
	told := m.told
	m.told = true
	stopped := t.stopped
	t.mu.Unlock()

	// GoingAway is closed by a session that ends, too, some time before Done.
	if errors.Is(why, spdy.ErrGoingAway) {
		// One that names a fault is a loss: Ended says it.
		if !told && !stopped && inGoodOrder(why) {
			t.emit(Leaving, m, leavingBecause(why))
		}
		// The C that leaves decides how long it takes, and one whose stream ids are
		// used up has all the time it needs; a session that was replaced has its own
		// limit, in retire.
		m.Shutdown(t.ctx)
	}
	<-m.Done()

	stats, err := m.Stats(), m.Err()
	t.mu.Lock()
	t.past.add(stats)
	e.leaving = slices.DeleteFunc(e.leaving, func(o *Member) bool { return o == m })
	if e.sessions() == 0 {
		t.connected--
		t.served -= one(len(e.remote) == 0)
	}
	t.credentials.remove(m.credential, m.name)
	sessions, closed := len(e.serving), m.closed
	t.mu.Unlock()
	if closed || inGoodOrder(err) {
		err = nil
	}
	ended := Event{Kind: Ended, Member: m, Sessions: sessions, Lasted: time.Since(m.since), Err: err, Told: closed}
	if err != nil {
		ended.Frames = m.Frames()
	}
	t.cfg.OnEvent(ended)
}

// inGoodOrder reports whether a session ended as it was meant to.
func inGoodOrder(err error) bool {
	if se, ok := errors.AsType[*spdy.SessionError](err); ok && se.Status != spdy.GoAwayOK {
		return false // a GOAWAY that says what is wrong
	}
	return errors.Is(err, spdy.ErrClosed) || errors.Is(err, spdy.ErrGoingAway)
}

// leavingBecause returns why a session goes away that nobody told to, nil if its
// C wants it.
func leavingBecause(err error) error {
	if se, ok := errors.AsType[*spdy.SessionError](err); ok && !se.Remote {
		return se.Cause
	}
	return nil
}

func (t *Table) emit(kind EventKind, m *Member, err error) {
	t.mu.Lock()
	sessions := 0
	if e := t.entries[m.name]; e != nil {
		sessions = len(e.serving)
	}
	t.mu.Unlock()
	e := Event{Kind: kind, Member: m, Sessions: sessions, Lasted: time.Since(m.since), Err: err}
	if kind == Dropped {
		e.Frames = m.Frames()
	}
	t.cfg.OnEvent(e)
}

// retire lets m finish what it serves.
func (t *Table) retire(m *Member) {
	defer t.running.Done()
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.Drain)
	defer cancel()
	m.Shutdown(ctx)
}

// drop closes m at once.
func (t *Table) drop(kind EventKind, m *Member, err error) {
	t.mu.Lock()
	t.entries[m.name].leave(m)
	already := m.closed
	m.closed, m.told = true, true
	t.mu.Unlock()
	if !already {
		t.emit(kind, m, err)
	}
	m.Close()
}

// EndByCredential closes at once every session whose registration gone says is
// no longer allowed, and returns how many. gone must not call the table.
func (t *Table) EndByCredential(gone func(credential any, name Name) bool) int {
	t.mu.Lock()
	var members []*Member
	for _, e := range t.entries {
		for _, m := range slices.Concat(e.serving, e.leaving) {
			if gone(m.credential, m.name) {
				members = append(members, m)
			}
		}
	}
	t.mu.Unlock()
	var closing sync.WaitGroup
	for _, m := range members {
		// Ends when the connection is closed; waited for below.
		closing.Go(func() { t.drop(Revoked, m, nil) })
	}
	closing.Wait()
	return len(members)
}
