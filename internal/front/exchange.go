package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// lingerTime is how long what A still sends of a body is read after its answer.
const lingerTime = time.Second

// exchange is one request of A's and what becomes of it. It belongs to the
// handler's goroutine, but for what says otherwise.
type exchange struct {
	// Fixed by begin.
	h        *Handler
	in       *http.Request // as http.Server made it
	w        response
	ctx      context.Context // A's, which breakOff and a late response end too; see WithConn for HTTP/1
	cancel   context.CancelCauseFunc
	http1    bool       // HTTP/1.0 or 1.1: the connection serves this request alone
	trusted  bool       // what the peer claims is believed
	head     head       // of the request
	conn     Conn       // nil: nothing is known of A's connection
	who      netip.Addr // whose share it counts in, see shares
	standing standing

	name     origin.Name
	upgrade  bool         // to WebSocket, asked of C
	body     *requestBody // nil if there is none; has a lock of its own
	duplex   *duplex      // after a 101; counts by itself
	finished bool         // the handler returned by itself
	placed   bool         // at its origin, in Handler.shares
	stalled  atomic.Bool  // broken off because A does not read
	rec      Record

	// Guarded by Handler.mu; see sweep.
	seen  uint32 // response.writes, at the last look
	stuck int    // how many looks have seen the same write

	// Parts of what is made once, which are here so that they are not allocated
	// one by one.
	leaving   leaving
	download  download
	url       url.URL
	ownValues [5]string // of the headers that P adds
}

func (h *Handler) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{h: h, in: r}
	x.w = response{rw: w, x: x}
	x.http1 = r.ProtoMajor == 1 && spdy.StreamID(r.Context()) == 0
	v, known := r.Context().Value(connKey{}).(*connection)
	if known {
		x.conn = v
		x.conn.Began()
	}
	if known && x.http1 {
		x.ctx, x.cancel = context.WithCancelCause(v.ctx)
		x.leaving.watch(x, r.Context())
	} else {
		x.ctx, x.cancel = context.WithCancelCause(r.Context())
	}
	peer := peerOf(r)
	x.trusted = h.trusts(peer)
	x.head = requestHead(r)
	x.rec = Record{
		Time: time.Now(), Peer: peer, Client: peer,
		Method: r.Method, Scheme: "http", Host: r.Host, URI: r.RequestURI, Proto: r.Proto,
		Referer: r.Referer(), UserAgent: r.UserAgent(), Priority: parsePriority(r.Header["Priority"]),
	}
	if r.TLS != nil {
		x.rec.Scheme = "https"
	}
	if x.trusted {
		x.rec.Client = h.clientOf(r, peer)
		if id := r.Header.Get("X-Request-Id"); validRequestID(id) {
			x.rec.RequestID = id
		}
	}
	if x.rec.RequestID == "" {
		x.rec.RequestID = newRequestID()
	}
	x.who = h.shareKeyOf(x)
	x.standing = h.shares.begin(x.who, x.head.bytes)
	h.mu.Lock()
	h.exchanges[x] = struct{}{}
	h.sweepLocked()
	h.mu.Unlock()
	return x
}

// end is deferred: it also runs while the handler panics.
func (x *exchange) end() {
	x.leaving.stop()
	h := x.h
	h.mu.Lock()
	delete(h.exchanges, x)
	h.idleLocked()
	h.mu.Unlock()
	if x.placed && h.shares.leave(x.name, x.who) {
		h.admitWaiting(x.name)
	}
	h.shares.end(x.who, x.head.bytes)
	if x.conn != nil {
		x.conn.Ended()
	}
	x.body.close()
	x.cancel(nil)
	if x.http1 && x.in.ContentLength != 0 && !x.body.isWhole() && !x.w.hijacked {
		x.linger()
	}

	x.rec.Duration = time.Since(x.rec.Time)
	x.rec.BytesIn, _ = x.body.state()
	x.rec.BytesOut = x.w.bytes
	if x.rec.Status == 0 {
		x.rec.Status = x.w.status
	}
	x.rec.Aborted = !x.finished
	if x.stalled.Load() || !x.finished && x.conn != nil && x.conn.Stalled() {
		x.rec.Stalled, x.rec.Aborted = true, true
		x.rec.Reason, x.rec.Detail = reasonStalled, errStalled.Error()
	}
	if x.w.hijacked && x.duplex != nil {
		x.rec.Status, x.rec.Upgraded = http.StatusSwitchingProtocols, true
		x.rec.BytesIn, x.rec.BytesOut = x.duplex.in.Load(), x.duplex.out.Load()
	}
	if h.cfg.AccessLog != nil {
		h.cfg.AccessLog.write(&x.rec)
	}
	if h.cfg.OnDone != nil {
		h.cfg.OnDone(&x.rec)
	}
	if !x.finished && x.http1 && x.in.ProtoMinor == 0 && x.w.status > 0 {
		x.reset()
	}
}

// reset closes the connection so that A sees an error. HTTP/1.0 has no chunks: a
// body of unknown length ends where the connection does, and one that was cut
// short would look whole.
func (x *exchange) reset() {
	conn, _, err := http.NewResponseController(x.w.rw).Hijack()
	if err != nil {
		return
	}
	// TLS would say goodbye, and the end look meant.
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	for raw := conn; ; {
		if c, ok := raw.(interface{ SetLinger(sec int) error }); ok {
			c.SetLinger(0)
			break
		}
		c, ok := raw.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		raw = c.NetConn()
	}
	conn.Close()
}

// linger bounds how long http.Server reads, after the handler's end, what is
// left of the body, for the sake of the next request. It would wait without end
// for what A does not send.
func (x *exchange) linger() {
	rc := http.NewResponseController(x.w.rw)
	if x.body == nil {
		rc.SetReadDeadline(time.Now().Add(lingerTime))
		return
	}
	// An attempt's Read may be under way, and then http.Server ends it by a
	// deadline of its own and takes ours away. So ours comes later. There is no
	// next request that it could hit: WriteHeader has seen to that.
	time.AfterFunc(lingerTime, func() { rc.SetReadDeadline(time.Unix(1, 0)) })
}

// breakOff ends the exchange from outside, because of cause; called with
// Handler.mu held, while the handler is running.
func (x *exchange) breakOff(cause error) {
	x.cancel(cause)
	// A may be reading too slowly for a context to be noticed.
	rc := http.NewResponseController(x.w.rw)
	past := time.Unix(1, 0)
	rc.SetWriteDeadline(past)
	rc.SetReadDeadline(past)
}
