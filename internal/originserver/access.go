package originserver

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/tap"
)

// logged is a handler that writes a line for each request of an origin.
type logged struct {
	log    *accesslog.Log
	origin string // "@" for the default one
	next   http.Handler
	spare  sync.Pool // of *tap.Exchange, as Reset leaves them
}

func (l *logged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, ok := l.spare.Get().(*tap.Exchange)
	if !ok {
		e = &tap.Exchange{Timed: !l.log.Short()}
	}
	returned := false
	defer func() { // it also runs while the handler panics
		l.write(e, r, returned)
		if returned && e.Reset() {
			l.spare.Put(e)
		}
	}()
	e.Serve(l.next, w, r, nil)
	returned = true
}

// write writes the line of a request that has ended.
func (l *logged) write(e *tap.Exchange, r *http.Request, returned bool) {
	var rec accesslog.Record
	rec.Time, rec.Duration, rec.Headers = e.Began, time.Since(e.Began), e.Headers
	rec.Status, rec.BytesIn, rec.BytesOut = e.Status, e.In.Load(), e.Out
	rec.Origin, rec.Upgraded = l.origin, e.Status == http.StatusSwitchingProtocols
	if rec.Aborted = !returned || r.Context().Err() != nil; rec.Aborted && rec.Status == 0 {
		rec.Status = statusLeft
	}
	l.fill(&rec, r)
	l.log.Write(&rec)
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
	rec.Method, rec.Host, rec.URI, rec.Proto = r.Method, r.Host, r.RequestURI, r.Proto
	rec.RequestID, rec.User = first("X-Request-Id"), first("X-Forwarded-User")
	rec.Referer, rec.UserAgent = first("Referer"), first("User-Agent")
	rec.Client, rec.Peer = visitor(first("X-Forwarded-For"))
	if !l.log.Short() {
		rec.Scheme, rec.Stream = first("X-Forwarded-Proto"), spdy.StreamID(r.Context())
		rec.Priority, _ = spdy.PriorityFrom(r.Context())
	}
}

// visitor reads an X-Forwarded-For of P's: peer is who connected to P, and client whom
// that one names, where P believes it; see agent.Visitor. What is no address is the
// zero Addr.
func visitor(list string) (client, peer netip.Addr) {
	addr := func(hop string) netip.Addr {
		ip, _ := addrkey.ParseForwarded(hop)
		return ip
	}
	i := strings.LastIndexByte(list, ',')
	peer = addr(list[i+1:])
	if i < 0 {
		return peer, peer
	}
	list = list[:i]
	return addr(list[strings.LastIndexByte(list, ',')+1:]), peer
}
