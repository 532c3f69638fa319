package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
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
	line     Line       // nil: nothing is known of A's connection
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
	if v, ok := r.Context().Value(connKey{}).(*connection); ok && x.http1 {
		x.ctx, x.cancel = context.WithCancelCause(v.ctx)
		x.leaving.watch(x, v.conn, r.Context())
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
	if x.line = lineOf(r.Context()); x.line != nil {
		x.line.Began()
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
	if x.line != nil {
		x.line.Ended()
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
	if x.stalled.Load() || !x.finished && x.line != nil && x.line.Stalled() {
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

// response notes what is sent to A.
type response struct {
	rw       http.ResponseWriter
	x        *exchange
	status   int   // of the final response, 0 before
	bytes    int64 // of the body
	hijacked bool
	writes   atomic.Uint32 // counts begins and ends of what may wait for A

	mu    sync.Mutex
	begun bool // the final response has begun; guarded by mu
}

// begin returns the headers of the final response, to be filled. From then on
// the handler's goroutine alone uses the http.ResponseWriter.
func (w *response) begin() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = true
	return w.rw.Header()
}

// WriteHeader is called once, after begin, with a final status.
func (w *response) WriteHeader(status int) {
	w.status = status
	h := w.rw.Header()
	if w.x.http1 && w.x.closes() {
		h.Set("Connection", "close")
	}
	if h["Content-Type"] == nil {
		// Present and nil: http.Server does not guess one.
		h["Content-Type"] = nil
	}
	w.rw.WriteHeader(status)
}

// closes reports whether the connection must end with this response.
func (x *exchange) closes() bool {
	switch {
	case x.body != nil && !x.body.isWhole():
		// In full duplex http.Server does not look what is left of the body,
		// and could take it for the next request.
		return true
	case x.in.ProtoMinor == 0:
		// A proxy must not keep an HTTP/1.0 client's connection (RFC 9112, 9.3),
		// nor anybody one that had a Transfer-Encoding in HTTP/1.0 (6.1), which
		// http.Server drops: the chunks would be the next request.
		return true
	case len(x.in.TransferEncoding) > 0:
		// Nor after a request that had a Content-Length as well (RFC 9112, 6.1).
		// http.Server drops that, so that every request in chunks is taken for
		// one.
		return true
	}
	return false
}

func (w *response) Write(p []byte) (int, error) {
	w.writes.Add(1)
	n, err := w.rw.Write(p)
	w.writes.Add(1)
	w.bytes += int64(n)
	return n, err
}

// flush sends what was written. If that fails, so does what is written next.
func (w *response) flush() {
	w.writes.Add(1)
	http.NewResponseController(w.rw).Flush()
	w.writes.Add(1)
}

// settle waits until A lets the end of the response out, where the server would
// wait for it after the handler's end, and nobody would count it any more. A
// SPDY stream knows whether that is so. Of h2, net/http does not say, and asking
// it to send what it has costs a frame: a few connections cannot hold much in
// that way, so it is for those that are one of many.
func (x *exchange) settle() {
	if st, ok := x.w.rw.(interface{ WaitSent() error }); ok {
		x.w.writes.Add(1)
		st.WaitSent()
		x.w.writes.Add(1)
	} else if !x.http1 && x.w.bytes > 0 && x.line != nil && x.line.Crowded() {
		x.w.flush()
	}
	if x.stalled.Load() {
		panic(http.ErrAbortHandler)
	}
}

// hijack takes the connection from http.Server, after begin, for a 101.
func (w *response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.rw).Hijack()
	if err == nil {
		w.hijacked = true
	}
	return conn, rw, err
}
