package spdy

// holdMost is how many bytes of a handler's small writes wait for more of them, for
// Flush, or for its end, as in net/http.
const holdMost = 8 << 10

// sendHeld sends what was held back.
func (st *Stream) sendHeld() error {
	st.s.mu.Lock()
	defer st.s.unlock()
	if st.err != nil {
		return st.err
	}
	st.sendHeldLocked()
	return nil
}

// sendHeldLocked sends what was held back.
func (st *Stream) sendHeldLocked() {
	st.send.hold = false
	if st.send.reply != nil {
		st.queueReplyLocked()
	}
	st.readyLocked()
}

// queueReplyLocked queues the SYN_REPLY, with FIN if nothing follows it.
func (st *Stream) queueReplyLocked() {
	if st.state == streamClosed || st.replied {
		freePairs(st.send.reply)
		st.send.reply = nil
		return
	}
	it := item{typ: typeSynReply, st: st, id: st.id, block: st.send.reply}
	st.send.reply = nil
	st.replied = true
	last := st.send.fin && st.send.list.size == 0 && st.send.trailers == nil
	if last {
		it.flags = flagFin
	}
	st.s.queueLocked(it)
	if last {
		st.s.closeLocalLocked(st)
	}
}
