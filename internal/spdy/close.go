package spdy

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// closeTimeout bounds each step of closing: writing the last frames, and
// reading on until the peer's EOF. A connection that is closed with unread
// input is reset by TCP, and the GOAWAY on it would be lost.
const closeTimeout = time.Second

// partTimeout is closeTimeout for the graceful end of a server session: the last
// response may still be on a slow line, and a peer that is told of the end by
// GOAWAY closes by itself. A client has all that it waits for.
const partTimeout = 10 * time.Second

var (
	errNoMoreIDs  = fmt.Errorf("%w: its stream ids are used up", ErrGoingAway)
	errEOF        = fmt.Errorf("%w: the peer closed it", ErrLost)
	errFinished   = errors.New("this side of the stream has ended")
	errPeerStatus = errors.New("the peer sent GOAWAY with an error status")
)

// closing is how far the end of a session has come. Guarded by Session.mu, the
// atomic ones aside.
type closing struct {
	sent       bool // a GOAWAY
	got        bool // a GOAWAY
	gotLast    uint32
	gotStatus  GoAwayStatus
	tell       []func()      // see AfterGoingAway
	lastResort *time.Timer   // closes the connection
	writeErr   *SessionError // why nothing is sent any more, though the session goes on: see endSending

	ended atomic.Bool  // err is set: what still comes is read and dropped
	limit atomic.Int64 // how long one write may take, a time.Duration; 0: Config.WriteTimeout
}

// Close ends the session at once: every open stream fails, a GOAWAY goes out,
// and the connection is closed. It returns when that is done, within some 2 s,
// and may be called more than once.
func (s *Session) Close() {
	s.mu.Lock()
	served := s.served
	s.served = true
	s.unlock()
	if !s.end(&SessionError{Cause: ErrClosed}) {
		select {
		case <-s.done:
			return
		default:
			s.limitEnd(closeTimeout) // it may be waiting for longer
		}
	}
	if !served {
		s.serve() // to say goodbye, as at any other time
	}
	<-s.done
}

// Shutdown ends the session gracefully (draft 3.1, 2.6.6): a GOAWAY goes out,
// no new stream is taken or opened, open ones go on to their end, then the
// connection is closed. When ctx ends before that it does what Close does and
// returns the context's error.
func (s *Session) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.served {
		s.unlock()
		s.Close()
		return nil
	}
	s.goAwayLocked()
	s.unlock()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.Close()
		return context.Cause(ctx)
	}
}

// goAwayLocked sends the GOAWAY of a graceful end, once.
func (s *Session) goAwayLocked() {
	if s.closing.sent || s.err != nil {
		return
	}
	s.closing.sent = true
	s.queueLocked(item{typ: typeGoAway, value: s.admission.lastGood, value2: uint32(GoAwayOK)})
	s.hurryLocked()
	s.goingLocked()
}

// goingLocked closes GoingAway and fails the waiters.
func (s *Session) goingLocked() {
	select {
	case <-s.going:
	default:
		close(s.going)
		for _, f := range s.closing.tell {
			go f() // ends when it likes, as with context.AfterFunc
		}
		s.closing.tell = nil
	}
	for _, w := range s.admission.waiters {
		close(w.ready)
	}
	s.admission.waiters = nil
}

// drainedLocked reports whether a session that is going away has no stream left;
// the writer then ends it.
func (s *Session) drainedLocked() bool {
	return s.err == nil && (s.closing.sent || s.closing.got) && len(s.streams) == 0 && s.admission.reserved == 0
}

// drainedErrorLocked is the end of such a session.
func (s *Session) drainedErrorLocked() *SessionError {
	switch {
	case s.usedUpLocked():
		return &SessionError{Status: s.closing.gotStatus, Cause: errNoMoreIDs}
	case s.closing.got && s.closing.gotStatus != GoAwayOK:
		return &SessionError{Status: s.closing.gotStatus, Remote: true, Cause: errPeerStatus}
	}
	return &SessionError{Status: s.closing.gotStatus, Remote: s.closing.got, Cause: ErrGoingAway}
}

// endSending ends all that a client session sends, for a write that failed with err.
// What the peer has answered may be here, and be whole: a connection that was reset
// still gives what it had received. So the reader goes on to its end, for closeTimeout
// at most, and only then the streams fail that are not whole. Those of which nothing
// was sent fail now.
func (s *Session) endSending(err *SessionError) {
	s.mu.Lock()
	if s.err != nil {
		s.unlock()
		return
	}
	s.closing.writeErr = err
	for _, st := range s.streams {
		if !st.sent {
			e := *err
			e.NotProcessed, e.StreamID = true, st.id
			s.removeLocked(st, &e)
		}
	}
	s.goingLocked()
	s.unlock()
	s.limitEnd(closeTimeout)
}

// sendsNothingLocked returns why nothing more is sent, nil if something may be.
func (s *Session) sendsNothingLocked() *SessionError {
	if s.err != nil {
		return s.err
	}
	return s.closing.writeErr
}

// announcedLocked returns what the peer's GOAWAY makes of a lost connection, nil if
// that ends before it was to end.
func (s *Session) announcedLocked() *SessionError {
	switch {
	case s.closing.gotStatus != GoAwayOK:
		return &SessionError{Status: s.closing.gotStatus, Remote: true, Cause: errPeerStatus}
	case s.closing.got && len(s.streams) == 0:
		return &SessionError{Remote: true, Cause: ErrGoingAway}
	}
	return nil
}

// end makes err the end of the session; the first one counts, which may have been a
// write's. Every stream fails, the writer sends what is queued and a GOAWAY, the reader
// reads on until the peer's EOF or for a time. It reports whether it was the first.
func (s *Session) end(err *SessionError) bool {
	s.mu.Lock()
	if s.err != nil {
		s.unlock()
		return false
	}
	if s.closing.writeErr != nil {
		err = s.closing.writeErr
	}
	if errors.Is(err.Cause, ErrLost) {
		if told := s.announcedLocked(); told != nil {
			err = told
		}
	}
	s.err = err
	for _, st := range s.streams {
		e := *err
		e.NotProcessed, e.StreamID = !st.sent && s.server == nil, st.id
		s.removeLocked(st, &e)
	}
	status := err.Status
	if err.Remote || errors.Is(err.Cause, ErrLost) {
		status = GoAwayOK // the fault is not ours to name
	}
	if !s.closing.sent || status != GoAwayOK {
		s.closing.sent = true
		s.queue.push(item{typ: typeGoAway, value: s.admission.lastGood, value2: uint32(status)})
	}
	limit := closeTimeout
	if _, half := s.conn.(interface{ CloseWrite() error }); half && s.server != nil && errors.Is(err.Cause, ErrGoingAway) && err.Status == GoAwayOK {
		limit = partTimeout
	}
	s.closing.limit.Store(int64(limit))
	s.closing.ended.Store(true)
	s.goingLocked()
	s.wakeLocked()
	s.unlock()
	s.limitEnd(limit)
	return true
}

// limitEnd gives both loops of a session that ends so long: it wakes them
// if they are waiting for a peer that is gone.
func (s *Session) limitEnd(limit time.Duration) {
	s.closing.limit.Store(int64(limit))
	now := time.Now()
	s.conn.SetWriteDeadline(now.Add(limit))
	s.conn.SetReadDeadline(now.Add(limit))
	s.mu.Lock()
	defer s.unlock()
	if s.closing.lastResort != nil {
		s.closing.lastResort.Stop()
	}
	// In case the connection does not care for deadlines.
	s.closing.lastResort = time.AfterFunc(limit+closeTimeout, func() { s.conn.Close() })
}

// halfClose tells the peer that nothing more comes, where the connection can.
func (s *Session) halfClose() {
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

func (s *Session) stopTimers() {
	s.mu.Lock()
	defer s.unlock()
	if s.ping.keepAlive != nil {
		s.ping.keepAlive.Stop()
	}
	if s.closing.lastResort != nil {
		s.closing.lastResort.Stop()
	}
}
