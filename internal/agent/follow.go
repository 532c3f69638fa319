package agent

import (
	"cmp"
	"hash/fnv"
	"net/http"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
)

const (
	// defaultSpread is how many Ps are connected to, of several that are one.
	defaultSpread = 2
	// maxSpread bounds Config.Spread against a slip of the finger.
	maxSpread = 64

	// maxKnown is how many Ps are remembered.
	maxKnown = 64
	// avoidFailed is for how long a P that could not be reached comes after others,
	// avoidLeft is the same for one that has said goodbye, or was lost.
	avoidFailed = 10 * time.Second
	avoidLeft   = 5 * time.Second

	// A connection to a P that another loop has one to is let go, and the pause before
	// the next attempt is twice as long each time, up to this.
	maxDoublePause = time.Minute
	// idlePause is how long a loop waits for a P that no other has at most.
	idlePause = time.Minute
)

// follower is what an Agent knows of Ps that are one, and which of them it has. Guarded
// by Agent.mu.
type follower struct {
	peers   map[string]*knownPeer
	site    *string        // of the P that was reached first, nil if it does not say
	told    int            // how often Ps have told of others
	held    map[place]int  // sessions that take requests
	dialled map[place]bool // targets that are being dialled
	extra   bool           // the loops beyond Config.Proxies run
	changed chan struct{}  // closed, and replaced, when there may be another target
}

// knownPeer is one of several Ps.
type knownPeer struct {
	control.Peer
	told  int       // follower.told when it was last in the list
	avoid time.Time // others come before it until then
}

// place is a connection to a P: of those with one number, which are as many as
// Config.Connections, each goes to another P.
type place struct {
	number int
	server string
}

func newFollower() follower {
	return follower{peers: make(map[string]*knownPeer), held: make(map[place]int), dialled: make(map[place]bool), changed: make(chan struct{})}
}

// followsLocked reports whether there are several Ps that are one, and the agent may choose.
func (a *Agent) followsLocked() bool { return !a.cfg.NoFollow && len(a.follow.peers) > 1 }

// wakeLocked has those who wait for a target look again.
func (a *Agent) wakeLocked() {
	close(a.follow.changed)
	a.follow.changed = make(chan struct{})
}

// told takes what a P says of those that there are. It begins the loops that this makes
// room for. at is that P, as it was reached; the zero Peer, if it is not known.
func (a *Agent) told(at control.Peer, list []control.Peer) {
	if len(list) == 0 || a.cfg.NoFollow {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f := &a.follow
	f.told++
	for _, p := range list {
		a.knowLocked(p)
		if at.ID == p.ID {
			at = control.Peer{}
			if f.site == nil {
				f.site = &p.Site
			}
		}
	}
	if at.ID != "" {
		a.knowLocked(at) // it does not tell of itself, as it has no address for all
	}
	// Those that are not told of any more may only be out of that P's sight.
	for len(f.peers) > maxKnown {
		oldest := ""
		for id, k := range f.peers {
			if oldest == "" || k.told < f.peers[oldest].told {
				oldest = id
			}
		}
		delete(f.peers, oldest)
	}
	if a.followsLocked() && !f.extra && a.spawn != nil {
		f.extra = true
		a.spawn()
	}
	a.wakeLocked()
}

// knowLocked notes that a P is there.
func (a *Agent) knowLocked(p control.Peer) {
	k := a.follow.peers[p.ID]
	if k == nil {
		k = new(knownPeer)
		a.follow.peers[p.ID] = k
	}
	if k.Addr != p.Addr {
		k.avoid = time.Time{}
	}
	k.Peer, k.told = p, a.follow.told
}

// target is where a loop dials.
type target struct {
	addr  string // "": nowhere before changed is closed, or a minute is over
	place *place // that is dialled until reached, nil if it is not known which
}

// target returns where l dials next, and what is closed when there may be another
// answer. Whatever it is, arrived is called when it is over.
func (a *Agent) target(l *loop) (to target, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := &a.follow
	// Whatever was told, the first way is the one that somebody has given, and who is
	// asked for another connection makes it to the same P.
	switch {
	case l.before != nil:
		return target{addr: l.addr}, f.changed
	case l.first || !a.followsLocked():
		return target{addr: l.home}, f.changed
	}
	var best *knownPeer
	now := time.Now()
	for _, k := range f.peers {
		p := place{l.number, k.ID}
		if f.held[p] == 0 && !f.dialled[p] && (best == nil || a.compareLocked(k, best, now) < 0) {
			best = k
		}
	}
	if best == nil {
		return target{}, f.changed
	}
	// What was given may lead to a P that cannot be reached in another way.
	if l.attempts++; l.attempts%2 == 0 && now.Before(best.avoid) {
		return target{addr: l.home}, f.changed
	}
	p := place{l.number, best.ID}
	f.dialled[p] = true
	return target{best.Addr, &p}, f.changed
}

// arrived says what came of a target: the P that it led to, "" if none.
func (a *Agent) arrived(to target, server string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if to.place == nil {
		return
	}
	delete(a.follow.dialled, *to.place)
	// It may lead to another one than it did.
	if k := a.follow.peers[to.place.server]; server != to.place.server && k != nil {
		k.avoid = time.Now().Add(avoidFailed)
		a.wakeLocked()
	}
}

// compareLocked orders the Ps for this agent: those that are there come first, then those
// of its site, then by a number that is another for each agent, so that those of one P
// that is gone go to all the others.
func (a *Agent) compareLocked(k, l *knownPeer, now time.Time) int {
	f := &a.follow
	return cmp.Or(
		compareBool(now.Before(k.avoid), now.Before(l.avoid)),
		compareBool(k.told < f.told, l.told < f.told),
		compareBool(f.site != nil && k.Site != *f.site, f.site != nil && l.Site != *f.site),
		cmp.Compare(a.rank(l.ID), a.rank(k.ID)),
		strings.Compare(k.ID, l.ID),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// rank is a number of this agent and a P (rendezvous hashing).
func (a *Agent) rank(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(a.id + " " + id))
	// FNV's last bytes change little in the upper bits.
	n := h.Sum64()
	n ^= n >> 33
	n *= 0xff51afd7ed558ccd
	return n ^ n>>33
}

// take notes that l has a connection to a P, false if another loop of its number has
// one: it is not for l.
func (a *Agent) take(l *loop, server string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := place{l.number, server}
	if a.followsLocked() && a.follow.held[p] > 0 && l.before == nil {
		return false
	}
	a.follow.held[p]++
	return true
}

// leave takes a take back: l looks for another P, and others have room for this one.
func (a *Agent) leave(l *loop, server string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := place{l.number, server}
	if a.follow.held[p]--; a.follow.held[p] == 0 {
		delete(a.follow.held, p)
	}
	if k := a.follow.peers[server]; k != nil && l.before == nil {
		k.avoid = time.Now().Add(avoidLeft)
	}
	a.wakeLocked()
}

// others is h for one session, but for what P says by itself of other Ps.
func (a *Agent) others(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peers, told := control.ToldPeers(r)
		if !told {
			h.ServeHTTP(w, r)
			return
		}
		a.told(control.Peer{}, peers)
		w.WriteHeader(http.StatusNoContent)
	})
}

// extraLoops returns the loops beyond those to Config.Proxies.
func (a *Agent) extraLoops() []*loop {
	spread := cmp.Or(a.cfg.Spread, defaultSpread)
	var loops []*loop
	for i := len(a.cfg.Proxies); i < spread; i++ {
		for j := range a.cfg.Connections {
			l := newLoop(a, a.cfg.Proxies[i%len(a.cfg.Proxies)], i*a.cfg.Connections+j)
			l.first, l.dialled = false, true
			loops = append(loops, l)
		}
	}
	return loops
}
