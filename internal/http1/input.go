package http1

import (
	"io"
	"net"
	"sync"
)

// bufferSize is what a connection reads and writes through. Most heads fit, and
// most small answers with theirs.
const bufferSize = 4 << 10

// buffers are given back whenever a connection has nothing in them.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

// put takes back what get returned; what has grown is left to the collector.
func (b *buffers) put(buf []byte) {
	if len(buf) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(buf))
	}
}

// input is what a client sends. Between two requests it belongs to the
// connection's goroutine, which then holds mu in vain.
type input struct {
	// Fixed by newConn.
	conn    net.Conn
	buffers *buffers

	mu sync.Mutex // held across a Read
	// Guarded by mu.
	buf  []byte // nil while nothing is in it
	r, w int    // what has come and was not taken: buf[r:w]
	err  error  // of a Read, which is the last then
}

// fillLocked reads more, behind what is there.
func (in *input) fillLocked() error {
	if in.err != nil {
		return in.err
	}
	in.makeRoomLocked()
	n, err := in.conn.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil // the error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (in *input) makeRoomLocked() {
	switch {
	case in.buf == nil:
		in.buf = in.buffers.get()
	case in.r == in.w:
		in.r, in.w = 0, 0
	case in.w < len(in.buf):
	case in.r > 0:
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	default:
		grown := make([]byte, 2*len(in.buf))
		copy(grown, in.buf)
		in.buffers.put(in.buf)
		in.buf = grown
	}
}

// freeLocked gives the buffer back if nothing is in it.
func (in *input) freeLocked() {
	if in.buf != nil && in.r == in.w {
		in.buffers.put(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
	}
}

// addLocked puts what was read elsewhere behind what is there.
func (in *input) addLocked(p []byte) {
	for len(p) > 0 {
		in.makeRoomLocked()
		n := copy(in.buf[in.w:], p)
		in.w += n
		p = p[n:]
	}
}

// readLocked reads what has come, or waits for more. What is much goes past the
// buffer.
func (in *input) readLocked(p []byte) (int, error) {
	if in.r == in.w {
		if in.err != nil {
			return 0, in.err
		}
		if len(p) >= bufferSize {
			n, err := in.conn.Read(p)
			if n > 0 {
				err = nil // it comes again: TLS tells of the end with the last that was sent
			}
			return n, err
		}
		if err := in.fillLocked(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	return n, nil
}

// lineLocked returns a line of at most max bytes, without its CRLF, of which
// nothing else may stand for the end. It is good until the next read.
func (in *input) lineLocked(max int) ([]byte, error) {
	for seen := 0; ; {
		b := in.buf[in.r:in.w]
		for ; seen < len(b); seen++ {
			if b[seen] == '\n' {
				if seen == 0 || b[seen-1] != '\r' {
					return nil, errChunk
				}
				in.r += seen + 1
				return b[:seen-1], nil
			}
			if seen >= max || seen > 0 && b[seen-1] == '\r' {
				return nil, errChunk
			}
		}
		if err := in.fillLocked(); err != nil {
			return nil, unexpected(err)
		}
	}
}
