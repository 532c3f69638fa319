package spdy

import (
	"io"
	"net/http"
	"time"
)

// accept opens the stream of a request and starts its handler.
func (s *Session) accept(id uint32, pri uint8, fin bool) {
	st := s.newStream()
	st.pri = pri
	st.opened, st.sent = true, true
	st.remoteClosed = fin
	if fin {
		st.buf.end(io.EOF)
	}
	req, bad := s.request(st, fin)
	if bad == nil && s.cfg.FairKey != nil {
		st.fairKey = s.cfg.FairKey(req)
	}
	s.mu.Lock()
	if s.err != nil || s.goAwaySent {
		s.unlock()
		if st.cancel != nil {
			st.cancel()
		}
		return
	}
	s.enterLocked(st, id)
	s.lastGood = id
	if bad != nil {
		s.answerLocked(st, http.StatusBadRequest)
		if !fin {
			s.sendResetLocked(id, Cancel) // the body is not wanted
		}
		s.removeLocked(st, &StreamError{StreamID: id, Status: ProtocolError, Cause: bad})
		s.unlock()
		return
	}
	s.handlers++
	s.unlock()
	select {
	case s.jobs <- st:
	default:
		// Ends when its handler has returned and enough others wait, when none
		// is needed for a while, or with the session. A handler's context ends
		// with its stream. Nobody waits for it, as in net/http.
		go s.runHandlers(st)
	}
}

const (
	// maxWaiting is how many goroutines of a session may wait for a request:
	// the stack of one that has run a handler needs not grow again.
	maxWaiting = 64

	// waitingTime is how long they do without any request.
	waitingTime = time.Second
)

// runHandlers runs the handler of st, and of streams that come after it.
func (s *Session) runHandlers(st *Stream) {
	for st != nil {
		s.runHandler(st, st.req)
		if s.waiting.Add(1) > maxWaiting {
			s.waiting.Add(-1)
			return
		}
		if !s.thinning.Swap(true) {
			s.thinLater()
		}
		st = <-s.jobs // nil: nothing comes any more
		s.waiting.Add(-1)
	}
}

// thinLater has thin called in a while.
func (s *Session) thinLater() {
	s.mu.Lock()
	defer s.unlock()
	if s.jobsClosed {
		return // nobody is going to wait, and stopTimers was here
	}
	s.opened = s.stats.StreamsOpened
	if s.thinWait == nil {
		s.thinWait = time.AfterFunc(waitingTime, s.thin)
	} else {
		s.thinWait.Reset(waitingTime)
	}
}

// thin ends the goroutines that wait for a request, if none came for a while.
func (s *Session) thin() {
	s.thinning.Store(false)
	s.mu.Lock()
	idle := s.opened == s.stats.StreamsOpened && !s.jobsClosed
	for sent := idle; sent; {
		select {
		case s.jobs <- nil:
		default:
			sent = false
		}
	}
	again := s.waiting.Load() > 0 && !s.jobsClosed
	s.unlock()
	if again && !s.thinning.Swap(true) {
		s.thinLater()
	}
}

// endHandlers ends the goroutines that wait for a request, when none can come.
func (s *Session) endHandlers() {
	s.mu.Lock()
	defer s.unlock()
	s.jobsClosed = true
	close(s.jobs)
}
