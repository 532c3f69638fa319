package front

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// upgradeGrace is how long one side of an upgraded connection may go on when the
// other has said all. A WebSocket's end takes a round trip (RFC 6455, 7.1.1); a
// side that is gone for good looks no different from one that is slow with it.
const upgradeGrace = 30 * time.Second

const (
	// upgradeIdle is how long nothing was said on an upgraded connection that is
	// not waited for when the proxy or its origin stops.
	upgradeIdle = 5 * time.Second
	// idleLook is how often that is looked at then.
	idleLook = time.Second / 2
)

// wantsWebSocket reports whether r asks for the one upgrade that is passed on.
// It is for HTTP/1 alone: the connection of h2 and SPDY is not one request's to
// switch.
func wantsWebSocket(r *http.Request) bool {
	return r.ProtoMinor == 1 && r.Method == http.MethodGet && r.ContentLength == 0 &&
		httpfield.HasToken(r.Header["Connection"], "upgrade") && httpfield.HasToken(r.Header["Upgrade"], "websocket")
}

// switchProtocols joins the connections of A and C after a 101, until both
// directions have ended or one has failed.
func (e *exchange) switchProtocols(resp *http.Response) {
	rwc, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		resp.Body.Close()
		e.failed(&responseError{"a 101 without a connection"})
		return
	}
	e.duplex = &duplex{ReadWriteCloser: rwc, e: e, since: time.Now(), meter: e.meter}
	defer e.duplex.Close()
	e.w.begin()
	if httpfield.HasToken(e.in.Header["Expect"], "100-continue") {
		e.w.rw.WriteHeader(http.StatusContinue) // RFC 9110, 7.8: first this
	}
	conn, buf, err := e.w.hijack()
	if err != nil {
		e.failed(err)
		return
	}
	defer conn.Close()

	// The version is the connection's, and the text nobody's: C said both. The
	// body is no part of the message.
	head := &http.Response{ProtoMajor: 1, ProtoMinor: 1, StatusCode: resp.StatusCode, Header: make(http.Header)}
	e.copyHeader(head.Header, resp.Header)
	delete(head.Header, "Content-Length") // RFC 9110, 8.6
	head.Header["Connection"] = []string{"Upgrade"}
	head.Header["Upgrade"] = []string{"websocket"}
	if err = head.Write(buf); err == nil {
		err = buf.Flush()
	}
	if err != nil {
		e.failed(err)
		return
	}
	// What A sent behind its request, before it had the answer.
	early, _ := buf.Reader.Peek(buf.Reader.Buffered())

	stop := e.ctx.AfterFunc(func() { e.duplex.Close() })
	defer stop()
	if e.conn != nil {
		// The connection's end is not the server's to tell of any more.
		unlink := e.conn.AfterFunc(func() { e.ctx.End(context.Cause(e.conn)) })
		defer unlink()
	}
	var passing sync.WaitGroup
	ended := make(chan error, 2)
	// Both end with what they read from, or when both connections are closed,
	// and are waited for.
	passing.Go(func() { ended <- pass(visitorConn{conn, &e.w}, e.duplex) })
	passing.Go(func() { ended <- pass(e.duplex, io.MultiReader(bytes.NewReader(early), conn)) })
	if err := e.untilEnded(ended, nil); err == nil {
		// One side has said all that it will, and the other was told so.
		timer := time.NewTimer(upgradeGrace)
		e.untilEnded(ended, timer.C)
		timer.Stop()
	}
	conn.Close()
	e.duplex.Close()
	e.ctx.End(nil) // nobody waits for the turn of bytes that are for nobody
	passing.Wait()
	e.duplex.turn.Wait()
}

// duplex is the connection to C after a 101.
type duplex struct {
	io.ReadWriteCloser
	e       *exchange      // paces it; fixed
	turn    sync.WaitGroup // of what was written last, as it is waited for
	in, out atomic.Int64   // bytes from A and to A
	meter   Meter          // nil: nobody counts
	since   time.Time      // when it was made; fixed
	last    atomic.Int64   // when something was passed, a time.Duration after since
}

func (d *duplex) Read(p []byte) (int, error) {
	n, err := d.ReadWriteCloser.Read(p)
	d.passed(&d.out, n)
	if d.meter != nil {
		d.meter.Out(n)
	}
	d.e.paceAll(false, n)
	return n, err
}

// Write waits for the turn of what was written before. Meanwhile the next piece is read
// from A, and so its end is seen.
func (d *duplex) Write(p []byte) (int, error) {
	d.turn.Wait()
	n, err := d.ReadWriteCloser.Write(p)
	d.passed(&d.in, n)
	if d.meter != nil {
		d.meter.In(n)
	}
	if d.e.policy != nil {
		// Ends with the turn, or with the exchange; waited for above, and at the end.
		d.turn.Go(func() { d.e.paceAll(true, n) })
	}
	return n, err
}

func (d *duplex) passed(count *atomic.Int64, n int) {
	if n > 0 {
		count.Add(int64(n))
		d.last.Store(int64(time.Since(d.since)))
	}
}

// idle returns for how long nothing was passed.
func (d *duplex) idle() time.Duration { return time.Since(d.since) - time.Duration(d.last.Load()) }

// CloseWrite ends the direction to C.
func (d *duplex) CloseWrite() error {
	if c, ok := d.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return d.Close()
}

var errNotWaitedFor = errors.New("an upgraded connection is not waited for")

// untilEnded returns what comes from ended. It does not wait longer than until
// limit, nor for a connection on which nothing is said when the proxy or its
// origin is about to stop: whoever has it can open another.
func (e *exchange) untilEnded(ended <-chan error, limit <-chan time.Time) error {
	proxy, org := (<-chan struct{})(e.h.leaving), e.upstream.GoingAway()
	var look <-chan time.Time
	for {
		select {
		case err := <-ended:
			return err
		case <-limit:
			return errNotWaitedFor
		case <-proxy:
			proxy = nil
		case <-org:
			org = nil
			if !e.upstream.Leaves() {
				continue
			}
		case <-look:
		}
		if e.duplex.idle() >= upgradeIdle && e.w.writes.Load()%2 == 0 {
			return errNotWaitedFor
		}
		if look == nil {
			tick := time.NewTicker(idleLook)
			defer tick.Stop()
			look = tick.C
		}
	}
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
