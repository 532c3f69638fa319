package spdy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// discardLimit is how many bytes of a body that nobody reads are dropped, and
// given back, before the rest is refused: at once by a client, by a server after
// its response.
const discardLimit = 256 << 10

// readData takes one DATA frame.
func (s *Session) readData(h frameHeader) error {
	n, fin := int(h.length), h.flags&flagFin != 0
	if s.tracer() != nil {
		s.tracer()(FrameInfo{Flags: uint8(h.flags), StreamID: h.id, Length: n})
	}
	st, drop, large, err := s.takeData(h)
	if err != nil {
		return err
	}
	unread := n
	if !drop {
		unread, err = s.fill(st, n, large)
	} else if _, err = s.reader.br.Discard(n); err != nil {
		err = unexpected(err)
	}
	if err != nil {
		return err
	}
	if n > 0 {
		s.mu.Lock()
		s.updateSessionLocked(n)
		s.unlock()
	}
	if st == nil {
		return nil
	}
	st.body.hadData = st.body.hadData || n > 0
	st.body.got += int64(n)
	if !drop && st.body.want >= 0 && st.body.got > st.body.want {
		s.wrongLength(st, fin)
		if s.server != nil {
			return nil
		}
		s.mu.Lock()
		st.recv.discard = true
		s.unlock()
	}
	if fin {
		s.remoteFin(st)
	} else if unread > 0 {
		s.discarded(st, unread)
	}
	return nil
}

// takeData counts a DATA frame against the windows and returns its stream, nil if it has
// none that is open. drop says that nobody is to read its bytes, large that they deserve
// a large chunk. An error ends the session.
func (s *Session) takeData(h frameHeader) (st *Stream, drop, large bool, err error) {
	n, fin := int(h.length), h.flags&flagFin != 0
	s.mu.Lock()
	defer s.unlock()
	err = s.countFrameLocked(h, nil)
	if err == nil && h.id == 0 {
		err = protocolError("DATA on stream 0")
	}
	if err == nil && n == 0 && !fin {
		err = s.spend(1)
	}
	if err != nil {
		return nil, true, false, err
	}
	s.stats.BytesReceived += uint64(n)
	if s.sessionWindows() && !s.receive.window.take(int64(n)) {
		return nil, true, false, protocolError("DATA of %d bytes overruns the session window", n)
	}
	st = s.streams[h.id]
	switch {
	case st == nil:
		return nil, true, false, s.notOpenLocked(h.id, n)
	case !st.receiving():
		s.afterFinLocked(st, typeData)
	case h.flags&^flagFin != 0:
		s.resetLocked(st, ProtocolError, fmt.Errorf("DATA with flags %02x", uint8(h.flags)))
	case s.server == nil && !st.replied:
		s.resetLocked(st, ProtocolError, errors.New("DATA before SYN_REPLY"))
	case !st.recv.window.take(int64(n)):
		s.resetLocked(st, FlowControlError, fmt.Errorf("DATA of %d bytes overruns the stream window", n))
	}
	if st.state == streamClosed {
		return nil, true, false, nil
	}
	st.recv.ending = st.recv.ending || fin
	if !st.body.hadData {
		st.recv.grow.last = s.started.Add(s.heardAt())
	}
	return st, st.recv.discard, st.recv.window.size > defaultWindow, nil
}

// fill reads n bytes of DATA into the stream's buffer. Unread are those that
// came when the buffer was dropped already.
func (s *Session) fill(st *Stream, n int, large bool) (unread int, err error) {
	// Bytes beyond the announced length are read by nobody.
	room := n
	if st.body.want >= 0 {
		room = int(min(int64(n), max(0, st.body.want-st.body.got)))
	}
	for left := room; left > 0; {
		space := st.recv.buf.reserve(large)
		m, err := io.ReadFull(s.reader.br, space[:min(left, len(space))])
		if !st.recv.buf.commit(m) {
			unread += m
		}
		if err != nil {
			return unread, unexpected(err)
		}
		left -= m
	}
	_, err = s.reader.br.Discard(n - room)
	return unread, unexpected(err)
}

// discarded counts n bytes that came on a stream whose body nobody reads.
func (s *Session) discarded(st *Stream, n int) {
	st.body.dropped += int64(n)
	if st.body.dropped <= discardLimit {
		s.update(st, n)
		return
	}
	if s.server == nil {
		s.reset(st, Cancel, errors.New("nobody reads the body"))
		return
	}
	s.mu.Lock()
	defer s.unlock()
	// The response goes out first: until then the peer waits for window.
	st.recv.refuse = true
	if !st.sending() {
		s.refuseRestLocked(st)
	}
}

// remoteFin takes the peer's FIN, but for that of a SYN_REPLY.
func (s *Session) remoteFin(st *Stream) {
	whole := st.bodyWhole()
	if !whole {
		s.wrongLength(st, true)
		if s.server != nil {
			return
		}
	}
	s.mu.Lock()
	s.closeRemoteLocked(st)
	s.unlock()
	if whole {
		// Who has read the end finds the stream gone, if this side has ended it, too.
		st.recv.buf.end(io.EOF)
	}
}

// bodyWhole reports whether as much has come as was announced, if that was.
func (st *Stream) bodyWhole() bool { return st.body.want < 0 || st.body.got >= st.body.want }

// wrongLength ends a body that is not as long as its content-length. A server
// answers 400 if it has not answered yet (draft 3.1, 3.2.1); a client says it to
// the reader of the body, or a cut body would look whole behind it. Fin says that
// no more of it comes.
func (s *Session) wrongLength(st *Stream, fin bool) {
	err := &StreamError{StreamID: st.id, Status: ProtocolError,
		Cause: fmt.Errorf("%w: %d bytes announced, %d came", ErrBodyLength, st.body.want, st.body.got)}
	if s.server == nil {
		st.recv.buf.end(err)
		return
	}
	s.mu.Lock()
	if st.state == streamClosed {
		s.unlock()
		return
	}
	if st.replied {
		s.resetLocked(st, ProtocolError, err.Cause)
		s.unlock()
		return
	}
	// The handler's own answer comes to nothing.
	st.err = err
	s.dropUnsentLocked(st)
	freePairs(st.send.reply)
	st.send.reply = nil
	s.answerLocked(st, http.StatusBadRequest)
	if !fin {
		s.sendResetLocked(st.id, Cancel) // the rest of the body is not wanted
	}
	s.removeLocked(st, err)
	s.unlock()
}
