package spdy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

func (s *Session) onRstStream(h frameHeader, payload []byte) error {
	id := binary.BigEndian.Uint32(payload) & maxStreamID
	status := Status(binary.BigEndian.Uint32(payload[4:]))
	if s.tracer() != nil {
		s.trace(false, h.typ, 0, id, len(payload), "status=", status)
	}
	if id == 0 {
		return protocolError("RST_STREAM on stream 0")
	}
	s.mu.Lock()
	defer s.unlock()
	s.stats.ResetsReceived[counted(status)]++
	st := s.streams[id]
	if st == nil {
		s.queue.dropAll(id)
		return nil // never a RST_STREAM for a RST_STREAM
	}
	err := &StreamError{StreamID: id, Status: status, Remote: true}
	if status == InvalidStream && st.state == halfClosedLocal && st.recv.credited && st.replied {
		// There are peers that forget a stream when all of it is queued, and
		// answer our WINDOW_UPDATE ahead of the DATA and the FIN that are still
		// to come. Those are waited for as long as something comes.
		if !st.recv.forgotten {
			st.recv.forgotten = true
			s.awaitRestLocked(st, err)
		}
		return nil
	}
	s.removeLocked(st, err)
	s.queue.dropAll(id)
	return nil
}

// forgottenWait is how long nothing may come of the rest of a stream that its sender has
// forgotten.
const forgottenWait = time.Second

// awaitRestLocked ends a stream that its sender has forgotten when nothing of it comes any
// more. It is given no window, so what it has left tells, and bounds it.
func (s *Session) awaitRestLocked(st *Stream, err *StreamError) {
	left := st.recv.window.avail
	time.AfterFunc(forgottenWait, func() {
		s.mu.Lock()
		defer s.unlock()
		if st.receiving() && st.recv.window.avail < left {
			s.awaitRestLocked(st, err)
			return
		}
		s.removeLocked(st, err)
	})
}

func (s *Session) onSettings(h frameHeader, payload []byte) error {
	count := uint64(binary.BigEndian.Uint32(payload))
	if uint64(len(payload)) != 4+8*count {
		return protocolError("SETTINGS of %d entries in %d bytes", count, len(payload))
	}
	if s.tracer() != nil {
		s.trace(false, h.typ, h.flags, 0, len(payload), "entries=", count)
	}
	if err := s.spend(1); err != nil {
		return err
	}
	var seen [settingInitialWindow + 1]bool // the first of an id in one frame counts
	for p := payload[4:]; len(p) > 0; p = p[8:] {
		flags, id := p[0], binary.BigEndian.Uint32(p)&0xffffff
		value := binary.BigEndian.Uint32(p[4:])
		switch {
		case id != settingMaxStreams && id != settingInitialWindow, seen[id]:
		case s.server != nil && flags&settingPersisted != 0:
			// Our own old values, which we never asked to keep.
		default:
			seen[id] = true
			if err := s.applySetting(id, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// applySetting takes MAX_CONCURRENT_STREAMS or INITIAL_WINDOW_SIZE.
func (s *Session) applySetting(id, value uint32) error {
	s.mu.Lock()
	defer s.unlock()
	if id == settingMaxStreams {
		s.admission.peerMax = int64(value)
		s.admitLocked()
		return nil
	}
	if value > maxWindow {
		return protocolError("SETTINGS: window of %d bytes", value)
	}
	delta := int64(value) - s.send.initial
	if delta == 0 {
		return nil
	}
	s.send.initial = int64(value)
	if err := s.spend(len(s.streams) / floodWalk); err != nil {
		return err
	}
	for _, st := range s.streams {
		if !st.send.window.add(delta) {
			s.resetLocked(st, FlowControlError, errors.New("SETTINGS raise the window above 2^31-1"))
			continue
		}
		// One that may not send any more is left to the writer to skip:
		// taking each out of its queue here would be a walk for each.
		st.readyLocked()
		st.cond.Broadcast()
	}
	return nil
}

func (s *Session) onPing(payload []byte) error {
	id := binary.BigEndian.Uint32(payload)
	if s.tracer() != nil {
		s.trace(false, typePing, 0, 0, len(payload), "id=", id)
	}
	if err := s.spend(1); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.unlock()
	if ours := (id%2 == 1) == (s.server == nil); ours {
		s.ping.echoed(id)
		return nil
	}
	if s.sendsNothingLocked() != nil {
		return nil
	}
	if len(s.queue.echoes) >= maxEchoes {
		return protocolError("more than %d PINGs wait for their echo", maxEchoes)
	}
	s.queue.echoes = append(s.queue.echoes, id)
	s.wakeLocked()
	return nil
}

func (s *Session) onGoAway(payload []byte) error {
	last := binary.BigEndian.Uint32(payload) & maxStreamID
	status := GoAwayStatus(binary.BigEndian.Uint32(payload[4:]))
	if s.tracer() != nil {
		s.trace(false, typeGoAway, 0, 0, len(payload), "last-good=", last, " status=", status)
	}
	s.mu.Lock()
	defer s.unlock()
	if err := s.spend(1 + len(s.streams)/floodWalk); err != nil {
		return err
	}
	if s.closing.got {
		last = min(last, s.closing.gotLast)
	}
	s.closing.got, s.closing.gotLast = true, last
	if s.closing.gotStatus == GoAwayOK {
		s.closing.gotStatus = status
	}
	for id, st := range s.streams {
		if !s.isPeers(id) && id > last {
			s.removeLocked(st, &SessionError{Status: status, Remote: true, Cause: ErrGoingAway, NotProcessed: true, StreamID: id})
		}
	}
	s.goingLocked()
	s.wakeLocked() // it ends the session when no stream is left
	return nil
}

func (s *Session) onWindowUpdate(payload []byte) error {
	id := binary.BigEndian.Uint32(payload) & maxStreamID
	delta := int64(binary.BigEndian.Uint32(payload[4:]) & maxWindow)
	if s.tracer() != nil {
		s.trace(false, typeWindowUpdate, 0, id, len(payload), "delta=", delta)
	}
	s.mu.Lock()
	defer s.unlock()
	if id == 0 {
		if !s.sessionWindows() {
			return nil
		}
		if delta == 0 {
			return protocolError("WINDOW_UPDATE of 0 on the session")
		}
		if !s.send.window.add(delta) {
			return protocolError("the session window passes 2^31-1")
		}
		s.wakeLocked()
		return nil
	}
	st := s.streams[id]
	if st == nil || !st.sending() {
		return nil
	}
	if delta == 0 || !st.send.window.add(delta) {
		s.resetLocked(st, FlowControlError, fmt.Errorf("WINDOW_UPDATE of %d on a window of %d", delta, st.send.window))
		return nil
	}
	st.readyLocked()
	st.cond.Broadcast()
	return nil
}
