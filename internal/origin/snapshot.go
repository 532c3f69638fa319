package origin

import (
	"cmp"
	"slices"

	"github.com/amahi/spdy"
)

// SessionInfo is a session and its place at one moment.
type SessionInfo struct {
	*Member
	Leaving bool // finishes what it serves, takes nothing new
}

// Info is an origin at one moment.
type Info struct {
	Name     Name
	Sessions []SessionInfo // oldest first
	Waiting  int           // requests that wait for it
}

// Snapshot returns the origins that have a session, here or elsewhere, or are waited
// for, by name.
func (t *Table) Snapshot() []Info {
	t.mu.Lock()
	infos := make([]Info, 0, len(t.entries))
	var all []SessionInfo // of all of them: ten thousand of one each are no work for the allocator
	for _, e := range t.entries {
		if e.idle() {
			continue
		}
		from := len(all)
		all = e.appendSessions(all)
		infos = append(infos, Info{Name: e.name, Waiting: e.waiting, Sessions: all[from:len(all):len(all)]})
	}
	t.mu.Unlock()

	for _, info := range infos {
		byID(info.Sessions)
	}
	slices.SortFunc(infos, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return infos
}

// Sessions returns those of one origin, the oldest first.
func (t *Table) Sessions(name Name) []SessionInfo {
	t.mu.Lock()
	var list []SessionInfo
	if e := t.entries[name]; e != nil {
		list = e.appendSessions(nil)
	}
	t.mu.Unlock()
	byID(list)
	return list
}

// appendSessions is called with Table.mu.
func (e *entry) appendSessions(list []SessionInfo) []SessionInfo {
	for _, of := range [...][]*Member{e.serving, e.leaving, e.remote} {
		for _, m := range of {
			list = append(list, SessionInfo{m, m.left})
		}
	}
	return list
}

func byID(list []SessionInfo) {
	slices.SortFunc(list, func(a, b SessionInfo) int { return cmp.Compare(a.id, b.id) })
}

// Totals are sums over sessions. Resets are by [spdy.Status].
type Totals struct {
	Streams        uint64
	BytesSent      uint64 // of bodies, to the Cs
	BytesReceived  uint64 // of bodies, from the Cs
	ResetsSent     [12]uint64
	ResetsReceived [12]uint64
}

func (s *Totals) add(st spdy.Stats) {
	s.Streams += st.StreamsOpened
	s.BytesSent += st.BytesSent
	s.BytesReceived += st.BytesReceived
	for i := range st.ResetsSent {
		s.ResetsSent[i] += st.ResetsSent[i]
		s.ResetsReceived[i] += st.ResetsReceived[i]
	}
}

// Totals returns the sums over all sessions that are or were.
func (t *Table) Totals() Totals {
	// What was and who is are of one moment, or a session that ends now would count twice
	// or never. What each of ten thousand has done takes some milliseconds, for which no
	// request has to wait.
	t.mu.Lock()
	sum := t.past
	members := make([]*Member, 0, len(t.entries))
	for _, e := range t.entries {
		members = append(append(members, e.serving...), e.leaving...)
	}
	t.mu.Unlock()
	for _, m := range members {
		sum.add(m.Stats())
	}
	return sum
}
