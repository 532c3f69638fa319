package spdy

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"time"
)

// accept opens the stream of a request and starts its handler.
func (s *Session) accept(id uint32, pri uint8, fin bool) {
	in := new(incoming)
	st := &in.Stream
	st.init(s)
	st.pri = pri
	st.opened, st.sent = true, true
	if fin {
		st.state, st.recv.fin = halfClosedRemote, true
		st.recv.buf.end(io.EOF)
	}
	req, bad := s.request(in, fin)
	if bad == nil && s.cfg.FairKey != nil {
		st.fairKey = s.cfg.FairKey(req)
	}
	s.mu.Lock()
	if s.err != nil || s.closing.sent {
		s.unlock()
		if st.ctx != nil {
			st.ctx.end()
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
		var cause any
		if !finished {
			// A panic ends its stream, not the process; runtime.Goexit too.
			cause = recover()
		}
		hijacked := finished && st.rw.hijacked // then the stream goes on
		s.handlerEnded(st, hijacked)
		switch {
		case !finished:
			st.abandon(cause)
		case !hijacked && st.rw.finish():
			st.stopReading(http.ErrBodyReadAfterClose)
		}
		st.ctx.end()
		if !hijacked {
			// A timer would keep the request in memory until its time.
			st.recv.buf.setDeadline(time.Time{})
			st.boundRequest()
			st.boundRest()
		}
	}()
	w := http.ResponseWriter(st.rw)
	if s.compat {
		w = st // handlers of 2015 know it as that
	}
	s.handler.ServeHTTP(w, st.req)
	finished = true
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

// handlerEnded is called once for each handler, before its response ends: with that
// the peer may open another stream.
func (s *Session) handlerEnded(st *Stream, hijacked bool) {
	s.mu.Lock()
	defer s.unlock()
	s.admission.handlers--
	if !hijacked {
		st.readNoMoreLocked()
	}
}

func (st *Stream) failed() bool {
	st.s.mu.Lock()
	defer st.s.unlock()
	return st.state == streamClosed
}

// abandon ends the stream of a handler that panicked.
func (st *Stream) abandon(cause any) {
	s := st.s
	if cause != nil && cause != http.ErrAbortHandler {
		stack := make([]byte, 64<<10)
		stack = stack[:runtime.Stack(stack, false)]
		if log := s.cfg.Logger; log.Enabled(s.baseCtx, slog.LevelError) {
			log.Error("handler panicked", "peer", s.remoteAddr, "panic", fmt.Sprint(cause), "stack", string(stack))
		} else if l := s.server.ErrorLog; l != nil {
			l.Printf("spdy: panic serving %v: %v\n%s", s.conn.RemoteAddr(), cause, stack)
		}
	}
	err := fmt.Errorf("handler panicked: %v", cause)
	s.mu.Lock()
	defer s.unlock()
	if st.replied || st.rw.hijacked || cause == http.ErrAbortHandler {
		s.resetLocked(st, InternalError, err)
	}
	if st.state == streamClosed {
		return
	}
	// Nothing went out yet: what was held back is forgotten.
	s.answerLocked(st, http.StatusInternalServerError)
	if st.receiving() {
		s.sendResetLocked(st.id, Cancel)
	}
	s.removeLocked(st, &StreamError{StreamID: st.id, Status: InternalError, Cause: err})
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
