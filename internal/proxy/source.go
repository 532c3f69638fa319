package proxy

import (
	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/admin"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// source shows P to the admin port.
type source struct{ p *Proxy }

// Ready implements admin.Source.
func (s source) Ready() bool { return s.p.ready.Load() }

// Connected implements admin.Source.
func (s source) Connected(name string) bool {
	n, err := origin.ParseName(name)
	return err == nil && name != "" && s.p.origins.Connected(s.p.auth.Domains.Canonical(n))
}

// Snapshot implements admin.Source.
func (s source) Snapshot() admin.Snapshot {
	snap := admin.Snapshot{
		Front: s.p.FrontAddr().String(), Control: s.p.ControlAddr().String(),
		Incoming: s.p.handler.InFlight(), Held: s.p.origins.Waiting(),
	}
	for _, o := range s.p.origins.Snapshot() {
		if len(o.Sessions) == 0 {
			continue // only waited for
		}
		shown := admin.Origin{Name: o.Name.String()}
		if written := o.Name.Unicode(); written != shown.Name {
			shown.Written = written
		}
		shown.URLs, shown.Unreachable = s.p.reach(o.Name, "")
		for _, c := range o.Sessions {
			stats := c.Stats()
			shown.Sessions = append(shown.Sessions, admin.Session{
				Instance: c.Instance(), Remote: c.RemoteAddr(), Since: c.Since(), Leaving: c.Leaving, InFlight: c.InFlight(),
				Streams: stats.StreamsOpened, ToC: stats.BytesSent, FromC: stats.BytesReceived, RoundTrip: stats.PingRTT,
			})
		}
		snap.Origins = append(snap.Origins, shown)
	}
	open, refused := s.p.frontLn.counts()
	snap.Connections = admin.Connections{
		Open: open, RefusedAddress: refused[refusedAddress], RefusedTotal: refused[refusedTotal],
		DroppedSilent: refused[droppedSilent], DroppedIdle: refused[droppedIdle],
	}
	t := s.p.origins.Totals()
	snap.Totals = admin.Totals{ToC: t.BytesSent, FromC: t.BytesReceived, AccessLogDropped: s.p.access.Dropped()}
	for i := range t.ResetsSent {
		name := "out of range"
		if i > 0 {
			name = spdy.Status(i).String()
		}
		if n := t.ResetsSent[i]; n > 0 {
			snap.Totals.Resets = append(snap.Totals.Resets, admin.Reset{Sent: true, Status: name, Count: n})
		}
		if n := t.ResetsReceived[i]; n > 0 {
			snap.Totals.Resets = append(snap.Totals.Resets, admin.Reset{Status: name, Count: n})
		}
	}
	return snap
}
