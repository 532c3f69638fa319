package spdy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// lingerLimit is how many bytes of a body that nobody reads are dropped, and
// given back, before the rest is refused: at once by a client, by a server after
// its response.
const lingerLimit = 256 << 10

// readData takes one DATA frame.
func (s *Session) readData(h frameHeader) error {
	n := int(h.length)
	if h.id == 0 {
		return protocolError("DATA on stream 0")
	}
	if n == 0 && h.flags&flagFin == 0 {
		if err := s.reader.flood.spend(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if err := s.countFrameLocked(); err != nil {
		s.unlock()
		return err
	}
	s.stats.BytesReceived += uint64(n)
	if s.sessionWindows() && !s.receive.window.take(int64(n)) {
		s.unlock()
		return protocolError("DATA of %d bytes overruns the session window", n)
	}
	st := s.streams[h.id]
	var err error
	switch {
	case st == nil:
		err = s.notOpenLocked(h.id, n)
	case st.remoteClosed:
		s.afterFinLocked(st, typeData)
	case h.flags&^flagFin != 0:
		s.resetLocked(st, ProtocolError, fmt.Errorf("DATA with flags %02x", uint8(h.flags)))
	case s.server == nil && !st.replied:
		s.resetLocked(st, ProtocolError, errors.New("DATA before SYN_REPLY"))
	case !st.recv.take(int64(n)):
		s.resetLocked(st, FlowControlError, fmt.Errorf("DATA of %d bytes overruns the stream window", n))
	}
	deliver := st != nil && !st.closed
	drop := !deliver || st.discard
	unread := 0
	large := deliver && st.recv.size > defaultWindow
	if deliver && !st.hadData {
		st.grow.last = time.Now()
	}
	s.unlock()
	if s.tracer() != nil {
		s.tracer()(FrameInfo{Flags: uint8(h.flags), StreamID: h.id, Length: n})
	}
	if err != nil {
		return err
	}
	if drop {
		if _, err := s.reader.br.Discard(n); err != nil {
			return unexpected(err)
		}
	} else if unread, err = s.fill(st, n, large); err != nil {
		return err
	}
	if n > 0 {
		s.mu.Lock()
		s.giveSessionLocked(n)
		s.unlock()
	}
	if !deliver {
		return nil
	}
	st.hadData = st.hadData || n > 0
	st.got += int64(n)
	if drop {
		if h.flags&flagFin != 0 {
			s.remoteFin(st)
		} else {
			s.lingered(st, n)
		}
		return nil
	}
	if st.want >= 0 && st.got > st.want {
		s.wrongLength(st, h.flags&flagFin != 0)
		if s.server != nil {
			return nil
		}
		s.mu.Lock()
		st.discard = true
		s.unlock()
	}
	if h.flags&flagFin != 0 {
		s.remoteFin(st)
	} else if unread > 0 {
		s.lingered(st, unread)
	}
	return nil
}

// fill reads n bytes of DATA into the stream's buffer. Unread are those that
// came when the buffer was dropped already.
func (s *Session) fill(st *Stream, n int, large bool) (unread int, err error) {
	// Bytes beyond the announced length are read by nobody.
	room := n
	if st.want >= 0 {
		room = int(min(int64(n), max(0, st.want-st.got)))
	}
	for left := room; left > 0; {
		space := st.buf.reserve(large)
		m, err := io.ReadFull(s.reader.br, space[:min(left, len(space))])
		if !st.buf.commit(m) {
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

// lingered counts n bytes that came on a stream whose body nobody reads.
func (s *Session) lingered(st *Stream, n int) {
	st.dropped += int64(n)
	if st.dropped <= lingerLimit {
		s.give(st, n)
		return
	}
	if s.server == nil {
		s.reset(st, Cancel, errors.New("nobody reads the body"))
		return
	}
	s.mu.Lock()
	defer s.unlock()
	// The response goes out first: until then the peer waits for window.
	st.unwanted = true
	if st.localClosed {
		s.refuseRestLocked(st)
	}
}

// remoteFin takes the peer's FIN.
func (s *Session) remoteFin(st *Stream) {
	if st.want >= 0 && st.got < st.want {
		s.wrongLength(st, true)
		if s.server != nil {
			return
		}
	} else {
		st.buf.end(io.EOF)
	}
	s.mu.Lock()
	defer s.unlock()
	st.remoteClosed = true
	if st.localClosed {
		s.removeLocked(st, nil)
	}
}

// wrongLength ends a body that is not as long as its content-length. A server
// answers 400 if it has not answered yet (draft 3.1, 3.2.1); a client says it to
// the reader of the body, or a cut body would look whole behind it. Fin says that
// no more of it comes.
func (s *Session) wrongLength(st *Stream, fin bool) {
	err := &StreamError{StreamID: st.id, Status: ProtocolError,
		Cause: fmt.Errorf("%w: %d bytes announced, %d came", ErrBodyLength, st.want, st.got)}
	if s.server == nil {
		st.buf.end(err)
		return
	}
	s.mu.Lock()
	if st.closed {
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
	freePairs(st.held)
	st.held = nil
	s.answerLocked(st, http.StatusBadRequest)
	if !fin {
		s.sendResetLocked(st.id, Cancel) // the rest of the body is not wanted
	}
	s.removeLocked(st, err)
	s.unlock()
}
