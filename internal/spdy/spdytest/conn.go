package spdytest

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// PipeConfig says what a Pipe is like. The zero value is a connection without
// delay whose writes never block.
type PipeConfig struct {
	// Buffer is how many bytes each direction holds before Write blocks, as a
	// socket's buffers would. Zero means no bound.
	Buffer int
	// Delay is how long each byte is under way, one way: half the round trip.
	Delay time.Duration
}

// Pipe returns the two ends of an in-memory connection that behaves like TCP:
// each direction is buffered and closed by itself, and closing an end that has
// unread input resets the other. All waiting is on a sync.Cond or a timer, so a
// testing/synctest bubble sees it as durably blocked.
func Pipe(c PipeConfig) (a, b *Conn) {
	ab, ba := newStream(c), newStream(c)
	both := [2]*stream{ab, ba}
	a = &Conn{name: "a", in: ba, out: ab, both: both}
	b = &Conn{name: "b", in: ab, out: ba, both: both}
	return a, b
}

// Conn is one end of a Pipe. All methods may be called at once.
type Conn struct {
	name    string
	in, out *stream
	both    [2]*stream // in and out, in the same order at both ends: that of their locks
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.opError("write", err)
}

// Close implements net.Conn. What this end has written is still delivered,
// unless input was left unread: then the other end is reset, and loses what it
// has not read, as TCP does it.
func (c *Conn) Close() error {
	if c.in.closeRead() {
		c.out.reset()
	}
	c.out.closeWrite()
	return nil
}

// CloseWrite ends this direction: the other end reads io.EOF.
func (c *Conn) CloseWrite() error {
	c.out.closeWrite()
	return nil
}

// Reset breaks the connection at once for both ends, as a lost peer does whose
// TCP comes back: what was under way is lost, and nothing that is said because of it
// arrives.
func (c *Conn) Reset() {
	for _, s := range c.both {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	c.in.resetLocked()
	c.out.resetLocked()
}

// Freeze makes this end's Read block, whatever there is to read, until
// Freeze(false). The other end sees a peer that stopped reading.
func (c *Conn) Freeze(on bool) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.frozen = on
	c.in.cond.Broadcast()
}

// SetReadMax bounds what one Read of this end returns; 1 is a stream that comes
// byte by byte. Zero means no bound.
func (c *Conn) SetReadMax(n int) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.readMax = n
}

// Unread returns how many bytes wait to be read by this end, those still under
// way included.
func (c *Conn) Unread() int {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.size
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return addr(c.name) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr {
	if c.name == "a" {
		return addr("b")
	}
	return addr("a")
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

func (c *Conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "pipe", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

type addr string

func (a addr) Network() string { return "pipe" }
func (a addr) String() string  { return fmt.Sprintf("pipe-%s", string(a)) }

// stream is one direction of a Pipe.
type stream struct {
	// Fixed when it is made.
	limit int
	delay time.Duration

	mu   sync.Mutex
	cond *sync.Cond // anything below has changed, or a time has come

	// Guarded by mu.
	chunks      []chunk
	size        int       // bytes in chunks
	ended       bool      // the writer is done: io.EOF after the chunks
	endAt       time.Time // when that arrives
	readClosed  bool      // the reader is gone: writes fail
	wasReset    bool
	frozen      bool
	readMax     int
	readBy      deadline
	writeBy     deadline
	writeClosed bool // by this writer: its writes fail with net.ErrClosed
}

type chunk struct {
	data []byte
	at   time.Time // when it arrives
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newStream(c PipeConfig) *stream {
	s := &stream{limit: c.Buffer, delay: c.Delay}
	s.cond = sync.NewCond(&s.mu)
	return s
}

// wake broadcasts under the lock, so that no waiter misses it between its check
// and its Wait.
func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
}

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), s.wake)
	}
	s.cond.Broadcast()
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readClosed:
			return 0, net.ErrClosed
		case s.wasReset:
			return 0, syscall.ECONNRESET
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		if !s.frozen {
			if n := s.take(p); n > 0 {
				s.cond.Broadcast()
				return n, nil
			}
			if s.ended && len(s.chunks) == 0 && !time.Now().Before(s.endAt) {
				return 0, io.EOF
			}
		}
		s.cond.Wait()
	}
}

// take moves what has arrived into p. The caller holds mu.
func (s *stream) take(p []byte) (n int) {
	if s.readMax > 0 && len(p) > s.readMax {
		p = p[:s.readMax]
	}
	var now time.Time
	if s.delay > 0 {
		now = time.Now()
	}
	for len(s.chunks) > 0 && n < len(p) {
		c := &s.chunks[0]
		if s.delay > 0 && now.Before(c.at) {
			break
		}
		m := copy(p[n:], c.data)
		n += m
		s.size -= m
		if c.data = c.data[m:]; len(c.data) == 0 {
			s.chunks[0] = chunk{}
			s.chunks = s.chunks[1:]
		}
	}
	return n
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writeClosed:
			return n, net.ErrClosed
		case s.wasReset:
			return n, syscall.ECONNRESET
		case s.readClosed:
			return n, syscall.EPIPE
		case s.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case n == len(p):
			return n, nil
		}
		room := len(p) - n
		if s.limit > 0 {
			room = min(room, s.limit-s.size)
		}
		if room > 0 {
			s.put(p[n : n+room])
			n += room
			s.cond.Broadcast()
			continue
		}
		s.cond.Wait()
	}
}

// put appends a copy of p. The caller holds mu.
func (s *stream) put(p []byte) {
	s.chunks = append(s.chunks, chunk{data: append([]byte(nil), p...), at: s.arrival()})
	s.size += len(p)
}

// arrival returns when what is written now arrives, and sees to it that a
// reader is woken then. The caller holds mu.
func (s *stream) arrival() time.Time {
	if s.delay <= 0 {
		return time.Time{}
	}
	time.AfterFunc(s.delay, s.wake)
	return time.Now().Add(s.delay)
}

func (s *stream) closeWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeClosed = true
	if !s.ended {
		s.ended, s.endAt = true, s.arrival()
	}
	s.cond.Broadcast()
}

// closeRead reports whether input was left unread.
func (s *stream) closeRead() (unread bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unread = s.size > 0 && !s.readClosed
	s.readClosed = true
	s.chunks, s.size = nil, 0
	s.cond.Broadcast()
	return unread
}

func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resetLocked()
}

func (s *stream) resetLocked() {
	s.wasReset = true
	s.chunks, s.size = nil, 0
	s.cond.Broadcast()
}
