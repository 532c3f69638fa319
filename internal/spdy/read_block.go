package spdy

import (
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"time"
)

// decode inflates and splits a header block. malformed is a violation that
// ends the stream, with its status; err one that ends the session.
func (s *Session) decode(block []byte) (text string, malformed error, status Status, err error) {
	out, tooLarge, err := s.reader.inflate.inflate(block, s.cfg.MaxHeaderBytes)
	if err != nil {
		return "", nil, 0, &SessionError{Status: GoAwayProtocolError, Cause: err}
	}
	if tooLarge {
		return "", errBlockSize, FrameTooLarge, nil
	}
	text = string(out)
	if cap(s.reader.inflate.out) > 4*defaultMaxHeaderBytes {
		s.reader.inflate.out = nil // not kept for a session's life
	}
	if cap(s.reader.fields) > 4*defaultMaxHeaderPairs {
		s.reader.fields = nil
	}
	s.reader.fields, malformed = parsePairs(s.reader.fields[:0], text, s.cfg.MaxHeaderPairs, max(1<<10, s.cfg.MaxHeaderBytes/64))
	status = ProtocolError
	if errors.Is(malformed, ErrHeaderTooLarge) {
		status = FrameTooLarge
	}
	return text, malformed, status, nil
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
	if !st.receiving() {
		s.afterFinLocked(st, what)
		return nil, nil
	}
	return st, nil
}

// onSynStream takes a stream that the peer opens (draft 3.1, 2.3.2). Its header
// block is inflated whatever becomes of it.
func (s *Session) onSynStream(h frameHeader, payload []byte) error {
	id := binary.BigEndian.Uint32(payload) & maxStreamID
	associated := binary.BigEndian.Uint32(payload[4:]) & maxStreamID
	pri := payload[8] >> 5
	if id == 0 {
		return protocolError("SYN_STREAM for stream 0")
	}
	text, malformed, status, err := s.decode(payload[10:])
	if err != nil {
		return err
	}
	s.traceBlock(h, id, text)

	s.mu.Lock()
	if !s.isPeers(id) {
		s.unlock()
		return protocolError("SYN_STREAM with id %d of the wrong parity", id)
	}
	if s.closing.sent {
		s.unlock()
		return nil // it crossed our GOAWAY, and will be sent elsewhere
	}
	if id < s.admission.lastID {
		s.unlock()
		return protocolError("SYN_STREAM with id %d after %d", id, s.admission.lastID)
	}
	again := id == s.admission.lastID
	first := s.streams[id]
	if s.admission.lastID = id; !again {
		s.resets.known++
	}
	accept := false
	switch {
	case again && first != nil:
		s.resetLocked(first, ProtocolError, errors.New("SYN_STREAM with an id that is in use"))
	case again:
		err = s.notOpenLocked(id, 0)
	case h.flags&^(flagFin|flagUnidirectional) != 0:
		s.sendResetLocked(id, ProtocolError)
	case malformed != nil:
		s.sendResetLocked(id, status)
	case s.server == nil:
		s.sendResetLocked(id, s.pushStatusLocked(h, associated))
	case s.closing.got:
		s.sendResetLocked(id, RefusedStream)
	case h.flags&flagUnidirectional != 0:
		s.sendResetLocked(id, ProtocolError) // it could not be answered
	case max(len(s.streams), s.admission.handlers) >= int(min(s.cfg.MaxConcurrentStreams, 1<<30)):
		// Handlers count too, not only streams: a peer that opens and resets
		// streams must not make us run any number of them.
		s.sendResetLocked(id, RefusedStream)
	default:
		accept = true
	}
	s.unlock()
	if accept {
		s.accept(id, pri, h.flags&flagFin != 0)
	}
	return err
}

// pushStatusLocked returns the status for a pushed stream (draft 3.1, 3.3): this
// side takes none, and a malformed one is told so.
func (s *Session) pushStatusLocked(h frameHeader, associated uint32) Status {
	if h.flags&flagUnidirectional == 0 || s.streams[associated] == nil {
		return ProtocolError
	}
	for _, name := range []string{nameHost, nameScheme, namePath} {
		if _, ok := lookup(s.reader.fields, name); !ok {
			return ProtocolError
		}
	}
	return RefusedStream
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
	if s.ping.unknown() && !st.recv.grow.last.IsZero() {
		if took := time.Since(st.recv.grow.last); took <= longestReply {
			s.ping.reply = took
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
	for _, f := range s.reader.fields {
		if f.name[0] == ':' {
			return s.streamError(st, ProtocolError, "HEADERS with %q", f.name)
		}
		st.body.morePairs += 1 + strings.Count(f.value, "\x00")
	}
	st.body.moreBytes += len(text)
	if st.body.moreBytes > s.cfg.MaxHeaderBytes || st.body.morePairs > s.cfg.MaxHeaderPairs {
		return s.streamError(st, FrameTooLarge, "HEADERS: %d bytes and %d lines in all", st.body.moreBytes, st.body.morePairs)
	}
	if len(s.reader.fields) == 0 && h.flags&flagFin == 0 {
		if err := s.reader.flood.spend(); err != nil {
			return err
		}
	}
	st.recv.buf.addTrailer(s.reader.names.header(s.reader.fields, s.server != nil))
	if h.flags&flagFin != 0 {
		s.remoteFin(st)
	}
	return nil
}
