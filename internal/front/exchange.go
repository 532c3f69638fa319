package front

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/lazycontext"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// lingerTime is how long what A still sends of a body is read after its answer.
const lingerTime = time.Second

// exchange is one request of A's and what becomes of it. It belongs to the
// handler's goroutine, but for what says otherwise. When it has ended, another one is
// made of it, if nobody else can have a part of it: see letGo.
type exchange struct {
	// Fixed by begin.
	h        *Handler
	in       *http.Request // as http.Server made it
	w        response
	ctx      lazycontext.Context // A's, which breakOff and a late response end too; see WithConn for HTTP/1
	head     head                // of the request
	conn     *connection         // nil: nothing is known of A's connection
	who      netip.Addr          // whose share it counts in, see shares
	standing standing
	http1    bool // HTTP/1.0 or 1.1: the connection serves this request alone
	trusted  bool // what the peer claims is believed
	probe    bool // P's own, see Config.Probe

	// The small ones are side by side: there are thousands of exchanges.
	upgrade  bool          // to WebSocket, asked of C
	finished bool          // the handler returned by itself
	placed   bool          // at its origin, in Handler.shares
	entered  bool          // policy counts it as in flight
	whole    bool          // all of the origin's header is passed on, and as it is
	hijacked bool          // A's connection is duplex's, after a 101
	own      bool          // the answer is P's own: it has no part of what the origin's bodies may take
	lent     uint8         // how many may have a part of it for longer than it lasts; 2: or more
	stalled  atomic.Bool   // broken off because A does not read
	phase    atomic.Uint32 // what it waits for, see Open
	upload   atomic.Uint32 // what becomes of A's body, one of uploadNone and so on
	name     origin.Name
	body     *requestBody    // nil if there is none; has a lock of its own
	upstream origin.Upstream // where it was sent last
	duplex   *duplex         // after a 101; counts by itself
	policy   Policy          // of its origin; nil: there is none
	auth     *Htpasswd       // has asked for a password, nil if nothing has
	meter    Meter           // nil before it is sent, and without Config.Meter
	rec      Record

	// Guarded by Handler.mu.
	prev, next *exchange // see exchanges
	open       bool      // it is among them
	swept      bool      // sweep has found it, and may have it yet
	stuck      uint8     // how many looks have seen the same write
	mute       uint8     // how many have seen the same read of the body, and no write
	seen       uint32    // response.writes, at the last look of sweep

	// Parts of what is made once, which are here so that they are not allocated
	// one by one.
	halfClose halfClose
	download  download
	late      responseTimer // of an attempt without a body
	out       http.Request  // to C
	header    http.Header   // of out; nil before the first
	url       url.URL       // of out
	ownValues [5]string     // of the headers that P adds
	ids       requestIDs
}

func (h *Handler) begin(w http.ResponseWriter, r *http.Request) *exchange {
	e, used := h.spare.Get().(*exchange)
	if !used {
		e = new(exchange)
	}
	e.h, e.in, e.probe = h, r, h.cfg.Probe != nil && h.cfg.Probe(r)
	e.w = response{rw: w, e: e}
	_, stream := w.(waitsSent)
	e.http1 = r.ProtoMajor == 1 && !stream // which says HTTP/1.1, too
	v, known := r.Context().Value(connKey{}).(*connection)
	if known {
		e.conn = v
		e.conn.Began()
	}
	peer := peerOf(r)
	e.trusted = h.trusts(peer)
	e.head = requestHead(r)
	e.rec = Record{Record: accesslog.Record{
		Time: time.Now(), Peer: peer, Client: peer,
		Method: r.Method, Scheme: "http", Host: r.Host, URI: r.RequestURI, Proto: r.Proto,
		Referer: r.Referer(), UserAgent: r.UserAgent(), Priority: parsePriority(r.Header["Priority"]),
	}}
	parent := r.Context()
	if known && e.http1 {
		parent = v.Context
	}
	if !e.http1 || e.rec.Priority != defaultPriority {
		// A default is the stream's without being said, except that the context
		// of a SPDY visitor's request has a priority already.
		parent = spdy.WithPriority(parent, e.rec.Priority)
	}
	e.ctx.Begin(parent)
	e.halfClose.watch(e)
	if r.TLS != nil {
		e.rec.Scheme = "https"
	}
	if e.trusted {
		e.rec.Client = h.clientOf(r, peer)
		if id := r.Header.Get("X-Request-Id"); validRequestID(id) {
			e.rec.RequestID = id
		}
	}
	if e.rec.RequestID == "" {
		e.rec.RequestID = e.ids.next()
	}
	e.who = h.shareKeyOf(e)
	e.standing = h.shares.begin(e.who, e.head.bytes)
	if r.ContentLength != 0 {
		e.upload.Store(uploadHeld)
	}
	h.running.Add(1)
	h.mu.Lock()
	h.exchanges.add(e)
	h.sweepLocked()
	h.mu.Unlock()
	return e
}

// end is deferred: it also runs while the handler panics.
func (e *exchange) end() {
	unwatched := e.halfClose.stop()
	h := e.h
	h.mu.Lock()
	h.exchanges.remove(e)
	swept := e.swept
	h.mu.Unlock()
	if e.placed && h.shares.leave(e.name, e.who) {
		h.admitWaiting(e.name)
	}
	if e.entered {
		e.policy.Leave()
	}
	h.shares.end(e.who, e.head.bytes)
	if e.conn != nil {
		e.conn.Ended()
	}
	e.body.close()
	e.ctx.End(nil)
	if e.http1 && e.in.ContentLength != 0 && !e.body.isWhole() && !e.hijacked {
		e.linger()
	}

	if !e.probe {
		e.report()
	}
	if h.running.Add(-1) == 0 && h.isLeaving() {
		h.mu.Lock()
		h.idleLocked()
		h.mu.Unlock()
	}
	if unwatched && !swept && e.lent == 0 {
		e.letGo()
	}
}

// report tells who wants to know of it how the exchange ended.
func (e *exchange) report() {
	e.completeRecord()
	if e.h.cfg.AccessLog != nil {
		e.h.cfg.AccessLog.Write(&e.rec.Record)
	}
	if e.h.cfg.OnDone != nil {
		e.h.cfg.OnDone(&e.rec)
	}
	if !e.finished && e.http1 && e.in.ProtoMinor == 0 && e.w.status > 0 {
		e.reset()
	}
}

// maxKeptHeader is how many fields a request may have had whose exchange is used again.
const maxKeptHeader = 32

// letGo has another exchange made of this one, if that is sure to be nobody's any more,
// and tells the server that A's request is not either. That is so after a response that
// has come to its end (http.RoundTripper: the request is its caller's again when the
// response's body is closed), or where nothing was sent. It is not where others go on by
// themselves: who reads a body, who was told of the context's end, what has failed.
func (e *exchange) letGo() {
	if !e.finished || e.body != nil || e.in.ContentLength != 0 || e.upgrade || len(e.header) > maxKeptHeader || !e.ctx.Renew() {
		return
	}
	w, spare := e.w.rw, &e.h.spare
	clear(e.header)
	*e = exchange{header: e.header, ids: e.ids, late: responseTimer{timer: e.late.timer}}
	spare.Put(e)
	if s, ok := w.(interface{ Reuse() }); ok {
		s.Reuse()
	}
}

// completeRecord notes in the record how the exchange ended.
func (e *exchange) completeRecord() {
	e.rec.Duration = time.Since(e.rec.Time)
	e.rec.BytesIn, _ = e.body.state()
	e.rec.BytesOut = e.w.bytes
	if e.rec.Status == 0 {
		e.rec.Status = e.w.status
	}
	e.rec.Aborted = !e.finished
	if e.stalled.Load() || !e.finished && e.conn != nil && e.conn.Stalled() {
		e.rec.Stalled, e.rec.Aborted = true, true
		e.rec.Reason, e.rec.Detail = reasonStalled, errStalled.Error()
	}
	if e.rec.Aborted && errors.Is(e.ctx.Err(), errMute) {
		e.rec.Reason, e.rec.Detail = "", errMute.Error()
	}
	if e.rec.Aborted && (e.rec.Detail == "" || e.rec.Detail == detailTheirs) {
		e.rec.Detail = detailLeft
		if errors.Is(e.ctx.Err(), errBrokenOff) {
			e.rec.Detail = errBrokenOff.Error()
		}
	}
	if e.hijacked && e.duplex != nil {
		e.rec.Status, e.rec.Upgraded = http.StatusSwitchingProtocols, true
		e.rec.BytesIn, e.rec.BytesOut = e.duplex.in.Load(), e.duplex.out.Load()
	}
}

// reset closes the connection so that A sees an error. HTTP/1.0 has no chunks: a
// body of unknown length ends where the connection does, and one that was cut
// short would look whole.
func (e *exchange) reset() {
	conn, _, err := http.NewResponseController(e.w.rw).Hijack()
	if err != nil {
		return
	}
	// Closing the tls.Conn would send close_notify, which says that the body is
	// complete.
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
func (e *exchange) linger() {
	rc := http.NewResponseController(e.w.rw)
	if e.body == nil {
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
func (e *exchange) breakOff(cause error) {
	e.ctx.End(cause)
	rc := http.NewResponseController(e.w.rw)
	if cause == errBrokenOff && e.w.stage.Load() != stagePassed {
		// The context's end is seen by whatever the handler waits for, and A gets an
		// answer that says why, or has one. Should C's begin just now, it has no longer.
		rc.SetWriteDeadline(time.Now().Add(LastAnswer))
		return
	}
	// A may be reading too slowly for a context to be noticed.
	past := time.Unix(1, 0)
	rc.SetWriteDeadline(past)
	rc.SetReadDeadline(past)
}
