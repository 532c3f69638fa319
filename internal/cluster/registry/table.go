package registry

import (
	"slices"

	"github.com/amahi/spdy-proxy/internal/originname"
)

// table is a node's own part of the table.
type table struct {
	entries map[uint64]wireEntry // by SID
	byName  map[originname.Name][]uint64
	sorted  []uint64 // SIDs in order, if not stale
	stale   bool
	seq     uint64   // of the last event
	sum     uint64   // of all entries' sums
	up      []uint64 // changes since the last event
	down    []uint64
}

func newTable() table {
	return table{entries: make(map[uint64]wireEntry), byName: make(map[originname.Name][]uint64)}
}

// add reports false if there is no room for a session.
func (t *table) add(o Own) bool {
	if _, there := t.entries[o.SID]; there {
		return true
	}
	if len(t.entries) >= maxEntries {
		return false
	}
	e := wireEntry{o.SID, o.Name, o.Instance, min(max(o.Max, 0), maxStreams), stamp(o.Since)}
	t.entries[o.SID] = e
	t.byName[o.Name] = append(t.byName[o.Name], o.SID)
	t.sum += e.sum()
	t.up = append(t.up, o.SID)
	t.stale = true
	return true
}

func (t *table) remove(sid uint64) {
	e, there := t.entries[sid]
	if !there {
		return
	}
	delete(t.entries, sid)
	if list := slices.DeleteFunc(t.byName[e.Name], func(s uint64) bool { return s == sid }); len(list) > 0 {
		t.byName[e.Name] = list
	} else {
		delete(t.byName, e.Name)
	}
	t.sum -= e.sum()
	t.down = append(t.down, sid)
	t.stale = true
}

// changed reports whether there is an event to be told.
func (t *table) changed() bool { return len(t.up)+len(t.down) > 0 }

// event returns the next event, nil if there is none. What was up for less than the
// time between two events is only down: others may know of it all the same.
func (t *table) event() *eventMessage {
	if !t.changed() {
		return nil
	}
	t.seq++
	m := &eventMessage{Seq: t.seq}
	for len(t.up) > 0 && len(m.Up) < maxInMany {
		if e, there := t.entries[t.up[0]]; there {
			m.Up = append(m.Up, e)
		}
		t.up = t.up[1:]
	}
	if len(t.up) == 0 {
		t.up = nil
		n := min(len(t.down), maxInMany-len(m.Up))
		m.Down, t.down = t.down[:n:n], t.down[n:]
	}
	return m
}

// page returns the part of the table after a SID.
func (t *table) page(after uint64) *pageMessage {
	if t.stale {
		t.sorted = t.sorted[:0]
		for sid := range t.entries {
			t.sorted = append(t.sorted, sid)
		}
		slices.Sort(t.sorted)
		t.stale = false
	}
	i, found := slices.BinarySearch(t.sorted, after)
	if found {
		i++
	}
	rest := t.sorted[i:]
	m := &pageMessage{Seq: t.seq, More: len(rest) > maxInMany, Entries: make([]wireEntry, 0, min(len(rest), maxInMany))}
	for _, sid := range rest[:min(len(rest), maxInMany)] {
		m.Entries = append(m.Entries, t.entries[sid])
	}
	return m
}
