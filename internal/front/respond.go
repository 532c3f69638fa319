package front

import (
	"net/http"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// forward sends the request to C and its response to A.
func (e *exchange) forward() {
	req, f := e.request()
	if f != nil {
		e.answer(f)
		return
	}
	if e.http1 && e.body != nil {
		// Or http.Server would read the rest of the body itself as soon as the
		// response begins, and C would get a body with a hole. Where nobody
		// else reads the body, it has to: in full duplex it panics then.
		http.NewResponseController(e.w.rw).EnableFullDuplex()
	}
	resp, err := e.send(req, new(int))
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
	if e.w.hijacked {
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
	if n := h.badAnswers.happened(time.Now()); n > 0 {
		why := err.Error()
		h.log.Warn("answer of the origin refused", "origin", e.rec.Origin, "request", e.rec.RequestID, "reason", why[:min(len(why), 300)], "times", n)
	}
}

// respond passes a response on. A body that ends before its time breaks A's
// connection off: nothing else could tell A.
func (e *exchange) respond(req *http.Request, resp *http.Response) {
	head := e.w.begin()
	e.copyHeader(head, resp.Header)
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

	d := &e.download
	d.begin(e, req, resp)
	err := d.deliver()
	d.Close()
	if err != nil {
		// A sees as much as came, or a client could take the break for a
		// connection that was closed before the request, and send it again.
		e.w.flush()
		panic(http.ErrAbortHandler)
	}
	if len(resp.Trailer) == 0 {
		return
	}
	// Or http.Server would count a body this short, say its length, and have no
	// place for trailers.
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

// copyHeader copies what is not of one connection alone. The names of WebSocket
// are compared letter by letter by clients whose authors have read RFC 6455
// alone; SPDY and h2 have them in lower case.
func (e *exchange) copyHeader(to, from http.Header) {
	for name, values := range from {
		if httpfield.HopByHop(name) {
			continue
		}
		if rest, ok := strings.CutPrefix(name, "Sec-Websocket-"); ok && e.http1 {
			name = "Sec-WebSocket-" + rest
		}
		to[name] = values
	}
}
