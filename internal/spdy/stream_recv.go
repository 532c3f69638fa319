package spdy

// readBody reads what came, and gives the window back.
func (st *Stream) readBody(p []byte) (int, error) {
	n, consumed, err := st.recv.buf.read(p)
	if consumed >= int(st.recv.updateAt.Load()) {
		st.s.update(st, st.recv.buf.takeConsumed())
	}
	return n, err
}

// bodyEnded is called when nobody goes on reading the body of a response.
func (st *Stream) bodyEnded() {
	if !st.recv.grew.Load() {
		return
	}
	st.s.mu.Lock()
	defer st.s.unlock()
	st.readNoMoreLocked()
}

// stopReading drops what was not read of a request's body and what still
// comes, giving the window back, so that the peer can finish sending. Later reads
// get err.
func (st *Stream) stopReading(err error) {
	s := st.s
	s.mu.Lock()
	if st.recv.discard || st.recv.fin {
		s.unlock()
		return
	}
	st.recv.discard = true
	s.unlock()
	n := st.recv.buf.abort(err)
	s.update(st, n+st.recv.buf.takeConsumed())
}
