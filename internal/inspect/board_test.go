package inspect

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// there is a board whose sessions a test sets.
type there struct {
	*Board
	sessions []Session
	held     int
}

func newThere(c Config) *there {
	x := &there{}
	c.Sessions = func() []Session { return x.sessions }
	c.Load = func() (int, int) { return 7, x.held }
	x.Board = New(c)
	return x
}

// state returns an origin's, and why, when what is shown is not older than now.
func (x *there) state(t *testing.T, name string) (state, why string) {
	t.Helper()
	time.Sleep(freshFor + 1) // in a bubble
	o, ok := x.Origin(name)
	if !ok {
		return "unknown", ""
	}
	return o.State, o.Why
}

// Each word for an origin's state, and when it is said.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newThere(Config{Unreachable: func(name string) string {
			if name == "lost" {
				return "no --domain is given"
			}
			return ""
		}})
		want := func(name, state, why string) {
			t.Helper()
			if s, w := x.state(t, name); s != state || w != why {
				t.Errorf("%s is %s (%s), want %s (%s)", name, s, w, state, why)
			}
		}
		want("film", "unknown", "")
		x.Named([]string{"film"})
		want("film", Absent, "")
		if o, _ := x.Origin("film"); !o.Since.IsZero() {
			t.Error("it is absent since some time, and was never there")
		}
		x.Refused(Refusal{Origin: "film", Status: 401, Kind: "token", Why: "no token"})
		want("film", Refused, "no token")
		x.Refused(Refusal{Origin: "stranger", Status: 401, Kind: "token", Why: "no token"})
		want("stranger", "unknown", "")

		one := Session{Origin: "film", ID: 1, Since: time.Now()}
		x.sessions = []Session{one}
		x.SessionStarted("film")
		want("film", Connected, "")
		one.Leaving = true
		x.sessions = []Session{one}
		x.SessionLeaves("film", false, false, "")
		want("film", Leaving, "")
		x.sessions = nil
		x.SessionEnded("film", false, "")
		want("film", Absent, "")

		x.SessionStarted("film")
		x.SessionEnded("film", false, "connection reset by peer")
		want("film", Absent, "connection reset by peer")
		x.SessionStarted("film")
		x.SessionLeaves("film", false, true, "")
		x.SessionEnded("film", false, "")
		x.Refused(Refusal{Origin: "film", Status: 401, Kind: "token", Why: "no token"})
		want("film", Revoked, "its token is gone")

		// Whoever is refused the name of one that is there has nothing to do with why it
		// goes.
		x.SessionStarted("film")
		x.Refused(Refusal{Origin: "film", Status: 401, Kind: "token", Why: "no token"})
		x.SessionEnded("film", false, "peer closed it")
		want("film", Absent, "peer closed it")
		if o, _ := x.Origin("film"); o.LastRefusal == nil || o.LastRefusal.Why != "no token" {
			t.Errorf("its last refusal is %+v, want the one with no token", o.LastRefusal)
		}
		x.Refused(Refusal{Origin: "film", Status: 403, Kind: "not_allowed", Why: "not this name"})
		want("film", Refused, "not this name")

		x.SessionStarted("lost")
		x.sessions = []Session{{Origin: "lost"}}
		want("lost", Unreachable, "no --domain is given")
		// One of two that goes changes nothing.
		x.SessionStarted("lost")
		x.SessionLeaves("lost", true, false, "")
		x.SessionEnded("lost", true, "reset")
		want("lost", Unreachable, "no --domain is given")

		var said []string
		for _, c := range x.Changes("film", 0, 100) {
			said = append(said, c.State)
		}
		if got, want := strings.Join(said, " "), "absent connected revoked connected absent connected absent leaving connected"; got != want {
			t.Errorf("changes: %s, want %s", got, want)
		}
		if n := x.Listing().States; n[Unreachable] != 1 || n[Refused] != 1 || n[Connected] != 0 {
			t.Errorf("counts: %v", n)
		}
	})
}

// One whose token is gone and there again waits for its C; one that another token names,
// all along or since then, has lost its own.
func TestTokenIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newThere(Config{})
		want := func(when, state, why string) {
			t.Helper()
			if s, w := x.state(t, "film"); s != state || w != why {
				t.Errorf("%s: it is %s (%s), want %s (%s)", when, s, w, state, why)
			}
		}
		x.SessionStarted("film") // with a token for each name
		x.SessionLeaves("film", false, true, "")
		x.SessionEnded("film", false, "")
		want("without its token", Revoked, "its token is gone")
		for range 2 {
			x.Named([]string{"film"})
			want("with another's", Revoked, "its token is gone")
		}
		x.Named(nil)
		want("with none", Revoked, "its token is gone")
		refusal := Refusal{Origin: "film", Status: 401, Kind: "token", Why: "no token"}
		x.Refused(refusal)
		x.Named([]string{"film"})
		want("with its token", Absent, "")
		if !x.Refused(refusal) {
			t.Error("that it is refused with its token there is nothing new")
		}
		want("with its token, and another at its C", Refused, "no token")
	})
}

// What a known load makes of the figures, by the second and by the minute.
func TestSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newThere(Config{})
		x.held = 3
		done := make(chan struct{})
		var running sync.WaitGroup
		running.Go(func() { x.Run(done) }) // ends when done is closed
		x.SessionStarted("a")
		time.Sleep(500 * time.Millisecond)
		for second := range 120 {
			for range 10 {
				r := &Request{Origin: "a", Known: true, Status: 200, Headers: 20 * time.Millisecond, Duration: time.Second}
				if second%2 == 1 {
					r.Status, r.Failed = 502, true
				}
				x.Ended(r)
			}
			x.Tally("a", true).Out(1000)
			time.Sleep(time.Second)
		}
		points, step, last := x.Series(false)
		if len(points) != 120 || step != time.Second || time.Since(last) > time.Second {
			t.Fatalf("%d points of %v, the last one %v ago", len(points), step, time.Since(last))
		}
		if p := points[50]; p.Requests != 10 || p.Errors != 0 || p.Out != 1000 || p.Held != 3 || p.Open != 7 || p.P50 < 0.015 || p.P50 > 0.020 {
			t.Errorf("a second: %+v", p)
		}
		if p := points[51]; p.Errors != 10 {
			t.Errorf("the next second: %+v, want 10 errors", p)
		}
		day, step, _ := x.Series(true)
		if len(day) != 2 || step != time.Minute || day[1].Requests != 10 || day[1].Errors != 5 || day[1].Out != 1000 || day[1].P99 > 0.020 {
			t.Errorf("minutes of %v: %+v", step, day)
		}
		time.Sleep(freshFor)
		o, _ := x.Origin("a")
		if o.Requests != 1200 || o.Errors != 600 || o.Out != 120_000 || o.RequestRate < 7 || o.RequestRate > 11 || o.ErrorRate < 3 || o.ErrorRate > 7 ||
			o.OutRate < 700 || o.OutRate > 1100 || o.P50 < 15*time.Millisecond || o.P50 > 20*time.Millisecond {
			t.Errorf("the origin: %+v", o)
		}
		sum := 0
		for _, n := range o.Recent {
			sum += int(n)
		}
		if len(o.Recent) != keptSlots || sum < 1150 || sum > 1200 {
			t.Errorf("recent: %v", o.Recent)
		}

		time.Sleep(10 * time.Minute)
		points, _, _ = x.Series(false)
		if len(points) != keptSeconds || points[0].Requests != 0 {
			t.Errorf("%d points, the first %+v", len(points), points[0])
		}
		o, _ = x.Origin("a")
		if o.RequestRate != 0 || o.P50 != 0 || o.Requests != 1200 {
			t.Errorf("the origin, later: %+v", o)
		}
		close(done)
		running.Wait()
	})
}

func TestHideValues(t *testing.T) {
	for target, want := range map[string]string{
		"/": "/", "/a?": "/a?", "/a?b=c": "/a?b=*", "/a?b=c&d=&e&f=g=h": "/a?b=*&d&e&f=*", "*": "*",
		"/?" + strings.Repeat("k", 33): "/?*", "/?ab12cd34ef56&flag&v2&sort=": "/?*&flag&*&sort", "/?sig:secretword": "/?*",
		"/?c2VjcmV0d29yZA==": "/?*", "/?c2VjcmV0d29yZA=": "/?*", "/a?b==": "/a?b=*", "/?a=b?c": "/?a=*",
		"http://user:pw@host/a@b?c=d": "http://*@host/a@b?c=*", "http://pw@host?c=d": "http://*@host?c=*", "http://host/a@b": "http://host/a@b",
		"http://a@b:pw@host": "http://*@host", "/http://a@b/": "/http://a@b/",
		"/a?b=c?d&&x=y": "/a?b=*&&x=*",
	} {
		if got := hideValues(target); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

// What is remembered of a request, and which ones a filter takes.
func TestRequests(t *testing.T) {
	b := New(Config{})
	b.Ended(&Request{ID: "one", Client: netip.MustParseAddr("192.0.2.1"), Method: "GET", Host: "film.example", Target: "/a?token=secret",
		Agent: "curl/8", Origin: "film", Known: true, Status: 200, Duration: 2 * time.Second,
		Attempts: []Attempt{{Session: 1, Why: "it ended"}}})
	b.Ended(&Request{ID: "two", Method: "POST", Host: "x", Target: "/b", Origin: "@", Known: true, Status: 503, Failed: true, Detail: "not connected"})
	b.Ended(&Request{ID: "three", Method: "GET", Host: "x", Target: strings.Repeat("é", 5000), Origin: "@", Status: 200, Aborted: true})
	ids := func(f Filter, before uint64, max int) string {
		var list []string
		for _, r := range b.Requests(f, before, max) {
			list = append(list, r.ID)
		}
		return strings.Join(list, " ")
	}
	for _, c := range []struct {
		f      Filter
		before uint64
		max    int
		want   string
	}{
		{Filter{}, 0, 9, "three two one"}, {Filter{}, 0, 2, "three two"}, {Filter{}, 3, 9, "two one"}, {Filter{}, 1, 9, ""},
		{Filter{Origin: "film"}, 0, 9, "one"}, {Filter{Method: "GET"}, 0, 9, "three one"}, {Filter{Status: "5xx"}, 0, 9, "two"},
		{Filter{Status: "200"}, 0, 9, "three one"}, {Filter{Status: "2xx"}, 0, 9, "one"}, {Filter{Status: "aborted"}, 0, 9, "three"},
		{Filter{Status: "failed"}, 0, 9, "two"}, {Filter{Slow: time.Second}, 0, 9, "one"}, {Filter{Text: "CURL"}, 0, 9, "one"},
		{Filter{Text: "192.0.2"}, 0, 9, "one"}, {Filter{Text: "secret"}, 0, 9, ""},
	} {
		if got := ids(c.f, c.before, c.max); got != c.want {
			t.Errorf("%+v before %d: got %q, want %q", c.f, c.before, got, c.want)
		}
	}
	all := b.Requests(Filter{}, 0, 9)
	if r := all[2]; r.Target != "/a?token=*" || r.Seq != 1 || len(r.Attempts) != 1 || r.Attempts[0].Why != "it ended" {
		t.Errorf("the first: %+v", r)
	}
	if r := all[0]; len(r.Target) > maxText[4]+3 || !strings.HasSuffix(r.Target, "...") {
		t.Errorf("a long target is %d bytes long", len(r.Target))
	}
	found, last, missed := b.RequestsAfter(Filter{}, 1, 1)
	if len(found) != 1 || found[0].ID != "two" || last != 3 || missed != 1 {
		t.Errorf("after the first: %d, the last %d, %d missed", len(found), last, missed)
	}
	for range 2 * maxRequests {
		b.Ended(&Request{Origin: "@", Known: true, Status: 200})
	}
	if n := len(b.Requests(Filter{}, 0, 1<<20)); n != maxRequests {
		t.Errorf("%d are remembered, want %d", n, maxRequests)
	}
	if found, _, missed := b.RequestsAfter(Filter{}, 1, 10); len(found) != 10 || missed != 2*maxRequests+2-10 {
		t.Errorf("%d found, %d missed", len(found), missed)
	}
}

// Whoever has been away longest is forgotten first, one that a token names last, and
// nobody who is there, however many they are.
func TestWhoIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{})
		b.Named([]string{"named"})
		come := func(from, to int, stay bool) {
			for i := range to - from {
				name := fmt.Sprintf("n%d", from+i)
				b.SessionStarted(name)
				if !stay {
					b.SessionEnded(name, false, "")
				}
				time.Sleep(time.Millisecond)
			}
		}
		come(0, maxNames-1, false)
		come(maxNames, maxNames+1, false)
		for name, want := range map[string]bool{"n0": false, fmt.Sprint("n", evictAtOnce-1): false, fmt.Sprint("n", evictAtOnce): true, "named": true} {
			if got := b.find(name) != nil; got != want {
				t.Errorf("after one too many, %s is remembered: %v, want %v", name, got, want)
			}
		}
		const more = maxNames + 10*evictAtOnce
		come(2*maxNames, 2*maxNames+more, true)
		if n := len(b.entries); n != more {
			t.Errorf("%d are remembered, want the %d that are there", n, more)
		}
		for i := range more {
			b.SessionEnded(fmt.Sprintf("n%d", 2*maxNames+i), false, "")
		}
		come(5*maxNames, 5*maxNames+2*evictAtOnce, false)
		if n := len(b.entries); n > maxNames {
			t.Errorf("%d are remembered when all are away, want at most %d", n, maxNames)
		}
	})
}

// One that never came goes with its token, whoever asked for it; one that is there, on
// this node or another, stays.
func TestNamedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newThere(Config{Labels: 2})
		x.Named([]string{"old"})
		x.Ended(&Request{Origin: "old", Status: 503})
		x.Attached("far")
		time.Sleep(time.Hour)
		since := time.Now().Add(-time.Hour)
		x.sessions = []Session{{Origin: "far"}}
		x.Named(nil)
		if state, _ := x.state(t, "old"); state != "unknown" {
			t.Errorf("one that never came is %s without its token, want nothing of it", state)
		}
		if o, _ := x.Origin("far"); o.State != Connected || !o.Since.Equal(since) {
			t.Errorf("one of another node is %s since %v, want connected since %v", o.State, o.Since, since)
		}
		x.SessionStarted("new")
		if labelled, _ := x.Figures(); len(labelled) != 2 {
			t.Errorf("labelled: %v, want far and new", labelled)
		}
		x.Ended(&Request{Origin: "old", Status: 503}) // is of no origin
		if state, _ := x.state(t, "old"); state != "unknown" {
			t.Errorf("it is %s once it was asked for again", state)
		}
	})
}

// Nobody gets more memory by what they call themselves or ask for.
func TestBounded(t *testing.T) {
	b := New(Config{Labels: 10})
	for i := range maxNames + 100 {
		name := fmt.Sprintf("n%d", i)
		b.SessionStarted(name)
		b.Ended(&Request{Origin: name, Known: true, Status: 200})
		b.SessionEnded(name, false, "")
		b.Ended(&Request{Origin: "never-" + name, Status: 503})
		b.Refused(Refusal{Origin: name + "x", Kind: "token"})
	}
	l := b.Listing()
	if n := len(l.Origins); n > maxNames || n <= maxNames-evictAtOnce {
		t.Errorf("%d origins, want %d, or up to %d fewer", n, maxNames, evictAtOnce)
	}
	if n := len(b.Refusals()); n != maxRefusals {
		t.Errorf("%d refusals, want %d", n, maxRefusals)
	}
	if n := len(b.Changes("", 0, 1<<20)); n != maxChanges {
		t.Errorf("%d changes, want %d", n, maxChanges)
	}
	labelled, rest := b.Figures()
	if len(labelled) != 10 {
		t.Errorf("%d labels, want 10", len(labelled))
	}
	// Whoever was forgotten counts on, beside those of no origin.
	sum := rest.Requests[1]
	for _, c := range labelled {
		sum += c.Requests[1]
	}
	if want := uint64(maxNames + 100); sum > want || sum < want-10 || rest.Requests[4] != want {
		t.Errorf("%d and %d requests, want %d", sum, rest.Requests[4], want)
	}
	// Those that have a token are there, and go with it.
	b = New(Config{})
	b.Named([]string{"a", "b"})
	b.Named([]string{"b"})
	if l := b.Listing(); len(l.Origins) != 1 || l.Origins[0].Name != "b" {
		t.Errorf("named: %+v", l.Origins)
	}
}

// Of many origins one listing does for all who look, whoever comes and goes meanwhile;
// of few, who comes is seen at once.
func TestListingIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := New(Config{Sessions: func() []Session { asked++; return nil }})
		come := func(i int) { b.SessionStarted(fmt.Sprintf("n%05d", i)) }
		come(0)
		for i := range 3 {
			come(i + 1)
			if n := len(b.Listing().Origins); n != i+2 {
				t.Fatalf("%d origins, want %d", n, i+2)
			}
		}
		for i := range manyOrigins {
			come(i + 10)
		}
		asked = 0
		first := b.Listing()
		for i := range 100 { // in 200 ms
			come(i + 5000)
			time.Sleep(2 * time.Millisecond) // the bubble's
			b.Listing()
		}
		if b.Listing() != first || asked != 1 {
			t.Errorf("made %d times within %v, want once", asked, seenWithin)
		}
		time.Sleep(seenWithin)
		if n := len(b.Listing().Origins); n != len(first.Origins)+100 {
			t.Errorf("%d origins %v later, want %d", n, seenWithin, len(first.Origins)+100)
		}
		asked = 0
		for range 40 { // 4 s, in which nobody comes
			time.Sleep(100 * time.Millisecond)
			b.Listing()
		}
		if asked > 3 {
			t.Errorf("made %d times in 4 s, want 3 at most", asked)
		}
	})
}

// What several ask for in one order is sorted once, and what is equal is by name.
func TestListingSorted(t *testing.T) {
	b := New(Config{Sessions: func() []Session {
		// An origin's that do not come one after another are its all the same.
		return []Session{{Origin: "b", ID: 1}, {Origin: "c", ID: 2, InFlight: 3}, {Origin: "b", ID: 3, InFlight: 1}, {Origin: "a", ID: 4}, {Origin: "d", ID: 5}}
	}})
	l := b.Listing()
	if l.Sessions != 5 || l.InFlight != 4 {
		t.Errorf("%d sessions, %d in flight, want 5 and 4", l.Sessions, l.InFlight)
	}
	sorted := 0
	for range 2 {
		names := ""
		for _, o := range l.Sorted("-sessions", func(a, b *Origin) int { sorted++; return len(b.Sessions) - len(a.Sessions) }) {
			names += o.Name
		}
		if names != "bacd" {
			t.Errorf("got %s, want bacd", names)
		}
	}
	if sorted > 10 {
		t.Errorf("%d comparisons: it was sorted twice", sorted)
	}
	if x := l.Origins[1]; x.Name != "b" || len(x.Sessions) != 2 || x.Sessions[1].ID != 3 {
		t.Errorf("got %+v", x)
	}
}

// The sizes that the handbook states.
func TestMemory(t *testing.T) {
	perOrigin := unsafe.Sizeof(entry{}) + unsafe.Sizeof(Tally{}) + unsafe.Sizeof(trend{})
	perRequest := unsafe.Sizeof(requestPlace{})
	text := 0
	for _, n := range maxText {
		text += n + 3
	}
	all := maxNames*(perOrigin+unsafe.Sizeof(Origin{})) + maxRequests*(perRequest+uintptr(2*text)) +
		(keptSeconds+keptMinutes)*reflect.TypeFor[Point]().Size() + 2*maxRefusals*(unsafe.Sizeof(Refusal{})+2*maxWhy) + 2*maxChanges*(unsafe.Sizeof(Change{})+2*maxWhy)
	for what, c := range map[string][2]uintptr{
		"all of it":               {all, 40 << 20},
		"an origin in use":        {perOrigin, 2 << 10},
		"the requests":            {maxRequests * (perRequest + uintptr(2*text)), 8 << 20},
		"the past":                {(keptSeconds + keptMinutes) * reflect.TypeFor[Point]().Size(), 64 << 10},
		"the refusals, at most":   {maxRefusals * (unsafe.Sizeof(Refusal{}) + 2*maxWhy) * 2, 128 << 10},
		"the changes, at most":    {maxChanges * (unsafe.Sizeof(Change{}) + 2*maxWhy) * 2, 512 << 10},
		"a request, without text": {perRequest, 512},
	} {
		if c[0] > c[1] {
			t.Errorf("%s: %d bytes, want at most %d", what, c[0], c[1])
		} else {
			t.Logf("%s: %d bytes", what, c[0])
		}
	}
}

// Requests that end at once, and somebody who looks.
func TestAtOnce(t *testing.T) {
	b := New(Config{})
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() { // ends by itself
			for j := range 3000 {
				b.Ended(&Request{ID: fmt.Sprint(i, "/", j), Origin: fmt.Sprint(i), Known: true, Status: 200, Target: "/?a=b"})
			}
		})
	}
	running.Go(func() { // ends by itself
		for range 20 {
			b.Requests(Filter{Text: "x"}, 0, 10)
			b.sample(time.Now())
			b.Listing()
			b.Figures()
		}
	})
	running.Wait()
	if n := len(b.Requests(Filter{}, 0, 1<<20)); n != maxRequests {
		t.Errorf("%d are remembered, want %d", n, maxRequests)
	}
}

// What one request costs.
func BenchmarkEnded(b *testing.B) {
	board := New(Config{})
	board.SessionStarted("@")
	r := &Request{ID: "0123456789abcdef", Method: "GET", Host: "localhost:1443", Target: "/", Agent: "curl/8.14.1", Origin: "@", Known: true,
		Status: 200, Headers: time.Millisecond, Duration: time.Millisecond, Proto: "HTTP/1.1", Scheme: "http"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			board.Ended(r)
		}
	})
}
