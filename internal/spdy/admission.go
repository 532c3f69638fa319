package spdy

import (
	"context"
	"time"
)

// waiter is a RoundTrip that waits for a place under MAX_CONCURRENT_STREAMS.
type waiter struct {
	granted bool          // guarded by Session.mu
	ready   chan struct{} // closed when granted, or when the session ended
}

// unavailableLocked returns why no new stream can be opened, or nil.
func (s *Session) unavailableLocked() *SessionError {
	switch {
	case s.err != nil:
		e := *s.err
		e.NotProcessed = true
		return &e
	case s.goAwayGot:
		return &SessionError{Status: s.goAwayGotStatus, Remote: true, Cause: ErrGoingAway, NotProcessed: true}
	case s.goAwaySent:
		return &SessionError{Cause: s.goAwayCauseLocked(), NotProcessed: true}
	}
	return nil
}

// goAwayCauseLocked says why this side sent GOAWAY.
func (s *Session) goAwayCauseLocked() error {
	if s.nextID > maxStreamID {
		return errNoMoreIDs
	}
	return ErrGoingAway
}

// Available returns how many streams could be opened now without waiting, 0
// when the session is going away or has ended.
func (s *Session) Available() int {
	s.mu.Lock()
	defer s.unlock()
	if s.unavailableLocked() != nil {
		return 0
	}
	if s.peerMax < 0 {
		return 1<<31 - 1
	}
	return int(max(0, s.peerMax-int64(len(s.streams)+s.reserved+len(s.waiters))))
}

// MaxStreams returns how many streams the peer of a client session lets it have
// open at once, 1<<31 - 1 where it has not said.
func (s *Session) MaxStreams() int {
	s.mu.Lock()
	defer s.unlock()
	if s.peerMax < 0 {
		return 1<<31 - 1
	}
	return int(min(s.peerMax, 1<<31-1))
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
	s.enterLocked(st, s.nextID)
	s.nextID += 2
	s.resets.known++
	st.opened = true
	if s.ping.unknown() {
		st.grow.last = time.Now()
	}
	it := item{typ: typeSynStream, st: st, id: st.id, block: block}
	if fin {
		it.flags = flagFin
		st.finQueued = true
		st.localClosed = true
	}
	s.queueLocked(it)
	if s.nextID > maxStreamID {
		// There is no other id (draft 3.1, 2.3.2). The peer hears of it now, while
		// no request waits for one.
		s.goAwayLocked()
	}
	if ctx.Done() != nil {
		st.stopCtx = context.AfterFunc(ctx, func() { s.reset(st, Cancel, context.Cause(ctx)) })
	}
	return nil
}

// enterLocked puts st among the open streams.
func (s *Session) enterLocked(st *Stream, id uint32) {
	st.id = id
	st.sendWin = sendWindow(s.initialSend)
	s.streams[id] = st
	s.stats.StreamsOpened++
}

// placeLocked waits for a place under the peer's MAX_CONCURRENT_STREAMS, and
// takes it: the caller opens its stream before it unlocks.
func (s *Session) placeLocked(ctx context.Context) error {
	if err := s.unavailableLocked(); err != nil {
		return err
	}
	if len(s.waiters) == 0 && (s.peerMax < 0 || int64(len(s.streams)+s.reserved) < s.peerMax) {
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	s.waiters = append(s.waiters, w)
	s.unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
	}
	s.mu.Lock()
	if w.granted {
		s.reserved--
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
	for i, x := range s.waiters {
		if x == w {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			break
		}
	}
	if err := s.unavailableLocked(); err != nil {
		return err
	}
	return &StreamError{Status: Cancel, Cause: context.Cause(ctx)}
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
