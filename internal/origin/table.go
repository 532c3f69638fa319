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
// A request for a name that was connected a moment ago waits a while for it to
// come back: a C that restarts is not seen from outside. How many may wait, and
// how much they may hold, is bounded, and so is how many names and sessions
// there are.
package origin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/amahi/spdy"
)

// Defaults of Config.
const (
	defaultMemory        = time.Minute
	defaultDrain         = 30 * time.Second
	defaultPingTimeout   = 2 * time.Second
	defaultMaxOrigins    = 10000
	defaultPerCredential = 1000
	defaultMaxSessions   = 64
	defaultMaxWaiting    = 4096
	defaultPerOrigin     = 1024
	defaultMaxBytes      = 64 << 20
)

// maxPings is how often a session that sends frames but no answer to a PING is
// asked again. Its PING waits behind data on a slow link; it is not dead.
const maxPings = 15

// Errors of Admit, Register and Acquire.
var (
	// ErrNotConnected: nobody serves the name, nor did within Config.Memory.
	ErrNotConnected = errors.New("the origin is not connected")
	// ErrHoldExpired: the origin was connected a moment ago, and did not come
	// back while the request waited.
	ErrHoldExpired = errors.New("the origin did not come back in time")
	// ErrHoldFull: the origin was connected a moment ago, and as many requests
	// as may wait already do.
	ErrHoldFull = errors.New("too many requests wait for an origin")
	// ErrStopping: the table was told to stop.
	ErrStopping = errors.New("the proxy is stopping")

	// ErrTooManyOrigins: Config.MaxOrigins are connected.
	ErrTooManyOrigins = errors.New("too many origins are connected")
	// ErrTooManyForCredential: this credential serves Config.MaxPerCredential.
	ErrTooManyForCredential = errors.New("this token serves as many origins as one token may")
	// ErrTooManySessions: Config.MaxSessions share the name.
	ErrTooManySessions = errors.New("as many connections as may share an origin already do")
)

// Session is what the table needs of a *spdy.Session, which see.
type Session interface {
	RoundTrip(*http.Request) (*http.Response, error)
	PingContext(context.Context) (time.Duration, error)
	Shutdown(context.Context) error
	Close()
	Done() <-chan struct{}
	GoingAway() <-chan struct{}
	Err() error
	Available() int
	InFlight() int
	MaxStreams() int
	Stats() spdy.Stats
}

var _ Session = (*spdy.Session)(nil)

// Config is what a table can be told. The zero value is the one to run with.
type Config struct {
	// Memory is how long a name counts as connected a moment ago after its last
	// session left. Zero means one minute.
	Memory time.Duration
	// Drain is how long a replaced session may finish what it serves. Zero
	// means 30 s.
	Drain time.Duration
	// PingTimeout is how long a session that shares its name with a newcomer
	// may take to answer. Zero means 2 s.
	PingTimeout time.Duration

	// MaxOrigins is how many names may be connected at once. Zero means 10000.
	MaxOrigins int
	// MaxPerCredential is how many of them one credential may serve. Zero means
	// 1000.
	MaxPerCredential int
	// MaxSessions is how many sessions may share one name. Zero means 64. As
	// many more may be finishing what they serve.
	MaxSessions int

	// MaxWaiting is how many requests may wait at once, MaxWaitingPerOrigin how
	// many for one name, MaxWaitingBytes what they may hold together. Zero
	// means 4096, 1024 and 64 MiB.
	MaxWaiting          int
	MaxWaitingPerOrigin int
	MaxWaitingBytes     int64

	// OnEvent is told of each change of a session's state, in order for one
	// session. It may be called from several goroutines at once, and must not
	// block. Nil: nobody is.
	OnEvent func(Event)
}

func (c Config) withDefaults() Config {
	c.Memory = cmp.Or(c.Memory, defaultMemory)
	c.Drain = cmp.Or(c.Drain, defaultDrain)
	c.PingTimeout = cmp.Or(c.PingTimeout, defaultPingTimeout)
	c.MaxOrigins = cmp.Or(c.MaxOrigins, defaultMaxOrigins)
	c.MaxPerCredential = cmp.Or(c.MaxPerCredential, defaultPerCredential)
	c.MaxSessions = cmp.Or(c.MaxSessions, defaultMaxSessions)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, defaultMaxWaiting)
	c.MaxWaitingPerOrigin = cmp.Or(c.MaxWaitingPerOrigin, defaultPerOrigin)
	c.MaxWaitingBytes = cmp.Or(c.MaxWaitingBytes, defaultMaxBytes)
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	return c
}

// Table maps names to sessions. Make one with NewTable; all methods may be
// called at once.
type Table struct {
	cfg Config

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
	mu           sync.Mutex
	stopped      bool
	entries      map[Name]*entry
	connected    int                  // entries with a session, serving or leaving
	byCredential map[any]map[Name]int // sessions, serving or leaving
	lastID       uint64
	picks        uint64
	waiting      int
	waitingBytes int64
	waitingFrom  map[netip.Addr]int // those of Query.From
	past         Totals             // of the sessions that ended
}

// entry is one name. Guarded by Table.mu.
type entry struct {
	name    Name
	serving []*Member     // take requests, oldest first
	leaving []*Member     // finish what they serve, oldest first
	changed chan struct{} // closed and replaced at each registration
	waiting int
	lost    time.Time // when serving became empty
}

// Member is a session in the table.
type Member struct {
	Session

	// Fixed at the registration.
	id         uint64
	name       Name
	instance   string
	credential any
	remote     string
	since      time.Time

	// Guarded by Table.mu.
	picked uint64 // the count of picks when it was last picked
	left   bool   // no longer serving
	told   bool   // an event said why it takes no more requests
	closed bool   // the table closes it, and an event said why
	asked  bool   // a PING is under way, see probe
}

// goingAway reports whether m takes no new request. The table learns of it a
// moment later, in watch.
func (m *Member) goingAway() bool {
	select {
	case <-m.GoingAway():
		return true
	default:
		return false
	}
}

// ID is the number of the registration, from 1.
func (m *Member) ID() uint64 { return m.id }

// Name is the origin's.
func (m *Member) Name() Name { return m.name }

// Instance is what C calls this connection, "" if it does not say.
func (m *Member) Instance() string { return m.instance }

// RemoteAddr is C's address.
func (m *Member) RemoteAddr() string { return m.remote }

// Since is when it registered.
func (m *Member) Since() time.Time { return m.since }

// NewTable returns an empty table.
func NewTable(c Config) *Table {
	ctx, cancel := context.WithCancel(context.Background())
	return &Table{
		cfg: c.withDefaults(), ctx: ctx, cancel: cancel,
		stopping:     make(chan struct{}),
		entries:      make(map[Name]*entry),
		byCredential: make(map[any]map[Name]int),
		waitingFrom:  make(map[netip.Addr]int),
	}
}

// Registration is a session that wants to serve a name.
type Registration struct {
	Name     Name
	Instance string
	// Credential says whose token it was, without being the token: any
	// comparable value, which the table compares and hands to EndByCredential.
	// It is never printed.
	Credential any
	RemoteAddr string
	// Session must be running or about to be, and is the table's from the
	// moment Register returns without an error.
	Session Session
}

// Admit reports whether Register would take such a registration now; Session
// may be nil. It is for an answer that has to be given before there is a
// session. The error is ErrStopping or one of ErrTooMany...
func (t *Table) Admit(r Registration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.admitLocked(r)
}

func (t *Table) admitLocked(r Registration) error {
	if t.stopped {
		return ErrStopping
	}
	e := t.entries[r.Name]
	if e == nil || len(e.serving)+len(e.leaving) == 0 {
		if t.connected >= t.cfg.MaxOrigins {
			return ErrTooManyOrigins
		}
	}
	names := t.byCredential[r.Credential]
	if names[r.Name] == 0 && len(names) >= t.cfg.MaxPerCredential {
		return ErrTooManyForCredential
	}
	if e != nil {
		sharing := 0
		for _, m := range e.serving {
			if !replaces(r, m) && !m.goingAway() {
				sharing++
			}
		}
		if sharing >= t.cfg.MaxSessions {
			return ErrTooManySessions
		}
	}
	return nil
}

// replaces reports whether r takes the place of m rather than sharing its name.
func replaces(r Registration, m *Member) bool {
	return r.Instance == "" || m.instance == "" || r.Instance == m.instance
}

// Register makes r.Session serve r.Name from now on. Sessions that it replaces
// get a GOAWAY and Config.Drain to finish; every session that was there before
// is asked by PING and closed if it is silent for Config.PingTimeout. Register
// waits for none of that. The session leaves the table by itself. One that is
// going away already is not replaced: it has no limit to finish. If there is an
// error, it is one of Admit's, and the session is still the caller's.
func (t *Table) Register(r Registration) (*Member, error) {
	m := &Member{
		Session: r.Session, name: r.Name, instance: r.Instance, credential: r.Credential,
		remote: r.RemoteAddr, since: time.Now(),
	}
	t.mu.Lock()
	if err := t.admitLocked(r); err != nil {
		t.mu.Unlock()
		return nil, err
	}
	t.purgeLocked()
	e := t.entries[r.Name]
	if e == nil {
		e = &entry{name: r.Name, changed: make(chan struct{})}
		t.entries[r.Name] = e
	}
	if len(e.serving)+len(e.leaving) == 0 {
		t.connected++
	}
	names := t.byCredential[r.Credential]
	if names == nil {
		names = make(map[Name]int)
		t.byCredential[r.Credential] = names
	}
	names[r.Name]++

	var replaced []*Member
	var before []*Member
	for _, old := range slices.Concat(e.leaving, e.serving) {
		if !old.asked {
			old.asked = true
			before = append(before, old)
		}
	}
	for _, old := range slices.Clone(e.serving) {
		switch {
		case old.goingAway():
			t.leaveLocked(e, old)
		case replaces(r, old):
			t.leaveLocked(e, old)
			old.told = true
			replaced = append(replaced, old)
		}
	}
	t.lastID++
	m.id = t.lastID
	e.serving = append(e.serving, m)
	close(e.changed)
	e.changed = make(chan struct{})
	crowd := t.crowdLocked(e)
	sessions := len(e.serving)
	t.running.Add(1 + len(before) + len(replaced) + len(crowd))
	t.mu.Unlock()

	t.cfg.OnEvent(Event{Kind: Connected, Member: m, Sessions: sessions})
	// Ends with the session; Shutdown waits for it.
	go t.watch(e, m)
	for _, old := range replaced {
		t.emit(Replaced, old, nil)
		// Ends within Drain, or with ctx; Shutdown waits for it.
		go t.retire(old)
	}
	for _, old := range before {
		// Ends with the answer or the session, else within maxPings of
		// PingTimeout; Shutdown waits for it.
		go t.probe(old)
	}
	for _, old := range crowd {
		// Ends when the connection is closed; Shutdown waits for it.
		go func() {
			defer t.running.Done()
			old.Close()
		}()
	}
	return m, nil
}

// crowdLocked returns the oldest of the sessions that are finishing, as many as
// are too many. A C that registers again and again is bounded by it.
func (t *Table) crowdLocked(e *entry) []*Member {
	return slices.Clone(e.leaving[:max(0, len(e.leaving)-t.cfg.MaxSessions)])
}

// leaveLocked makes m take no more requests.
func (t *Table) leaveLocked(e *entry, m *Member) {
	if m.left {
		return
	}
	m.left = true
	e.serving = slices.DeleteFunc(e.serving, func(o *Member) bool { return o == m })
	e.leaving = append(e.leaving, m)
	if len(e.serving) == 0 {
		e.lost = time.Now()
	}
}

// watch takes m out of the table as it leaves and ends.
func (t *Table) watch(e *entry, m *Member) {
	defer t.running.Done()
	<-m.GoingAway()
	why := m.Err()
	t.mu.Lock()
	t.leaveLocked(e, m)
	told := m.told
	m.told = true
	stopped := t.stopped
	t.mu.Unlock()

	// GoingAway is closed by a session that ends, too, some time before Done.
	if errors.Is(why, spdy.ErrGoingAway) {
		// One that names a fault is a loss: Ended says it.
		if !told && !stopped && inGoodOrder(why) {
			t.emit(Leaving, m, leavingBecause(why))
		}
		// The C that leaves decides how long it takes, and one whose stream ids are
		// used up has all the time it needs; a session that was replaced has its own
		// limit, in retire.
		m.Shutdown(t.ctx)
	}
	<-m.Done()

	stats, err := m.Stats(), m.Err()
	t.mu.Lock()
	t.past.add(stats)
	e.leaving = slices.DeleteFunc(e.leaving, func(o *Member) bool { return o == m })
	if len(e.serving)+len(e.leaving) == 0 {
		t.connected--
	}
	names := t.byCredential[m.credential]
	if names[m.name]--; names[m.name] == 0 {
		delete(names, m.name)
	}
	if len(names) == 0 {
		delete(t.byCredential, m.credential)
	}
	sessions, closed := len(e.serving), m.closed
	t.mu.Unlock()
	if closed || inGoodOrder(err) {
		err = nil
	}
	t.cfg.OnEvent(Event{Kind: Ended, Member: m, Sessions: sessions, Lasted: time.Since(m.since), Err: err, Told: closed})
}

// inGoodOrder reports whether a session ended as it was meant to.
func inGoodOrder(err error) bool {
	if se, ok := errors.AsType[*spdy.SessionError](err); ok && se.Status != spdy.GoAwayOK {
		return false // a GOAWAY that says what is wrong
	}
	return errors.Is(err, spdy.ErrClosed) || errors.Is(err, spdy.ErrGoingAway)
}

// leavingBecause returns why a session goes away that nobody told to, nil if its
// C wants it.
func leavingBecause(err error) error {
	if se, ok := errors.AsType[*spdy.SessionError](err); ok && !se.Remote {
		return se.Cause
	}
	return nil
}

func (t *Table) emit(kind EventKind, m *Member, err error) {
	t.mu.Lock()
	sessions := 0
	if e := t.entries[m.name]; e != nil {
		sessions = len(e.serving)
	}
	t.mu.Unlock()
	t.cfg.OnEvent(Event{Kind: kind, Member: m, Sessions: sessions, Lasted: time.Since(m.since), Err: err})
}

// retire lets m finish what it serves.
func (t *Table) retire(m *Member) {
	defer t.running.Done()
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.Drain)
	defer cancel()
	m.Shutdown(ctx)
}

// probe closes m if it is silent. One that sends other frames while its answer
// is awaited is alive: on a slow link the answer stands in line behind data.
func (t *Table) probe(m *Member) {
	defer t.running.Done()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		m.asked = false
	}()
	for range maxPings {
		heard := m.Stats().FramesReceived
		ctx, cancel := context.WithTimeout(t.ctx, t.cfg.PingTimeout)
		_, err := m.PingContext(ctx)
		cancel()
		if err == nil || t.ctx.Err() != nil {
			return
		}
		select {
		case <-m.Done():
			return
		default:
		}
		if m.Stats().FramesReceived == heard {
			t.drop(Dropped, m, fmt.Errorf("no answer to a PING in %v", t.cfg.PingTimeout))
			return
		}
	}
}

// drop closes m at once.
func (t *Table) drop(kind EventKind, m *Member, err error) {
	t.mu.Lock()
	t.leaveLocked(t.entries[m.name], m)
	already := m.closed
	m.closed, m.told = true, true
	t.mu.Unlock()
	if !already {
		t.emit(kind, m, err)
	}
	m.Close()
}

// purgeLocked forgets the names that nobody serves or waits for, once they are
// too old to matter or too many.
func (t *Table) purgeLocked() {
	if len(t.entries) == t.connected {
		return
	}
	idle := 0
	var oldest *entry
	for name, e := range t.entries {
		if len(e.serving)+len(e.leaving)+e.waiting > 0 {
			continue
		}
		if time.Since(e.lost) > t.cfg.Memory {
			delete(t.entries, name)
			continue
		}
		idle++
		if oldest == nil || e.lost.Before(oldest.lost) {
			oldest = e
		}
	}
	if idle > t.cfg.MaxOrigins {
		delete(t.entries, oldest.name)
	}
}

// Query is what Acquire is asked for.
type Query struct {
	Name Name
	// Hold is how long the request may wait for an origin that was connected a
	// moment ago. Zero or less: not at all.
	Hold time.Duration
	// Cost is what the request holds in bytes while it waits.
	Cost int
	// From is whose request it is. An eighth of Config.MaxWaitingPerOrigin is how
	// many of one address may wait, for all names together. The zero Addr has no
	// such bound.
	From netip.Addr
	// Avoid, if not nil, is picked only if there is no other.
	Avoid *Member
}

// Acquire returns the session of q.Name with the fewest open streams. If there
// is none, but was within Config.Memory, it waits for one; waited says how long
// it did, 0 if it did not have to. It returns as soon as ctx ends, with ctx's
// error; other errors are ErrNotConnected, ErrHoldExpired, ErrHoldFull and
// ErrStopping.
func (t *Table) Acquire(ctx context.Context, q Query) (m *Member, waited time.Duration, err error) {
	t.mu.Lock()
	if t.stopped {
		// Requests that were there before the stop end by themselves; new ones
		// are not begun.
		t.mu.Unlock()
		return nil, 0, ErrStopping
	}
	e := t.entries[q.Name]
	if e == nil {
		t.mu.Unlock()
		return nil, 0, ErrNotConnected
	}
	if m := t.pickLocked(e, q.Avoid); m != nil {
		t.mu.Unlock()
		return m, 0, nil
	}
	if len(e.serving) == 0 && time.Since(e.lost) > t.cfg.Memory {
		t.mu.Unlock()
		return nil, 0, ErrNotConnected
	}
	if q.Hold <= 0 {
		t.mu.Unlock()
		return nil, 0, ErrHoldExpired
	}
	if t.waiting >= t.cfg.MaxWaiting || e.waiting >= t.cfg.MaxWaitingPerOrigin || t.waitingBytes+int64(q.Cost) > t.cfg.MaxWaitingBytes ||
		q.From.IsValid() && t.waitingFrom[q.From] >= max(1, t.cfg.MaxWaitingPerOrigin/8) {
		t.mu.Unlock()
		return nil, 0, ErrHoldFull
	}
	t.waitsLocked(e, q, 1)
	changed := e.changed
	t.mu.Unlock()

	defer func() {
		t.mu.Lock()
		t.waitsLocked(e, q, -1)
		t.mu.Unlock()
	}()
	start := time.Now()
	timer := time.NewTimer(q.Hold)
	defer timer.Stop()
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, time.Since(start), ctx.Err()
		case <-t.stopping:
			return nil, time.Since(start), ErrStopping
		case <-timer.C:
			return nil, time.Since(start), ErrHoldExpired
		}
		t.mu.Lock()
		m := t.pickLocked(e, q.Avoid)
		changed = e.changed
		t.mu.Unlock()
		if m != nil {
			// At least 1 ns: it did wait.
			return m, max(1, time.Since(start)), nil
		}
	}
}

// waitsLocked counts a request that begins to wait (1) or ends it (-1).
func (t *Table) waitsLocked(e *entry, q Query, n int) {
	t.waiting += n
	e.waiting += n
	t.waitingBytes += int64(n) * int64(q.Cost)
	if q.From.IsValid() {
		if t.waitingFrom[q.From] += n; t.waitingFrom[q.From] == 0 {
			delete(t.waitingFrom, q.From)
		}
	}
}

// pickLocked returns nil if no session takes requests. One that can open a
// stream at once comes before one that cannot, then the fewest open streams
// count, then who was picked longest ago.
func (t *Table) pickLocked(e *entry, avoid *Member) *Member {
	var best *Member
	var bestKey [3]int
	for _, m := range e.serving {
		if m.goingAway() {
			continue
		}
		var key [3]int
		if m == avoid {
			key[0] = 1
		}
		if len(e.serving) > 1 {
			if m.Available() == 0 {
				key[1] = 1
			}
			key[2] = m.InFlight()
		}
		if best == nil || cmp.Or(slices.Compare(key[:], bestKey[:]), cmp.Compare(m.picked, best.picked)) < 0 {
			best, bestKey = m, key
		}
	}
	if best != nil {
		t.picks++
		best.picked = t.picks
	}
	return best
}

// Connected reports whether a session takes requests for name.
func (t *Table) Connected(name Name) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	if e == nil {
		return false
	}
	return slices.ContainsFunc(e.serving, func(m *Member) bool { return !m.goingAway() })
}

// Known reports whether name is connected or was within Config.Memory.
func (t *Table) Known(name Name) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	return e != nil && (len(e.serving) > 0 || time.Since(e.lost) <= t.cfg.Memory)
}

// MaxStreams returns how many streams P may have open for name in all, at most
// 1<<31 - 1: what the sessions that take requests allow, and what those that are
// finishing still have. It is -1 if there is none of the former.
func (t *Table) MaxStreams(name Name) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[name]
	if e == nil || len(e.serving) == 0 {
		return -1
	}
	n := 0
	for _, m := range e.serving {
		n = min(n+m.MaxStreams(), 1<<31-1)
	}
	for _, m := range e.leaving {
		n = min(n+m.InFlight(), 1<<31-1)
	}
	return n
}

// Waiting returns how many requests wait in Acquire.
func (t *Table) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// EndByCredential closes at once every session whose registration gone says is
// no longer allowed, and returns how many. gone must not call the table.
func (t *Table) EndByCredential(gone func(credential any, name Name) bool) int {
	t.mu.Lock()
	var members []*Member
	for _, e := range t.entries {
		for _, m := range slices.Concat(e.serving, e.leaving) {
			if gone(m.credential, m.name) {
				members = append(members, m)
			}
		}
	}
	t.mu.Unlock()
	var closing sync.WaitGroup
	for _, m := range members {
		// Ends when the connection is closed; waited for below.
		closing.Go(func() { t.drop(Revoked, m, nil) })
	}
	closing.Wait()
	return len(members)
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
