package spdy

import (
	"io"
	"net/http"
)

// readBody reads what came, and gives the window back.
func (st *Stream) readBody(p []byte) (int, error) {
	n, consumed, err := st.recv.buf.read(p)
	if consumed >= int(st.recv.giveAt.Load()) {
		st.s.give(st, st.recv.buf.takeConsumed())
	}
	return n, err
}

// writeBodyTo is readBody without a copy.
func (st *Stream) writeBodyTo(w io.Writer) (n int64, err error) {
	for {
		p, err := st.recv.buf.peek()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
		m, err := w.Write(p)
		if m < 0 || m > len(p) {
			m, err = 0, errInvalidWrite
		}
		n += int64(m)
		// The writer of an HTTP/2 response may still read what a Write that failed
		// was given: used again, it could carry one visitor's bytes to another.
		if consumed := st.recv.buf.consume(m, err != nil); consumed >= int(st.recv.giveAt.Load()) {
			st.s.give(st, st.recv.buf.takeConsumed())
		}
		if err == nil && m < len(p) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
}

// bodyEnded is called when nobody goes on reading the body of a response.
func (st *Stream) bodyEnded() {
	if !st.recv.grew.Load() {
		return
	}
	st.s.mu.Lock()
	defer st.s.unlock()
	st.recv.done = true
	st.s.ungrowLocked(st)
}

// stopReading drops what was not read of a request's body and what still
// comes, giving the window back, so that the peer can finish sending.
func (st *Stream) stopReading() {
	s := st.s
	s.mu.Lock()
	if st.recv.discard || st.recv.whole {
		s.unlock()
		return
	}
	st.recv.discard = true
	s.unlock()
	n := st.recv.buf.abort(http.ErrBodyReadAfterClose)
	s.give(st, n+st.recv.buf.takeConsumed())
}
