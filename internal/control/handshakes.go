package control

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// When full/crowdedPart handshakes are unfinished, each newcomer puts another one
// out with a chance that grows from crowdedRate to certainty at full, as sshd's
// MaxStartups has it.
const (
	crowdedPart = 2
	crowdedRate = 0.3
)

// Nobody is put out while P has its part to do, nor before its peer was awaited for
// answerTime, in which a packet that was lost has come again: many Cs that come back at
// once shall not put each other out, for whoever begins anew costs twice. answerTime is of
// all waits for a peer together: else a byte now and then would keep a place. It is given
// to networks that have no more than 1/modestPart of all places.
const (
	answerTime = 2 * time.Second
	modestPart = 32
)

// errCrowded ends a handshake that had to make room for another.
var errCrowded = errors.New("dropped, too many handshakes are unfinished")

// site is where a peer is: its address, and the network that it is likely to
// have the whole of. Whoever has one IPv6 address has the /64, and often a /48.
type site struct{ addr, net string }

// siteOf returns the site of an address.
func siteOf(addr net.Addr) site {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return site{addr.String(), addr.String()}
	}
	ip := tcp.AddrPort().Addr()
	if !ip.IsValid() {
		return site{addr.String(), addr.String()}
	}
	return site{addrkey.Text(ip), addrkey.Net(ip).String()}
}

// handshakes are those that are not finished, a bounded number of them. No
// newcomer is refused: another one goes, of the address that has most in the
// network that has most, so that whoever wants to keep the others out has to come
// again and again, from as many networks as there are places. A newcomer waits
// while nobody may go.
//
// When there is no room it is the oldest of those, and a random one goes early when
// it is crowded. With the first rule alone, somebody who fills all the places anew
// in the time of one handshake would drop every newcomer. With both, full is seldom
// reached, and one in e gets through.
type handshakes struct {
	// Fixed when it is made.
	full   int
	chance func() float64 // from 0 to 1

	mu sync.Mutex
	// Guarded by mu.
	waiting []*pending      // oldest first
	held    map[string]*int // how many there are of each address and network
	most    []*pending      // takeLocked's
	left    chan struct{}   // closed, and replaced, when there is room again
}

// pending is one of the handshakes.
type pending struct {
	// Fixed when it is made.
	site site
	drop context.CancelCauseFunc // ends it
	// Guarded by handshakes.mu.
	addr, net *int          // how many there are of its address, and of its network
	awaits    time.Time     // since when its peer is awaited; zero: it is not
	awaited   time.Duration // for how long it was before
}

func newHandshakes(full int) *handshakes {
	return &handshakes{full: full, chance: rand.Float64, held: make(map[string]*int), left: make(chan struct{})}
}

// enter adds a handshake, and returns those that have to go for it, seldom more
// than one. They are already taken out; the caller drops them. It waits while there
// is no room; a nil newcomer says that ctx ended before.
func (h *handshakes) enter(ctx context.Context, s site, drop context.CancelCauseFunc) (newcomer *pending, victims []*pending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	newcomer = &pending{site: s, drop: drop, addr: h.countLocked("addr " + s.addr), net: h.countLocked("net " + s.net)}
	*newcomer.addr++
	*newcomer.net++
	for len(h.waiting) >= h.full {
		victim, soon := h.takeLocked(func(int) int { return 0 })
		if victim != nil {
			victims = append(victims, victim)
			break
		}
		left := h.left
		h.mu.Unlock()
		timer := time.NewTimer(soon)
		select {
		case <-left:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		h.mu.Lock()
		if ctx.Err() != nil {
			h.uncountLocked(newcomer)
			return nil, nil
		}
	}
	n, crowded := len(h.waiting)+len(victims), h.full/crowdedPart
	if n > crowded && h.chance() < crowdedRate+(1-crowdedRate)*float64(n-crowded)/float64(h.full-crowded) {
		if victim, _ := h.takeLocked(func(n int) int { return int(h.chance() * float64(n)) }); victim != nil {
			victims = append(victims, victim)
		}
	}
	h.waiting = append(h.waiting, newcomer)
	return newcomer, victims
}

// countLocked returns the count of an address or of a network.
func (h *handshakes) countLocked(key string) *int {
	n := h.held[key]
	if n == nil {
		n = new(int)
		h.held[key] = n
	}
	return n
}

// takeLocked takes out a handshake of the addresses that have most, of those that may
// go; choose says which of so many, in the order of their age. If there is none, soon
// says when that may have changed.
func (h *handshakes) takeLocked(choose func(n int) int) (victim *pending, soon time.Duration) {
	var net, addr int // the most that a network has, and an address in it
	most := h.most[:0]
	now := time.Now()
	soon = answerTime
	for _, x := range h.waiting {
		if *x.net <= h.full/modestPart {
			if x.awaits.IsZero() {
				continue
			}
			if rest := answerTime - x.awaited - now.Sub(x.awaits); rest > 0 {
				soon = min(soon, rest)
				continue
			}
		}
		if *x.net > net || *x.net == net && *x.addr > addr {
			net, addr, most = *x.net, *x.addr, most[:0]
		}
		if *x.net == net && *x.addr == addr {
			most = append(most, x)
		}
	}
	if len(most) == 0 {
		return nil, soon
	}
	victim = most[choose(len(most))]
	clear(most)
	h.most = most
	h.removeLocked(victim)
	return victim, 0
}

// await says that a handshake awaits its peer from now on, proceed that it does no more.
func (h *handshakes) await(x *pending) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	x.awaits = now
}

func (h *handshakes) proceed(x *pending) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	x.awaited += now.Sub(x.awaits)
	x.awaits = time.Time{}
}

// leave takes a handshake out, and reports whether it was still in.
func (h *handshakes) leave(x *pending) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.removeLocked(x)
}

func (h *handshakes) removeLocked(x *pending) bool {
	i := slices.Index(h.waiting, x)
	if i < 0 {
		return false
	}
	if len(h.waiting) == h.full {
		close(h.left)
		h.left = make(chan struct{})
	}
	h.waiting = slices.Delete(h.waiting, i, i+1)
	h.uncountLocked(x)
	return true
}

func (h *handshakes) uncountLocked(x *pending) {
	if *x.addr--; *x.addr == 0 {
		delete(h.held, "addr "+x.site.addr)
	}
	if *x.net--; *x.net == 0 {
		delete(h.held, "net "+x.site.net)
	}
}

// size returns how many there are.
func (h *handshakes) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiting)
}
