package front

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// response notes what is sent to A.
type response struct {
	rw     http.ResponseWriter
	e      *exchange
	status int           // of the final response, 0 before
	bytes  int64         // of the body
	writes atomic.Uint32 // counts begins and ends of what may wait for A
	stage  atomic.Uint32 // of the final response; begin changes it with mu held
	mu     sync.Mutex    // held across a write of an interim response, too
}

// How far the final response is.
const (
	stageNone   uint32 = iota
	stagePassed        // it is the origin's, and begun: where it ends now, it has to look broken off
	stageWhole         // it is P's own, or all of the origin's is written
)

// begin returns the headers of the final response, to be filled. From then on
// the handler's goroutine alone uses the http.ResponseWriter.
func (w *response) begin() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.e.own {
		w.stage.Store(stageWhole)
	} else {
		w.stage.Store(stagePassed)
	}
	return w.rw.Header()
}

// WriteHeader is called once, after begin, with a final status.
func (w *response) WriteHeader(status int) {
	w.status = status
	h := w.rw.Header()
	if w.e.http1 && w.e.closes() {
		h.Set("Connection", "close")
	}
	if h["Content-Type"] == nil {
		// Present and nil: http.Server does not guess one.
		h["Content-Type"] = nil
	}
	w.rw.WriteHeader(status)
}

// closes reports whether the connection must end with this response.
func (e *exchange) closes() bool {
	switch {
	case e.body != nil && !e.body.isWhole():
		// In full duplex http.Server does not look what is left of the body,
		// and could take it for the next request.
		return true
	case e.in.ProtoMinor == 0:
		// A proxy must not keep an HTTP/1.0 client's connection (RFC 9112, 9.3),
		// nor anybody one that had a Transfer-Encoding in HTTP/1.0 (6.1), which
		// http.Server drops: the chunks would be the next request.
		return true
	case e.h.isLeaving():
		// The next request is another proxy's, if it is to be anybody's.
		return true
	}
	return false
}

// Write writes p, in pieces if a policy says how fast. To wait for that is not to wait
// for A.
func (w *response) Write(p []byte) (n int, err error) {
	for {
		piece := p[n:]
		if w.e.policy != nil && !w.e.own && len(piece) > 0 {
			// What was written before is sent before that.
			if piece = piece[:w.e.policy.Pace(&w.e.ctx, false, len(piece), w.flush)]; len(piece) == 0 {
				return n, w.e.ctx.Err()
			}
		}
		w.writes.Add(1)
		m, err := w.rw.Write(piece)
		w.writes.Add(1)
		w.bytes += int64(m)
		if w.e.meter != nil && !w.e.own { // what P says itself is no origin's
			w.e.meter.Out(m)
		}
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// flush sends what was written. If that fails, so does what is written next.
func (w *response) flush() {
	w.writes.Add(1)
	http.NewResponseController(w.rw).Flush()
	w.writes.Add(1)
}

// waitsSent is what a SPDY stream's http.ResponseWriter is, and no other.
type waitsSent interface{ WaitSent() error }

// waitSent waits until A lets the end of the response out, where the server would
// wait for it after the handler's end, and nobody would count it any more. A
// SPDY stream knows whether that is so. Of h2, net/http does not say, and asking
// it to send what it has costs a frame: a few connections cannot hold much in
// that way, so it is for those that are one of many.
func (e *exchange) waitSent() {
	if st, ok := e.w.rw.(waitsSent); ok {
		e.w.writes.Add(1)
		st.WaitSent()
		e.w.writes.Add(1)
	} else if !e.http1 && e.w.bytes > 0 && e.conn != nil && e.conn.Crowded() {
		e.w.flush()
	}
	if e.stalled.Load() {
		panic(http.ErrAbortHandler)
	}
}

// hijack takes the connection from http.Server, after begin, for a 101.
func (w *response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.rw).Hijack()
	if err == nil {
		w.e.hijacked = true
	}
	return conn, rw, err
}

// interimLocked sends a 100, if there can be one: an HTTP/1.0 client must get
// none (RFC 9110, 15.2), and nobody may after the response has begun.
func (w *response) interimLocked() bool {
	if w.stage.Load() != stageNone || w.e.in.ProtoMinor == 0 {
		return false
	}
	w.rw.WriteHeader(http.StatusContinue)
	return true
}
