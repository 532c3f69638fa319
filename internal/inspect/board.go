// Package inspect is what P remembers of its origins and of their requests, for the
// operator: who is there, who was and why not now, what became of what visitors asked,
// and how it went in the last five minutes and the last day.
//
// All of it is bounded, whatever strangers ask for and Cs call themselves: see the
// constants. A request adds to counters, without a lock that another origin's requests
// take, and leaves what is known of it in a place of its own; what is worth more work
// is done once a second, or when somebody looks.
package inspect

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxNames is how many origins are remembered, of which 10 000 may be connected:
	// for more those go that have been away longest.
	maxNames = 12_000

	// evictAtOnce is how many are forgotten together when there are as many: to find
	// them takes a walk through all.
	evictAtOnce = maxNames / 64

	// forgetAfter is how long an origin is remembered that is not there, and that no
	// token names.
	forgetAfter = 7 * 24 * time.Hour

	// DefaultLabels is how many origins have figures of their own in the metrics.
	DefaultLabels = 1000

	// freshFor is how old a Listing may be.
	freshFor = 900 * time.Millisecond

	// manyOrigins is above how many a Listing is work: it may be twice as old then, and
	// who comes or goes is seen within seenWithin, not at once, or else each of ten
	// thousand that connect would have it made anew for each who looks.
	manyOrigins = 1000
	seenWithin  = 250 * time.Millisecond

	maxChanges = 500 // of origins' states that are remembered
)

// The states of an origin. The words are those of the page, the log and the metrics.
const (
	Connected   = "connected"   // takes requests
	Unreachable = "unreachable" // the same, but no address of a visitor's leads to it
	Leaving     = "leaving"     // finishes what it serves, takes nothing new
	Absent      = "absent"      // was there, or a token names it
	Refused     = "refused"     // absent, and a C that wants the name is not let in
	Revoked     = "revoked"     // its token is gone
)

// States are all of them, in the order in which they are to be looked at.
var States = [...]string{Revoked, Refused, Absent, Leaving, Unreachable, Connected}

// Config is what a Board asks for. Every function may be nil, which is as if it
// returned nothing; none may call the Board.
type Config struct {
	// Sessions returns those that are there.
	Sessions func() []Session
	// Load returns how many requests are under way, and how many of them wait for an
	// origin. It is called once a second.
	Load func() (open, held int)
	// URLs returns the addresses at which visitors reach an origin.
	URLs func(origin string) []string
	// Written returns an origin's name as people write it, "" if that is no other.
	Written func(origin string) string
	// Unreachable says why no visitor can reach it, "" if one can.
	Unreachable func(origin string) string
	// Labels is how many origins have figures of their own in the metrics. Zero:
	// DefaultLabels.
	Labels int
}

// Session is one connection of a C.
type Session struct {
	Origin      string // "@" for the default one
	ID          uint64
	Instance    string // what C calls it, may be empty
	Remote      string // C's address
	Agent       string // C's program and version, may be empty
	Since       time.Time
	Leaving     bool          // finishes what it serves, takes nothing new
	InFlight    int           // streams open or waited for
	MaxStreams  int           // that C allows
	Streams     uint64        // opened since its start
	ToC         uint64        // bytes of bodies
	FromC       uint64        // bytes of bodies
	FramesToC   uint64        // SPDY's
	FramesFromC uint64        // SPDY's
	Resets      uint64        // streams that ended by RST_STREAM of either side
	Window      int64         // the session's receive window, in bytes
	Buffered    int64         // bytes that came and that visitors have not read yet
	RoundTrip   time.Duration // of the last PING, 0 if none was measured
	Measured    time.Time     // when that was
}

// Origin is all that is known of one.
type Origin struct {
	Name      string
	Written   string // of Complete: the name as people write it, where that is another
	State     string
	Since     time.Time     // the zero Time: it was never there
	Why       string        // the state is no good one
	URLs      []string      // of Complete
	Sessions  []Session     // the oldest first
	InFlight  int           // their sum
	RoundTrip time.Duration // of the slowest
	Measured  time.Time     // when that was

	Requests, Errors uint64 // since the program's start
	In, Out          uint64 // bytes of bodies
	RequestRate      float32
	ErrorRate        float32
	InRate, OutRate  float32
	P50, P99         time.Duration        // until the response's headers, of the last one to two minutes
	Classes          [len(Classes)]uint64 // of Complete: requests by Classes
	Replayed         uint64               // of Complete
	Resumed          uint64               // of Complete
	Recent           []uint32             // of Complete: requests in each five seconds of the last five minutes; nil if there were none
	SessionsStarted  uint64
	SessionsEnded    uint64
	LastRefusal      *Refusal // since its last session came
	labelled         bool
}

// Listing is all origins at one moment. It must not be changed.
type Listing struct {
	At       time.Time
	Origins  []Origin       // by name
	States   map[string]int // how many there are of each, zeros too
	Sessions int
	InFlight int // streams open or waited for, of all sessions

	mu     sync.Mutex
	sorted map[string][]*Origin // guarded by mu; by key, see Sorted
}

// Sorted returns the origins in an order, those that are equal in it by name. All who
// look share it: what has the same key is sorted once.
func (l *Listing) Sorted(key string, order func(a, b *Origin) int) []*Origin {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.sorted[key]
	if list == nil {
		list = make([]*Origin, 0, len(l.Origins))
		for i := range l.Origins {
			list = append(list, &l.Origins[i])
		}
		slices.SortStableFunc(list, order)
		if l.sorted == nil {
			l.sorted = make(map[string][]*Origin)
		}
		l.sorted[key] = list
	}
	return list
}

// Change is an origin's new state.
type Change struct {
	Seq    uint64
	Time   time.Time
	Origin string
	State  string
	Why    string
}

// Board is what P remembers. Make one with New.
type Board struct {
	// Fixed by New.
	cfg     Config
	started time.Time

	requests requestRing
	names    sync.Map  // origin's name: *entry; written under mu
	other    Tally     // of requests for what is no origin that is known
	headers  histogram // of all requests

	mu sync.Mutex
	// Guarded by mu, which no request takes but an origin's first.
	entries     map[string]*entry
	byName      []*entry // all of them; nil since one was added or dropped
	labels      int
	evicted     Counts // of origins without a label that were forgotten
	evictOver   int    // above maxNames: there was nobody to forget for fewer
	otherLast   figures
	headersLast [classesOfTime]uint32
	series      series
	refusals    refusals
	changes     []Change // the latest last
	lastChange  uint64

	stale atomic.Bool // somebody came or went since list was made
	fresh sync.Mutex  // one Listing is made at a time
	list  *Listing    // guarded by fresh
}

// entry is one origin.
type entry struct {
	name  string
	tally atomic.Pointer[Tally] // nil before its first request

	// Guarded by Board.mu.
	labelled       bool // has figures of its own in the metrics
	named          bool // by a token
	started, ended uint64
	serving        bool      // it has a session that takes requests
	up             time.Time // since when there has been one
	gone           time.Time // since when there is none; the zero Time: there never was one
	why            string
	revoked        bool
	unnamed        bool      // no token has named it since it was revoked
	refused        time.Time // when it was refused first since it was there, and is not there now
	refusal        *Refusal  // the last one, nil if there was none
	trend          *trend    // nil before its first request
	sessions       []Session // while a Listing is made
}

// New returns an empty Board.
func New(c Config) *Board {
	c.Labels = cmp.Or(c.Labels, DefaultLabels)
	if c.Sessions == nil {
		c.Sessions = func() []Session { return nil }
	}
	if c.Load == nil {
		c.Load = func() (int, int) { return 0, 0 }
	}
	if c.URLs == nil {
		c.URLs = func(string) []string { return nil }
	}
	if c.Written == nil {
		c.Written = func(string) string { return "" }
	}
	if c.Unreachable == nil {
		c.Unreachable = func(string) string { return "" }
	}
	return &Board{
		cfg: c, started: time.Now(), entries: make(map[string]*entry),
		series: series{seconds: ring{size: keptSeconds}, minutes: ring{size: keptMinutes}},
	}
}

// find returns the entry of a name, nil if there is none.
func (b *Board) find(name string) *entry {
	e, _ := b.names.Load(name)
	found, _ := e.(*entry)
	return found
}

// entryLocked returns the entry of a name, a new one if there is none.
func (b *Board) entryLocked(name string) *entry {
	if e := b.entries[name]; e != nil {
		return e
	}
	if len(b.entries) >= max(maxNames, b.evictOver) {
		b.evictLocked()
	}
	name = strings.Clone(name) // a piece of a request, perhaps
	e := &entry{name: name}
	if b.labels < b.cfg.Labels {
		b.labels++
		e.labelled = true
	}
	b.entries[name], b.byName = e, nil
	b.names.Store(name, e)
	return e
}

// evictLocked makes room for some names, or none where all are served: a cluster may
// have more than are to be remembered here. It is called again when as many have come.
func (b *Board) evictLocked() {
	var away []*entry
	for _, e := range b.entries {
		if !e.serving {
			away = append(away, e)
		}
	}
	slices.SortFunc(away, func(a, b *entry) int {
		switch {
		case a.named == b.named:
			return a.gone.Compare(b.gone)
		case b.named:
			return -1
		}
		return 1
	})
	over := len(b.entries) - maxNames + evictAtOnce
	for _, e := range away[:min(over, len(away))] {
		b.dropLocked(e)
	}
	b.evictOver = len(b.entries) + evictAtOnce
}

func (b *Board) dropLocked(e *entry) {
	delete(b.entries, e.name)
	b.byName = nil
	b.names.Delete(e.name)
	if e.labelled {
		b.labels--
		return
	}
	c := e.counts()
	b.evicted.add(&c)
}

// forget drops origins that have been away for long.
func (b *Board) forget(now time.Time) {
	b.evictOver = 0
	for _, e := range b.entries {
		if !e.serving && !e.named && !e.gone.IsZero() && now.Sub(e.gone) > forgetAfter {
			b.dropLocked(e)
		}
	}
}

func (e *entry) counts() Counts {
	var c Counts
	if t := e.tally.Load(); t != nil {
		c = t.load()
	}
	c.Started, c.Ended = e.started, e.ended
	return c
}

// Tally returns where what happens at an origin is counted; known says that it has,
// or had, a session.
func (b *Board) Tally(origin string, known bool) *Tally {
	e := b.find(origin)
	if e == nil {
		if !known {
			return &b.other
		}
		b.mu.Lock()
		e = b.entryLocked(origin)
		b.mu.Unlock()
	}
	t := e.tally.Load()
	if t == nil {
		t = new(Tally)
		if !e.tally.CompareAndSwap(nil, t) {
			t = e.tally.Load()
		}
	}
	return t
}

// Ended notes a request that has ended. r is not kept.
func (b *Board) Ended(r *Request) {
	b.Tally(r.Origin, r.Known).ended(r)
	if r.Headers > 0 {
		b.headers.observe(r.Headers)
	}
	b.requests.add(r)
}

// Named notes for which origins there are tokens: they are shown though they were
// never there, and no more when there is none.
func (b *Board) Named(names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		e.named = false
	}
	for _, name := range names {
		if b.entries[name] != nil || len(b.entries) < maxNames {
			e := b.entryLocked(name)
			e.named = true
			if e.unnamed {
				// Its token is there again: what its C was refused without it is past, too.
				e.revoked, e.unnamed, e.why, e.refused = false, false, "", time.Time{}
				b.stale.Store(true)
				b.changedLocked(name, Absent, "")
			}
		}
	}
	for _, e := range b.entries {
		e.unnamed = e.revoked && !e.named
		// What a visitor asked of one that never came is no reason to keep it.
		if !e.named && e.up.IsZero() && e.gone.IsZero() {
			b.dropLocked(e)
		}
	}
}

// SessionStarted notes that a session of an origin has registered.
func (b *Board) SessionStarted(origin string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entryLocked(origin)
	e.started++
	b.servedLocked(origin, e)
}

// Attached notes that another node of the cluster has one; Detached, that it has it no
// more. They do not count as sessions that this one has had.
func (b *Board) Attached(origin string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servedLocked(origin, b.entryLocked(origin))
}

// Detached is SessionEnded for a session that was Attached.
func (b *Board) Detached(origin string, serving bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endedLocked(origin, b.entryLocked(origin), serving, "")
}

func (b *Board) servedLocked(origin string, e *entry) {
	b.stale.Store(true)
	if !e.serving {
		e.up = time.Now()
		b.changedLocked(origin, Connected, "")
	}
	e.serving = true
	e.revoked, e.unnamed, e.refused, e.refusal, e.why = false, false, time.Time{}, nil, ""
}

// SessionLeaves notes that one takes no more requests, or that it was closed because
// its token is gone; why may be empty. serving says that the origin has another
// one that takes them.
func (b *Board) SessionLeaves(origin string, serving, revoked bool, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entryLocked(origin)
	b.stale.Store(true)
	if serving || !e.serving && !revoked {
		return
	}
	if e.serving {
		e.serving, e.gone = false, time.Now()
	}
	state := Leaving
	if revoked {
		state, why, e.revoked = Revoked, "its token is gone", true
	}
	e.why = clip(why, maxWhy)
	b.changedLocked(origin, state, e.why)
}

// SessionEnded notes that one is over; why is empty if it ended in good order.
func (b *Board) SessionEnded(origin string, serving bool, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entryLocked(origin)
	e.ended++
	b.endedLocked(origin, e, serving, why)
}

func (b *Board) endedLocked(origin string, e *entry, serving bool, why string) {
	b.stale.Store(true)
	if serving {
		return
	}
	if e.serving || e.gone.IsZero() {
		e.serving, e.gone = false, time.Now()
	}
	if e.revoked {
		return
	}
	if why != "" {
		e.why = clip(why, maxWhy)
	}
	b.changedLocked(origin, Absent, e.why)
}

func (b *Board) changedLocked(origin, state, why string) {
	b.lastChange++
	b.changes = appendLast(b.changes, Change{b.lastChange, time.Now(), origin, state, why}, maxChanges)
}

// appendLast appends to a list of which the last max are kept, and not many more.
func appendLast[T any](list []T, v T, max int) []T {
	if len(list) >= 2*max {
		list = append(list[:0], list[len(list)-max:]...)
	}
	return append(list, v)
}

// Changes returns the last changes of an origin's state, or of all origins for "", the
// latest first, at most max, and none before the one with the Seq after.
func (b *Board) Changes(origin string, after uint64, max int) []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []Change
	for i, c := range slices.Backward(b.changes) {
		if len(found) == max || c.Seq <= after || len(b.changes)-i > maxChanges {
			break
		}
		if origin == "" || c.Origin == origin {
			found = append(found, c)
		}
	}
	return found
}

// Listing returns the origins as they were less than a second ago, or, if they are
// many, less than two, so that many may look at once. Who comes or goes is in it at once,
// or, if they are many, soon.
func (b *Board) Listing() *Listing {
	b.fresh.Lock()
	defer b.fresh.Unlock()
	if l := b.list; l != nil {
		within, seen := freshFor, time.Duration(0)
		if len(l.Origins) > manyOrigins {
			within, seen = 2*freshFor, seenWithin
		}
		if age := time.Since(l.At); age < within && (age < seen || !b.stale.Load()) {
			return l
		}
	}
	return b.makeListing()
}

// ListingNow returns the origins as they are.
func (b *Board) ListingNow() *Listing {
	b.fresh.Lock()
	defer b.fresh.Unlock()
	return b.makeListing()
}

// makeListing is called with Board.fresh.
func (b *Board) makeListing() *Listing {
	b.stale.Store(false)
	l := &Listing{At: time.Now(), States: make(map[string]int, len(States))}
	sessions := b.cfg.Sessions()
	l.Sessions = len(sessions)
	b.mu.Lock()
	for from := 0; from < len(sessions); {
		to := from
		for ; to < len(sessions) && sessions[to].Origin == sessions[from].Origin; to++ {
			l.InFlight += sessions[to].InFlight
		}
		// Mostly an origin's come one after another, and then they stay where they are.
		e := b.entryLocked(sessions[from].Origin)
		if run := sessions[from:to:to]; e.sessions == nil {
			e.sessions = run
		} else {
			e.sessions = append(e.sessions, run...)
		}
		from = to
	}
	if b.byName == nil {
		b.byName = slices.SortedFunc(maps.Values(b.entries), func(a, b *entry) int { return cmp.Compare(a.name, b.name) })
	}
	l.Origins = make([]Origin, 0, len(b.byName))
	for _, e := range b.byName {
		l.Origins = append(l.Origins, e.origin(e.sessions))
		e.sessions = nil
	}
	b.mu.Unlock()

	for _, state := range States {
		l.States[state] = 0
	}
	for i := range l.Origins {
		o := &l.Origins[i]
		if o.State == Connected {
			if why := b.cfg.Unreachable(o.Name); why != "" {
				o.State, o.Why = Unreachable, why
			}
		}
		l.States[o.State]++
	}
	b.list = l
	return l
}

// Origin returns what is known of one, and false if nothing is.
func (b *Board) Origin(name string) (Origin, bool) {
	l := b.Listing()
	i, ok := slices.BinarySearchFunc(l.Origins, name, func(o Origin, name string) int { return cmp.Compare(o.Name, name) })
	if !ok {
		return Origin{}, false
	}
	o := l.Origins[i]
	b.Complete(&o)
	return o, true
}

// Written returns an origin's name as people write it, "" if that is no other.
func (b *Board) Written(origin string) string { return b.cfg.Written(origin) }

// Complete fills in what a Listing leaves out, which is too much for ten thousand
// origins of which fifty are shown.
func (b *Board) Complete(o *Origin) {
	o.URLs, o.Written = b.cfg.URLs(o.Name), b.cfg.Written(o.Name)
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[o.Name]
	if e == nil {
		return
	}
	if e.trend != nil {
		o.Recent = e.trend.recent(int64(time.Since(b.started) / slotTime))
	}
	if t := e.tally.Load(); t != nil {
		for i := range t.classes {
			o.Classes[i] = t.classes[i].Load()
		}
		o.Replayed, o.Resumed = t.replayed.Load(), t.resumed.Load()
	}
}

// origin is called with Board.mu.
func (e *entry) origin(sessions []Session) Origin {
	o := Origin{
		Name: e.name, Sessions: sessions, Why: e.why, Since: e.gone, SessionsStarted: e.started, SessionsEnded: e.ended,
		labelled: e.labelled,
	}
	serving := 0
	for _, s := range sessions {
		o.InFlight += s.InFlight
		if s.RoundTrip > o.RoundTrip {
			o.RoundTrip, o.Measured = s.RoundTrip, s.Measured
		}
		if !s.Leaving {
			serving++
		}
	}
	if e.refusal != nil {
		r := *e.refusal
		o.LastRefusal = &r
	}
	switch {
	case serving > 0:
		// The table may know before this Board does.
		o.State, o.Why, o.Since = Connected, "", e.up
		if o.Since.IsZero() {
			o.Since = sessions[0].Since
		}
	case len(sessions) > 0 && !e.revoked:
		o.State = Leaving
	case e.revoked:
		o.State = Revoked
	case !e.refused.IsZero():
		o.State, o.Since, o.Why = Refused, e.refused, e.refusal.Why
	default:
		o.State = Absent
	}
	t := e.tally.Load()
	if t == nil {
		return o
	}
	f := t.figures()
	o.Requests, o.Errors, o.In, o.Out = f.requests, f.errors, f.in, f.out
	if tr := e.trend; tr != nil {
		o.RequestRate, o.ErrorRate, o.InRate, o.OutRate = tr.rates[0], tr.rates[1], tr.rates[2], tr.rates[3]
		h := t.headers.load()
		o.P50, o.P99 = quantiles(h.minus(&tr.hist[1]))
	}
	return o
}

// Figures are the counts of origins for the metrics: those with a label by their
// name, and the sum of all else.
func (b *Board) Figures() (labelled map[string]Counts, rest Counts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	labelled = make(map[string]Counts, min(len(b.entries), b.cfg.Labels))
	rest = b.other.load()
	rest.add(&b.evicted)
	for _, e := range b.entries {
		c := e.counts()
		if e.labelled {
			labelled[e.name] = c
		} else {
			rest.add(&c)
		}
	}
	return labelled, rest
}

// Labelled reports whether an origin has figures of its own in the metrics.
func (o *Origin) Labelled() bool { return o.labelled }
