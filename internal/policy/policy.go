package policy

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	visitors map[visitor]*bucket
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

// visitor is whose requests are counted together, at one origin; wide is of an IPv6 site,
// and inAll of the rate that the origin has in all.
type visitor struct {
	origin      string
	addr        netip.Addr
	wide, inAll bool
}

// counts is what is counted of one origin.
type counts struct {
	to, from line         // of bodies
	all      bucket       // guarded by Policies.mu
	flight   atomic.Int64 // requests; Policies.mu is held where it becomes more
}

// New returns policies without a table. checks bounds how many passwords are checked at
// once, with others; domains are P's, below which an origin has two names.
func New(checks front.Checks, domains originname.Domains) *Policies {
	return &Policies{checks: checks, domains: domains, origins: make(map[string]*counts), visitors: make(map[visitor]*bucket)}
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
		c.applyLocked(next.of(name))
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

// Hosts returns the full host names of which there are tables, in order.
func (p *Policies) Hosts() (hosts []string) {
	if t := p.current.Load(); t != nil {
		for name := range t.rules {
			if originname.Name(name).Host() {
				hosts = append(hosts, name)
			}
		}
	}
	slices.Sort(hosts)
	return hosts
}

// applyLocked sets the limits that r says; those that do not change keep what is counted.
// Policies.mu is held.
func (c *counts) applyLocked(r *rules) {
	if r == nil {
		r = new(rules)
	}
	now := time.Now()
	c.to.set(r.bytes, now)
	c.from.set(r.bytes, now)
	c.all.set(r.all, now)
}

// For is front.Config.Policy.
func (p *Policies) For(name origin.Name, client netip.Addr, known bool) front.Policy {
	t := p.current.Load()
	if t == nil {
		return nil
	}
	r := t.of(name.String())
	if r == nil {
		return nil
	}
	v := &request{p: p, rules: r, origin: name.String(), client: client, auth: t.auth[r.htpasswd]}
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
	c = new(counts)
	c.applyLocked(p.current.Load().of(name))
	p.origins[name] = c
	return c
}

// request implements front.Policy.
type request struct {
	// Fixed by For.
	p      *Policies
	rules  *rules
	origin string
	client netip.Addr
	auth   *front.Htpasswd
	counts *counts // nil: the origin is not known, and nothing is counted
}

func (v *request) Allows() bool          { return v.rules.allows(v.client) }
func (v *request) Auth() *front.Htpasswd { return v.auth }
func (v *request) Header() http.Header   { return v.rules.header }
func (v *request) Page() []byte          { return v.rules.page }
func (v *request) MaxRequests() int      { return v.rules.most }

func (v *request) Visit(now time.Time) time.Duration {
	r := v.rules.visitor
	if v.counts == nil || r.perSecond == 0 {
		return 0
	}
	who := visitor{origin: v.origin, addr: addrkey.Addr(v.client)}
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	one := v.p.visitorLocked(who, r, now)
	if early := one.early(1, now); early > 0 {
		return early
	}
	if who.addr.Is6() {
		// An IPv6 site has many such addresses.
		who = visitor{origin: v.origin, addr: addrkey.Site(v.client), wide: true}
		r.perSecond, r.burst = r.perSecond*addrkey.SiteFactor, min(r.burst, math.MaxInt/addrkey.SiteFactor)*addrkey.SiteFactor
		site := v.p.visitorLocked(who, r, now)
		if early := site.early(1, now); early > 0 {
			return early
		}
		site.take(1)
	}
	one.take(1)
	return 0
}

// visitorLocked returns what is counted of who, at the rate r.
func (p *Policies) visitorLocked(who visitor, r rate, now time.Time) *bucket {
	b := p.visitors[who]
	if b == nil {
		if len(p.visitors) >= maxVisitors {
			p.forgetLocked(now)
		}
		b = new(bucket)
		p.visitors[who] = b
	}
	b.set(r, now) // it may have changed
	return b
}

// forgetLocked makes room for a visitor: of a few, those go who have been away for so
// long that they have their whole burst again, and one goes in any case.
func (p *Policies) forgetLocked(now time.Time) {
	looked, gone := 0, 0
	var any visitor
	for who, b := range p.visitors {
		if b.full(now) {
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

func (v *request) Enter(who netip.Addr, now time.Time) time.Duration {
	c := v.counts
	if c == nil {
		return 0 // there is no origin that could answer
	}
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	if early := v.earlyLocked(who, now); early > 0 {
		return early
	}
	c.all.take(1)
	c.flight.Add(1)
	return 0
}

// earlyLocked returns how much too early who's request is by the origin's rate in all. If
// it is not, it has taken who's part. Where less than half of the burst would be left, an
// IPv6 site or IPv4 address has half of the rate alone, so that none can take all. Of a
// burst of one that is always: nothing tells whether others ask as well.
func (v *request) earlyLocked(who netip.Addr, now time.Time) time.Duration {
	all := &v.counts.all
	if !who.IsValid() {
		return all.early(1, now)
	}
	half := all.rate.burst - all.rate.burst/2
	plenty := all.early(1+half, now)
	if plenty == 0 {
		return 0
	}
	part := v.p.visitorLocked(visitor{origin: v.origin, addr: addrkey.Site(who), inAll: true}, rate{all.rate.perSecond / 2, half}, now)
	if early := max(part.early(1, now), all.early(1, now)); early > 0 {
		return min(early, plenty)
	}
	part.take(1)
	return 0
}

func (v *request) Leave() {
	if v.counts != nil {
		v.counts.flight.Add(-1)
	}
}

func (v *request) Pace(ctx context.Context, toOrigin bool, n int, waits func()) int {
	switch {
	case v.counts == nil:
		return n // nothing passes: there is no origin
	case toOrigin:
		return v.counts.to.pass(ctx, v.client, n, waits)
	}
	return v.counts.from.pass(ctx, v.client, n, waits)
}
