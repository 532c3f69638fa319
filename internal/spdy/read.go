package spdy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// protocolError is what readFrame returns for a violation that ends the session.
func protocolError(format string, args ...any) *SessionError {
	return &SessionError{Status: GoAwayProtocolError, Cause: fmt.Errorf(format, args...)}
}

// reader is what only readLoop has to do with.
type reader struct {
	br      *bufio.Reader // nil while a session above TLS waits for a frame: see readHeader
	head    [frameHeaderLen]byte
	inflate inflater
	fields  []field // of the block decoded last
	names   canonicalizer
	payload []byte // of frames that do not fit into br
	flood   floodBudget

	// answered has its reply, and its RoundTrip was not told yet: with the DATA that has
	// come behind it, the caller has a response to send at once. Nil: there is none.
	answered *Stream
}

// readLoop is the only reader of the connection. It never waits for a stream,
// nor for the writer. It ends when the connection does.
func (s *Session) readLoop() {
	for !s.closing.ended.Load() {
		if err := s.readFrame(); err != nil {
			se, ok := errors.AsType[*SessionError](err)
			if !ok {
				se = lost(err)
			}
			s.end(se)
		}
	}
	s.drain()
	s.giveReadBuffer()
}

// drain reads what the peer still sends, until its EOF or the deadline that
// end has set. Behind a write that failed nothing went out that could be lost.
func (s *Session) drain() {
	s.mu.Lock()
	failed := s.closing.writeErr != nil
	s.unlock()
	if failed {
		return
	}
	s.takeReadBuffer()
	io.Copy(io.Discard, s.reader.br)
}

// lost is the error for a connection whose reading ended with err.
func lost(err error) *SessionError {
	switch err {
	case io.EOF:
		return &SessionError{Status: GoAwayInternalError, Cause: errEOF}
	case io.ErrUnexpectedEOF:
		err = errors.New("the peer closed it inside a frame")
	}
	return lostError(err)
}

// lostError is the end of a session whose connection failed with err.
func lostError(err error) *SessionError {
	return &SessionError{Status: GoAwayInternalError, Cause: fmt.Errorf("%w: %w", ErrLost, err)}
}

// readBuffer is the size in bytes of what is read at once, but for DATA.
const readBuffer = 4 << 10

var readBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

func (s *Session) takeReadBuffer() {
	if s.reader.br == nil {
		s.reader.br = readBuffers.Get().(*bufio.Reader)
		s.reader.br.Reset(sessionReader{s})
	}
}

func (s *Session) giveReadBuffer() {
	if br := s.reader.br; br != nil {
		s.reader.br = nil
		br.Reset(nil)
		readBuffers.Put(br)
	}
}

// readHeader reads the header of the next frame. Above TLS, which has what came with
// it, nobody waits with a buffer in hand: there may be thousands that do. Without TLS
// it would be another call of the system for each frame.
func (s *Session) readHeader() (frameHeader, error) {
	if s.tls == nil || s.reader.br != nil && s.reader.br.Buffered() > 0 {
		s.takeReadBuffer()
		b, err := s.reader.br.Peek(frameHeaderLen)
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return frameHeader{}, err
		}
		s.reader.br.Discard(frameHeaderLen)
		return parseFrameHeader(b), nil
	}
	s.giveReadBuffer()
	_, err := io.ReadFull(sessionReader{s}, s.reader.head[:])
	s.takeReadBuffer()
	if err != nil {
		return frameHeader{}, err
	}
	return parseFrameHeader(s.reader.head[:]), nil
}

// dataIsHere reports whether DATA of st is the next frame, and has come whole.
func (s *Session) dataIsHere(st *Stream) bool {
	br := s.reader.br
	if br.Buffered() < frameHeaderLen {
		return false
	}
	b, _ := br.Peek(frameHeaderLen)
	h := parseFrameHeader(b)
	return !h.control() && h.id == st.id && br.Buffered() >= frameHeaderLen+int(h.length)
}

// readFrame reads one frame and acts on it.
func (s *Session) readFrame() error {
	h, err := s.readHeader()
	if err != nil {
		return err
	}
	if !h.control() {
		err := s.readData(h)
		if st := s.reader.answered; st != nil {
			s.reader.answered = nil
			st.cond.Broadcast()
		}
		return err
	}
	payload, err := s.readControl(h)
	if counted := s.countFrame(h, payload); err == nil {
		err = counted
	}
	if err != nil {
		return err
	}
	switch h.typ {
	case typeSynStream:
		return s.onSynStream(h, payload)
	case typeSynReply:
		return s.onSynReply(h, payload)
	case typeHeaders:
		return s.onHeaders(h, payload)
	case typeRstStream:
		return s.onRstStream(h, payload)
	case typeSettings:
		return s.onSettings(h, payload)
	case typePing:
		return s.onPing(payload)
	case typeGoAway:
		return s.onGoAway(payload)
	case typeWindowUpdate:
		return s.onWindowUpdate(payload)
	}
	if err := s.spend(1); err != nil {
		return err
	}
	if s.tracer() != nil {
		s.trace(false, h.typ, h.flags, 0, int(h.length), "ignored")
	}
	return nil
}

// readControl returns the payload of a control frame, nil if the frame is an error.
// What it returns is valid until the next read.
func (s *Session) readControl(h frameHeader) ([]byte, error) {
	if h.version != wireVersion {
		return nil, protocolError("frame of version %d", h.version)
	}
	if err := s.checkLength(h); err != nil {
		return nil, err
	}
	return s.readPayload(int(h.length))
}

// A peer may send frames that ask for work and bring nothing at this rate a
// second, and so many at once; more is a flood. One that concerns all streams counts as
// one more for each floodWalk of them.
const (
	floodRate  = 1000
	floodBurst = 10000
	floodWalk  = 64
)

// floodBudget is when, since the session's start, all such frames so far could have come
// one by one at floodRate.
type floodBudget time.Duration

// spend counts a SETTINGS, a PING, a GOAWAY, a DATA or HEADERS frame with nothing
// in it, not even FIN, or one of an unknown type, as n of them.
func (b *floodBudget) spend(n int, now time.Duration) error {
	const each = time.Second / floodRate
	*b = max(*b, floodBudget(now)) + floodBudget(each)*floodBudget(n)
	if time.Duration(*b)-now > floodBurst*each {
		return protocolError("a flood of frames that bring nothing")
	}
	return nil
}

// spend is floodBudget.spend, now.
func (s *Session) spend(n int) error { return s.reader.flood.spend(n, s.heardAt()) }

func (s *Session) countFrame(h frameHeader, payload []byte) error {
	s.mu.Lock()
	defer s.unlock()
	return s.countFrameLocked(h, payload)
}

// countFrameLocked counts and remembers a frame that came, whose payload is not known
// if it is DATA or an error. It is an error if the peer has made us hold too many that
// it does not read.
func (s *Session) countFrameLocked(h frameHeader, payload []byte) error {
	s.stats.FramesReceived++
	s.flight.add(flightReceived(s.heardAt(), h, payload))
	if s.queue.caused > s.causedLimit() {
		return protocolError("more than %d frames wait for a peer that does not read", s.causedLimit())
	}
	return nil
}

// checkLength checks a control frame by its header alone, before anything is
// allocated for it.
func (s *Session) checkLength(h frameHeader) error {
	want, exact := uint32(0), true
	switch h.typ {
	case typeSynStream:
		want, exact = 10, false
	case typeSynReply, typeHeaders:
		want, exact = 4, false
	case typeSettings:
		want, exact = 4, false
	case typeRstStream, typeGoAway, typeWindowUpdate:
		want = 8
	case typePing:
		want = 4
	default:
		return nil
	}
	if h.length < want || exact && h.length != want {
		return protocolError("%v frame of %d bytes", h.typ, h.length)
	}
	if exact && h.flags != 0 {
		return protocolError("%v frame with flags %02x", h.typ, uint8(h.flags))
	}
	if h.length > s.cfg.MaxFrameSize {
		if h.typ != typeSettings {
			s.refuseTooLarge(h)
		}
		return protocolError("%v frame of %d bytes, more than %d", h.typ, h.length, s.cfg.MaxFrameSize)
	}
	return nil
}

// refuseTooLarge resets the stream of a frame whose header block is not going
// to be read; its compressed bytes are missing then, so the session ends too
// (draft 3.1, 2.2.1 and 2.6.10.1). If its stream id is not there yet, it must be
// the id that the peer would open next.
func (s *Session) refuseTooLarge(h frameHeader) {
	if s.tls != nil && h.length >= 4 {
		// What came with the header is still below. If nothing did, the session ends all
		// the same.
		s.conn.SetReadDeadline(time.Now().Add(closeTimeout))
		s.reader.br.Peek(4)
	}
	s.mu.Lock()
	defer s.unlock()
	id := uint32(0)
	if s.reader.br.Buffered() >= 4 {
		b, _ := s.reader.br.Peek(4)
		id = binary.BigEndian.Uint32(b) & maxStreamID
	} else if h.typ == typeSynStream {
		id = s.admission.lastID + 2
		if s.admission.lastID == 0 && s.server != nil {
			id = 1
		}
	}
	if id != 0 && id <= maxStreamID {
		s.sendResetLocked(id, FrameTooLarge)
	}
}

// readPayload returns the next n bytes, valid until the next read.
func (s *Session) readPayload(n int) ([]byte, error) {
	if n <= readBuffer {
		b, err := s.reader.br.Peek(n)
		if err != nil {
			return nil, unexpected(err)
		}
		s.reader.br.Discard(n)
		return b, nil
	}
	if uint32(n) > s.cfg.MaxFrameSize {
		// A frame of a type that is skipped.
		_, err := io.CopyN(io.Discard, s.reader.br, int64(n))
		return nil, unexpected(err)
	}
	b := s.reader.payload[:0]
	for len(b) < n {
		// No more room than as much again as has come: a header is soon sent.
		have := len(b)
		more := min(n-have, max(have, keptPayload))
		b = slices.Grow(b, more)[:have+more]
		if _, err := io.ReadFull(s.reader.br, b[have:]); err != nil {
			return nil, unexpected(err)
		}
	}
	s.reader.payload = b
	if n > keptPayload {
		s.reader.payload = nil // not kept for a session's life
	}
	return b, nil
}

// keptPayload is how much of a buffer a session keeps for what does not fit into its
// reader's.
const keptPayload = 32 << 10

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
