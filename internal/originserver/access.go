package originserver

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/tap"
)

// logged is a handler that writes a line for each request of an origin.
type logged struct {
	log    *accesslog.Log
	origin string // "@" for the default one
	next   http.Handler
}

func (l *logged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e tap.Exchange
	returned := false
	defer func() { // it also runs while the handler panics
		var rec accesslog.Record
		l.fill(&rec, r)
		rec.Time, rec.Status, rec.Headers = e.Began, e.Status, e.Headers
		rec.BytesIn, rec.BytesOut, rec.Duration = e.In.Load(), e.Out, time.Since(e.Began)
		rec.Upgraded = e.Status == http.StatusSwitchingProtocols
		if rec.Aborted = !returned || r.Context().Err() != nil; rec.Aborted && rec.Status == 0 {
			rec.Status = statusLeft
		}
		l.log.Write(&rec)
	}()
	e.Serve(l.next, w, r, nil)
	returned = true
}

// statusLeft is logged for a request that ended before there was an answer.
const statusLeft = 499

// fill notes what the request itself says: who asks is what P says, which keeps what its
// visitors claim to itself.
func (l *logged) fill(rec *accesslog.Record, r *http.Request) {
	first := func(name string) string { // spelled as http.Header has it, so that it need not be spelled anew
		if v := r.Header[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	*rec = accesslog.Record{
		RequestID: first("X-Request-Id"), User: first("X-Forwarded-User"),
		Method: r.Method, Scheme: first("X-Forwarded-Proto"), Host: r.Host, URI: r.RequestURI, Proto: r.Proto,
		Referer: first("Referer"), UserAgent: first("User-Agent"), Origin: l.origin, Stream: spdy.StreamID(r.Context()),
	}
	rec.Priority, _ = spdy.PriorityFrom(r.Context())
	rec.Client, rec.Peer = visitor(first("X-Forwarded-For"))
}

// visitor reads an X-Forwarded-For of P's: peer is who connected to P, and client whom
// that one names, where P believes it; see agent.Visitor. What is no address is the
// zero Addr.
func visitor(list string) (client, peer netip.Addr) {
	addr := func(hop string) netip.Addr {
		ip, _ := netip.ParseAddr(strings.TrimSpace(hop))
		return ip.Unmap()
	}
	i := strings.LastIndexByte(list, ',')
	peer = addr(list[i+1:])
	if i < 0 {
		return peer, peer
	}
	list = list[:i]
	return addr(list[strings.LastIndexByte(list, ',')+1:]), peer
}
