package spdy

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// blockFrame is a SYN_STREAM, SYN_REPLY or HEADERS whose block was decoded, into
// reader.fields.
type blockFrame struct {
	frameHeader
	id     uint32
	text   string // of the block
	bad    error  // a violation in it that ends the stream, with status
	status Status
}

// readBlock takes a frame whose block stands behind the first fixed bytes. The block is
// inflated whatever becomes of the frame: the next one depends on it.
func (s *Session) readBlock(h frameHeader, payload []byte, fixed int) (f blockFrame, err error) {
	f = blockFrame{frameHeader: h, id: binary.BigEndian.Uint32(payload) & maxStreamID}
	if f.id == 0 {
		return f, protocolError("%v on stream 0", h.typ)
	}
	out, tooLarge, err := s.reader.inflate.inflate(payload[fixed:], s.cfg.MaxHeaderBytes)
	switch {
	case err != nil:
		return f, &SessionError{Status: GoAwayProtocolError, Cause: err}
	case tooLarge:
		f.bad, f.status = errBlockSize, FrameTooLarge
	default:
		f.text = string(out)
		f.status, f.bad = s.reader.parse(f.text, &s.cfg)
	}
	if s.tracer() != nil {
		s.tracer()(FrameInfo{Type: h.typ, Flags: uint8(h.flags), StreamID: f.id, Length: int(h.length), Detail: describeBlock(f.text)})
	}
	return f, nil
}

// parse splits a block into fields. An error ends the stream, with that status.
func (r *reader) parse(text string, cfg *Config) (status Status, bad error) {
	if cap(r.inflate.out) > 4*defaultMaxHeaderBytes {
		r.inflate.out = nil // not kept for a session's life
	}
	if cap(r.fields) > 4*defaultMaxHeaderPairs {
		r.fields = nil
	}
	r.fields, bad = parsePairs(r.fields[:0], text, cfg.MaxHeaderPairs, max(1<<10, cfg.MaxHeaderBytes/64))
	if errors.Is(bad, ErrHeaderTooLarge) {
		return FrameTooLarge, bad
	}
	return ProtocolError, bad
}

// sound reports whether the flags and the block of f are those of a SYN_REPLY or
// HEADERS; if not, st is reset.
func (s *Session) sound(st *Stream, f blockFrame) bool {
	switch {
	case f.flags&^flagFin != 0:
		s.streamError(st, ProtocolError, "%v with flags %02x", f.typ, uint8(f.flags))
	case f.bad != nil:
		s.streamError(st, f.status, "%v: %w", f.typ, f.bad)
	default:
		return true
	}
	return false
}

// forFrame returns the open stream that a SYN_REPLY or HEADERS is for, and whether it
// has its SYN_REPLY, or nil when there is none and the answer was given.
func (s *Session) forFrame(f blockFrame) (st *Stream, replied bool, err error) {
	s.mu.Lock()
	defer s.unlock()
	st = s.streams[f.id]
	if st == nil {
		return nil, false, s.notOpenLocked(f.id, 0)
	}
	if !st.receiving() {
		s.afterFinLocked(st, f.typ)
		return nil, false, nil
	}
	return st, st.replied, nil
}

// onSynStream takes a stream that the peer opens (draft 3.1, 2.3.2).
func (s *Session) onSynStream(h frameHeader, payload []byte) error {
	associated := binary.BigEndian.Uint32(payload[4:]) & maxStreamID
	pri := payload[8] >> 5
	f, err := s.readBlock(h, payload, 10)
	if err != nil {
		return err
	}
	accepted, err := s.takesStream(f, associated)
	if accepted {
		s.accept(f.id, pri, h.flags&flagFin != 0)
	}
	return err
}

// takesStream reports whether a handler is to have the stream that f opens. Where none
// is, the peer has its answer, if there is one; an error ends the session.
func (s *Session) takesStream(f blockFrame, associated uint32) (bool, error) {
	id := f.id
	s.mu.Lock()
	defer s.unlock()
	switch {
	case !s.isPeers(id):
		return false, protocolError("SYN_STREAM with id %d of the wrong parity", id)
	case s.closing.sent:
		return false, nil // it crossed our GOAWAY, and will be sent elsewhere
	case id < s.admission.lastID:
		return false, protocolError("SYN_STREAM with id %d after %d", id, s.admission.lastID)
	}
	again := id == s.admission.lastID
	first := s.streams[id]
	if s.admission.lastID = id; !again {
		s.resets.known++
	}
	switch {
	case again && first != nil:
		s.resetLocked(first, ProtocolError, errors.New("SYN_STREAM with an id that is in use"))
	case again:
		return false, s.notOpenLocked(id, 0)
	case f.flags&^(flagFin|flagUnidirectional) != 0:
		s.sendResetLocked(id, ProtocolError)
	case f.bad != nil:
		s.sendResetLocked(id, f.status)
	case s.server == nil:
		s.sendResetLocked(id, s.pushStatusLocked(f.frameHeader, associated))
	case s.closing.got:
		s.sendResetLocked(id, RefusedStream)
	case f.flags&flagUnidirectional != 0:
		s.sendResetLocked(id, ProtocolError) // it could not be answered
	case max(len(s.streams), s.admission.handlers) >= int(min(s.cfg.MaxConcurrentStreams, 1<<30)):
		// Handlers count too, not only streams: a peer that opens and resets
		// streams must not make us run any number of them.
		s.sendResetLocked(id, RefusedStream)
	default:
		return true, nil
	}
	return false, nil
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
	f, err := s.readBlock(h, payload, 4)
	if err != nil {
		return err
	}
	st, replied, err := s.forFrame(f)
	if st == nil || err != nil {
		return err
	}
	switch {
	case s.server != nil:
		return s.streamError(st, ProtocolError, "SYN_REPLY on a stream that the peer opened")
	case replied:
		return s.streamError(st, StreamInUse, "second SYN_REPLY")
	case !s.sound(st, f):
		return nil
	}
	fin := h.flags&flagFin != 0
	resp, err := s.response(st, fin)
	if err != nil {
		return s.streamError(st, ProtocolError, "SYN_REPLY: %w", err)
	}
	if fin {
		// Before st.resp is set: something else may wake RoundTrip, and whoever sees the
		// response is to see its end, too. Nobody reads the body yet.
		if !st.bodyWhole() {
			s.wrongLength(st, true)
		}
		st.recv.buf.end(io.EOF) // the first end counts
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
	if fin {
		s.closeRemoteLocked(st)
	}
	s.unlock()
	if s.dataIsHere(st) {
		s.reader.answered = st
	} else {
		st.cond.Broadcast()
	}
	return nil
}

func (s *Session) onHeaders(h frameHeader, payload []byte) error {
	f, err := s.readBlock(h, payload, 4)
	if err != nil {
		return err
	}
	st, replied, err := s.forFrame(f)
	if st == nil || err != nil {
		return err
	}
	if s.server == nil && !replied {
		return s.streamError(st, ProtocolError, "HEADERS before SYN_REPLY")
	}
	if !s.sound(st, f) {
		return nil
	}
	for _, f := range s.reader.fields {
		if f.name[0] == ':' {
			return s.streamError(st, ProtocolError, "HEADERS with %q", f.name)
		}
		st.body.morePairs += 1 + strings.Count(f.value, "\x00")
	}
	st.body.moreBytes += len(f.text)
	if st.body.moreBytes > s.cfg.MaxHeaderBytes || st.body.morePairs > s.cfg.MaxHeaderPairs {
		return s.streamError(st, FrameTooLarge, "HEADERS: %d bytes and %d lines in all", st.body.moreBytes, st.body.morePairs)
	}
	if len(s.reader.fields) == 0 && h.flags&flagFin == 0 {
		if err := s.spend(1); err != nil {
			return err
		}
	}
	st.recv.buf.addTrailer(s.reader.names.header(s.reader.fields, s.server != nil))
	if h.flags&flagFin != 0 {
		s.remoteFin(st)
	}
	return nil
}
