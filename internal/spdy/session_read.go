package spdy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// lingerLimit is how many bytes of a body that nobody reads are dropped, and
// given back, before the rest is refused: at once by a client, by a server after
// its response.
const lingerLimit = 256 << 10

// protocolError is what readFrame returns for a violation that ends the session.
func protocolError(format string, args ...any) *SessionError {
	return &SessionError{Status: GoAwayProtocolError, Cause: fmt.Errorf(format, args...)}
}

// readLoop is the only reader of the connection. It never waits for a stream,
// nor for the writer. It ends when the connection does.
func (s *Session) readLoop() {
	for !s.ending.Load() {
		if err := s.readFrame(); err != nil {
			var se *SessionError
			if !errors.As(err, &se) {
				se = s.lost(err)
			}
			s.end(se)
		}
	}
	s.drain()
}

// lost is the error for a connection that ended by itself.
func (s *Session) lost(err error) *SessionError {
	s.mu.Lock()
	status := s.goAwayGotStatus
	announced := s.goAwayGot && len(s.streams) == 0
	s.unlock()
	switch {
	case status != GoAwayOK:
		return &SessionError{Status: status, Remote: true, Cause: errPeerStatus}
	case announced:
		return &SessionError{Remote: true, Cause: ErrGoingAway}
	case err == io.EOF:
		return &SessionError{Status: GoAwayInternalError, Cause: errEOF}
	case err == io.ErrUnexpectedEOF:
		err = errors.New("the peer closed it inside a frame")
	}
	return lostError(err)
}

// lostError is the end of a session whose connection failed with err.
func lostError(err error) *SessionError {
	return &SessionError{Status: GoAwayInternalError, Cause: fmt.Errorf("%w: %w", ErrLost, err)}
}

// readFrame reads one frame and acts on it.
func (s *Session) readFrame() error {
	b, err := s.br.Peek(frameHeaderLen)
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	h := parseFrameHeader(b)
	s.br.Discard(frameHeaderLen)
	if !h.control() {
		return s.readData(h)
	}
	if h.version != wireVersion {
		return protocolError("frame of version %d", h.version)
	}
	if err := s.checkLength(h); err != nil {
		return err
	}
	payload, err := s.readPayload(int(h.length))
	if err != nil {
		return err
	}
	if err := s.countFrame(); err != nil {
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
	if err := s.cheapFrame(); err != nil {
		return err
	}
	if s.tracer() != nil {
		s.trace(false, h.typ, h.flags, 0, int(h.length), "ignored")
	}
	return nil
}

// A peer may send frames that ask for work and bring nothing at this rate a
// second, and so many at once; more is a flood.
const (
	cheapRate  = 1000
	cheapBurst = 10000
)

// cheapFrame counts a SETTINGS, a PING, a GOAWAY, a DATA or HEADERS frame with
// nothing in it, not even FIN, or one of an unknown type.
func (s *Session) cheapFrame() error {
	if s.cheap++; s.cheap <= cheapBurst {
		return nil
	}
	now := time.Now()
	refill := int64(now.Sub(s.cheapSince).Seconds() * cheapRate)
	s.cheap = max(0, s.cheap-int(min(refill, cheapBurst)))
	s.cheapSince = now
	if s.cheap > cheapBurst {
		return protocolError("a flood of frames that bring nothing")
	}
	return nil
}

func (s *Session) countFrame() error {
	s.mu.Lock()
	defer s.unlock()
	return s.countFrameLocked()
}

// countFrameLocked counts a frame that came. It is an error if the peer has made
// us hold too many that it does not read.
func (s *Session) countFrameLocked() error {
	s.stats.FramesReceived++
	if s.queue.caused > s.causedLimit() {
		return protocolError("more than %d frames wait for a peer that does not read", s.causedLimit())
	}
	return nil
}

// checkLength judges a control frame by its header alone, before anything is
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
	s.mu.Lock()
	defer s.unlock()
	id := uint32(0)
	if s.br.Buffered() >= 4 {
		b, _ := s.br.Peek(4)
		id = binary.BigEndian.Uint32(b) & maxStreamID
	} else if h.typ == typeSynStream {
		id = s.lastID + 2
		if s.lastID == 0 && s.server != nil {
			id = 1
		}
	}
	if id != 0 && id <= maxStreamID {
		s.sendResetLocked(id, FrameTooLarge)
	}
}

// readPayload returns the next n bytes, valid until the next read.
func (s *Session) readPayload(n int) ([]byte, error) {
	if n <= s.br.Size() {
		b, err := s.br.Peek(n)
		if err != nil {
			return nil, unexpected(err)
		}
		s.br.Discard(n)
		return b, nil
	}
	if uint32(n) > s.cfg.MaxFrameSize {
		// A frame of a type that is skipped.
		_, err := io.CopyN(io.Discard, s.br, int64(n))
		return nil, unexpected(err)
	}
	if cap(s.payload) < n {
		s.payload = make([]byte, n)
	}
	b := s.payload[:n]
	_, err := io.ReadFull(s.br, b)
	if n > 32<<10 {
		s.payload = nil // not kept for a session's life
	}
	return b, unexpected(err)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readData takes one DATA frame.
func (s *Session) readData(h frameHeader) error {
	n := int(h.length)
	if h.id == 0 {
		return protocolError("DATA on stream 0")
	}
	if n == 0 && h.flags&flagFin == 0 {
		if err := s.cheapFrame(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if err := s.countFrameLocked(); err != nil {
		s.unlock()
		return err
	}
	s.stats.BytesReceived += uint64(n)
	if s.sessionWindows() && !s.recv.take(int64(n)) {
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
		if _, err := s.br.Discard(n); err != nil {
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
		m, err := io.ReadFull(s.br, space[:min(left, len(space))])
		if !st.buf.commit(m) {
			unread += m
		}
		if err != nil {
			return unread, unexpected(err)
		}
		left -= m
	}
	_, err = s.br.Discard(n - room)
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

// answerLocked sends a response without a body, for a request that no handler
// gets or whose handler is not to answer it.
func (s *Session) answerLocked(st *Stream, code int) {
	p := newPairs()
	p.add(nameStatus, statusLine(code))
	p.add(nameVersion, "HTTP/1.1")
	p.add("content-length", "0")
	p.add("date", s.dateLocked())
	st.replied, st.finQueued, st.localClosed = true, true, true
	s.queueLocked(item{typ: typeSynReply, flags: flagFin, id: st.id, block: p})
}

// decode inflates and splits a header block. malformed is a violation that
// ends the stream, with its status; err one that ends the session.
func (s *Session) decode(block []byte) (text string, malformed error, status Status, err error) {
	out, tooLarge, err := s.inflate.inflate(block, s.cfg.MaxHeaderBytes)
	if err != nil {
		return "", nil, 0, &SessionError{Status: GoAwayProtocolError, Cause: err}
	}
	if tooLarge {
		return "", errBlockSize, FrameTooLarge, nil
	}
	text = string(out)
	if cap(s.inflate.out) > 4*defaultMaxHeaderBytes {
		s.inflate.out = nil // not kept for a session's life
	}
	if cap(s.fields) > 4*defaultMaxHeaderPairs {
		s.fields = nil
	}
	s.fields, malformed = parsePairs(s.fields[:0], text, s.cfg.MaxHeaderPairs, max(1<<10, s.cfg.MaxHeaderBytes/64))
	status = ProtocolError
	if errors.Is(malformed, ErrHeaderTooLarge) {
		status = FrameTooLarge
	}
	return text, malformed, status, nil
}

func (s *Session) onSynReply(h frameHeader, payload []byte) error {
	id := binary.BigEndian.Uint32(payload) & maxStreamID
	if id == 0 {
		return protocolError("SYN_REPLY on stream 0")
	}
	text, malformed, status, err := s.decode(payload[4:])
	if err != nil {
		return err
	}
	s.traceBlock(h, id, text)
	st, err := s.forFrame(id, typeSynReply)
	if st == nil || err != nil {
		return err
	}
	s.mu.Lock()
	again := st.replied
	s.unlock()
	switch {
	case s.server != nil:
		return s.streamError(st, ProtocolError, "SYN_REPLY on a stream that the peer opened")
	case again:
		return s.streamError(st, StreamInUse, "second SYN_REPLY")
	case h.flags&^flagFin != 0:
		return s.streamError(st, ProtocolError, "SYN_REPLY with flags %02x", uint8(h.flags))
	case malformed != nil:
		return s.streamError(st, status, "SYN_REPLY: %w", malformed)
	}
	resp, err := s.response(st, h.flags&flagFin != 0)
	if err != nil {
		return s.streamError(st, ProtocolError, "SYN_REPLY: %w", err)
	}
	s.mu.Lock()
	st.replied = true
	st.resp = resp
	if s.minRTT == 0 && s.replyRTT == 0 && !st.grow.last.IsZero() {
		if took := time.Since(st.grow.last); took <= longestReply {
			s.replyRTT = took
		}
	}
	if st.duplex && resp.StatusCode != http.StatusSwitchingProtocols {
		st.finishLocked(nil)
	}
	st.cond.Broadcast()
	s.unlock()
	if h.flags&flagFin != 0 {
		s.remoteFin(st)
	}
	return nil
}

// forFrame returns the open stream that a SYN_REPLY or HEADERS is for, or nil
// when there is none and the answer was given.
func (s *Session) forFrame(id uint32, what FrameType) (*Stream, error) {
	s.mu.Lock()
	defer s.unlock()
	st := s.streams[id]
	if st == nil {
		return nil, s.notOpenLocked(id, 0)
	}
	if st.remoteClosed {
		s.afterFinLocked(st, what)
		return nil, nil
	}
	return st, nil
}

func (s *Session) onHeaders(h frameHeader, payload []byte) error {
	id := binary.BigEndian.Uint32(payload) & maxStreamID
	if id == 0 {
		return protocolError("HEADERS on stream 0")
	}
	text, malformed, status, err := s.decode(payload[4:])
	if err != nil {
		return err
	}
	s.traceBlock(h, id, text)
	st, err := s.forFrame(id, typeHeaders)
	if st == nil || err != nil {
		return err
	}
	s.mu.Lock()
	early := s.server == nil && !st.replied
	s.unlock()
	switch {
	case early:
		return s.streamError(st, ProtocolError, "HEADERS before SYN_REPLY")
	case h.flags&^flagFin != 0:
		return s.streamError(st, ProtocolError, "HEADERS with flags %02x", uint8(h.flags))
	case malformed != nil:
		return s.streamError(st, status, "HEADERS: %w", malformed)
	}
	for _, f := range s.fields {
		if f.name[0] == ':' {
			return s.streamError(st, ProtocolError, "HEADERS with %q", f.name)
		}
		st.morePairs += 1 + strings.Count(f.value, "\x00")
	}
	st.moreBytes += len(text)
	if st.moreBytes > s.cfg.MaxHeaderBytes || st.morePairs > s.cfg.MaxHeaderPairs {
		return s.streamError(st, FrameTooLarge, "HEADERS: %d bytes and %d lines in all", st.moreBytes, st.morePairs)
	}
	if len(s.fields) == 0 && h.flags&flagFin == 0 {
		if err := s.cheapFrame(); err != nil {
			return err
		}
	}
	st.buf.addTrailer(s.names.header(s.fields, s.server != nil))
	if h.flags&flagFin != 0 {
		s.remoteFin(st)
	}
	return nil
}

func (s *Session) onRstStream(h frameHeader, payload []byte) error {
	id := binary.BigEndian.Uint32(payload) & maxStreamID
	status := Status(binary.BigEndian.Uint32(payload[4:]))
	if s.tracer() != nil {
		s.trace(false, h.typ, 0, id, len(payload), "status=", status)
	}
	if id == 0 {
		return protocolError("RST_STREAM on stream 0")
	}
	counted := status
	if counted > FrameTooLarge {
		counted = 0
	}
	s.mu.Lock()
	defer s.unlock()
	s.stats.ResetsReceived[counted]++
	st := s.streams[id]
	if st == nil {
		s.queue.dropAll(id)
		return nil // never a RST_STREAM for a RST_STREAM
	}
	err := &StreamError{StreamID: id, Status: status, Remote: true}
	if status == InvalidStream && !st.remoteClosed && st.credited && st.replied && st.localClosed {
		// There are peers that forget a stream when all of it is queued, and
		// answer our WINDOW_UPDATE ahead of the DATA and the FIN that are still
		// to come. Those are waited for, but not for long.
		if !st.forgotten {
			st.forgotten = true
			time.AfterFunc(forgottenWait, func() { s.lose(st, err) })
		}
		return nil
	}
	s.removeLocked(st, err)
	s.queue.dropAll(id)
	return nil
}

// forgottenWait is how long the rest of a stream may take that its sender has
// forgotten.
const forgottenWait = time.Second

// lose ends a stream that the peer has reset.
func (s *Session) lose(st *Stream, err *StreamError) {
	s.mu.Lock()
	defer s.unlock()
	s.removeLocked(st, err)
}

func (s *Session) onSettings(h frameHeader, payload []byte) error {
	count := uint64(binary.BigEndian.Uint32(payload))
	if uint64(len(payload)) != 4+8*count {
		return protocolError("SETTINGS of %d entries in %d bytes", count, len(payload))
	}
	if s.tracer() != nil {
		s.trace(false, h.typ, h.flags, 0, len(payload), "entries=", count)
	}
	if err := s.cheapFrame(); err != nil {
		return err
	}
	var seen [settingInitialWindow + 1]bool // the first of an id in one frame counts
	for p := payload[4:]; len(p) > 0; p = p[8:] {
		flags, id := p[0], binary.BigEndian.Uint32(p)&0xffffff
		value := binary.BigEndian.Uint32(p[4:])
		if id != settingMaxStreams && id != settingInitialWindow {
			continue
		}
		if s.server != nil && flags&settingPersisted != 0 {
			continue // our own old values, which we never asked to keep
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		s.mu.Lock()
		if id == settingMaxStreams {
			s.peerMax = int64(value)
			s.admitLocked()
			s.unlock()
			continue
		}
		if value > maxWindow {
			s.unlock()
			return protocolError("SETTINGS: window of %d bytes", value)
		}
		delta := int64(value) - s.initialSend
		s.initialSend = int64(value)
		for _, st := range s.streams {
			if !st.sendWin.add(delta) {
				s.resetLocked(st, FlowControlError, errors.New("SETTINGS raise the window above 2^31-1"))
				continue
			}
			// One that may not send any more is left to the writer to skip:
			// taking each out of its queue here would be a walk for each.
			st.readyLocked()
			st.cond.Broadcast()
		}
		s.unlock()
	}
	return nil
}

func (s *Session) onPing(payload []byte) error {
	id := binary.BigEndian.Uint32(payload)
	if s.tracer() != nil {
		s.trace(false, typePing, 0, 0, len(payload), "id=", id)
	}
	if err := s.cheapFrame(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.unlock()
	if ours := (id%2 == 1) == (s.server == nil); ours {
		s.pongLocked(id)
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
	if err := s.cheapFrame(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.unlock()
	if s.goAwayGot {
		last = min(last, s.goAwayGotMax)
	}
	s.goAwayGot, s.goAwayGotMax = true, last
	if s.goAwayGotStatus == GoAwayOK {
		s.goAwayGotStatus = status
	}
	for id, st := range s.streams {
		if !s.isPeers(id) && id > last {
			s.removeLocked(st, &SessionError{Status: status, Remote: true, Cause: ErrGoingAway, NotProcessed: true})
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
		if !s.sendWin.add(delta) {
			return protocolError("the session window passes 2^31-1")
		}
		s.wakeLocked()
		return nil
	}
	st := s.streams[id]
	if st == nil || st.localClosed {
		return nil
	}
	if delta == 0 || !st.sendWin.add(delta) {
		s.resetLocked(st, FlowControlError, fmt.Errorf("WINDOW_UPDATE of %d on a window of %d", delta, st.sendWin))
		return nil
	}
	st.readyLocked()
	st.cond.Broadcast()
	return nil
}

func (s *Session) traceBlock(h frameHeader, id uint32, text string) {
	if s.tracer() != nil {
		s.tracer()(FrameInfo{Type: h.typ, Flags: uint8(h.flags), StreamID: id, Length: int(h.length), Detail: describeBlock(text)})
	}
}
