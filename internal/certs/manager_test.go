package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/loglimit"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// ca is an authority whose certificates are good for 90 days.
type ca struct {
	mu sync.Mutex
	// Guarded by mu.
	asked map[string]int              // how often, by host
	store map[string]*tls.Certificate // the state folder
	fails map[string]error            // by host; "": all
	slow  time.Duration               // how long one takes
	most  int                         // at once
	now   int
}

func newCA() *ca {
	return &ca{asked: map[string]int{}, store: map[string]*tls.Certificate{}, fails: map[string]error{}}
}

func (c *ca) start(context.Context, Ports) {}
func (c *ca) close()                       {}
func (c *ca) tidy(context.Context)         {}

func (c *ca) stored(host string) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.store[host]
}

func (c *ca) certify(ctx context.Context, host string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, had := time.Now(), c.store[host]
	if had != nil && had.Leaf.NotAfter.Sub(now) > 30*24*time.Hour {
		return had, nil
	}
	c.asked[host]++
	c.now++
	c.most = max(c.most, c.now)
	if c.slow > 0 {
		c.mu.Unlock()
		select {
		case <-time.After(c.slow):
		case <-ctx.Done():
		}
		c.mu.Lock()
	}
	c.now--
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, of := range []string{host, ""} {
		if err := c.fails[of]; err != nil {
			return nil, err
		}
	}
	c.store[host] = &tls.Certificate{
		Certificate: [][]byte{fmt.Append(nil, host, c.asked[host])},
		Leaf:        &x509.Certificate{DNSNames: []string{host}, NotBefore: now, NotAfter: now.Add(90 * 24 * time.Hour)},
	}
	return c.store[host], nil
}

func (c *ca) set(host string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails[host] = err
}

// trying returns how many tries are under way.
func (c *ca) trying() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *ca) times(host string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[host]
}

// world is a manager in a bubble.
type world struct {
	*manager
	ca  *ca
	log testlog.Buffer

	mu sync.Mutex
	// Guarded by mu.
	now     []Name
	revoked map[control.Credential]bool
}

// newWorld has example.test as its domain.
func newWorld(c *ca) *world {
	w := &world{ca: c, revoked: map[control.Credential]bool{}}
	log := w.log.Logger(slog.LevelInfo)
	w.manager = newManager(&ACME{
		Domains: []string{"example.test"},
		Names: func() []Name {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.Clone(w.now)
		},
		Valid: func(n Name) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return !w.revoked[n.Credential]
		},
	}, c, log, loglimit.New(log, 10))
	w.takeStored()
	return w
}

// credentials returns as many that differ.
func credentials(t *testing.T, n int) []control.Credential {
	t.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "token%d name%d\n", i, i)
	}
	tokens, err := control.ParseTokens(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]control.Credential{}
	control.NewAuth(tokens).Named(func(id control.Credential, name string) { ids[name] = id })
	var all []control.Credential
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		all = append(all, ids[name])
	}
	return all
}

func (w *world) want(names ...Name) {
	w.mu.Lock()
	w.now = names
	w.mu.Unlock()
	w.changed()
	time.Sleep(time.Second)
}

func (w *world) has(host string) bool { return w.fitting(host) != nil }

// Each name gets a certificate and a new one in the last third of its time; the
// domain's is what others are shown.
func TestNamesAreCertified(t *testing.T) {
	one := credentials(t, 1)[0]
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(newCA())
		defer w.close()
		w.start(Ports{})
		w.want(Name{"photos.example.test", one})
		for _, host := range []string{"example.test", "photos.example.test", "Photos.Example.test."} {
			if !w.has(host) {
				t.Errorf("%s has no certificate", host)
			}
		}
		if w.has("stranger.example.test") || w.ofDomain() != w.fitting("example.test") {
			t.Error("a name that nobody has, has a certificate")
		}
		first := w.fitting("photos.example.test")
		time.Sleep(59 * 24 * time.Hour)
		if w.fitting("photos.example.test") != first {
			t.Error("renewed in the first two thirds of its time")
		}
		time.Sleep(2 * 24 * time.Hour)
		if w.fitting("photos.example.test") == first || w.ca.times("photos.example.test") != 2 {
			t.Errorf("asked for %d times after 61 days, want 2", w.ca.times("photos.example.test"))
		}
	})
}

// What is in the state folder is shown before the authority is asked, which may be
// down for long; a name that comes later has its own at once.
func TestStoredIsShownWithoutTheAuthority(t *testing.T) {
	one := credentials(t, 1)[0]
	synctest.Test(t, func(t *testing.T) {
		c := newCA()
		for _, host := range []string{"example.test", "photos.example.test"} {
			c.certify(t.Context(), host)
		}
		time.Sleep(70 * 24 * time.Hour)
		c.set("", errors.New("down"))
		w := newWorld(c)
		defer w.close()
		if !w.has("example.test") {
			t.Error("the domain's is not shown before the start")
		}
		w.start(Ports{})
		w.want(Name{"photos.example.test", one})
		if !w.has("photos.example.test") {
			t.Error("the name's is not shown")
		}
		if n := w.log.Count("certificate not renewed, the old one is shown: down"); n != 2 {
			t.Errorf("%d lines, want one for each name:\n%s", n, w.log.String())
		}
		c.set("", nil)
		time.Sleep(10 * time.Hour)
		if n := w.log.Count("certificate renewed"); n != 2 || !w.has("example.test") {
			t.Errorf("renewed %d, want both:\n%s", n, w.log.String())
		}
	})
}

// A name that fails pauses longer and longer, and says why; the others go on. SIGHUP
// tries at once.
func TestFailingName(t *testing.T) {
	one := credentials(t, 1)[0]
	synctest.Test(t, func(t *testing.T) {
		c := newCA()
		c.set("bad.example.test", fmt.Errorf("[bad.example.test] Obtain: %w", acme.Problem{
			Type: acme.ProblemTypeDNS, Detail: "NXDOMAIN looking\nup A for bad.example.test", Status: 400,
		}))
		w := newWorld(c)
		defer w.close()
		w.start(Ports{})
		w.want(Name{"bad.example.test", one}, Name{"good.example.test", one})
		if !w.has("good.example.test") || w.has("bad.example.test") {
			t.Error("one name that fails holds another up")
		}
		const line = `level=ERROR msg="no certificate: the CA says: NXDOMAIN looking up A for bad.example.test; give the name a DNS record A or AAAA with this machine's address" name=bad.example.test`
		if n := w.log.Count(line); n != 1 {
			t.Errorf("%d lines, want one:\n%s", n, w.log.String())
		}
		time.Sleep(24 * time.Hour)
		if n := c.times("bad.example.test"); n < 6 || n > 10 {
			t.Errorf("tried %d times in a day", n)
		}
		snap := w.snapshot()
		if got := snap[0]; got.Names[0] != "bad.example.test" || got.Err == nil || !got.NotAfter.IsZero() || !got.NextTry.After(time.Now()) {
			t.Errorf("the snapshot has %+v", got)
		}
		// Its origin comes and goes: that is no reason to ask sooner.
		before := c.times("bad.example.test")
		w.want()
		w.want(Name{"bad.example.test", one})
		if n := c.times("bad.example.test"); n != before {
			t.Errorf("tried %d times more when its origin came back", n-before)
		}
		c.set("bad.example.test", nil)
		w.again()
		time.Sleep(time.Second)
		if !w.has("bad.example.test") {
			t.Error("not tried at once")
		}
	})
}

// A credential has ten new names an hour, however many it connects; others, and the
// operator, are not held up by that.
func TestNewNamesAnHour(t *testing.T) {
	ids := credentials(t, 2)
	synctest.Test(t, func(t *testing.T) {
		c := newCA()
		w := newWorld(c)
		defer w.close()
		w.start(Ports{})
		var many []Name
		for i := range 35 {
			many = append(many, Name{fmt.Sprintf("n%02d.example.test", i), ids[0]})
		}
		w.want(append(many, Name{"other.example.test", ids[1]})...)
		have := func() (n int) {
			for _, name := range many {
				if w.has(name.Host) {
					n++
				}
			}
			return n
		}
		for hour := range 4 {
			if want := min(10*(hour+1), 35); have() != want {
				t.Errorf("after %d hours: %d names, want %d", hour, have(), want)
			}
			time.Sleep(time.Hour)
		}
		if !w.has("other.example.test") || !w.has("example.test") {
			t.Error("others were held up")
		}
		if w.log.Count("10 new names within an hour") == 0 {
			t.Errorf("it is not said:\n%s", w.log.String())
		}
		// One after another, each gone before the next: the same.
		for i := range 30 {
			w.want(Name{fmt.Sprintf("m%02d.example.test", i), ids[1]})
		}
		asked := 0
		for i := range 30 {
			asked += c.times(fmt.Sprintf("m%02d.example.test", i))
		}
		if asked != 10 {
			t.Errorf("%d names were asked for, want 10", asked)
		}
		if n := len(w.hosts); n > 60 {
			t.Errorf("%d names are kept", n)
		}
	})
}

// Names whose token is gone are neither shown nor renewed, and a try under way ends;
// those whose origin has left are shown for as long as the token is good.
func TestRevokedToken(t *testing.T) {
	ids := credentials(t, 2)
	synctest.Test(t, func(t *testing.T) {
		c := newCA()
		w := newWorld(c)
		defer w.close()
		w.start(Ports{})
		kept, revoked := Name{"kept.example.test", ids[0]}, Name{"revoked.example.test", ids[1]}
		w.want(kept, revoked)
		w.want()
		if !w.has(kept.Host) || !w.has(revoked.Host) {
			t.Error("not shown when the origin has left")
		}
		c.mu.Lock()
		c.slow = time.Minute
		c.mu.Unlock()
		w.want(Name{"trying.example.test", ids[1]})
		w.mu.Lock()
		w.revoked[ids[1]] = true
		w.mu.Unlock()
		w.want()
		if w.has(revoked.Host) || !w.has(kept.Host) {
			t.Error("want the names of the token that is gone dropped, and no other")
		}
		time.Sleep(100 * 24 * time.Hour)
		if n := c.times(revoked.Host); n != 1 {
			t.Errorf("asked for %d times, want once", n)
		}
		if w.has("trying.example.test") || c.stored("trying.example.test") != nil {
			t.Error("a try went on")
		}
		if w.log.Count("the token of its name is gone") != 1 || w.log.Count("trying.example.test") != 0 {
			t.Errorf("the log is:\n%s", w.log.String())
		}
	})
}

// Who has mended something and says so in the middle of a try waits for no pause after
// it.
func TestAgainDuringATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA()
		c.fails[""] = acme.Problem{Type: acme.ProblemTypeDNS, Status: 400}
		c.slow = 2 * time.Minute
		w := newWorld(c)
		defer w.close()
		w.start(Ports{})
		time.Sleep(24 * time.Hour) // its pauses are hours by now
		for c.trying() == 0 {
			time.Sleep(time.Minute)
		}
		n := c.times("example.test")
		w.again()
		w.again()
		time.Sleep(3 * time.Minute)
		if c.times("example.test") != n+1 {
			t.Errorf("tried %d times more, want once", c.times("example.test")-n)
		}
		time.Sleep(30 * time.Minute)
		if c.times("example.test") != n+1 {
			t.Errorf("tried %d times more, want its pause after one that was not asked for", c.times("example.test")-n)
		}
	})
}

// The certificate of a name that nobody wants any more is shown until it ends, and
// then there is no such name.
func TestNameThatHasLeft(t *testing.T) {
	ids := credentials(t, 1)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(newCA())
		defer w.close()
		w.start(Ports{})
		w.want(Name{"photos.example.test", ids[0]})
		w.want()
		time.Sleep(89 * 24 * time.Hour)
		if !w.has("photos.example.test") || len(w.snapshot()) != 2 {
			t.Errorf("a day before its end: shown %v, the names are %v", w.has("photos.example.test"), w.snapshot())
		}
		time.Sleep(2 * 24 * time.Hour)
		if w.has("photos.example.test") || len(w.snapshot()) != 1 || !w.has("example.test") {
			t.Errorf("a day after its end: shown %v, the names are %v", w.has("photos.example.test"), w.snapshot())
		}
	})
}

// Who comes and goes has no more tries than who stays, for a name whose certificate has
// ended too.
func TestTriesOfOneThatComesAndGoes(t *testing.T) {
	ids := credentials(t, 1)
	synctest.Test(t, func(t *testing.T) {
		c := newCA()
		w := newWorld(c)
		w.start(Ports{})
		w.want(Name{"photos.example.test", ids[0]})
		c.set("photos.example.test", errors.New("no such domain"))
		time.Sleep(91 * 24 * time.Hour)
		w.close()
		w = newWorld(c) // which finds the one that has ended
		defer w.close()
		w.start(Ports{})
		before := c.times("photos.example.test")
		for range 60 {
			w.want()
			time.Sleep(5 * time.Second)
			w.want(Name{"photos.example.test", ids[0]})
			time.Sleep(55 * time.Second)
		}
		if n := c.times("photos.example.test") - before; n > 10 {
			t.Errorf("the authority was asked %d times in an hour", n)
		}
	})
}

// Few tries go on at once, and the operator's come first; none begins after stop,
// and those under way end with close.
func TestTriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA()
		c.slow = time.Minute
		w := newWorld(c)
		var many []Name
		for i := range 30 {
			many = append(many, Name{Host: fmt.Sprintf("n%02d.other.test", i)})
		}
		w.want(many...)
		w.start(Ports{})
		time.Sleep(90 * time.Second)
		w.stop()
		time.Sleep(time.Hour)
		c.mu.Lock()
		if c.most != maxTries || len(c.asked) != 2*maxTries {
			t.Errorf("%d at once and %d in all, want %d and %d", c.most, len(c.asked), maxTries, 2*maxTries)
		}
		c.mu.Unlock()
		w.close()
		w = newWorld(c)
		w.want(many...)
		w.start(Ports{})
		time.Sleep(time.Second)
		began := time.Now()
		w.close()
		if time.Since(began) > 0 || w.log.Count("level=ERROR") > 0 {
			t.Errorf("close took %v:\n%s", time.Since(began), w.log.String())
		}
	})
}

// Every error is one line that says what would mend it.
func TestProblems(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind kind
		want []string
	}{
		{acme.Problem{Type: acme.ProblemTypeConnection, Detail: "Connection refused", Status: 400}, refused, []string{"Connection refused", "port 443"}},
		{acme.Problem{Type: acme.ProblemTypeUnauthorized, Detail: "wrong\x1b[31m answer.", Status: 403}, refused, []string{"DNS record"}},
		{acme.Problem{Type: acme.ProblemTypeRateLimited, Detail: "too many", Status: 429}, rateLimited, []string{"too many", "for now"}},
		{acme.Problem{Type: acme.ProblemTypeServerInternal, Status: 500}, unreachable, []string{"serverInternal", "fault of its own"}},
		{acme.Problem{Type: "urn:x", Detail: "see below", Status: 400, Subproblems: []acme.Subproblem{
			{Problem: acme.Problem{Type: acme.ProblemTypeCAA, Detail: "CAA says no"}}}}, refused, []string{"CAA says no", "CAA record"}},
		{x509.UnknownAuthorityError{}, unreachable, []string{"--acme-ca-root"}},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}, stateBroken, []string{"--state"}},
		{context.DeadlineExceeded, unreachable, []string{"too long"}},
		{errors.New("some\nthing"), other, []string{"some thing"}},
	} {
		p := problemOf(fmt.Errorf("outer: %w", c.err))
		if p.kind != c.kind || strings.ContainsAny(p.words, "\n\x1b") {
			t.Errorf("%v: got %+v, want kind %s", c.err, p, c.kind)
		}
		for _, part := range c.want {
			if !strings.Contains(p.words, part) {
				t.Errorf("%v: got %q, want %q in it", c.err, p.words, part)
			}
		}
	}
}

// A CA that comes to no end with a name is said as one that has not found this P: the
// errors are the library's own, which has them in words alone.
func TestUndecided(t *testing.T) {
	c := acme.Client{PollTimeout: 1}
	_, err := c.PollAuthorization(t.Context(), acme.Account{}, acme.Authorization{Status: acme.StatusPending})
	p := problemOf(fmt.Errorf("[photos.example.org] solving challenges: %w (order=https://ca.example.org/order/1)", err))
	if want := "the CA does not find the answer to its question in 2m0s: " + notHere; p.kind != refused || !strings.HasPrefix(p.words, want) {
		t.Errorf("got %+v, want %q", p, want)
	}
}
