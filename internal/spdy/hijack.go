package spdy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// maxHijackedHead is how many bytes the head of a response may have that is written to
// a hijacked connection.
const maxHijackedHead = 64 << 10

var (
	errNoUpgrade  = fmt.Errorf("spdy: Hijack of a request that asks for no other protocol: %w", http.ErrNotSupported)
	errBegun      = errors.New("spdy: Hijack after the response has begun")
	errNoResponse = errors.New("the hijacked connection was closed before a response was written to it")
)

// Hijack makes a connection of the stream of a request with an Upgrade header, for the
// protocol that the header names. The caller is to close it, and may go on with it
// when the handler has returned; the stream is open so long, and counts.
//
// The connection is what code for HTTP/1.1 expects: a response is written to it, of
// which status and headers become the SYN_REPLY, and what follows is sent as it is;
// unless WriteHeader was called with 101 before, then all is. Deadlines that were set
// are cleared. CloseWrite ends this side's direction. Close does so too, and drops what
// still comes until the peer ends its own, as the end of a handler does: to reset the
// stream could cost the peer what was written last. Too much that comes is refused.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	switch {
	case w.hijacked:
		return nil, nil, http.ErrHijacked
	case !w.st.duplex:
		return nil, nil, errNoUpgrade
	case w.status != 0 && !w.switched():
		return nil, nil, errBegun
	}
	w.hijacked = true
	c := &hijackedConn{w: w, st: w.st, begun: w.switched()}
	c.SetDeadline(time.Time{})
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
}

// hijackedConn is the stream of a hijacked request. Its methods may be called at once.
type hijackedConn struct {
	st *Stream

	mu sync.Mutex
	// Guarded by mu, which is not held while a write waits.
	w      *responseWriter
	head   []byte // of the response, so far
	begun  bool   // the head was written
	err    error  // what was written for it is none
	closed bool
}

func (c *hijackedConn) Read(p []byte) (int, error) { return c.st.readBody(p) }

// Write sends p, or takes it for the response's head so long as that is not whole. It
// waits for window and for room in the stream's buffer.
func (c *hijackedConn) Write(p []byte) (int, error) {
	body, most, err := c.takeHead(p)
	n := len(p) - len(body)
	if err == nil && len(body) > 0 {
		var m int
		m, err = c.st.writeAll(body[:most], false)
		n += m
		if err == nil && most < len(body) {
			err = http.ErrContentLength
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded // a net.Error, as that of any connection
	}
	return n, err
}

// takeHead takes from p what belongs to the response's head. It returns what does not,
// and how many bytes of that may be sent.
func (c *hijackedConn) takeHead(p []byte) (body []byte, most int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return p, 0, net.ErrClosed
	}
	for !c.begun {
		if c.err != nil {
			return p, 0, c.err
		}
		had := len(c.head)
		c.head = append(c.head, p[:min(len(p), maxHijackedHead+1-had)]...)
		end := headEnd(c.head)
		if end == 0 && len(c.head) <= maxHijackedHead {
			return nil, 0, nil
		}
		if err := c.begin(c.head[:end]); err != nil {
			c.err = &StreamError{StreamID: c.st.id, Status: InternalError, Cause: err}
			c.st.s.reset(c.st, InternalError, err)
			return p, 0, c.err
		}
		p = p[end-had:]
		c.head = nil
		if c.begun {
			if err := c.st.sendHeld(); err != nil {
				return p, 0, err
			}
		}
	}
	if c.w.switched() || len(p) == 0 {
		return p, len(p), nil
	}
	most, err = c.w.startBody(p)
	if err == nil && !c.w.bodyAllowed() {
		return nil, 0, nil // HEAD
	}
	return p, most, err
}

// begin sends the SYN_REPLY for a head, empty if it is too long.
func (c *hijackedConn) begin(head []byte) error {
	if len(head) == 0 {
		return fmt.Errorf("%w: of more than %d bytes was written to a hijacked connection", ErrHeaderTooLarge, maxHijackedHead)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	switch {
	case err != nil:
		return malformed("what was written to a hijacked connection is no response: %v", err)
	case resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil // it has no form in SPDY, and another response follows
	case len(resp.TransferEncoding) > 0:
		return malformed("Transfer-Encoding %q was written to a hijacked connection", resp.TransferEncoding)
	}
	c.begun = true
	c.w.begin(resp.StatusCode, resp.Header)
	if c.w.reply != nil {
		c.w.holdReply()
	}
	return nil
}

// headEnd returns how many bytes of b the head of a message has, 0 if its end is not
// among them.
func headEnd(b []byte) int {
	for at := 0; ; {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return 0
		}
		line := bytes.TrimSuffix(b[at:at+n], []byte("\r"))
		at += n + 1
		if len(line) == 0 {
			return at
		}
	}
}

// CloseWrite ends this side's direction; the other goes on.
func (c *hijackedConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case !c.begun:
		return errNoResponse
	}
	c.w.finish()
	return nil
}

// Close ends both directions, without a wait. What was written still goes out.
func (c *hijackedConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	st, s := c.st, c.st.s
	if c.begun {
		c.w.finish()
	} else {
		s.reset(st, InternalError, errNoResponse)
	}
	st.stopReading(net.ErrClosed)
	st.recv.buf.abort(net.ErrClosed)
	st.recv.buf.setDeadline(time.Time{})
	st.setWriteDeadline(time.Now().Add(duplexRest))
	s.mu.Lock()
	st.readNoMoreLocked()
	s.lingerLocked(st, duplexRest)
	s.unlock()
	st.boundRest()
	return nil
}

// duplexRest is how long, after the handler or Close has ended this side of another
// protocol, what was written may wait for a window, and the peer's end of it may take.
const duplexRest = time.Minute

func (c *hijackedConn) LocalAddr() net.Addr  { return c.st.s.LocalAddr() }
func (c *hijackedConn) RemoteAddr() net.Addr { return c.st.s.RemoteAddr() }

func (c *hijackedConn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *hijackedConn) SetReadDeadline(t time.Time) error {
	c.st.recv.buf.setDeadline(t)
	return nil
}

// SetWriteDeadline bounds the writes that wait. The response is broken off when one
// has failed so: what it was to send is missing.
func (c *hijackedConn) SetWriteDeadline(t time.Time) error {
	c.st.setWriteDeadline(t)
	return nil
}

var _ interface {
	net.Conn
	io.ReadWriteCloser
	CloseWrite() error
} = (*hijackedConn)(nil)
