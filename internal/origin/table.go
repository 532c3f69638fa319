// Package origin is P's table: which sessions serve which name.
//
// A C registers a session under a name. A second registration with the same
// instance, or where either has none, replaces the first: new requests go to
// the new session at once, the old one finishes what it serves. Sessions of
// different instances share the name, and a request goes to the one with the
// fewest open streams. Since a C that lost its power or its network leaves a
// connection behind that looks alive, each registration makes the table ask the
// sessions that were there before whether they still are.
//
// Other nodes' sessions may be in the table, too: see Registration.Remote. They are
// candidates for requests, and nothing else: what the table counts, asks, tells and
// ends are the sessions with Cs here.
//
// A request for a name that was connected a moment ago waits a while for it to
// come back: a C that restarts is not seen from outside. How many may wait, and
// how much they may hold, is bounded, and so is how many names and sessions
// there are.
package origin

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Table maps names to sessions. Make one with NewTable; all methods may be
// called at once.
type Table struct {
	cfg     Config
	started time.Time
	opened  atomic.Int64 // by Open, a time.Duration after started

	// ctx ends when sessions that are finishing may not go on.
	ctx    context.Context
	cancel context.CancelFunc
	// stopping is closed by the first Stop.
	stopping chan struct{}
	// running counts the goroutines of the table; added to under mu, while not
	// stopping.
	running sync.WaitGroup

	// mu guards what follows, and the fields of entries and members that say
	// so. It is held across the short questions to a session (InFlight,
	// Available), never across what waits, nor across OnEvent. A session never
	// calls the table.
	mu          sync.Mutex
	stopped     bool
	entries     map[Name]*entry
	connected   int       // entries with a session here, serving or leaving
	served      int       // entries with a session, here or elsewhere
	purged      time.Time // when purgeLocked walked through all entries
	purgeOver   int       // it does so sooner when more names than that are served by nobody
	credentials credentials
	waiting     waiting
	lastID      uint64
	past        Totals // of the sessions that ended
}

// NewTable returns an empty table.
func NewTable(c Config) *Table {
	ctx, cancel := context.WithCancel(context.Background())
	return &Table{
		cfg: c.withDefaults(), started: time.Now(), ctx: ctx, cancel: cancel,
		stopping:    make(chan struct{}),
		entries:     make(map[Name]*entry),
		credentials: make(credentials),
		waiting:     newWaiting(),
	}
}

// purgeEvery is how often a table with no more names than it may have is walked. All
// of a node's may have been lost at once, and come back one by one.
const purgeEvery = time.Second

// purgeShare is the part, one in so many, of Config.MaxOrigins that is forgotten at once
// when there are more.
const purgeShare = 8

// purgeLocked forgets the names that nobody serves or waits for, once they are
// too old to matter or too many. A walk through all makes room for many names: thousands
// that were lost together come back together, and each would pay for one.
func (t *Table) purgeLocked() {
	now, most := time.Now(), t.cfg.MaxOrigins
	if len(t.entries)-t.served <= max(most, t.purgeOver) && now.Sub(t.purged) < purgeEvery {
		return
	}
	t.purged = now
	var idle []*entry
	for name, e := range t.entries {
		switch {
		case !e.idle():
		case now.Sub(e.lost) > t.cfg.Memory:
			delete(t.entries, name)
		default:
			idle = append(idle, e)
		}
	}
	if over := len(idle) - most; over > 0 {
		slices.SortFunc(idle, func(a, b *entry) int { return a.lost.Compare(b.lost) })
		for _, e := range idle[:over+most/purgeShare] {
			delete(t.entries, e.name)
		}
	}
	// Those that somebody waits for stay.
	t.purgeOver = len(t.entries) - t.served + most/purgeShare
}

// Connected reports whether a session takes requests for name, here or elsewhere.
func (t *Table) Connected(name Name) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	if e == nil {
		return false
	}
	takes := func(m *Member) bool { return !m.goingAway() }
	return slices.ContainsFunc(e.serving, takes) || slices.ContainsFunc(e.remote, takes)
}

// Serving returns how many connections take requests for an origin.
func (t *Table) Serving(name Name) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[name]; e != nil {
		for _, m := range e.serving {
			if !m.goingAway() {
				n++
			}
		}
	}
	return n
}

// Known reports whether name is connected or was within Config.Memory.
func (t *Table) Known(name Name) bool {
	_, known := t.Find(name)
	return known
}

// Find is Known, and returns the name as the table has it, for who keeps it: that
// which a visitor wrote may be a piece of something large.
func (t *Table) Find(name Name) (own Name, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	if e == nil {
		return "", false
	}
	return e.name, t.knownLocked(e)
}

// knownLocked is Known for an entry, nil for none.
func (t *Table) knownLocked(e *entry) bool {
	return e != nil && (e.served() || time.Since(e.lost) <= t.cfg.Memory)
}

// Open says that requests come from now on, if they have not since NewTable:
// Config.ExpectFor begins again.
func (t *Table) Open() { t.opened.Store(int64(time.Since(t.started))) }

// Expected reports whether a request for name is worth its wait, because the
// table is young: see Config.Expect.
func (t *Table) Expected(name Name) bool { return t.expected(name) > 0 }

// expected returns for how long, 0 for not at all.
func (t *Table) expected(name Name) time.Duration {
	left := t.cfg.ExpectFor - (time.Since(t.started) - time.Duration(t.opened.Load()))
	if left <= 0 || t.cfg.Expect == nil || !t.cfg.Expect(name) {
		return 0
	}
	return left
}

// entryLocked returns the entry of a name, a new one if there is none.
func (t *Table) entryLocked(name Name) *entry {
	e := t.entries[name]
	if e == nil {
		e = &entry{name: Name(strings.Clone(string(name)))} // a visitor's, perhaps: see Find
		t.entries[e.name] = e
	}
	return e
}

// MaxStreams returns how many streams P may have open for name in all, at most
// 1<<31 - 1: what the sessions that take requests allow, and what those that are
// finishing still have. It is -1 if there is none of the former.
func (t *Table) MaxStreams(name Name) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	if e == nil || !e.served() {
		return -1
	}
	var n int64 // a sum of two may be more than an int of 32 bits holds
	for _, m := range e.serving {
		n += int64(m.MaxStreams())
	}
	for _, m := range e.remote {
		n += int64(m.MaxStreams())
	}
	for _, m := range e.leaving {
		n += int64(m.InFlight())
	}
	return int(min(n, 1<<31-1))
}

// Waiting returns how many requests wait in Acquire.
func (t *Table) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting.requests
}

// Stop makes the table take no registration and no request from now on; what
// waits in Acquire returns ErrStopping at once. Sessions and the requests on
// them go on. It may be called more than once.
func (t *Table) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.stopped = true
		close(t.stopping)
	}
}

// Shutdown stops the table, sends GOAWAY on every session, and returns when all
// have finished what they serve and ended; when ctx ends before, it closes them
// and returns ctx's error.
func (t *Table) Shutdown(ctx context.Context) error {
	t.Stop()
	// After this, no registration is added.
	t.mu.Lock()
	var members []*Member
	for _, e := range t.entries {
		members = slices.Concat(members, e.serving, e.leaving)
	}
	t.mu.Unlock()
	// What is already finishing ends with ctx too.
	stop := context.AfterFunc(ctx, t.cancel)
	defer stop()
	var ending sync.WaitGroup
	for _, m := range members {
		// Ends within ctx; waited for below.
		ending.Go(func() { m.Shutdown(ctx) })
	}
	ending.Wait()
	t.running.Wait()
	t.cancel()
	return ctx.Err()
}
