package spdy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// removeLocked takes st out of the session. err is nil if both sides ended it;
// otherwise unlock tells whoever reads its body, and its handler.
func (s *Session) removeLocked(st *Stream, err error) {
	if st.closed {
		return
	}
	st.closed = true
	if st.err == nil {
		st.err = err
	}
	delete(s.streams, st.id)
	if st.err != nil {
		s.queue.drop(st.id)
		s.failed = append(s.failed, st)
	}
	s.dropUnsentLocked(st)
	freePairs(st.held)
	freePairs(st.trailers)
	st.held, st.trailers = nil, nil
	s.ungrowLocked(st)
	st.deadline.stop()
	if st.stopCtx != nil {
		st.stopCtx()
	}
	st.cond.Broadcast()
	s.admitLocked()
	if s.drainedLocked() {
		s.wakeLocked()
	}
}

// dropUnsentLocked forgets the DATA of st that waits to be sent.
func (s *Session) dropUnsentLocked(st *Stream) {
	s.sched.remove(st)
	s.unsent -= st.send.size
	st.send.drop()
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
	err, whole, cancel := st.err, st.remoteClosed, st.cancel
	st.s.unlock()
	if !whole {
		if se, ok := err.(*StreamError); ok && !se.Remote {
			st.buf.abort(err)
		} else {
			st.buf.end(err)
		}
	}
	if cancel != nil {
		cancel()
	}
}

// closeLocalLocked notes that our FIN is queued behind all that was sent.
func (s *Session) closeLocalLocked(st *Stream) {
	st.localClosed = true
	st.deadline.stop()
	if st.remoteClosed {
		s.removeLocked(st, nil)
	} else if st.unwanted {
		s.refuseRestLocked(st)
	}
}

// refuseRestLocked ends a stream whose response is out, and whose request has
// more of a body than is going to be dropped. The response stays whole: to the
// stream nothing has happened.
func (s *Session) refuseRestLocked(st *Stream) {
	if !st.closed {
		s.sendResetLocked(st.id, Cancel)
		s.removeLocked(st, nil)
	}
}

// give returns n read bytes of st to the peer, and lets the window grow.
func (s *Session) give(st *Stream, n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.unlock()
	if st.closed || st.remoteClosed || st.forgotten || s.err != nil {
		return
	}
	most := st.recv.most()
	delta := st.recv.give(int64(n))
	s.budget.add(st.fairKey, st.recv.most()-most)
	if delta == 0 {
		return
	}
	now := time.Now()
	size := st.grow.judge(now, delta, st.recv.size, s.lineLocked())
	switch {
	case st.discard:
	case size > st.recv.size:
		delta += s.growLocked(st, size)
	case size < st.recv.size:
		s.shrinkLocked(st, size)
	}
	if st.grow.total >= measureAfter {
		s.measureLocked(now)
	}
	st.credited = true
	s.queueLocked(item{typ: typeWindowUpdate, st: st, id: st.id, value: uint32(delta)})
}

// growLocked raises the window of a stream whose reader keeps up, within what
// Config allows.
func (s *Session) growLocked(st *Stream, size int64) (delta int64) {
	old := st.recv.size
	if st.grow.proven() {
		// What one stream of this connection needed, the next will need too.
		size = min(max(size, s.learned), int64(s.cfg.MaxStreamWindow))
	} else {
		size = min(size, unprovenWindow, int64(s.cfg.MaxStreamWindow))
	}
	size = min(size, old+s.budget.room(st.fairKey, st.grow.proven()))
	if size <= old {
		return 0
	}
	s.budget.add(st.fairKey, size-old)
	s.learned = max(s.learned, size)
	delta = st.recv.grow(size)
	st.giveAt.Store(int32(st.recv.enough()))
	st.grew.Store(true)
	return delta
}

// shrinkLocked lowers the window of a stream whose reader has become slow, not
// below what it started with. The account of Config.MaxBuffer follows as give sees
// the bytes read that the peer may have sent before.
func (s *Session) shrinkLocked(st *Stream, size int64) {
	less := st.recv.size - max(size, int64(s.cfg.StreamWindow))
	if less <= 0 {
		return
	}
	st.recv.shrink(less)
	st.grow.keep(less)
	st.giveAt.Store(int32(st.recv.enough()))
}

// ungrowLocked takes the window of a stream that has ended off the account of
// Config.MaxBuffer, when its body was read too, or given up: until then what came
// is held.
func (s *Session) ungrowLocked(st *Stream) {
	if st.closed && st.bodyDone {
		s.budget.add(st.fairKey, int64(s.cfg.StreamWindow)-st.recv.most())
		st.recv = recvWindow{size: int64(s.cfg.StreamWindow)}
	}
}

// bodyEnded is called when nobody goes on reading the body of a response.
func (st *Stream) bodyEnded() {
	if !st.grew.Load() {
		return
	}
	st.s.mu.Lock()
	defer st.s.unlock()
	st.bodyDone = true
	st.s.ungrowLocked(st)
}

// giveSessionLocked returns n bytes to the peer's session window.
func (s *Session) giveSessionLocked(n int) {
	if !s.sessionWindows() {
		return
	}
	delta := s.recv.give(int64(n))
	if delta == 0 {
		return
	}
	size := s.growth.judge(time.Now(), delta, s.recv.size, s.lineLocked())
	if size = min(size, defaultMaxSessionWindow); size > s.recv.size {
		delta += s.recv.grow(size)
	}
	s.queueLocked(item{typ: typeWindowUpdate, value: uint32(delta)})
}

// admitLocked gives free places to those that wait longest for one.
func (s *Session) admitLocked() {
	for len(s.waiters) > 0 && s.err == nil && (s.peerMax < 0 || int64(len(s.streams)+s.reserved) < s.peerMax) {
		w := s.waiters[0]
		s.waiters[0] = nil
		s.waiters = s.waiters[1:]
		w.granted = true
		s.reserved++
		close(w.ready)
	}
}

// drain reads what the peer still sends, until its EOF or the deadline that
// end has set.
func (s *Session) drain() {
	io.Copy(io.Discard, s.br)
}

var _ interface {
	http.ResponseWriter
	http.Flusher
	io.ReaderFrom
} = (*Stream)(nil)
