package spdy

// readBody reads what came, and gives the window back.
func (st *Stream) readBody(p []byte) (int, error) {
	if st.recv.shut.Load() {
		st.openWindow()
	}
	n, consumed, err := st.recv.buf.read(p)
	if consumed >= int(st.recv.updateAt.Load()) {
		st.s.update(st, st.recv.buf.takeConsumed())
	}
	return n, err
}

// openWindow tells the peer of the stream's window, which starts at 0 with
// Config.WindowOnRead. recvWindow has had it from the start: a peer that has not seen
// our SETTINGS yet may use the 64 KiB of before, and will lower its window by as much
// (draft 3.1, 2.6.8).
func (st *Stream) openWindow() {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	if !st.recv.shut.Swap(false) || !st.receiving() || st.recv.ending || s.err != nil {
		return
	}
	st.recv.credited = true
	s.queueLocked(item{typ: typeWindowUpdate, st: st, id: st.id, value: uint32(s.cfg.StreamWindow)})
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
	if st.recv.shut.Load() {
		// Nothing may come that could be dropped: what is missing is refused.
		st.recv.refuse = true
		if !st.sending() {
			s.refuseRestLocked(st)
		}
	}
	s.unlock()
	n := st.recv.buf.abort(err)
	s.update(st, n+st.recv.buf.takeConsumed())
}
