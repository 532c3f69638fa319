package http1

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/lazycontext"
)

// lingerTime is how long what a client still sends is read after the last answer:
// a close before it would be a reset, and the answer lost on its way (RFC 9112,
// 9.6).
const lingerTime = time.Second

// maxKeptHeader is how many fields a header may have had that is used again.
const maxKeptHeader = 32

// phase is what a connection does.
type phase uint32

const (
	phaseNew     phase = iota // nothing has come yet
	phaseHead                 // a part of a head has
	phaseBusy                 // a request has its handler
	phaseWatched              // for so long that it is watched whether the client leaves
	phaseIdle                 // waits for the next request
	phaseParking              // for so long that it is to give back what it has
	phaseParked               // it has
	phaseExpired              // waited for too long
)

// A state is a phase, and the tick of the server's clock in which it began.
type state uint64

func newState(p phase, tick uint32) state { return state(p)<<32 | state(tick) }

func (s state) phase() phase { return phase(s >> 32) }

// age is in ticks.
func (s state) age(tick uint32) uint32 { return tick - uint32(s) }

// conn is one connection. Its goroutine reads requests, and calls the handler.
type conn struct {
	// Fixed by newConn.
	s      *Server
	rwc    net.Conn
	remote string
	rest   *others // where it goes if it speaks something else

	// Fixed before the first request.
	ctx    context.Context // that of all connections; after begin, with what http.Server says is in it
	unlink func() bool     // of ctx's end and the request's
	tls    *tls.ConnectionState

	// state is changed by the goroutine of the connection, which knows what it
	// has put there, and by Server.look with looking held. So neither a lock nor
	// a deadline is needed where the two do not meet.
	state   atomic.Uint64
	looking sync.Mutex

	cur  atomic.Pointer[exchange] // that has its handler
	left atomic.Bool              // ctx has ended; before leave looks at cur

	begun bool  // ctx is what begin has made; owned by the goroutine
	empty uint8 // lines before a request; owned by the goroutine

	in  input
	out output

	// Owned by the goroutine.
	own    state // what it has put into state
	parser parser
	lines  []fieldLines // of a head, while it is written
	spare  *exchange    // for the next request; nil: it needs a new one
	tiny   [16]byte     // what is read into while there is no buffer

	// Guarded by in.mu.
	watching chan struct{} // closed when watch has ended; nil: it did not begin
	watchEnd bool          // it is to end
}

func (s *Server) newConn(rwc net.Conn, base context.Context, rest *others) *conn {
	c := &conn{s: s, rwc: rwc, ctx: base, rest: rest, own: newState(phaseNew, s.ticks.Load())}
	if a := rwc.RemoteAddr(); a != nil {
		c.remote = a.String()
	}
	c.state.Store(uint64(c.own))
	c.in.conn, c.in.buffers = rwc, &s.buffers
	c.out.conn, c.out.buffers = rwc, &s.buffers
	switch v := rwc.(type) {
	case vectored:
		c.out.vector = v
	case *net.TCPConn:
		c.out.vector = tcpBuffers{v}
	}
	return c
}

// begin makes the connection ready for the first request. It reports false if
// there is none to come here.
func (c *conn) begin() bool {
	if tc, ok := c.rwc.(*tls.Conn); ok && !c.handshake(tc) {
		return false
	}
	c.s.note(c.rwc, http.StateNew)
	ctx := context.WithValue(c.ctx, http.LocalAddrContextKey, c.rwc.LocalAddr())
	if c.s.hs.ConnContext != nil {
		ctx = c.s.hs.ConnContext(ctx, c.rwc)
	}
	c.ctx, c.begun = ctx, true
	c.unlink = lazycontext.AfterEnd(ctx, c.leave)
	c.enter(phaseNew)
	return true
}

// handshake reports whether HTTP/1 is what was chosen. Who serves anything else has
// the connection then.
func (c *conn) handshake(tc *tls.Conn) bool {
	here, next := c.choose(tc)
	if next != nil {
		next(tc)
	}
	return here
}

// choose does TLS's handshake. It returns whether HTTP/1 was chosen, or who serves it if
// that is one of Server.Next; the http.Server behind has the connection already.
func (c *conn) choose(tc *tls.Conn) (here bool, next func(*tls.Conn)) {
	defer c.s.shook()
	c.rwc.SetDeadline(time.Now().Add(cmp.Or(c.s.hs.ReadHeaderTimeout, headTime)))
	if err := tc.HandshakeContext(c.ctx); err != nil {
		if re, ok := errors.AsType[tls.RecordHeaderError](err); ok && re.Conn != nil && isToken(re.RecordHeader[:3]) {
			// As those of HTTP do, and those of TLS do not.
			c.out.conn, c.out.vector = re.Conn, nil
			c.refuse(bad("this port speaks TLS: ask for https"))
		}
		c.s.logf("http1: TLS handshake with %s: %v", c.remote, err)
		return false, nil
	}
	c.rwc.SetDeadline(time.Time{})
	state := tc.ConnectionState()
	switch state.NegotiatedProtocol {
	case "", "http/1.1", "http/1.0":
		c.tls = &state
		return c.s.http1(), nil
	}
	next = c.s.Next[state.NegotiatedProtocol]
	switch {
	case !c.s.remove(c):
		return false, nil
	case next == nil:
		c.rest.hand(tc)
	}
	return false, next
}

// enter begins a phase. What it waited for has come: if look has found meanwhile that
// it took too long, or was to be parked, that is taken back.
func (c *conn) enter(p phase) {
	next := newState(p, c.s.ticks.Load())
	if p == phaseParked {
		next = newState(p, uint32(c.own)) // it has waited since then
	}
	if c.state.CompareAndSwap(uint64(c.own), uint64(next)) {
		c.own = next
		return
	}
	c.looking.Lock()
	defer c.looking.Unlock()
	switch state(c.state.Load()).phase() {
	case phaseParking, phaseExpired:
		c.rwc.SetReadDeadline(time.Time{})
	}
	c.own = next
	c.state.Store(uint64(next))
}

// interrupted is called when a Read has ended by a deadline that is look's, and
// returns the phase.
func (c *conn) interrupted() phase {
	c.looking.Lock()
	defer c.looking.Unlock()
	c.own = state(c.state.Load())
	if c.own.phase() == phaseParking {
		c.rwc.SetReadDeadline(time.Time{})
	}
	return c.own.phase()
}

// look is called by the server's clock, for what takes too long, with Server.mu held.
func (c *conn) look(tick uint32) {
	st := state(c.state.Load())
	age, s := st.age(tick), c.s
	closing := s.closing.Load()
	switch p := st.phase(); {
	case p == phaseNew && (age > s.headTicks || closing && age > s.newTicks),
		p == phaseHead && age > s.headTicks,
		(p == phaseIdle || p == phaseParked) && (age > s.idleTicks || closing && min(age, tick-s.stopTick) > s.graceTicks):
		c.interrupt(st, phaseExpired)
	case p == phaseIdle && age > 1:
		c.interrupt(st, phaseParking)
	case p == phaseBusy && (age > s.watchTicks || age > 1 && s.watches.Load() < fewWatches):
		c.beginWatch(st)
	}
}

// interrupt ends the Read that waits in state st.
func (c *conn) interrupt(st state, p phase) {
	c.looking.Lock()
	defer c.looking.Unlock()
	if c.state.CompareAndSwap(uint64(st), uint64(newState(p, uint32(st)))) {
		c.rwc.SetReadDeadline(time.Unix(1, 0))
	}
}

// serve is the connection's goroutine. It ends with the connection, or when it has
// parked that.
func (c *conn) serve() {
	over := true
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				stack := make([]byte, 64<<10)
				stack = stack[:runtime.Stack(stack, false)]
				c.s.logf("http: panic serving %v: %v\n%s", c.remote, v, stack)
			}
			c.abort()
		}
		if over {
			c.close()
		}
	}()
	if c.begun || c.begin() && c.await() {
		over = !c.requests()
	}
}

// requests serves them until the last. It reports whether the connection is not to
// be closed: it is parked, or not the server's any more.
func (c *conn) requests() (kept bool) {
	for {
		x, parked := c.next()
		if x == nil {
			return parked
		}
		c.enter(phaseBusy)
		c.cur.Store(x)
		c.s.note(c.rwc, http.StateActive)
		if c.left.Load() {
			x.ctx.End(context.Cause(c.ctx))
		}
		c.s.hs.Handler.ServeHTTP(x, &x.req)
		hijacked, keep := c.finish(x)
		if hijacked {
			return true
		}
		if !keep {
			c.linger()
			return false
		}
		// The client was told that it may go on. If the server stops, it may once, or
		// look ends the connection.
		c.enter(phaseIdle)
		c.s.note(c.rwc, http.StateIdle)
	}
}

// next reads a request. It returns nil if none comes, or if what comes is none and
// was answered.
func (c *conn) next() (x *exchange, parked bool) {
	p, in := &c.parser, &c.in
	p.reset(false)
	c.empty = 0
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.buf) > bufferSize {
		in.freeLocked() // it has grown for a head that was large
	}
	for {
		b := in.buf[in.r:in.w]
		for p.pos == 0 && len(b) > 1 && b[0] == '\r' && b[1] == '\n' && c.empty < maxEmptyLines {
			in.r += 2
			c.empty++
			b = b[2:]
		}
		if len(b) > 0 {
			done, why := p.parse(b, limits{c.s.maxHeaderBytes(), c.s.maxHeaderLines()})
			if done {
				x, why = c.newExchange(string(b[:p.pos]))
			}
			if why != nil {
				c.refuse(why)
				return nil, false
			}
			if done {
				in.r += p.pos
				in.freeLocked() // thousands may wait for their response
				if in.err != nil {
					x.ctx.End(nil) // the client is known to have left, or to send nothing more
				}
				return x, false
			}
		}
		if (len(b) > 0 || c.empty > 0) && c.own.phase() != phaseHead {
			c.enter(phaseHead)
		}
		switch err := in.fillLocked(); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			switch c.interrupted() {
			case phaseParking:
				c.park()
				return nil, true
			case phaseExpired:
				if len(b) > 0 {
					c.refuse(&refusal{http.StatusRequestTimeout, "the head did not come in time"})
				}
			}
			return nil, false
		case err == io.EOF && len(b) > 0:
			c.refuse(bad("the head is not whole"))
			return nil, false
		default:
			return nil, false
		}
	}
}

// park gives back what an idle connection does not need, its goroutine's stack
// among it, which has grown in a handler.
func (c *conn) park() {
	c.enter(phaseParked)
	c.in.freeLocked()
	c.lines, c.spare = nil, nil
	c.parser = parser{}
	go c.unpark() // ends when something comes, or with the connection
}

// unpark waits for the next request.
func (c *conn) unpark() {
	if !c.await() {
		c.close()
		return
	}
	c.serve()
}

// await waits for the begin of a request without a buffer. It reports false if none comes.
func (c *conn) await() bool {
	n, err := c.rwc.Read(c.tiny[:])
	if n == 0 && err != nil {
		return false
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.addLocked(c.tiny[:n])
	return true
}

// finish ends the response of a handler that has returned. It reports whether the
// connection is still the server's, and whether it can go on.
func (c *conn) finish(x *exchange) (hijacked, keep bool) {
	x.mu.Lock()
	if hijacked = x.hijacked; !hijacked {
		keep = x.finishLocked()
	}
	x.mu.Unlock()
	c.cur.Store(nil)
	x.ctx.End(nil)
	if x.req.MultipartForm != nil {
		x.req.MultipartForm.RemoveAll()
	}
	if hijacked {
		return true, false
	}
	c.takeInput(x)
	defer c.in.mu.Unlock()
	keep = x.body.skipLocked(&c.in) && keep
	x.control.Lock()
	defer x.control.Unlock()
	x.done = true
	if x.deadline {
		c.rwc.SetDeadline(time.Time{})
	}
	if keep && x.letGo() {
		c.spare = x
	}
	return false, keep
}

// takeInput takes what the client sends from x's handler, and from watch. It
// returns with in.mu held.
func (c *conn) takeInput(x *exchange) {
	in := &c.in
	if !in.mu.TryLock() {
		// Somebody reads the body, and what is missing may never come.
		c.rwc.SetReadDeadline(time.Unix(1, 0))
		in.mu.Lock()
		c.rwc.SetReadDeadline(time.Time{})
	}
	x.body.closed = true
	done := c.watching
	if done == nil {
		return
	}
	c.watchEnd = true
	in.mu.Unlock()
	select {
	case <-done:
	default:
		c.rwc.SetReadDeadline(time.Unix(1, 0))
		<-done
		c.rwc.SetReadDeadline(time.Time{})
	}
	in.mu.Lock()
	c.watching, c.watchEnd = nil, false
}

// beginWatch has it noticed when the client of a request that has waited for long
// leaves. A body is read first; then nobody else reads.
func (c *conn) beginWatch(st state) {
	x := c.cur.Load()
	if x == nil || !x.body.whole.Load() || !c.in.mu.TryLock() {
		return
	}
	defer c.in.mu.Unlock()
	if x.body.closed || c.in.err != nil ||
		!c.state.CompareAndSwap(uint64(st), uint64(newState(phaseWatched, uint32(st)))) {
		return
	}
	c.in.freeLocked()
	c.watching = make(chan struct{})
	c.s.watches.Add(1)
	go c.watch(x, c.watching) // ends with the connection; takeInput ends it and waits
}

// watch reads ahead, and ends x's context at the end of what the client sends.
func (c *conn) watch(x *exchange, done chan<- struct{}) {
	defer func() { c.s.watches.Add(-1); close(done) }()
	in := &c.in
	for {
		n, err := c.rwc.Read(c.tiny[:])
		in.mu.Lock()
		in.addLocked(c.tiny[:n])
		full := in.w-in.r >= bufferSize
		// A deadline that is not the handler's is takeInput's.
		if late := errors.Is(err, os.ErrDeadlineExceeded) && (c.watchEnd || !x.hasDeadline()); err != nil && !late {
			in.err = err
			x.ctx.End(nil)
		}
		in.mu.Unlock()
		if err != nil || full {
			return
		}
	}
}

// abort is for a handler that has panicked: what it has sent shall not look whole.
func (c *conn) abort() {
	x := c.cur.Load()
	if x == nil {
		return
	}
	x.mu.Lock()
	if !x.hijacked {
		c.out.flush()
	}
	x.over = true
	x.mu.Unlock()
	c.cur.Store(nil)
	x.ctx.End(nil)
	x.control.Lock()
	x.done = true
	x.control.Unlock()
}

// linger waits until the client has the last answer: a close while there is
// something that nobody has read is a reset, whatever the client has said about
// its end.
func (c *conn) linger() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.err == nil && c.out.err == nil {
		c.lingerLocked()
	}
}

// lingerLocked is linger on what the answer was written to, which is below TLS where
// that was not spoken.
func (c *conn) lingerLocked() {
	if half, ok := c.out.conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	c.out.conn.SetReadDeadline(time.Now().Add(lingerTime))
	c.in.buf, c.in.r, c.in.w = nil, 0, 0
	buf := c.s.buffers.get()
	for {
		if _, err := c.out.conn.Read(buf); err != nil {
			break
		}
	}
	c.s.buffers.put(buf)
}

// refuse answers what is no request. It is called with in.mu held.
func (c *conn) refuse(why *refusal) {
	c.enter(phaseBusy)
	h := make(http.Header)
	text := ""
	if c.s.Refuse != nil {
		text = c.s.Refuse(h, why.status, why.detail)
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		text = strconv.Itoa(why.status) + " " + http.StatusText(why.status) + ": " + why.detail + "\n"
	}
	x := &exchange{c: c}
	x.header = h
	b := appendStatus(c.out.room(), why.status)
	b = x.appendFields(b)
	b = appendField(b, "Date", *c.s.date.Load())
	b = appendField(b, "Content-Length", strconv.Itoa(len(text)))
	b = append(b, "Connection: close\r\n\r\n"...)
	c.out.buf = b
	if m := c.parser.method; string(c.in.buf[c.in.r+m.from:c.in.r+m.to]) != http.MethodHead {
		c.out.buf = append(b, text...)
	}
	c.out.flush()
	c.lingerLocked()
}

// close closes the connection if it is the server's.
func (c *conn) close() {
	if c.release(http.StateClosed) {
		c.rwc.Close()
	}
}

// cut ends the connection at once, whoever uses it. Of a tls.Conn, Close may wait
// for its client to take the alert that it sends.
func (c *conn) cut() {
	if tc, ok := c.rwc.(*tls.Conn); ok {
		tc.NetConn().Close()
		return
	}
	c.rwc.Close()
}

// release is for a connection that is not to be the server's any more. It reports
// whether it was.
func (c *conn) release(st http.ConnState) bool {
	if !c.s.remove(c) {
		return false
	}
	if c.unlink != nil {
		c.unlink()
	}
	c.s.note(c.rwc, st)
	return true
}

// leave is called when the connection's context has ended.
func (c *conn) leave() {
	c.left.Store(true)
	if x := c.cur.Load(); x != nil {
		x.ctx.End(context.Cause(c.ctx))
	}
}
