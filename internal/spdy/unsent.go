package spdy

// WaitSent waits until what a handler has written is not held up by the peer's
// windows any more: it has gone out, or is about to. A handler that returns
// before that leaves up to 128 KiB with its stream for as long as the peer likes.
// Where the windows are wide enough it returns at once, and sends nothing that
// would not go out by itself.
//
// An error says that the stream has ended, or that SetWriteDeadline's time came.
func (st *Stream) WaitSent() error {
	st.s.mu.Lock()
	defer st.s.unlock()
	if st.heldUpLocked() {
		st.sendHeldLocked()
	}
	for st.heldUpLocked() && st.writeErrorLocked() == nil {
		st.waiting++
		st.cond.Wait()
		st.waiting--
	}
	return st.writeErrorLocked()
}

// heldUpLocked reports whether the windows do not let out what waits to be sent.
func (st *Stream) heldUpLocked() bool {
	s := st.s
	return st.send.size > 0 && (int64(st.sendWin) < int64(st.send.size) || s.sessionWindows() && int64(s.sendWin) < int64(s.unsent))
}
