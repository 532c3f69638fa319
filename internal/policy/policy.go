package policy

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	xrate "golang.org/x/time/rate"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/originname"
)

const (
	// maxVisitors is how many addresses are told apart at once, of all origins
	// together. Of more, some begin anew, with a full burst: the rate of an origin in
	// all is what holds then.
	maxVisitors = 1 << 16
	// maxIdle is of how many origins that have no request something is remembered.
	maxIdle = 1 << 14
)

// Policies are the tables in force, and what is counted for them. All methods may be
// called at once.
type Policies struct {
	// Fixed by New.
	checks  front.Checks // of all passwords
	domains originname.Domains

	current atomic.Pointer[tables] // nil: there are none

	mu sync.Mutex
	// Guarded by mu.
	origins  map[string]*counts
	visitors map[visitor]*xrate.Limiter
}

// tables are what one Set was given. They do not change.
type tables struct {
	rules map[string]*rules // by name, "*" among them
	auth  map[string]*front.Htpasswd
}

// of returns the rules for an origin, nil if there are none.
func (t *tables) of(name string) *rules {
	if t == nil {
		return nil
	}
	if r := t.rules[name]; r != nil {
		return r
	}
	return t.rules[anyName]
}

// visitor is whose requests are counted together, at one origin; wide is of an IPv6 site.
type visitor struct {
	origin string
	addr   netip.Addr
	wide   bool
}

// counts is what is counted of one origin.
type counts struct {
	all      *xrate.Limiter
	to, from *xrate.Limiter // bytes of bodies
	flight   atomic.Int64
}

// New returns policies without a table. checks bounds how many passwords are checked at
// once, with others; domains are P's, below which an origin has two names.
func New(checks front.Checks, domains originname.Domains) *Policies {
	return &Policies{checks: checks, domains: domains, origins: make(map[string]*counts), visitors: make(map[visitor]*xrate.Limiter)}
}

// Set puts list in the place of the tables before, and reads all files that it names
// again. After an error, one line, nothing has changed. What was counted stays.
func (p *Policies) Set(list []Table) error {
	next := &tables{rules: make(map[string]*rules), auth: make(map[string]*front.Htpasswd)}
	names := make(map[string]string) // as they are written, by key
	for i, t := range list {
		key, err := t.key(p.domains)
		if err != nil {
			return fmt.Errorf("[[origin]] %d: %w", i+1, err)
		}
		bad := func(err error) error { return fmt.Errorf("[[origin]] %q: %w", t.Name, err) }
		if next.rules[key] != nil {
			return bad(fmt.Errorf("there are two tables of this origin, the other one is named %q: make them one", names[key]))
		}
		names[key] = t.Name
		r, err := t.rules()
		if err != nil {
			return bad(err)
		}
		next.rules[key] = r
		if t.Htpasswd == "" || next.auth[t.Htpasswd] != nil {
			continue
		}
		if next.auth[t.Htpasswd], err = front.LoadHtpasswdWith(t.Htpasswd, p.checks); err != nil {
			return bad(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(list) == 0 {
		next = nil
	}
	p.current.Store(next)
	for name, c := range p.origins {
		c.apply(next.of(name))
	}
	return nil
}

// Files returns the files with passwords that the tables name.
func (p *Policies) Files() (files []string) {
	if t := p.current.Load(); t != nil {
		for file := range t.auth {
			files = append(files, file)
		}
	}
	return files
}

// apply sets the limits that r says; those that do not change keep what is counted.
func (c *counts) apply(r *rules) {
	if r == nil {
		r = new(rules)
	}
	now := time.Now()
	set(c.all, r.all, now)
	set(c.to, r.bytes, now)
	set(c.from, r.bytes, now)
}

// noLimit stands for none: what begins to be limited has its whole burst then, which
// it would not have had with rate.Inf.
var noLimit = rate{1e15, math.MaxInt}

func set(l *xrate.Limiter, to rate, now time.Time) {
	if to.perSecond == 0 {
		to = noLimit
	}
	if limit := xrate.Limit(to.perSecond); l.Limit() != limit {
		l.SetLimitAt(now, limit)
	}
	if l.Burst() != to.burst {
		l.SetBurstAt(now, to.burst)
	}
}

func newLimiter(r rate) *xrate.Limiter {
	if r.perSecond == 0 {
		r = noLimit
	}
	return xrate.NewLimiter(xrate.Limit(r.perSecond), r.burst)
}

// For is front.Config.Policy.
func (p *Policies) For(name origin.Name, known bool) front.Policy {
	t := p.current.Load()
	if t == nil {
		return nil
	}
	r := t.of(name.String())
	if r == nil {
		return nil
	}
	v := &request{p: p, rules: r, origin: name.String(), auth: t.auth[r.htpasswd]}
	if known {
		v.counts = p.countsOf(v.origin)
	}
	return v
}

// countsOf returns what is counted of an origin.
func (p *Policies) countsOf(name string) *counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.origins[name]
	if c != nil {
		return c
	}
	if len(p.origins) >= maxIdle {
		for name, c := range p.origins {
			if c.flight.Load() == 0 {
				delete(p.origins, name)
			}
		}
	}
	c = &counts{all: newLimiter(rate{}), to: newLimiter(rate{}), from: newLimiter(rate{})}
	c.apply(p.current.Load().of(name))
	p.origins[name] = c
	return c
}

// request implements front.Policy.
type request struct {
	// Fixed by For.
	p      *Policies
	rules  *rules
	origin string
	auth   *front.Htpasswd
	counts *counts // nil: the origin is not known, and nothing is counted
}

func (v *request) Allows(client netip.Addr) bool { return v.rules.allows(client) }
func (v *request) Auth() *front.Htpasswd         { return v.auth }
func (v *request) Header() http.Header           { return v.rules.header }
func (v *request) Page() []byte                  { return v.rules.page }

func (v *request) Visit(client netip.Addr, now time.Time) time.Duration {
	r := v.rules.visitor
	if v.counts == nil || r.perSecond == 0 {
		return 0
	}
	one := visitor{v.origin, addrkey.Addr(client), false}
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	first, early := take(v.p.visitorLocked(one, r, now), now)
	if early > 0 || !one.addr.Is6() {
		return early
	}
	// An IPv6 site has many such addresses.
	site := visitor{v.origin, addrkey.Site(client), true}
	r.perSecond, r.burst = r.perSecond*addrkey.SiteFactor, min(r.burst, math.MaxInt/addrkey.SiteFactor)*addrkey.SiteFactor
	if _, early = take(v.p.visitorLocked(site, r, now), now); early > 0 {
		first.CancelAt(now)
	}
	return early
}

// take takes one request. If it is too early, none is taken.
func take(l *xrate.Limiter, now time.Time) (*xrate.Reservation, time.Duration) {
	one := l.ReserveN(now, 1)
	early := one.DelayFrom(now)
	if early > 0 {
		one.CancelAt(now)
	}
	return one, early
}

// visitorLocked returns the limiter of who, at the rate r.
func (p *Policies) visitorLocked(who visitor, r rate, now time.Time) *xrate.Limiter {
	l := p.visitors[who]
	if l != nil {
		set(l, r, now) // it may have changed
		return l
	}
	if len(p.visitors) >= maxVisitors {
		p.forgetLocked(now)
	}
	l = newLimiter(r)
	p.visitors[who] = l
	return l
}

// forgetLocked makes room for a visitor: of a few, those go who have been away for so
// long that they have their whole burst again, and one goes in any case.
func (p *Policies) forgetLocked(now time.Time) {
	looked, gone := 0, 0
	var any visitor
	for who, l := range p.visitors {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(p.visitors, who)
			gone++
		}
		any = who
		if looked++; looked >= 16 {
			break
		}
	}
	if gone == 0 {
		delete(p.visitors, any)
	}
}

func (v *request) Enter(now time.Time) (early time.Duration, room bool) {
	c := v.counts
	if c == nil {
		return 0, false // there is no origin that could answer
	}
	if n := c.flight.Add(1); v.rules.most > 0 && n > int64(v.rules.most) {
		c.flight.Add(-1)
		return 0, false
	}
	if _, early = take(c.all, now); early > 0 {
		c.flight.Add(-1)
		return early, true
	}
	return 0, true
}

func (v *request) Leave() { v.counts.flight.Add(-1) }

func (v *request) Pace(ctx context.Context, toOrigin bool, n int, waits func()) int {
	if v.counts == nil {
		return n // nothing passes: there is no origin
	}
	l := v.counts.from
	if toOrigin {
		l = v.counts.to
	}
	for {
		burst := l.Burst()
		if burst == noLimit.burst {
			return n
		}
		// A piece is no more than what passes at once. Who came before goes before.
		piece := min(n, burst)
		now := time.Now()
		r := l.ReserveN(now, piece)
		if !r.OK() {
			continue // the limit has just become less
		}
		if wait := r.DelayFrom(now); wait > 0 {
			if waits != nil {
				waits()
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				r.Cancel()
				return 0
			}
		}
		return piece
	}
}
