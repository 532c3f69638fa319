package front

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// forward sends the request to C and its response to A.
//
// It does the work of [net/http/httputil.ReverseProxy] with a Rewrite function that
// calls SetXForwarded. Whoever carries a fix of ReverseProxy over should know
// what differs on purpose (compared with Go 1.27):
//
//   - The request: path and query are sent as they came, an unparsable query too,
//     because nothing here is decided by them. Forwarding headers that A sent are
//     dropped in any spelling, X-Request-Id among them, unless A is a trusted proxy. Via
//     is added and counted, Max-Forwards obeyed, Expect answered here. With
//     Config.Auth, Authorization is dropped.
//   - Upgrade: to WebSocket alone, over HTTP/1.1 alone, and the answer must name
//     WebSocket; another one is a header like others of one connection. The 101's
//     hop-by-hop headers are dropped too. Each end of a direction is passed on as a
//     half-close, and the other direction has a limit from then on.
//   - The body: read once its stream is open. It is not closed after the handler, for
//     that has http.Server read on; requestBody keeps everybody from reading it then.
//   - Sending: send repeats it where that is safe, and limits the wait for headers.
//   - The response: no interim ones, SPDY has none. What http.Server would pass on
//     and HTTP forbids is 502 (checkResponse), as is a head above the limits. What
//     its Connection names cannot be dropped: SPDY has no such header, and the
//     engine drops one that comes.
//   - Its body: flushed when nothing more is there to be read, whatever its type or
//     length. It is never shorter or longer than announced without a break, always
//     http.ErrAbortHandler. It may go on over another session (resume). A buffer of
//     which a Write failed is not used again, for the h2 server may still read it.
//   - Trailers: filtered in both directions (httpfield.Trailer).
//   - An HTTP/1 visitor that closes its sending side gets its answer (WithConn).
func (e *exchange) forward() {
	req, f := e.request()
	if f != nil {
		e.answer(f)
		return
	}
	if e.http1 && e.body != nil {
		// Without full duplex, http.Server reads the rest of the request's body
		// itself when the response begins, and C gets a body with a hole. Where C
		// is sent no body, http.Server must read it, and panics in full duplex.
		http.NewResponseController(e.w.rw).EnableFullDuplex()
	}
	resp, err := e.send(req, new(uint8))
	if err != nil {
		e.failed(err)
		return
	}
	e.rec.Headers = time.Since(e.rec.Time)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		e.switchProtocols(resp)
		return
	}
	e.respond(req, resp)
}

// failed answers A in the place of C, or notes why the response is not whole.
func (e *exchange) failed(err error) {
	f := e.failureOf(err)
	if e.hijacked {
		e.rec.Reason, e.rec.Detail = f.reason, f.detail
		return
	}
	if f.reason == reasonProtocol || f.reason == reasonTooLarge || f.reason == reasonInternal && f.status == http.StatusBadGateway {
		e.h.logRefused(e, err)
	}
	e.answer(f)
}

// logRefused logs that an answer of C's was not passed on because of err. A visitor
// can ask for it as often as it likes.
func (h *Handler) logRefused(e *exchange, err error) {
	why := err.Error()
	h.lines.Log("bad answer", slog.LevelWarn, "answer of the origin refused",
		slog.String("origin", e.rec.Origin), slog.String("request", e.rec.RequestID), slog.String("reason", why[:min(len(why), 300)]))
}

// respond passes a response on. A body that ends before its time breaks A's
// connection off: nothing else could tell A.
func (e *exchange) respond(req *http.Request, resp *http.Response) {
	if resp.StatusCode >= http.StatusInternalServerError {
		e.rec.Detail = detailTheirs // it counts as failed, and P knows no more
	}
	d := &e.download
	d.begin(e, req, resp)
	head := e.passHeader(resp.Header)
	e.setHeader(head)
	if resp.StatusCode == http.StatusUpgradeRequired && e.http1 && httpfield.HasToken(resp.Header["Upgrade"], "websocket") {
		// It must say to what (RFC 9110, 7.8).
		head["Connection"], head["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	if resp.StatusCode == http.StatusNoContent {
		delete(head, "Content-Length") // RFC 9110, 8.6
	}
	for name := range resp.Trailer {
		if !trailerAllowed(name) {
			delete(resp.Trailer, name)
		}
	}
	announced := len(resp.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range resp.Trailer {
			names = append(names, name)
		}
		head["Trailer"] = []string{strings.Join(names, ", ")}
	}
	e.w.WriteHeader(resp.StatusCode)

	err := d.deliver()
	d.Close()
	if err != nil {
		// What has come is sent before the connection is broken off: a client that
		// sees nothing of a response may assume that the request was not read, and
		// send it again.
		e.w.flush()
		panic(http.ErrAbortHandler)
	}
	e.lent--
	if len(resp.Trailer) == 0 {
		return
	}
	// http.Server buffers a short body and then sets its Content-Length, which
	// leaves no place for trailers. Flushed before its end, it is sent in chunks.
	e.w.flush()
	prefix := ""
	if len(resp.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	head = e.w.rw.Header()
	for name, values := range resp.Trailer {
		if trailerAllowed(name) {
			head[prefix+name] = values
		}
	}
}

// passHeader begins the response with the origin's header, and returns what is the
// response's then: the same map, if it can be.
func (e *exchange) passHeader(from http.Header) http.Header {
	head := e.w.begin()
	if w, ok := e.w.rw.(interface{ TakeHeader(http.Header) }); ok && e.whole {
		w.TakeHeader(from)
		return from
	}
	e.copyHeader(head, from)
	return head
}

const secWebsocket = "Sec-Websocket-"

// copyHeader copies what is not of one connection alone. The names of WebSocket
// are compared letter by letter by clients whose authors have read RFC 6455
// alone; SPDY and h2 have them in lower case.
func (e *exchange) copyHeader(to, from http.Header) {
	for name, values := range from {
		if httpfield.HopByHop(name) {
			continue
		}
		if rest, ok := strings.CutPrefix(name, secWebsocket); ok && e.http1 {
			name = "Sec-WebSocket-" + rest
		}
		to[name] = values
	}
}
