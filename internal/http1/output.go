package http1

import "net"

// vectored is a connection that writes several buffers by one system call. The
// server's tests, and who wraps a net.TCPConn, may implement it.
type vectored interface {
	WriteBuffers(*net.Buffers) (int64, error)
}

// tcpBuffers is vectored for what net.Buffers knows itself.
type tcpBuffers struct{ *net.TCPConn }

func (c tcpBuffers) WriteBuffers(b *net.Buffers) (int64, error) { return b.WriteTo(c.TCPConn) }

// output is what is on its way to a client. It belongs to whoever holds the lock
// of the response that is under way, else to the connection's goroutine.
type output struct {
	// Fixed by newConn.
	conn    net.Conn
	vector  vectored // nil: there is none
	buffers *buffers

	buf  []byte // to be written; nil, or of buffers
	err  error  // of a Write; nothing is written after it
	vecs [2][]byte
	list net.Buffers
}

// room returns buf, to be appended to.
func (o *output) room() []byte {
	if o.buf == nil {
		o.buf = o.buffers.get()[:0]
	}
	return o.buf
}

// write takes p, which is the caller's again when it returns.
func (o *output) write(p []byte) {
	b := o.room()
	if len(b)+len(p) <= cap(b) {
		o.buf = append(b, p...)
		return
	}
	if o.vector != nil {
		if o.err == nil {
			o.vecs = [2][]byte{b, p}
			o.list = o.vecs[:]
			_, o.err = o.vector.WriteBuffers(&o.list)
			o.vecs, o.list = [2][]byte{}, nil
		}
		o.empty()
		return
	}
	// The first part goes with what is there: each write may be a record of TLS.
	n := cap(b) - len(b)
	o.buf = append(b, p[:max(n, 0)]...)
	p = p[max(n, 0):]
	o.flush()
	if len(p) >= bufferSize {
		if o.err == nil {
			_, o.err = o.conn.Write(p)
		}
	} else {
		o.buf = append(o.room(), p...)
	}
}

func (o *output) flush() {
	if len(o.buf) > 0 && o.err == nil {
		_, o.err = o.conn.Write(o.buf)
	}
	o.empty()
}

func (o *output) empty() {
	if o.buf != nil {
		o.buffers.put(o.buf[:cap(o.buf)])
		o.buf = nil
	}
}
