// Package registry is what the nodes of a cluster of Ps know of each other: which
// there are, and which sessions with origins each of them has.
//
// Each node owns its part of a table, and tells the others over a [Bus] of what
// changes in it. They keep copies. Each change has a number, and a hello each second
// says the last one's and a sum over the table: who has missed something, by whatever
// cause, asks for the table. So nothing depends on the bus being reliable, nor on a
// majority: a node that is alone goes on, and parts of a cluster that meet again have
// the same tables a moment later.
//
// The bus does not prove who has sent something. What a node says of its sessions
// counts only while a link to a peer stands that has proved to be that node; links
// are made elsewhere, see [Registry.LinkUp]. Copies outlive links: when a link is
// back, so are the entries.
//
// What another node may make this one keep is bounded: 64 nodes, 65 536 sessions of
// each, names and instances as long as they may be on the control port.
package registry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/originname"
)

const (
	// helloInterval is how often a node says that it is there; in its first
	// heardWithin it does so each firstHellos, for the routes to others are coming up.
	helloInterval = time.Second
	firstHellos   = 100 * time.Millisecond
	// helloAtOnce is the least time between two hellos to a node of the same id.
	helloAtOnce = 50 * time.Millisecond
	// heardWithin is how long a node waits for the others before it counts itself as
	// alone, see Heard.
	heardWithin = 3 * time.Second
	// silentFor is how long a node may have no link and say nothing until it is
	// forgotten; silentEpoch how long until another run of it may have an epoch that
	// is before the last one's, because somebody has set its clock.
	silentFor   = 30 * time.Second
	silentEpoch = 3 * time.Second
	// quietFor is how long a node with a link may say nothing until its table counts as
	// one that is not up to date.
	quietFor = 3 * helloInterval
	// collectFor is how long changes are collected for one event.
	collectFor = 5 * time.Millisecond
	// maxSkew is how far two clocks may be apart before that is said: of two sessions
	// of one instance the later one counts.
	maxSkew = 2 * time.Second
	// skewedHellos is how many hellos in a row have to say so.
	skewedHellos = 3

	// How many pages of its table a node gives in a second.
	maxPages = 1000
)

// Entry is a session of another node.
type Entry struct {
	Node     string // its id
	SID      uint64 // of the session there
	Name     originname.Name
	Instance string // "" if C does not say
	Max      int    // how many streams it may have open
	Since    time.Time
	New      bool // it came a moment ago: it is not one that was learned of late, or again
}

// Own is a session of this node. SID is not 0, and greater than those before.
type Own struct {
	SID      uint64
	Name     originname.Name
	Instance string
	Max      int
	Since    time.Time
}

// Node is another node, as its last hello says.
type Node struct {
	ID          string
	Epoch       string // another one for each run of it
	PeerAddr    string // HOST:PORT of its peer port
	ControlAddr string // what Cs are told, HOST:PORT; may be ""
	Site        string
	Version     string
	Draining    bool // it stops
	Load        int  // streams that are open there
	Sessions    int  // that it has
	Heard       time.Time
	Linked      bool // see LinkUp
	Synced      bool // the copy of its table is up to date
}

// Events is who is told of what the others say: by one goroutine, in order. It must
// not block, nor call the Registry's Run.
type Events interface {
	// NodeUp: a node is there, or there again with another epoch or address.
	NodeUp(Node)
	// NodeDown: it has left, or nothing was heard of it for a while and there is no
	// link. Its entries are down.
	NodeDown(id string)
	// EntryUp: requests may be sent to that session. There is a link to its node.
	EntryUp(Entry)
	// EntryDown: they may no more.
	EntryDown(node string, sid uint64)
	// Load: so many streams are open on it now.
	Load(node string, sid uint64, streams int)
	// Yield: a later session of the same instance (or one of the two has none) is at
	// another node, so this node's takes no new requests. It may come more than once.
	Yield(sid uint64)
}

// Config is what a Registry is told. ID, PeerAddr, Bus and Events are needed.
type Config struct {
	ID          string // of this node, see checkID
	PeerAddr    string // where others reach its peer port, HOST:PORT
	ControlAddr string // what Cs are told of it; "": nothing
	Site        string
	Version     string
	Bus         Bus
	Events      Events
	// Load returns the sessions of this node and how many streams are open on each.
	// Nil: none are.
	Load func() iter.Seq2[uint64, int]
	// Logger gets a line for each node that comes or goes, and for what is wrong.
	// Nil: none.
	Logger *slog.Logger
}

// Registry is one node's end. Make one with New; all methods may be called at once.
type Registry struct {
	// Fixed by New.
	cfg     Config
	log     *slog.Logger
	lines   *loglimit.Logger // what other nodes can cause
	epoch   string
	inbox   chan Message  // from the bus
	fetched chan fetched  // from fetch
	wake    chan struct{} // there are changes
	heard   chan struct{} // see Heard
	view    atomic.Pointer[[]Node]
	asked   atomic.Uint64  // tables
	fetches sync.WaitGroup // goroutines of fetch

	mu       sync.Mutex
	changes  []change // guarded by mu; what was called since Run last looked
	draining bool     // guarded by mu
	ended    bool     // guarded by mu; Run takes no changes any more

	// Owned by Run.
	own     table
	nodes   map[string]*node
	byName  map[originname.Name][]*entry // of linked nodes
	begun   time.Time
	said    time.Time // the last hello
	pages   int       // given since the last tick
	alone   bool      // heard is not closed yet
	loads   map[uint64]int
	failed  error
	flushes *time.Timer // when what was collected is due
	collect bool        // flushes runs
	dues    *time.Timer // when the next fetch is
}

// change is one call from outside, in order.
type change struct {
	kind changeKind
	own  Own
	id   string
}

type changeKind uint8

const (
	added changeKind = iota
	removed
	linkUp
	linkDown
	stale
	drained
)

// New returns a Registry. Its error is one line.
func New(cfg Config) (*Registry, error) {
	if err := checkID(cfg.ID); err != nil {
		return nil, err
	}
	for _, f := range []struct{ what, s string }{{"peer address", cfg.PeerAddr}, {"control address", cfg.ControlAddr}, {"site", cfg.Site}} {
		if err := checkText(f.what, f.s); err != nil {
			return nil, err
		}
	}
	if cfg.PeerAddr == "" {
		return nil, errors.New("a node needs an address for its peers")
	}
	cfg.Version = strings.Map(func(c rune) rune {
		if checkText("", string(c)) != nil {
			return '-'
		}
		return c
	}, cfg.Version)
	cfg.Version = cfg.Version[:min(len(cfg.Version), maxText)]
	if cfg.Load == nil {
		cfg.Load = func() iter.Seq2[uint64, int] { return func(func(uint64, int) bool) {} }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{
		cfg: cfg, log: cfg.Logger, lines: loglimit.New(cfg.Logger, 3), epoch: newEpoch(time.Now()),
		inbox: make(chan Message, 64), fetched: make(chan fetched), wake: make(chan struct{}, 1), heard: make(chan struct{}),
		own: newTable(), nodes: make(map[string]*node), byName: make(map[originname.Name][]*entry), loads: make(map[uint64]int),
	}
	r.view.Store(new([]Node))
	return r, nil
}

// Add says that this node has a session.
func (r *Registry) Add(o Own) { r.change(change{kind: added, own: o}) }

// Remove says that it takes no new requests any more. What is not there is nothing.
func (r *Registry) Remove(sid uint64) { r.change(change{kind: removed, own: Own{SID: sid}}) }

// LinkUp says that there is a link to a peer that has proved to be the node id.
func (r *Registry) LinkUp(id string) { r.change(change{kind: linkUp, id: id}) }

// LinkDown says that there is no more.
func (r *Registry) LinkDown(id string) { r.change(change{kind: linkDown, id: id}) }

// Stale says that a node did not have a session that it should: its table is asked
// for anew.
func (r *Registry) Stale(id string) { r.change(change{kind: stale, id: id}) }

// Drain says that this node is about to stop: others do not send new Cs here.
func (r *Registry) Drain() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	r.change(change{kind: drained})
}

// Nodes returns the others by id, as they were a moment ago.
func (r *Registry) Nodes() []Node { return *r.view.Load() }

// Asked returns how often a table of another node was asked for.
func (r *Registry) Asked() uint64 { return r.asked.Load() }

// Heard is closed when each of the others that has said hello is linked and its table
// is here, and of those that they are linked to, at least one, or when Run has waited 3 s
// for that.
func (r *Registry) Heard() <-chan struct{} { return r.heard }

func (r *Registry) change(c change) {
	r.mu.Lock()
	if !r.ended {
		r.changes = append(r.changes, c)
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run takes part until ctx ends, then says goodbye and returns nil. Another error is
// one line: the bus fails, or another node has the same id and is the later one. It
// is called once.
func (r *Registry) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.fetches.Wait()
	defer cancel()
	defer r.lines.Close()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended, r.changes = true, nil
	}()
	take := func(m Message) {
		select {
		case r.inbox <- m:
		case <-ctx.Done():
		}
	}
	// One subscription, for what one node says has an order.
	if err := r.cfg.Bus.Subscribe(subjects, take); err != nil {
		return fmt.Errorf("the cluster's bus: %w", err)
	}
	r.begun, r.alone = time.Now(), true
	r.flushes, r.dues = time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	r.flushes.Stop()
	defer r.flushes.Stop()
	defer r.dues.Stop()
	tick := time.NewTicker(firstHellos)
	defer tick.Stop()
	quick := true
	r.hello(stateReady)
	for r.failed == nil {
		select {
		case m := <-r.inbox:
			r.receive(m)
		case <-r.wake:
			r.takeChanges()
		case f := <-r.fetched:
			r.install(f)
		case <-r.flushes.C:
			r.flush()
		case <-r.dues.C:
		case <-tick.C:
			if quick && time.Since(r.begun) >= heardWithin {
				quick = false
				tick.Reset(helloInterval)
			}
			r.tick()
		case <-ctx.Done():
			r.hello(stateGone)
			return nil
		}
		r.fetchDue(ctx)
		r.show()
	}
	return r.failed
}

// tick is done for each hello that is due.
func (r *Registry) tick() {
	r.pages = 0
	r.tellLoads()
	r.hello(stateReady)
	for id, n := range r.nodes {
		if n.missed() {
			r.forget(id, n)
		} else if n.linked && !n.said && n.quiet() {
			n.said = true
			// One kind for all: where this node's own bus is away, it is each of them.
			r.lines.Log("quiet", slog.LevelWarn, "cluster: nothing is heard of a node by the bus, though there is a link to it: what is new there is unknown here", slog.String("node", id))
		}
	}
}

// show publishes what Nodes returns, and closes heard when it is time.
func (r *Registry) show() {
	list := make([]Node, 0, len(r.nodes))
	complete := true
	for _, n := range r.nodes {
		if n.gone {
			continue
		}
		n.Synced = n.synced() && !n.quiet()
		list = append(list, n.Node)
		complete = complete && n.Linked && n.known && (!r.alone || !slices.ContainsFunc(n.heard.Linked, r.missing))
	}
	sortNodes(list)
	r.view.Store(&list)
	if r.alone && (len(list) > 0 && complete || time.Since(r.begun) >= heardWithin) {
		r.alone = false
		close(r.heard)
	}
}

// missing reports whether nothing was heard of a node that another one is linked to.
func (r *Registry) missing(id string) bool { return id != r.cfg.ID && r.nodes[id] == nil }

// takeChanges does what was called since the last time.
func (r *Registry) takeChanges() {
	r.mu.Lock()
	changes := r.changes
	r.changes = nil
	r.mu.Unlock()
	for _, c := range changes {
		switch c.kind {
		case added:
			if r.own.add(c.own) {
				r.yield(c.own.SID)
			} else {
				r.tooMany(r.cfg.ID)
			}
		case removed:
			r.own.remove(c.own.SID)
			delete(r.loads, c.own.SID)
		case linkUp:
			r.linkUp(c.id)
		case linkDown:
			r.linkDown(c.id)
		case stale:
			if n := r.nodes[c.id]; n != nil {
				n.askAgain()
			}
		case drained:
			r.hello(stateReady)
		}
	}
	if r.own.changed() && !r.collect {
		r.collect = true
		r.flushes.Reset(collectFor)
	}
}

// flush tells the others what has changed in the own table.
func (r *Registry) flush() {
	r.flushes.Stop()
	r.collect = false
	for {
		m := r.own.event()
		if m == nil {
			return
		}
		m.Epoch = r.epoch
		r.publish(subjectEvent, m)
	}
}

// hello says that this node is there. The event that its numbers are of has been
// sent before.
func (r *Registry) hello(state string) {
	r.flush()
	r.mu.Lock()
	if r.draining && state == stateReady {
		state = stateDraining
	}
	r.mu.Unlock()
	load := 0
	for _, n := range r.loads {
		load += n
	}
	var linked []string
	for id, n := range r.nodes {
		if n.linked {
			linked = append(linked, id)
		}
	}
	now := time.Now()
	r.said = now
	r.publish(subjectHello, &helloMessage{
		Linked: linked,
		Epoch:  r.epoch, Seq: r.own.seq, Peer: r.cfg.PeerAddr, Control: r.cfg.ControlAddr, Site: r.cfg.Site, Version: r.cfg.Version,
		State: state, Load: load, Entries: len(r.own.entries), Sum: r.own.sum, Now: stamp(now),
	})
}

// tellLoads tells the others which loads have changed.
func (r *Registry) tellLoads() {
	changed := make(map[uint64]int)
	for sid, n := range r.cfg.Load() {
		if _, known := r.own.entries[sid]; !known || r.loads[sid] == n {
			continue
		}
		if r.loads[sid] = n; n == 0 {
			delete(r.loads, sid)
		}
		if changed[sid] = n; len(changed) == maxLoads {
			r.publish(subjectLoad, &loadMessage{Epoch: r.epoch, Loads: changed})
			clear(changed)
		}
	}
	if len(changed) > 0 {
		r.publish(subjectLoad, &loadMessage{Epoch: r.epoch, Loads: changed})
	}
}

func (r *Registry) publish(subject string, m any) {
	if err := r.cfg.Bus.Publish(subject+r.cfg.ID, encode(m)); err != nil {
		r.lines.Log("publish", slog.LevelWarn, "cluster: the bus does not take a message, it will be made good for", slog.Any("err", err))
	}
}
