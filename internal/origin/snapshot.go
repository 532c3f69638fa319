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
	var infos []Info
	for _, e := range t.entries {
		if e.idle() {
			continue
		}
		info := Info{Name: e.name, Waiting: e.waiting}
		for _, m := range slices.Concat(e.serving, e.leaving, e.remote) {
			info.Sessions = append(info.Sessions, SessionInfo{m, m.left})
		}
		infos = append(infos, info)
	}
	t.mu.Unlock()

	for _, info := range infos {
		slices.SortFunc(info.Sessions, func(a, b SessionInfo) int { return cmp.Compare(a.id, b.id) })
	}
	slices.SortFunc(infos, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return infos
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
	// Under the lock, or a session that ends now would count twice or never.
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.past
	for _, e := range t.entries {
		for _, m := range e.serving {
			sum.add(m.Stats())
		}
		for _, m := range e.leaving {
			sum.add(m.Stats())
		}
	}
	return sum
}
