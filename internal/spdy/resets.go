package spdy

import "fmt"

// maxUnopened is how many frames for streams that were never opened a peer may send
// in one session (draft 3.1, 2.4.2).
const maxUnopened = 100

// lateFrames is how many frames that bring no byte of DATA each stream may bring
// after its end, on average: a SYN_REPLY, HEADERS, and the FIN, were under way when
// it was reset. Beyond that they count as floodBudget has it.
const lateFrames = 4

// resets counts frames for streams that are not open (draft 3.1, 2.4.2). Those for
// a stream that was open once are no fault of the peer's, as in RFC 9113, 5.1: it
// had sent them before it saw our RST_STREAM. There is no list of such streams,
// which enough of them would overflow: every id up to the highest was open once.
// Guarded by Session.mu.
type resets struct {
	// told is the highest id of either parity for which a RST_STREAM went out. For
	// that stream, and those before it, none does any more: so each stream is told
	// once, without a list.
	told     [2]uint32
	known    int64 // streams that either side opened, those that were refused included
	late     int64 // frames without DATA for streams that had ended
	unopened int   // frames for streams that were never opened
}

// notOpenLocked answers a frame with n bytes of DATA for a stream that is not
// open. What it brings was counted against the session's window, or inflated, by
// the caller.
func (s *Session) notOpenLocked(id uint32, n int) error {
	r := &s.resets
	never := s.neverOpened(id)
	switch {
	case never && s.closing.sent && s.isPeers(id):
		// Its SYN_STREAM crossed our GOAWAY.
	case never:
		if r.unopened++; r.unopened > maxUnopened {
			return protocolError("more than %d frames for streams that were never opened", maxUnopened)
		}
		s.sendResetLocked(id, InvalidStream)
		return nil
	case id > r.told[id&1]:
		s.sendResetLocked(id, ProtocolError)
	}
	if n > 0 {
		return nil // the windows bound it
	}
	if r.late++; r.late <= lateFrames*r.known {
		return nil
	}
	return s.spend(1)
}

// isPeers reports whether id is one that the peer opens.
func (s *Session) isPeers(id uint32) bool { return (id%2 == 1) == (s.server != nil) }

func (s *Session) neverOpened(id uint32) bool {
	if s.isPeers(id) {
		return id > s.admission.lastID
	}
	return id >= s.admission.nextID
}

// afterFinLocked resets a stream for a frame that came after the peer's FIN.
func (s *Session) afterFinLocked(st *Stream, what FrameType) {
	s.resetLocked(st, StreamAlreadyClosed, fmt.Errorf("%v after the peer's FIN", what))
}

// streamError resets an open stream for what the peer did on it.
func (s *Session) streamError(st *Stream, status Status, format string, args ...any) error {
	s.reset(st, status, fmt.Errorf(format, args...))
	return nil
}

// reset ends one stream with RST_STREAM.
func (s *Session) reset(st *Stream, status Status, cause error) {
	s.mu.Lock()
	defer s.unlock()
	s.resetLocked(st, status, cause)
}

// resetLocked is reset under the session's lock.
func (s *Session) resetLocked(st *Stream, status Status, cause error) {
	if st.state == streamClosed {
		return
	}
	if st.sent || s.server != nil {
		s.sendResetLocked(st.id, status)
	}
	s.removeLocked(st, &StreamError{StreamID: st.id, Status: status, Cause: cause})
}

// counted returns where Stats counts a RST_STREAM.
func counted(status Status) Status {
	if status > FrameTooLarge {
		return 0
	}
	return status
}

// sendResetLocked queues a RST_STREAM.
func (s *Session) sendResetLocked(id uint32, status Status) {
	if told := &s.resets.told[id&1]; !s.neverOpened(id) {
		*told = max(*told, id)
	}
	if s.sendsNothingLocked() == nil {
		s.stats.ResetsSent[counted(status)]++
		s.queueLocked(item{typ: typeRstStream, id: id, value: uint32(status)})
	}
}
