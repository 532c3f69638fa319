package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

const (
	// maxEarly is how many entries, up and down, of events may wait for those before
	// them; with more, the table is asked for.
	maxEarly = 2 * maxEntries
	// gapFor is how long a missing event may still come.
	gapFor = 20 * time.Millisecond
	// A page has so long to come, and the next attempt waits as long as betweenFetches
	// at least, twice that after each failure.
	pageTimeout    = 2 * time.Second
	betweenFetches = 250 * time.Millisecond
	maxBetween     = 8 * time.Second
)

// entry is a session of another node. Owned by Run.
type entry struct {
	node *node
	wireEntry
	load int // streams that are open on it
}

// node is another node, and the copy of its table. Owned by Run.
type node struct {
	Node
	gone    bool // it has said goodbye: what comes late of that epoch is nothing
	linked  bool
	known   bool         // the table is here, as of seq or later
	seq     uint64       // of the last event in it
	wanted  uint64       // there are events up to this
	heard   helloMessage // the last one
	sum     uint64       // of all entries' sums
	entries map[uint64]*entry

	early      []*eventMessage // after seq, not in order
	earlyCount int             // entries in them

	again    bool // the table is not right
	fetching bool
	due      time.Time // not zero: when to ask for the table
	last     time.Time // when it was asked for
	failures int       // since the last success
	skewed   int       // hellos in a row whose clock is off
	said     bool      // that it is quiet, since its last hello
	lost     time.Time // when the last link to it went down, zero if none has
}

// receive takes a message from the bus.
func (r *Registry) receive(m Message) {
	if m.Subject == subjectPage+r.cfg.ID {
		r.answer(m)
		return
	}
	kind, id, ok := cutSubject(m.Subject)
	if !ok {
		return
	}
	var err error
	switch kind {
	case subjectHello:
		var h helloMessage
		if err = decode(m.Data, &h, (*helloMessage).check); err == nil {
			r.helloFrom(id, &h)
		}
	case subjectEvent:
		var e eventMessage
		if err = decode(m.Data, &e, func(e *eventMessage) error {
			if len(e.Down) > maxInMany {
				return fmt.Errorf("%d entries at once", len(e.Down))
			}
			return checkEntries(e.Up)
		}); err == nil {
			r.eventFrom(id, &e)
		}
	case subjectLoad:
		var l loadMessage
		if err = decode(m.Data, &l, func(l *loadMessage) error { return nil }); err == nil {
			r.loadFrom(id, &l)
		}
	}
	if err != nil {
		r.lines.Log("message", slog.LevelWarn, "cluster: a message that is not one, it is left out",
			slog.String("node", id), slog.String("subject", kind), slog.Any("err", err))
	}
}

// cutSubject returns what a subject is about, and of which node.
func cutSubject(subject string) (kind, id string, ok bool) {
	for _, kind := range []string{subjectHello, subjectEvent, subjectLoad} {
		if id, ok := strings.CutPrefix(subject, kind); ok {
			return kind, id, checkID(id) == nil
		}
	}
	return "", "", false
}

func decode[M any](data []byte, m *M, check func(*M) error) error {
	if err := json.Unmarshal(data, m); err != nil {
		return err
	}
	return check(m)
}

// helloFrom takes a hello.
func (r *Registry) helloFrom(id string, h *helloMessage) {
	if id == r.cfg.ID {
		r.sameID(h)
		return
	}
	n := r.nodes[id]
	if n == nil {
		if h.State == stateGone {
			return
		}
		if len(r.nodes) >= maxNodes {
			r.lines.Log("crowd", slog.LevelWarn, "cluster: too many nodes, one is left out", slog.String("node", id), slog.Int("limit", maxNodes))
			return
		}
		n = &node{entries: make(map[uint64]*entry)}
		r.nodes[id] = n
	}
	switch {
	case n.Epoch == h.Epoch:
		if n.gone {
			return // it came late
		}
	case h.Epoch < n.Epoch && !n.gone && time.Since(n.Heard) < silentEpoch:
		return // of a run before, and late
	default:
		if h.State == stateGone {
			return // of a run that this node has not known
		}
		r.newRun(id, n, h)
	}
	moved := n.PeerAddr != h.Peer
	drains := h.State == stateDraining
	if drains && !n.Draining {
		r.log.Info("cluster: a node is about to stop", "node", id)
	}
	n.PeerAddr, n.ControlAddr, n.Site, n.Version = h.Peer, h.Control, h.Site, h.Version
	if n.quiet() {
		// The bus is back, so that what has failed without it says nothing of the next
		// attempt.
		n.failures = 0
		if !n.due.IsZero() {
			n.ask(0)
		}
	}
	n.Draining, n.Load, n.Sessions, n.Heard = drains, h.Load, h.Entries, time.Now()
	n.said = false
	if h.State == stateGone {
		r.log.Info("cluster: a node has left", "node", id)
		r.drop(id, n)
		n.gone = true
		return
	}
	r.skew(id, n, h)
	if moved {
		r.cfg.Events.NodeUp(n.Node)
	}
	n.wanted = max(n.wanted, h.Seq)
	n.heard = *h
	switch {
	case n.fetching || n.synced() && n.seq == h.Seq:
	case n.known && n.seq >= h.Seq:
		n.askAgain() // nothing is missing, and yet it is not the same
	default:
		n.ask(gapFor)
	}
}

// synced reports whether the copy of n's table was as its last hello says, or has what
// came since.
func (n *node) synced() bool {
	return n.known && (n.seq > n.heard.Seq || n.seq == n.heard.Seq && n.sum == n.heard.Sum && len(n.entries) == n.heard.Entries)
}

// quiet reports whether a node that is there has said nothing for a while.
func (n *node) quiet() bool { return time.Since(n.Heard) >= quietFor }

// missed reports whether a node is to be forgotten. Where it is the bus that is away, its
// silence is older than the loss of a link, which is being made again.
func (n *node) missed() bool {
	return !n.linked && time.Since(n.Heard) >= silentFor && time.Since(n.lost) >= silentFor
}

// newRun begins with a node that was not known, or has started again.
func (r *Registry) newRun(id string, n *node, h *helloMessage) {
	if n.Epoch == "" {
		r.log.Info("cluster: a node is there", "node", id, "peer", h.Peer, "site", h.Site, "version", h.Version)
	} else {
		r.log.Info("cluster: a node has started anew", "node", id, "peer", h.Peer, "version", h.Version)
		r.clear(n)
	}
	linked := n.linked && !n.gone
	*n = node{Node: Node{ID: id, Epoch: h.Epoch, Linked: linked}, linked: linked, entries: n.entries}
	n.ask(0)
	r.hello(stateReady) // it has not heard of this one
}

// sameID is told of a hello with this node's own id: its own, or that of another
// process with a certificate of that name.
func (r *Registry) sameID(h *helloMessage) {
	switch {
	case h.Epoch == r.epoch || h.State == stateGone:
	case h.Epoch > r.epoch:
		r.failed = fmt.Errorf("another node of the cluster is called %q, with its peer port at %s, and started later: give each a certificate with a name of its own", r.cfg.ID, h.Peer)
	default:
		r.lines.Log("same", slog.LevelWarn, "cluster: another node has this one's id and started before, it will end", slog.String("peer", h.Peer))
		if time.Since(r.said) >= helloAtOnce {
			r.hello(stateReady)
		}
	}
}

// skew says that a node's clock and this one's differ.
func (r *Registry) skew(id string, n *node, h *helloMessage) {
	off := time.Until(time.UnixMicro(h.Now))
	if off.Abs() <= maxSkew {
		n.skewed = 0
		return
	}
	if n.skewed++; n.skewed == skewedHellos {
		r.lines.Log("skew "+id, slog.LevelWarn, "cluster: the clocks of two nodes differ, of two connections of one origin the wrong one may stay: set them by NTP",
			slog.String("node", id), slog.Duration("ahead", off.Round(time.Millisecond)))
	}
}

// drop takes a node's entries back, and has it no more.
func (r *Registry) drop(id string, n *node) {
	r.clear(n)
	n.known, n.linked, n.Linked, n.early, n.earlyCount, n.due = false, false, false, nil, 0, time.Time{}
	r.cfg.Events.NodeDown(id)
}

// forget is drop for one that nothing was heard of.
func (r *Registry) forget(id string, n *node) {
	if !n.gone {
		r.log.Warn("cluster: nothing was heard of a node, and there is no link to it: it is forgotten", "node", id, "for", time.Since(n.Heard).Round(time.Second))
		r.drop(id, n)
	}
	delete(r.nodes, id)
}

func (r *Registry) linkUp(id string) {
	n := r.nodes[id]
	if n == nil || n.gone || n.linked {
		return
	}
	n.linked, n.Linked = true, true
	for _, e := range n.entries {
		r.up(e, false)
	}
}

func (r *Registry) linkDown(id string) {
	n := r.nodes[id]
	if n == nil || !n.linked {
		return
	}
	for _, e := range n.entries {
		r.down(e)
	}
	n.linked, n.Linked, n.lost = false, false, time.Now()
}

// up says that requests may be sent to e, whose node is linked.
func (r *Registry) up(e *entry, fresh bool) {
	r.byName[e.Name] = append(r.byName[e.Name], e)
	r.cfg.Events.EntryUp(Entry{e.node.ID, e.SID, e.Name, e.Instance, e.Max, time.UnixMicro(e.Since), fresh})
	if e.load > 0 {
		r.cfg.Events.Load(e.node.ID, e.SID, e.load)
	}
	for _, sid := range r.own.byName[e.Name] {
		own := r.own.entries[sid]
		if r.supersedes(e, &own) {
			r.cfg.Events.Yield(sid)
		}
	}
}

// down takes back an up.
func (r *Registry) down(e *entry) {
	if list := slices.DeleteFunc(r.byName[e.Name], func(o *entry) bool { return o == e }); len(list) > 0 {
		r.byName[e.Name] = list
	} else {
		delete(r.byName, e.Name)
	}
	r.cfg.Events.EntryDown(e.node.ID, e.SID)
}

// yield is told of a new session of this node: one of another node may be the later
// one, by the clocks.
func (r *Registry) yield(sid uint64) {
	own := r.own.entries[sid]
	for _, e := range r.byName[own.Name] {
		if r.supersedes(e, &own) {
			r.cfg.Events.Yield(sid)
			return
		}
	}
}

// supersedes reports whether e takes the place of a session of this node.
func (r *Registry) supersedes(e *entry, own *wireEntry) bool {
	if e.Instance != own.Instance && e.Instance != "" && own.Instance != "" {
		return false
	}
	return cmp.Or(cmp.Compare(e.Since, own.Since), strings.Compare(e.node.ID, r.cfg.ID)) > 0
}

// set puts a session into the copy of n's table. fresh: its event says so.
func (r *Registry) set(n *node, w wireEntry, fresh bool) {
	if old := n.entries[w.SID]; old != nil {
		if old.wireEntry == w {
			return
		}
		r.unset(n, w.SID)
	}
	if len(n.entries) >= maxEntries {
		r.tooMany(n.ID)
		return
	}
	e := &entry{node: n, wireEntry: w}
	n.entries[w.SID] = e
	n.sum += w.sum()
	if n.linked {
		r.up(e, fresh)
	}
}

// tooMany says that a node has more sessions than others learn of; it may be this one.
func (r *Registry) tooMany(id string) {
	r.lines.Log("entries "+id, slog.LevelWarn, "cluster: a node has too many sessions, the last ones are left out",
		slog.String("node", id), slog.Int("limit", maxEntries))
}

// unset takes one out.
func (r *Registry) unset(n *node, sid uint64) {
	e := n.entries[sid]
	if e == nil {
		return
	}
	delete(n.entries, sid)
	n.sum -= e.sum()
	if n.linked {
		r.down(e)
	}
}

// clear takes all out.
func (r *Registry) clear(n *node) {
	for sid := range n.entries {
		r.unset(n, sid)
	}
}

// eventFrom takes an event. One that comes before another that it follows waits.
func (r *Registry) eventFrom(id string, m *eventMessage) {
	n := r.nodes[id]
	if n == nil || n.Epoch != m.Epoch || n.gone || n.known && m.Seq <= n.seq {
		return
	}
	n.wanted = max(n.wanted, m.Seq)
	if n.earlyCount += len(m.Up) + len(m.Down) + 1; n.earlyCount > maxEarly {
		n.early, n.earlyCount, n.again = nil, 0, true
		return
	}
	n.early = append(n.early, m)
	if !n.known || n.fetching {
		return // what is on its way says which of them count
	}
	r.follow(n)
	if len(n.early) > 0 {
		n.ask(gapFor)
	}
}

// follow takes the events that follow what is known, and forgets those that do not
// any more.
func (r *Registry) follow(n *node) {
	slices.SortFunc(n.early, func(a, b *eventMessage) int { return cmp.Compare(a.Seq, b.Seq) })
	rest := n.early[:0]
	n.earlyCount = 0
	for _, m := range n.early {
		switch {
		case m.Seq <= n.seq:
		case m.Seq == n.seq+1:
			for _, w := range m.Up {
				r.set(n, w, true)
			}
			for _, sid := range m.Down {
				r.unset(n, sid)
			}
			n.seq = m.Seq
		default:
			rest = append(rest, m)
			n.earlyCount += len(m.Up) + len(m.Down) + 1
		}
	}
	clear(n.early[len(rest):])
	n.early = rest
}

func (r *Registry) loadFrom(id string, m *loadMessage) {
	if n := r.nodes[id]; n != nil && n.Epoch == m.Epoch {
		r.setLoads(n, m.Loads)
	}
}

// setLoads notes how many streams are open on sessions.
func (r *Registry) setLoads(n *node, loads map[uint64]int) {
	for sid, streams := range loads {
		e := n.entries[sid]
		if e == nil || streams < 0 {
			continue
		}
		e.load = min(streams, maxStreams)
		if n.linked {
			r.cfg.Events.Load(n.ID, sid, e.load)
		}
	}
}

// ask has the table asked for after a while, if it is still wanted then.
func (n *node) ask(after time.Duration) {
	due := time.Now().Add(after)
	if !n.last.IsZero() {
		pause := min(betweenFetches<<min(n.failures, 8), maxBetween)
		if earliest := n.last.Add(pause); due.Before(earliest) {
			due = earliest
		}
	}
	if n.due.IsZero() || due.Before(n.due) {
		n.due = due
	}
}

// askAgain has the table asked for although nothing is known to be missing.
func (n *node) askAgain() {
	n.again = true
	n.ask(0)
}

// fetchDue asks for the tables whose time has come, and has Run wake up for the next.
func (r *Registry) fetchDue(ctx context.Context) {
	var next time.Time
	for id, n := range r.nodes {
		if n.fetching || n.due.IsZero() {
			continue
		}
		if time.Until(n.due) > 0 {
			if next.IsZero() || n.due.Before(next) {
				next = n.due
			}
			continue
		}
		n.due = time.Time{}
		if n.known && !n.again && n.seq >= n.wanted {
			continue // it has come
		}
		n.fetching, n.again, n.last = true, false, time.Now()
		r.asked.Add(1)
		epoch := n.Epoch // Run may change n meanwhile
		// Ends within pageTimeout a page, or with ctx; Run waits for it.
		r.fetches.Go(func() { r.fetch(ctx, id, epoch) })
	}
	r.dues.Stop()
	if !next.IsZero() {
		r.dues.Reset(time.Until(next))
	}
}

// fetched is a table that was asked for.
type fetched struct {
	id, epoch string
	seq       uint64 // the events after this are to follow
	entries   map[uint64]wireEntry
	loads     map[uint64]int
	err       error
}

// fetch asks a node for its table, and hands it to Run.
func (r *Registry) fetch(ctx context.Context, id, epoch string) {
	f := fetched{id: id, epoch: epoch, entries: make(map[uint64]wireEntry), loads: make(map[uint64]int)}
	f.err = r.fetchPages(ctx, &f)
	select {
	case r.fetched <- f:
	case <-ctx.Done():
	}
}

func (r *Registry) fetchPages(ctx context.Context, f *fetched) error {
	for after, first := uint64(0), true; ; first = false {
		limited, cancel := context.WithTimeout(ctx, pageTimeout)
		data, err := r.cfg.Bus.Request(limited, subjectPage+f.id, encode(pageRequest{after}))
		cancel()
		if err != nil {
			return err
		}
		var p pageMessage
		if err := decode(data, &p, func(p *pageMessage) error { return checkEntries(p.Entries) }); err != nil {
			return err
		}
		if p.Epoch != f.epoch {
			return errors.New("another process of that id answered")
		}
		if first {
			f.seq = p.Seq
		}
		for _, w := range p.Entries {
			if w.SID <= after {
				return errors.New("its table is not in order")
			}
			after = w.SID
			f.entries[w.SID] = w
			if streams, ok := p.Loads[w.SID]; ok {
				f.loads[w.SID] = streams
			}
		}
		switch {
		case !p.More:
			return nil
		case len(p.Entries) == 0 || len(f.entries) > maxEntries:
			return errors.New("its table has no end")
		}
	}
}

// answer gives a page of the own table.
func (r *Registry) answer(m Message) {
	var q pageRequest
	if m.Answer == nil || json.Unmarshal(m.Data, &q) != nil {
		return
	}
	if r.pages++; r.pages > maxPages {
		return // it asks again
	}
	// A page has what was told, neither more nor less: see pageMessage.
	r.flush()
	p := r.own.page(q.After)
	p.Epoch = r.epoch
	for i := range p.Entries {
		if sid := p.Entries[i].SID; r.loads[sid] > 0 {
			if p.Loads == nil {
				p.Loads = make(map[uint64]int)
			}
			p.Loads[sid] = r.loads[sid]
		}
	}
	m.Answer(encode(p))
}

// install takes a table that was asked for.
func (r *Registry) install(f fetched) {
	n := r.nodes[f.id]
	if n == nil || n.Epoch != f.epoch || n.gone {
		return
	}
	n.fetching = false
	if f.err != nil {
		n.failures++
		n.askAgain()
		r.lines.Log("fetch "+f.id, slog.LevelInfo, "cluster: a node's table did not come, trying again", slog.String("node", f.id), slog.Any("err", f.err))
		return
	}
	n.failures = 0
	for sid := range n.entries {
		if _, there := f.entries[sid]; !there {
			r.unset(n, sid)
		}
	}
	for _, w := range f.entries {
		r.set(n, w, false)
	}
	r.setLoads(n, f.loads)
	n.known, n.seq = true, f.seq
	r.follow(n)
	if n.again || len(n.early) > 0 || n.seq < n.wanted {
		n.ask(gapFor)
	}
}

func sortNodes(list []Node) {
	slices.SortFunc(list, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
}
