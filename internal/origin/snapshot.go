package origin

import (
	"cmp"
	"slices"
	"time"

	"github.com/amahi/spdy"
)

// SessionInfo is a session at one moment.
type SessionInfo struct {
	ID         uint64
	Instance   string
	RemoteAddr string
	Since      time.Time
	Leaving    bool // finishes what it serves, takes nothing new
	InFlight   int  // streams open or waited for
	Available  int  // streams that could be opened without waiting
	Stats      spdy.Stats
}

// Info is an origin at one moment.
type Info struct {
	Name     Name
	Sessions []SessionInfo // oldest first
	Waiting  int           // requests that wait for it
}

// Snapshot returns the origins that have a session, or are waited for, by name.
func (t *Table) Snapshot() []Info {
	t.mu.Lock()
	var infos []Info
	var members [][]*Member
	left := make(map[*Member]bool)
	for _, e := range t.entries {
		all := slices.Concat(e.serving, e.leaving)
		if len(all) == 0 && e.waiting == 0 {
			continue
		}
		for _, m := range e.leaving {
			left[m] = true
		}
		infos = append(infos, Info{Name: e.name, Waiting: e.waiting})
		members = append(members, all)
	}
	t.mu.Unlock()

	for i, all := range members {
		slices.SortFunc(all, func(a, b *Member) int { return cmp.Compare(a.id, b.id) })
		for _, m := range all {
			infos[i].Sessions = append(infos[i].Sessions, SessionInfo{
				ID: m.id, Instance: m.instance, RemoteAddr: m.remote, Since: m.since, Leaving: left[m],
				InFlight: m.InFlight(), Available: m.Available(), Stats: m.Stats(),
			})
		}
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
