package spdy

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// flightSize is how many frames a session remembers; they take 4 KiB. A session has
// room for few to begin with: most of those that only wait say little in hours.
const (
	flightSize  = 256
	flightBegin = 16
)

// flightRecorder is the last frames of a session, as they were received, and as they
// had been written. Guarded by Session.mu: at each frame somebody has it anyway, and a
// lock of its own would go to and fro between the reader and the writer.
type flightRecorder struct {
	n    uint64         // frames so far
	ring []flightRecord // the newest, frame i at i%len; grows while all of them fit
}

// flightRecord is one frame, packed: when has the microseconds since the session's
// start, flightValued, and the type; what has flightSent, the stream, and the first
// byte with flags and the length behind it. A frame of a fixed length, which has no
// flags either, has what it says there in their place, and GOAWAY the last-good id
// in that of the stream.
type flightRecord struct{ when, what uint64 }

const (
	flightValued = 1 << 16
	flightSent   = 1 << 63
)

func (r *flightRecorder) add(f flightRecord) {
	if n := len(r.ring); r.n == uint64(n) && n < flightSize {
		// Its records are at their own numbers still, and stay there.
		r.ring = append(make([]flightRecord, 0, max(flightBegin, 2*n)), r.ring...)
		r.ring = r.ring[:cap(r.ring)]
	}
	r.ring[r.n%uint64(len(r.ring))] = f
	r.n++
}

// flightReceived is the record of the frame that h begins; payload is what came of it,
// for a control frame, nil if it was not read.
func flightReceived(at time.Duration, h frameHeader, payload []byte) flightRecord {
	id := h.id
	if len(payload) >= 4 && hasStream(h.typ) {
		id = binary.BigEndian.Uint32(payload) & maxStreamID
	}
	f := flightRecord{when: flightTime(at) | uint64(h.typ), what: uint64(id)<<32 | uint64(h.flags)<<24 | uint64(h.length)}
	switch {
	case h.typ == typePing && len(payload) == 4:
		f.when, f.what = f.when|flightValued, uint64(binary.BigEndian.Uint32(payload))
	case len(payload) == 8 && (h.typ == typeRstStream || h.typ == typeGoAway || h.typ == typeWindowUpdate):
		f.when, f.what = f.when|flightValued, uint64(binary.BigEndian.Uint32(payload)&maxStreamID)<<32|uint64(binary.BigEndian.Uint32(payload[4:]))
	}
	return f
}

// flightOf is the record of a frame of ours, with its length on the wire.
func flightOf(at time.Duration, it *item, length int) flightRecord {
	first, second, valued := it.id, uint32(it.flags)<<24|uint32(length), uint64(flightValued)
	switch it.typ {
	case typePing:
		second = it.value
	case typeGoAway:
		first, second = it.value, it.value2
	case typeRstStream, typeWindowUpdate:
		second = it.value
	default:
		valued = 0
	}
	return flightRecord{when: flightTime(at) | valued | uint64(it.typ), what: flightSent | uint64(first)<<32 | uint64(second)}
}

// flownLocked notes the frames that the writer has written.
func (s *Session) flownLocked() {
	for _, f := range s.writer.flown {
		s.flight.add(f)
	}
	s.writer.flown = s.writer.flown[:0]
	if cap(s.writer.flown) > 4*flightSize {
		s.writer.flown = nil // not kept for a session's life
	}
}

func flightTime(at time.Duration) uint64 { return uint64(at/time.Microsecond) << 17 }

// hasStream reports whether the payload of a control frame begins with a stream id.
func hasStream(t FrameType) bool {
	switch t {
	case typeSynStream, typeSynReply, typeRstStream, typeHeaders, typeWindowUpdate:
		return true
	}
	return false
}

// info unpacks a record.
func (f flightRecord) info() FrameInfo {
	i := FrameInfo{Sent: f.what&flightSent != 0, Type: FrameType(f.when)}
	first, second := uint32(f.what>>32)&maxStreamID, uint32(f.what)
	if f.when&flightValued == 0 {
		i.StreamID, i.Flags, i.Length = first, uint8(second>>24), int(second&0xffffff)
		return i
	}
	it := item{typ: i.Type, id: first, value: second}
	if i.Type == typeGoAway {
		it.id, it.value, it.value2 = 0, first, second
	}
	i.StreamID, i.Length, i.Detail = it.id, it.length(), it.detail()
	return i
}

// FrameRecord is one frame that a session remembers. Its Detail has what a frame of
// a fixed length says; of a header block there is nothing but its length.
type FrameRecord struct {
	FrameInfo
	Time time.Time // when it was received, or began to be written
}

// Frames are frames of one session, the oldest first. As text, and as the value of a
// log record, they are one line: the times count back from the last frame, equal
// ones that follow each other are one entry with their number and their bytes, and
// of more than 1.5 KiB the end is kept.
type Frames []FrameRecord

// Frames returns the last frames of the session, at most 256, whether it goes on or
// has ended. What is just being written is not among them.
func (s *Session) Frames() Frames {
	s.mu.Lock()
	ring, n := slices.Clone(s.flight.ring), s.flight.n
	s.unlock()
	kept := min(n, uint64(len(ring)))
	frames := make(Frames, 0, kept)
	for i := n - kept; i < n; i++ {
		f := ring[i%uint64(len(ring))]
		frames = append(frames, FrameRecord{f.info(), s.started.Add(time.Duration(f.when>>17) * time.Microsecond)})
	}
	slices.SortStableFunc(frames, func(a, b FrameRecord) int { return a.Time.Compare(b.Time) })
	return frames
}

// maxFramesText bounds the text of Frames in bytes: with what else stands in a log's
// line it is below the 2048 that a receiver of syslog should take (RFC 5424, 6.1).
const maxFramesText = 1536

// String returns one line without its end.
func (f Frames) String() string {
	var entries []string
	size := 0
	for end := len(f); end > 0; {
		last := f[end-1]
		begin, bytes := end-1, last.Length
		for begin > 0 && f[begin-1].same(last) {
			begin--
			bytes += f[begin].Length
		}
		e := f[begin]
		e.Length = bytes
		text := fmt.Sprintf("-%.3fs %v", f[len(f)-1].Time.Sub(e.Time).Seconds(), e.FrameInfo)
		if n := end - begin; n > 1 {
			text += fmt.Sprintf(" frames=%d", n)
		}
		if size += len(text) + len("; "); size > maxFramesText-len("...; ") {
			entries = append(entries, "...")
			break
		}
		entries = append(entries, text)
		end = begin
	}
	var b strings.Builder
	for i := len(entries) - 1; i >= 0; i-- {
		b.WriteString(entries[i])
		if i > 0 {
			b.WriteString("; ")
		}
	}
	return b.String()
}

// same reports whether two frames that follow each other differ in their lengths at
// most.
func (f FrameRecord) same(g FrameRecord) bool {
	return f.Sent == g.Sent && f.Type == g.Type && f.Flags == g.Flags && f.StreamID == g.StreamID && f.Detail == g.Detail
}

// LogValue implements slog.LogValuer: nobody makes the text for a line that is not
// written.
func (f Frames) LogValue() slog.Value { return slog.StringValue(f.String()) }
