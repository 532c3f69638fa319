package proxy

import (
	"cmp"
	"iter"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/admin"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/inspect"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// source shows P to the admin port.
type source struct{ p *Proxy }

// Ready implements admin.Source.
func (s source) Ready() bool { return s.p.ready.Load() && s.p.cluster.heard() }

// Connected implements admin.Source.
func (s source) Connected(name string) bool {
	n, ok := s.named(name)
	return ok && s.p.origins.Connected(n)
}

// Disconnect implements admin.Source.
func (s source) Disconnect(name string) int {
	n, ok := s.named(name)
	if !ok {
		return 0
	}
	return s.p.origins.Disconnect(n)
}

// Name implements admin.Source.
func (s source) Name(written string) string {
	if n, ok := s.named(written); ok {
		return n.String()
	}
	return strings.ToLower(written)
}

// named returns the origin that somebody calls so: no empty text is one's name.
func (s source) named(written string) (name origin.Name, ok bool) {
	name, err := s.p.auth.Domains.Parse(written)
	return name, err == nil && written != ""
}

// Figures implements admin.Source.
func (s source) Figures() admin.Figures {
	f := admin.Figures{
		Front: s.p.FrontAddr().String(), Control: s.p.ControlAddr().String(),
		Incoming: s.p.handler.InFlight(), Held: s.p.origins.Waiting(), AccessLogDropped: s.p.access.Dropped(),
	}
	open, refused := s.p.frontLn.counts()
	f.Connections = admin.Connections{
		Open: open, RefusedAddress: refused[refusedAddress], RefusedTotal: refused[refusedTotal],
		DroppedSilent: refused[droppedSilent], DroppedIdle: refused[droppedIdle],
	}
	if s.p.cfg.LogDropped != nil {
		f.LogDropped, f.TraceDropped = s.p.cfg.LogDropped()
	}
	f.Reloaded, f.ReloadFailed = s.p.reloads.last()
	return f
}

// Serving implements admin.Source.
func (s source) Serving() (n int) {
	for _, o := range s.p.origins.Snapshot() {
		for _, c := range o.Sessions {
			if c.Node() != "" {
				n += c.Stats().StreamsOpen // of what is open there, what went from here
			} else {
				n += c.InFlight()
			}
		}
	}
	return n
}

// Resets implements admin.Source.
func (s source) Resets() []admin.Reset {
	var resets []admin.Reset
	t := s.p.origins.Totals()
	for i := range t.ResetsSent {
		name := "out of range"
		if i > 0 {
			name = spdy.Status(i).String()
		}
		resets = append(resets, admin.Reset{Sent: true, Status: name, Count: t.ResetsSent[i]}, admin.Reset{Status: name, Count: t.ResetsReceived[i]})
	}
	return resets
}

// Open implements admin.Source.
func (s source) Open(f inspect.Filter, max int) []inspect.Request {
	return openOf(s.p.handler.Open, f, max)
}

// openOf returns at most max of those that records gives which f takes. records is asked
// for as many as have to be looked at.
func openOf(records func(max int) iter.Seq2[*front.Record, string], f inspect.Filter, max int) (open []inspect.Request) {
	looked := max
	if f != (inspect.Filter{}) {
		looked = math.MaxInt
	}
	for rec, phase := range records(looked) {
		r := requestOf(rec)
		r.Phase = phase
		r.Cut() // before anybody looks at it: visitors make it as long as a head may be
		if !f.TakesOpen(&r) {
			continue
		}
		if open = append(open, r); len(open) == max {
			break
		}
	}
	return open
}

// Certificates implements admin.Source.
func (s source) Certificates() []admin.Certificate {
	var list []admin.Certificate
	for _, c := range s.p.certs.Snapshot() {
		one := admin.Certificate{From: cmp.Or(c.File, c.From), NotAfter: c.NotAfter, EndsSoon: c.EndsSoon()}
		if len(c.Names) > 0 {
			one.Name = c.Names[0]
		}
		if c.Err != nil {
			one.Problem = c.Err.Error()
		}
		list = append(list, one)
	}
	return list
}

// reloads is what came of reading the files that P was told of.
type reloads struct {
	mu sync.Mutex
	// Guarded by mu.
	good   time.Time // the last time that all went well
	failed bool      // since then
}

func (r *reloads) note(ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed = !ok; ok {
		r.good = time.Now()
	}
}

func (r *reloads) last() (good time.Time, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.good, r.failed
}

// requestOf is a Record as the Board has it.
func requestOf(r *front.Record) inspect.Request {
	q := inspect.Request{
		Time: r.Time, ID: r.RequestID, Client: r.Client, User: r.User, Method: r.Method, Scheme: r.Scheme, Host: r.Host, Target: r.URI,
		Proto: r.Proto, Agent: r.UserAgent, Origin: r.Origin, Known: r.Known, Session: r.Session, Stream: r.Stream,
		Status: r.Status, Reason: r.Reason, Detail: r.Detail, Failed: r.Failed(), Aborted: r.Aborted, Stalled: r.Stalled,
		Upgraded: r.Upgraded, OverShare: r.OverShare, Refused: r.Refused, In: r.BytesIn, Out: r.BytesOut,
		Queued: r.Queued, Held: r.Held, Opened: r.Opened, Headers: r.Headers, Duration: r.Duration, Replayed: r.Replayed, Resumed: r.Resumed,
	}
	for _, a := range r.Attempts {
		q.Attempts = append(q.Attempts, inspect.Attempt{Session: a.Session, Stream: a.Stream, After: a.After, Why: a.Err.Error()})
	}
	return q
}
