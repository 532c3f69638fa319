package spdy

import "time"

// A handler's small writes wait for more, or for its end, so long as they are
// fewer bytes and no older than this.
const (
	lazyLimit = 8 << 10
	lazyDelay = time.Millisecond
)

// lazyStreams are those that hold small writes back. Guarded by Session.mu.
type lazyStreams struct {
	streams []*Stream
	timer   *time.Timer
	set     bool // timer will send what they hold
}

// holdLocked lets what the handler wrote wait for more of it. The session's
// one timer sends it before long if nothing else does.
func (st *Stream) holdLocked() {
	s := st.s
	st.send.hold = true
	if st.send.lazy || s.err != nil {
		return
	}
	st.send.lazy = true
	s.lazy.streams = append(s.lazy.streams, st)
	if s.lazy.set {
		return
	}
	s.lazy.set = true
	if s.lazy.timer == nil {
		s.lazy.timer = time.AfterFunc(lazyDelay, s.flushLazy)
	} else {
		s.lazy.timer.Reset(lazyDelay)
	}
}

func (s *Session) flushLazy() {
	s.mu.Lock()
	defer s.unlock()
	s.lazy.set = false
	for i, st := range s.lazy.streams {
		s.lazy.streams[i] = nil
		st.send.lazy = false
		if st.send.hold && st.state != streamClosed {
			st.sendHeldLocked()
		}
	}
	s.lazy.streams = s.lazy.streams[:0]
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
