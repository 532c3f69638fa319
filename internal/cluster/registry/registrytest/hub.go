// Package registrytest has a bus in memory for tests, which can be told to lose
// messages, to deliver them twice, late or in another order, and to be cut.
package registrytest

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/cluster/registry"
)

// Hub joins the buses of nodes. All methods may be called at once.
type Hub struct {
	mu     sync.Mutex
	faults Faults // guarded by mu, as all that follows
	random *rand.Rand
	buses  map[*Bus]bool
	cut    func(from, to string) bool
	sent   map[string]int
	bytes  int
}

// Faults is what becomes of messages between two nodes.
type Faults struct {
	Loss  float64       // of messages, 0 to 1
	Twice float64       // come a second time
	Delay time.Duration // at most, at random: with more than 0 they come in any order
}

// NewHub returns a hub. Its random choices differ with seed.
func NewHub(seed uint64) *Hub {
	return &Hub{random: rand.New(rand.NewPCG(seed, 1)), buses: make(map[*Bus]bool), sent: make(map[string]int)}
}

// Set says what becomes of messages from now on.
func (h *Hub) Set(f Faults) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = f
}

// Cut has messages for which cut returns true lost from now on. Nil: none.
func (h *Hub) Cut(cut func(from, to string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = cut
}

// Sent returns how many messages were published, by what comes before the last dot
// of their subjects, and the bytes of them and of answers.
func (h *Hub) Sent() (messages map[string]int, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.sent), h.bytes
}

// kind is a subject without the node in it.
func kind(subject string) string { return subject[:max(0, strings.LastIndexByte(subject, '.'))] }

// Bus returns a bus for one node. Close ends it.
func (h *Hub) Bus(id string) *Bus {
	b := &Bus{hub: h, id: id, queue: make(chan func(), 1<<16), done: make(chan struct{})}
	h.mu.Lock()
	h.buses[b] = true
	h.mu.Unlock()
	// Ends in Close.
	go b.deliver()
	return b
}

// Bus is one node's end.
type Bus struct {
	hub   *Hub
	id    string
	queue chan func()
	done  chan struct{}
	close sync.Once
	subs  []subscription // guarded by Hub.mu
}

type subscription struct {
	subject string
	f       func(registry.Message)
}

var _ registry.Bus = (*Bus)(nil)

// Close ends the bus: what is on its way to it is lost.
func (b *Bus) Close() {
	b.close.Do(func() {
		b.hub.mu.Lock()
		delete(b.hub.buses, b)
		b.hub.mu.Unlock()
		close(b.done)
	})
}

// deliver calls what is for this node, one after the other.
func (b *Bus) deliver() {
	for {
		select {
		case f := <-b.queue:
			f()
		case <-b.done:
			return
		}
	}
}

// Subscribe implements registry.Bus.
func (b *Bus) Subscribe(subject string, f func(registry.Message)) error {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	b.subs = append(b.subs, subscription{subject, f})
	return nil
}

// Publish implements registry.Bus.
func (b *Bus) Publish(subject string, data []byte) error {
	b.hub.publish(b, registry.Message{Subject: subject, Data: data})
	return nil
}

// Request implements registry.Bus.
func (b *Bus) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	answers := make(chan []byte, 1)
	heard := b.hub.publish(b, registry.Message{Subject: subject, Data: data, Answer: func(a []byte) {
		id := subject[strings.LastIndexByte(subject, '.')+1:]
		b.hub.mu.Lock()
		defer b.hub.mu.Unlock()
		b.hub.bytes += len(a)
		b.hub.sendLocked(id, b, func() {
			select {
			case answers <- a:
			default: // it has one
			}
		})
	}})
	if !heard {
		return nil, errNobody
	}
	select {
	case a := <-answers:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errNobody is what a NATS says of a request that nobody would hear.
var errNobody = errors.New("no responders")

// publish sends m to those who subscribed, and reports whether there are any.
func (h *Hub) publish(from *Bus, m registry.Message) (heard bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.buses[from] {
		return false
	}
	h.sent[kind(m.Subject)]++
	h.bytes += len(m.Data)
	for to := range h.buses {
		if to == from {
			continue
		}
		for _, s := range to.subs {
			if prefix, many := strings.CutSuffix(s.subject, ">"); m.Subject == s.subject || many && strings.HasPrefix(m.Subject, prefix) {
				heard = true
				h.sendLocked(from.id, to, func() { s.f(m) })
			}
		}
	}
	return heard
}

// sendLocked has f called at to, as the faults will.
func (h *Hub) sendLocked(from string, to *Bus, f func()) {
	times := 1
	if from != to.id {
		if h.cut != nil && h.cut(from, to.id) || h.random.Float64() < h.faults.Loss {
			return
		}
		if h.random.Float64() < h.faults.Twice {
			times = 2
		}
	}
	for range times {
		put := func() {
			select {
			case to.queue <- f:
			case <-to.done:
			default: // full: lost
			}
		}
		if h.faults.Delay == 0 || from == to.id {
			put()
		} else {
			time.AfterFunc(time.Duration(h.random.Int64N(int64(h.faults.Delay))), put)
		}
	}
}
