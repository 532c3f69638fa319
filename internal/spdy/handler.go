package spdy

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"
)

// accept opens the stream of a request and starts its handler.
func (s *Session) accept(id uint32, pri uint8, fin bool) {
	st := s.newStream()
	st.pri = pri
	st.opened, st.sent = true, true
	if fin {
		st.state, st.recv.whole = halfClosedRemote, true
		st.recv.buf.end(io.EOF)
	}
	req, bad := s.request(st, fin)
	if bad == nil && s.cfg.FairKey != nil {
		st.fairKey = s.cfg.FairKey(req)
	}
	s.mu.Lock()
	if s.err != nil || s.closing.sent {
		s.unlock()
		if st.cancel != nil {
			st.cancel()
		}
		return
	}
	s.enterLocked(st, id)
	s.admission.lastGood = id
	if bad != nil {
		s.answerLocked(st, http.StatusBadRequest)
		if !fin {
			s.sendResetLocked(id, Cancel) // the body is not wanted
		}
		s.removeLocked(st, &StreamError{StreamID: id, Status: ProtocolError, Cause: bad})
		s.unlock()
		return
	}
	s.admission.handlers++
	s.unlock()
	s.workers.start(st)
}

// runHandler runs the handler of one stream and ends the response.
func (s *Session) runHandler(st *Stream) {
	finished := false
	defer func() {
		if finished {
			st.finishHandler()
		} else {
			// A panic ends its stream, not the process; runtime.Goexit too.
			st.abandon(recover())
		}
		// A timer would keep the request in memory until its time.
		st.recv.buf.setDeadline(time.Time{})
		st.boundRest()
	}()
	s.handler.ServeHTTP(st, st.req)
	finished = true
}

// finishHandler ends the response, and stops the reading of a request's body
// that is still coming.
func (st *Stream) finishHandler() {
	s, rw := st.s, st.rw
	if rw.status == 0 && !st.failed() {
		st.WriteHeader(http.StatusOK)
	}
	if rw.reply != nil {
		st.holdReply()
	}
	trailers := rw.trailers()
	short := rw.length >= 0 && rw.written < rw.length && rw.bodyAllowed(st)
	if short && !st.failed() {
		// What was announced will never come: the peer must see that.
		s.abortHandler(st, InternalError, fmt.Errorf("%w: the handler announced %d bytes and wrote %d", ErrBodyLength, rw.length, rw.written))
		freePairs(trailers)
		return
	}
	s.mu.Lock()
	late := st.send.late || st.send.deadline.passed()
	s.unlock()
	if late {
		// What failed to be written is missing, and nothing else would show it.
		s.abortHandler(st, InternalError, os.ErrDeadlineExceeded)
		freePairs(trailers)
		return
	}
	if trailers != nil {
		if err := s.checkBlock(trailers); err != nil {
			s.abortHandler(st, FrameTooLarge, err)
			freePairs(trailers)
			return
		}
	}
	s.mu.Lock()
	s.handlerEndedLocked(st)
	if st.send.reply != nil && rw.length < 0 && trailers == nil && rw.bodyAllowed(st) && !st.duplexed() {
		st.send.reply.add("content-length", strconv.Itoa(st.send.list.size))
	}
	st.finishLocked(trailers)
	lingers := st.state != streamClosed
	s.unlock()
	if lingers {
		st.stopReading()
	}
	st.cancel()
}

// boundRest has the write deadline go on for what the handler has left in the
// stream's buffer: a peer that gives no window would have it there for ever.
func (st *Stream) boundRest() {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	at := st.send.deadline.at
	if !st.sending() || at.IsZero() {
		st.send.deadline.stop()
		return
	}
	st.send.deadline.stop()
	st.send.deadline.timer = time.AfterFunc(time.Until(at), func() {
		s.mu.Lock()
		defer s.unlock()
		if st.sending() {
			s.resetLocked(st, InternalError, os.ErrDeadlineExceeded)
		}
	})
}

// handlerEndedLocked is called once for each handler.
func (s *Session) handlerEndedLocked(st *Stream) {
	s.admission.handlers--
	st.recv.done = true
	s.ungrowLocked(st)
}

func (st *Stream) failed() bool {
	st.s.mu.Lock()
	defer st.s.unlock()
	return st.state == streamClosed
}

// duplexed: after a 101 both directions are raw bytes.
func (st *Stream) duplexed() bool { return st.rw.status == http.StatusSwitchingProtocols }

// abortHandler resets the stream of a handler that will not finish its response.
func (s *Session) abortHandler(st *Stream, status Status, cause error) {
	s.mu.Lock()
	s.handlerEndedLocked(st)
	s.unlock()
	s.reset(st, status, cause)
	st.cancel()
}

// abandon ends the stream of a handler that panicked.
func (st *Stream) abandon(cause any) {
	s := st.s
	if cause != nil && cause != http.ErrAbortHandler {
		stack := make([]byte, 64<<10)
		stack = stack[:runtime.Stack(stack, false)]
		s.cfg.Logger.Error("handler panicked", "peer", s.remoteAddr, "panic", fmt.Sprint(cause), "stack", string(stack))
		if l := s.server.ErrorLog; l != nil {
			l.Printf("spdy: panic serving %v: %v\n%s", s.conn.RemoteAddr(), cause, stack)
		}
	}
	s.mu.Lock()
	if st.state == streamClosed || st.replied || cause == http.ErrAbortHandler {
		s.unlock()
		s.abortHandler(st, InternalError, fmt.Errorf("handler panicked: %v", cause))
		return
	}
	s.handlerEndedLocked(st)
	// Nothing went out yet: what was held back is forgotten.
	s.answerLocked(st, http.StatusInternalServerError)
	if st.receiving() {
		s.sendResetLocked(st.id, Cancel)
	}
	s.removeLocked(st, &StreamError{StreamID: st.id, Status: InternalError, Cause: fmt.Errorf("handler panicked: %v", cause)})
	s.unlock()
}

// answerLocked sends a response without a body, for a request that no handler
// gets or whose handler is not to answer it. The caller ends the stream.
func (s *Session) answerLocked(st *Stream, code int) {
	p := newPairs()
	p.add(nameStatus, statusLine(code))
	p.add(nameVersion, "HTTP/1.1")
	p.add("content-length", "0")
	p.add("date", s.dateLocked())
	st.replied, st.send.fin = true, true
	s.queueLocked(item{typ: typeSynReply, flags: flagFin, id: st.id, block: p})
}

// dateLocked returns the Date of now.
func (s *Session) dateLocked() string {
	now := time.Now()
	if sec := now.Unix(); sec != s.dateSec || s.date == "" {
		s.dateSec = sec
		s.date = now.UTC().Format(http.TimeFormat)
	}
	return s.date
}
