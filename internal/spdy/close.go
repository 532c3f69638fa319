package spdy

import (
	"context"
	"errors"
	"fmt"
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
	errNoMoreIDs    = fmt.Errorf("%w: its stream ids are used up", ErrGoingAway)
	errEOF          = fmt.Errorf("%w: the peer closed it", ErrLost)
	errFinished     = errors.New("this side of the stream has ended")
	errInvalidWrite = errors.New("a Write returned a count that cannot be")
	errPeerStatus   = errors.New("the peer sent GOAWAY with an error status")
)

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
		s.conn.Close()
		s.stopTimers()
		s.endBase()
		close(s.done)
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
	if s.goAwaySent || s.err != nil {
		return
	}
	s.goAwaySent = true
	s.queueLocked(item{typ: typeGoAway, value: s.lastGood, value2: uint32(GoAwayOK)})
	s.goingLocked()
}

// goingLocked closes GoingAway and fails the waiters.
func (s *Session) goingLocked() {
	select {
	case <-s.going:
	default:
		close(s.going)
	}
	for _, w := range s.waiters {
		close(w.ready)
	}
	s.waiters = nil
}

// drainedLocked reports whether a session that is going away has no stream left;
// the writer then ends it.
func (s *Session) drainedLocked() bool {
	return s.err == nil && (s.goAwaySent || s.goAwayGot) && len(s.streams) == 0 && s.reserved == 0
}

// end makes err the end of the session; the first one counts. Every stream
// fails, the writer sends what is queued and a GOAWAY, the reader reads on
// until the peer's EOF or for a time. It reports whether it was the first.
func (s *Session) end(err *SessionError) bool {
	s.mu.Lock()
	if s.err != nil {
		s.unlock()
		return false
	}
	s.err = err
	for _, st := range s.streams {
		e := *err
		e.NotProcessed = !st.sent && s.server == nil
		s.removeLocked(st, &e)
	}
	status := err.Status
	if err.Remote || errors.Is(err.Cause, ErrLost) {
		status = GoAwayOK // the fault is not ours to name
	}
	if !s.goAwaySent || status != GoAwayOK {
		s.goAwaySent = true
		s.queue.push(item{typ: typeGoAway, value: s.lastGood, value2: uint32(status)})
	}
	limit := closeTimeout
	if _, half := s.conn.(interface{ CloseWrite() error }); half && s.server != nil && errors.Is(err.Cause, ErrGoingAway) && err.Status == GoAwayOK {
		limit = partTimeout
	}
	s.endLimit.Store(int64(limit))
	s.ending.Store(true)
	s.goingLocked()
	s.wakeLocked()
	s.unlock()
	s.limitEnd(limit)
	return true
}

// limitEnd gives both loops of a session that has ended so long: it wakes them
// if they are waiting for a peer that is gone.
func (s *Session) limitEnd(limit time.Duration) {
	s.endLimit.Store(int64(limit))
	now := time.Now()
	s.conn.SetWriteDeadline(now.Add(limit))
	s.conn.SetReadDeadline(now.Add(limit))
	s.mu.Lock()
	defer s.unlock()
	if s.lastResort != nil {
		s.lastResort.Stop()
	}
	// In case the connection does not care for deadlines.
	s.lastResort = time.AfterFunc(limit+closeTimeout, func() { s.conn.Close() })
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
	if s.lazyWait != nil {
		s.lazyWait.Stop()
	}
	if s.lastResort != nil {
		s.lastResort.Stop()
	}
}
