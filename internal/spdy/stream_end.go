package spdy

import (
	"errors"
	"net/http"
	"time"
)

// removeLocked takes st out of the session. err is nil if both sides ended it;
// otherwise unlock tells whoever reads its body, and its handler.
func (s *Session) removeLocked(st *Stream, err error) {
	if st.state == streamClosed {
		return
	}
	st.state = streamClosed
	if st.err == nil {
		st.err = err
	}
	delete(s.streams, st.id)
	if st.err != nil {
		s.queue.drop(st.id)
		s.failed = append(s.failed, st)
	}
	s.dropUnsentLocked(st)
	freePairs(st.send.reply)
	freePairs(st.send.trailers)
	st.send.reply, st.send.trailers = nil, nil
	s.ungrowLocked(st)
	st.send.deadline.stop()
	s.unlingerLocked(st)
	st.watch.end()
	st.cond.Broadcast()
	s.admitLocked()
	if s.drainedLocked() {
		s.wakeLocked()
	}
}

// dropUnsentLocked forgets the DATA of st that waits to be sent.
func (s *Session) dropUnsentLocked(st *Stream) {
	s.send.sched.remove(st)
	s.send.buffered -= st.send.list.size
	st.send.list.drop()
}

// unlock unlocks mu, and does then what removeLocked has left to be done without
// it. Who holds mu calls it, and not mu.Unlock.
func (s *Session) unlock() {
	failed := s.failed
	s.failed = nil
	s.mu.Unlock()
	for _, st := range failed {
		st.notifyEnd()
	}
}

// notifyEnd wakes whoever reads the body of a stream that failed, and tells its
// handler. What came before can still be read, unless it was this side that gave
// the stream up.
func (st *Stream) notifyEnd() {
	st.s.mu.Lock()
	err, whole := st.err, st.recv.fin
	st.s.unlock()
	if !whole {
		if se, ok := errors.AsType[*StreamError](err); ok && !se.Remote {
			st.recv.buf.abort(err)
		} else {
			st.recv.buf.end(err)
		}
	}
	if st.ctx != nil {
		st.ctx.end()
	}
}

// closeLocalLocked notes that our FIN is queued behind all that was sent.
func (s *Session) closeLocalLocked(st *Stream) {
	st.send.deadline.stop()
	switch st.state {
	case halfClosedRemote:
		s.removeLocked(st, nil)
	case streamOpen:
		st.state = halfClosedLocal
		if st.recv.refuse {
			s.refuseRestLocked(st)
		}
	}
}

// closeRemoteLocked notes the peer's FIN.
func (s *Session) closeRemoteLocked(st *Stream) {
	st.recv.fin = true
	s.unlingerLocked(st)
	switch st.state {
	case halfClosedLocal:
		s.removeLocked(st, nil)
	case streamOpen:
		st.state = halfClosedRemote
	}
}

// refuseRestLocked ends a stream whose response is out, and whose request has
// more of a body than is going to be dropped. The response stays whole: to the
// stream nothing has happened.
func (s *Session) refuseRestLocked(st *Stream) {
	if st.state != streamClosed {
		s.sendResetLocked(st.id, Cancel)
		s.removeLocked(st, nil)
	}
}

// A request whose handler has ended may still be coming. Its peer has lingerTime to
// end it, as it may have much under way and is to see the response. Meanwhile the
// request is kept in memory, and after the handler nobody else counts it: so there are
// few such requests, and small ones.
const (
	lingerTime    = 10 * time.Second
	maxLingering  = 16
	lingeringHead = 16 << 10 // bytes, as in headSize
)

// boundRequest is called when nobody reads the request any more.
func (st *Stream) boundRequest() {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	switch {
	case !st.receiving():
	case s.lingering >= maxLingering || headSize(st.req) > lingeringHead:
		s.refuseRequestLocked(st)
	case st.duplex:
		s.lingerLocked(st, duplexRest)
	default:
		s.lingerLocked(st, lingerTime)
	}
}

// lingerLocked gives the peer so long to end its half of a stream.
func (s *Session) lingerLocked(st *Stream, d time.Duration) {
	if !st.receiving() || st.recv.rest != nil {
		return
	}
	if s.closing.sent {
		d = closeTimeout
	}
	s.lingering++
	st.recv.rest = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.unlock()
		s.refuseRequestLocked(st)
	})
}

// refuseRequestLocked ends the peer's half of a stream: now, or with ours.
func (s *Session) refuseRequestLocked(st *Stream) {
	if !st.receiving() {
		return
	}
	st.recv.refuse = true
	if !st.sending() {
		s.refuseRestLocked(st)
	}
}

// unlingerLocked ends what lingerLocked began.
func (s *Session) unlingerLocked(st *Stream) {
	if st.recv.rest == nil {
		return
	}
	st.recv.rest.Stop()
	st.recv.rest = nil
	s.lingering--
}

// hurryLocked has all requests that linger end soon: the session waits for nothing else.
func (s *Session) hurryLocked() {
	if s.lingering == 0 {
		return
	}
	for _, st := range s.streams {
		if st.recv.rest != nil {
			st.recv.rest.Reset(closeTimeout)
		}
	}
}

// headSize is how many bytes a request's fields have.
func headSize(req *http.Request) int {
	n := len(req.RequestURI) + len(req.Host)
	for name, values := range req.Header {
		n += len(name)
		for _, v := range values {
			n += len(v)
		}
	}
	return n
}
