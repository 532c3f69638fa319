package proxy

import (
	"cmp"

	"github.com/amahi/spdy-proxy/internal/admin"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/inspect"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// newBoard makes what remembers P's origins and requests.
func (p *Proxy) newBoard() {
	p.board = inspect.New(inspect.Config{
		Sessions: p.boardSessions, URLs: p.urls, Unreachable: p.unreachable, Written: written, Labels: p.cfg.MetricsOrigins,
		Load: func() (open, held int) { return p.handler.InFlight(), p.origins.Waiting() },
	})
	p.nameOrigins()
	p.reloads.note(true)
}

// nameOrigins tells the board for which origins there are tokens.
func (p *Proxy) nameOrigins() {
	var names []string
	for _, n := range p.auth.NamesWritten() {
		names = append(names, p.auth.Domains.Canonical(origin.Name(n)).String())
	}
	p.board.Named(names)
}

// boardSessions returns the sessions that are there.
func (p *Proxy) boardSessions() []inspect.Session {
	var places map[string]string
	if p.cluster != nil {
		places = p.cluster.places()
	}
	origins, n := p.origins.Snapshot(), 0
	for _, o := range origins {
		n += len(o.Sessions)
	}
	// Of ten thousand, to grow from nothing would be most of the work.
	sessions := make([]inspect.Session, 0, n)
	for _, o := range origins {
		for _, c := range o.Sessions {
			st := c.Stats()
			remote, open := c.RemoteAddr(), c.InFlight()
			if c.Node() != "" {
				// Of what is open on another node's, this one shows what went from here.
				remote, open = "at "+cmp.Or(places[c.Node()], c.Node()), st.StreamsOpen
			}
			resets := uint64(0)
			for i := range st.ResetsSent {
				resets += st.ResetsSent[i] + st.ResetsReceived[i]
			}
			sessions = append(sessions, inspect.Session{
				Origin: o.Name.String(), ID: c.ID(), Instance: c.Instance(), Remote: remote, Agent: c.Agent(), Since: c.Since(), Leaving: c.Leaving,
				InFlight: open, MaxStreams: c.MaxStreams(), Streams: st.StreamsOpened, ToC: st.BytesSent, FromC: st.BytesReceived,
				FramesToC: st.FramesSent, FramesFromC: st.FramesReceived, Resets: resets, Window: st.RecvWindow, Buffered: st.Buffered,
				RoundTrip: st.PingRTT, Measured: st.PingTime,
			})
		}
	}
	return sessions
}

// urls returns where visitors reach an origin.
func (p *Proxy) urls(name string) []string {
	return p.reach(nameShown(name), "").urls
}

// unreachable says why no visitor can reach an origin, "" if one can.
func (p *Proxy) unreachable(name string) string {
	n := nameShown(name)
	certified := !p.cfg.TLS || p.outside.scheme != "" // as in lacks
	if certified && (n.Host() || n != "" && len(p.auth.Domains) > 0) {
		return "" // told of ten thousand, each second: no address is made for that
	}
	if r := p.reach(n, ""); r.none {
		return r.warning
	}
	return ""
}

// written returns an origin's name as people write it, "" if that is no other.
func written(name string) string {
	if w := nameShown(name).Unicode(); name != "@" && w != name {
		return w
	}
	return ""
}

// nameShown is the name that is shown as that.
func nameShown(name string) origin.Name {
	if name == "@" {
		return ""
	}
	return origin.Name(name)
}

// meter returns what counts the bytes of an origin that is connected.
func (p *Proxy) meter(name origin.Name) front.Meter { return p.board.Tally(name.String(), true) }

// requestDone counts a request that ended, and remembers it.
func (p *Proxy) requestDone(r *front.Record) {
	q := requestOf(r)
	p.metrics.Request(&q)
	p.board.Ended(&q)
}

// Frames implements admin.Source.
func (s source) Frames(name string) []admin.SessionFrames {
	var list []admin.SessionFrames
	for _, c := range s.p.origins.Sessions(nameShown(name)) {
		one := admin.SessionFrames{Session: c.ID()}
		for _, f := range c.Frames() {
			one.Frames = append(one.Frames, admin.Frame{
				Time: f.Time, Sent: f.Sent, Type: f.Type.String(), Stream: f.StreamID, Length: f.Length, Flags: f.Flags, Detail: f.Detail,
			})
		}
		list = append(list, one)
	}
	return list
}

// noteEvent is told of each change of a session.
func (p *Proxy) noteEvent(e origin.Event) {
	name := e.Member.Name().String()
	// What e.Sessions says may be older than what another event has said.
	serving := p.origins.Connected(e.Member.Name())
	why := ""
	if e.Err != nil {
		why = e.Err.Error()
	}
	switch e.Kind {
	case origin.Connected:
		p.board.SessionStarted(name)
	case origin.Leaving:
		p.board.SessionLeaves(name, serving, false, why)
	case origin.Dropped:
		p.board.SessionLeaves(name, serving, false, "it did not answer")
	case origin.Revoked:
		p.board.SessionLeaves(name, serving, true, "")
	case origin.Ended:
		p.board.SessionEnded(name, serving, why)
		p.metrics.SessionEnded(e.Lasted)
	}
}

// refused is told of each attempt at the control port that came to nothing, and returns
// the origin's state if that is another now.
func (p *Proxy) refused(r control.Refusal) (state string) {
	q := inspect.Refusal{Remote: r.RemoteAddr.String(), Status: r.Status, Kind: r.Kind, Why: r.Reason}
	if r.Named {
		q.Origin = origin.Name(r.Name).String()
	}
	if p.board.Refused(q) {
		return inspect.Refused
	}
	return ""
}
