package front

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// upgradeGrace is how long one side of an upgraded connection may go on when the
// other has said all. A WebSocket's end takes a round trip (RFC 6455, 7.1.1); a
// side that is gone for good looks no different from one that is slow with it.
const upgradeGrace = 30 * time.Second

// forward sends the request to C and its response to A.
func (x *exchange) forward() {
	req, f := x.request()
	if f != nil {
		x.answer(f)
		return
	}
	if x.http1 && x.body != nil {
		// Or http.Server would read the rest of the body itself as soon as the
		// response begins, and C would get a body with a hole. Where nobody
		// else reads the body, it has to: in full duplex it panics then.
		http.NewResponseController(x.w.rw).EnableFullDuplex()
	}
	resp, err := x.send(req, new(int))
	if err != nil {
		x.failed(err)
		return
	}
	x.rec.Headers = time.Since(x.rec.Time)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		x.switchProtocols(resp)
		return
	}
	x.respond(req, resp)
}

// failed answers A in the place of C, or notes why the response is not whole.
func (x *exchange) failed(err error) {
	f := x.judge(err)
	if x.w.hijacked {
		x.rec.Reason, x.rec.Detail = f.reason, f.detail
		return
	}
	if f.reason == reasonProtocol || f.reason == reasonTooLarge || f.reason == reasonInternal && f.status == http.StatusBadGateway {
		x.h.refused(x, err)
	}
	x.answer(f)
}

// refused logs that an answer of C's was not passed on because of err. A visitor
// can ask for it as often as it likes.
func (h *Handler) refused(x *exchange, err error) {
	if n := h.odd.happened(time.Now()); n > 0 {
		why := err.Error()
		h.log.Warn("answer of the origin refused", "origin", x.rec.Origin, "request", x.rec.RequestID, "reason", why[:min(len(why), 300)], "times", n)
	}
}

// respond passes a response on. A body that ends before its time breaks A's
// connection off: nothing else could tell A.
func (x *exchange) respond(req *http.Request, resp *http.Response) {
	head := x.w.begin()
	x.copyHeader(head, resp.Header)
	if resp.StatusCode == http.StatusUpgradeRequired && x.http1 && httpfield.HasToken(resp.Header["Upgrade"], "websocket") {
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
	x.w.WriteHeader(resp.StatusCode)

	d := &x.download
	d.begin(x, req, resp)
	err := d.deliver()
	d.Close()
	if err != nil {
		// A sees as much as came, or a client could take the break for a
		// connection that was closed before the request, and send it again.
		x.w.flush()
		panic(http.ErrAbortHandler)
	}
	if len(resp.Trailer) == 0 {
		return
	}
	// Or http.Server would count a body this short, say its length, and have no
	// place for trailers.
	x.w.flush()
	prefix := ""
	if len(resp.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	head = x.w.rw.Header()
	for name, values := range resp.Trailer {
		if trailerAllowed(name) {
			head[prefix+name] = values
		}
	}
}

// copyHeader copies what is not of one connection alone. The names of WebSocket
// are compared letter by letter by clients whose authors have read RFC 6455
// alone; SPDY and h2 have them in lower case.
func (x *exchange) copyHeader(to, from http.Header) {
	for name, values := range from {
		if httpfield.HopByHop(name) {
			continue
		}
		if rest, ok := strings.CutPrefix(name, "Sec-Websocket-"); ok && x.http1 {
			name = "Sec-WebSocket-" + rest
		}
		to[name] = values
	}
}

// switchProtocols joins the connections of A and C after a 101, until both
// directions have ended or one has failed.
func (x *exchange) switchProtocols(resp *http.Response) {
	rwc, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		resp.Body.Close()
		x.failed(&responseError{"a 101 without a connection"})
		return
	}
	x.duplex = &duplex{ReadWriteCloser: rwc}
	defer x.duplex.Close()
	x.w.begin()
	if httpfield.HasToken(x.in.Header["Expect"], "100-continue") {
		x.w.rw.WriteHeader(http.StatusContinue) // RFC 9110, 7.8: first this
	}
	conn, buf, err := x.w.hijack()
	if err != nil {
		x.failed(err)
		return
	}
	defer conn.Close()

	// The version is the connection's, and the text nobody's: C said both. The
	// body is no part of the message.
	head := &http.Response{ProtoMajor: 1, ProtoMinor: 1, StatusCode: resp.StatusCode, Header: make(http.Header)}
	x.copyHeader(head.Header, resp.Header)
	delete(head.Header, "Content-Length") // RFC 9110, 8.6
	head.Header["Connection"] = []string{"Upgrade"}
	head.Header["Upgrade"] = []string{"websocket"}
	if err = head.Write(buf); err == nil {
		err = buf.Flush()
	}
	if err != nil {
		x.failed(err)
		return
	}
	// What A sent behind its request, before it had the answer.
	early, _ := buf.Reader.Peek(buf.Reader.Buffered())

	stop := context.AfterFunc(x.ctx, func() { x.duplex.Close() })
	defer stop()
	var passing sync.WaitGroup
	ended := make(chan error, 2)
	// Both end with what they read from, or when both connections are closed,
	// and are waited for.
	passing.Go(func() { ended <- pass(visitorConn{conn, &x.w}, x.duplex) })
	passing.Go(func() { ended <- pass(x.duplex, io.MultiReader(bytes.NewReader(early), conn)) })
	if err := <-ended; err == nil {
		// One side has said all that it will, and the other was told so.
		timer := time.NewTimer(upgradeGrace)
		select {
		case <-ended:
		case <-timer.C:
		}
		timer.Stop()
	}
	conn.Close()
	x.duplex.Close()
	passing.Wait()
}

// visitorConn is A's connection after a 101, whose writes are counted as those
// of a response.
type visitorConn struct {
	net.Conn
	w *response
}

func (c visitorConn) Write(p []byte) (int, error) {
	c.w.writes.Add(1)
	n, err := c.Conn.Write(p)
	c.w.writes.Add(1)
	return n, err
}

// CloseWrite tells A that nothing more comes.
func (c visitorConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errNoHalf
}

var errNoHalf = errors.New("the connection cannot be closed in one direction")

// pass copies one direction, and its end. An error means that the other has to
// end too.
func pass(to io.Writer, from io.Reader) error {
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errNoHalf
}
