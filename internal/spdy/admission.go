package spdy

import (
	"context"
	"slices"
	"time"
)

// admission decides which streams may be opened, by either side. Guarded by
// Session.mu.
type admission struct {
	nextID   uint32 // of the next stream that this side opens
	lastID   uint32 // highest SYN_STREAM of the peer
	lastGood uint32 // highest of them that a handler got
	handlers int    // running

	peerMax  int64 // streams that the peer lets us have open at once, -1: any number
	reserved int   // places given to waiters that have not opened their stream yet
	waiters  []*waiter
}

// waiter is a RoundTrip that waits for a place under MAX_CONCURRENT_STREAMS.
type waiter struct {
	granted bool          // guarded by Session.mu
	ready   chan struct{} // closed when granted, or when the session ended
}

// unavailableLocked returns why no new stream can be opened, or nil.
func (s *Session) unavailableLocked() *SessionError {
	if err := s.sendsNothingLocked(); err != nil {
		e := *err
		e.NotProcessed = true
		return &e
	}
	switch {
	case s.usedUpLocked():
		return &SessionError{Cause: errNoMoreIDs, NotProcessed: true}
	case s.closing.got:
		return &SessionError{Status: s.closing.gotStatus, Remote: true, Cause: ErrGoingAway, NotProcessed: true}
	case s.closing.sent:
		return &SessionError{Cause: ErrGoingAway, NotProcessed: true}
	}
	return nil
}

// usedUpLocked reports whether the session ends because this side's stream ids are
// used up. The peer answers a GOAWAY with its own, which is not the reason then.
func (s *Session) usedUpLocked() bool {
	return s.closing.sent && s.admission.nextID > maxStreamID && s.closing.gotStatus == GoAwayOK
}

// Available returns how many streams could be opened now without waiting, at most
// 1<<31 - 1; 0 when the session is going away or has ended.
func (s *Session) Available() int {
	s.mu.Lock()
	defer s.unlock()
	if s.unavailableLocked() != nil {
		return 0
	}
	if s.admission.peerMax < 0 {
		return 1<<31 - 1
	}
	free := s.admission.peerMax - int64(len(s.streams)+s.admission.reserved+len(s.admission.waiters))
	return int(min(max(0, free), 1<<31-1))
}

// MaxStreams returns how many streams the peer of a client session lets it have
// open at once, 1<<31 - 1 where it has not said.
func (s *Session) MaxStreams() int {
	s.mu.Lock()
	defer s.unlock()
	if s.admission.peerMax < 0 {
		return 1<<31 - 1
	}
	return int(min(s.admission.peerMax, 1<<31-1))
}

// openStream gives st an id and queues its SYN_STREAM, under one lock: ids on
// the wire must grow (draft 3.1, 2.3.2).
func (s *Session) openStream(ctx context.Context, st *Stream, block *pairs, fin bool) error {
	if err := context.Cause(ctx); err != nil {
		freePairs(block)
		return &StreamError{Status: Cancel, Cause: err}
	}
	s.mu.Lock()
	defer s.unlock()
	if err := s.placeLocked(ctx); err != nil {
		freePairs(block)
		return err
	}
	s.enterLocked(st, s.admission.nextID)
	s.admission.nextID += 2
	s.resets.known++
	st.opened = true
	if s.ping.unknown() {
		st.recv.grow.last = time.Now()
	}
	it := item{typ: typeSynStream, st: st, id: st.id, block: block}
	if fin {
		it.flags = flagFin
		st.send.fin = true
		st.state = halfClosedLocal
	}
	s.queueLocked(it)
	if s.admission.nextID > maxStreamID {
		// There is no other id (draft 3.1, 2.3.2). The peer hears of it now, while
		// no request waits for one.
		s.goAwayLocked()
	}
	st.watch.begin(ctx, st)
	return nil
}

// enterLocked puts st among the open streams.
func (s *Session) enterLocked(st *Stream, id uint32) {
	st.id = id
	st.send.window = sendWindow(s.send.initial)
	s.streams[id] = st
	s.stats.StreamsOpened++
}

// placeLocked waits for a place under the peer's MAX_CONCURRENT_STREAMS, and
// takes it: the caller opens its stream before it unlocks.
func (s *Session) placeLocked(ctx context.Context) error {
	if err := s.unavailableLocked(); err != nil {
		return err
	}
	if len(s.admission.waiters) == 0 && s.placeFreeLocked() {
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	s.admission.waiters = append(s.admission.waiters, w)
	s.unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
	}
	s.mu.Lock()
	if w.granted {
		s.admission.reserved--
		if err := s.unavailableLocked(); err != nil {
			s.wakeLocked()
			return err
		}
		if err := context.Cause(ctx); err != nil {
			s.admitLocked()
			return &StreamError{Status: Cancel, Cause: err}
		}
		return nil
	}
	s.admission.waiters = slices.DeleteFunc(s.admission.waiters, func(x *waiter) bool { return x == w })
	if err := s.unavailableLocked(); err != nil {
		return err
	}
	return &StreamError{Status: Cancel, Cause: context.Cause(ctx)}
}

// placeFreeLocked reports whether the peer lets us have one more stream open.
func (s *Session) placeFreeLocked() bool {
	return s.admission.peerMax < 0 || int64(len(s.streams)+s.admission.reserved) < s.admission.peerMax
}

// admitLocked gives free places to those that wait longest for one.
func (s *Session) admitLocked() {
	for len(s.admission.waiters) > 0 && s.err == nil && s.placeFreeLocked() {
		w := s.admission.waiters[0]
		s.admission.waiters[0] = nil
		s.admission.waiters = s.admission.waiters[1:]
		w.granted = true
		s.admission.reserved++
		close(w.ready)
	}
}
