package spdy

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// FrameType is the type of a frame; zero, which no control frame has, stands
// for DATA.
type FrameType uint16

// String returns the draft's name of t.
func (t FrameType) String() string {
	if int(t) < len(frameNames) && frameNames[t] != "" {
		return frameNames[t]
	}
	return fmt.Sprintf("type %#x", uint16(t))
}

var frameNames = [...]string{
	0: "DATA", 1: "SYN_STREAM", 2: "SYN_REPLY", 3: "RST_STREAM", 4: "SETTINGS", 5: "NOOP", 6: "PING",
	7: "GOAWAY", 8: "HEADERS", 9: "WINDOW_UPDATE", 10: "CREDENTIAL",
}

const (
	typeData         FrameType = 0
	typeSynStream    FrameType = 1
	typeSynReply     FrameType = 2
	typeRstStream    FrameType = 3
	typeSettings     FrameType = 4
	typePing         FrameType = 6
	typeGoAway       FrameType = 7
	typeHeaders      FrameType = 8
	typeWindowUpdate FrameType = 9
)

// frameFlags is the flags byte of a frame's header.
type frameFlags uint8

const (
	flagFin            frameFlags = 1 // SYN_STREAM, SYN_REPLY, HEADERS, DATA
	flagUnidirectional frameFlags = 2 // SYN_STREAM
)

// String names the flags that are set.
func (f frameFlags) String() string {
	var names []string
	if f&flagFin != 0 {
		names = append(names, "FIN")
	}
	if f&flagUnidirectional != 0 {
		names = append(names, "UNIDIRECTIONAL")
	}
	if rest := f &^ (flagFin | flagUnidirectional); rest != 0 || f == 0 {
		names = append(names, fmt.Sprintf("%02x", uint8(rest)))
	}
	return strings.Join(names, "|")
}

// SETTINGS ids and entry flags (draft 3.1, 2.6.4).
const (
	settingMaxStreams    = 4
	settingInitialWindow = 7

	settingPersisted = 2
)

const (
	frameHeaderLen = 8
	maxStreamID    = 1<<31 - 1
	maxWindow      = 1<<31 - 1
	wireVersion    = 3

	// maxRecord is the most plaintext that we put into a TLS record, which
	// could hold 128 bytes more. A DATA frame of ours, its header included,
	// fills one. Four of them, sealed, are what Corkable writes at once: they
	// fit into one packet of the system's, 45 segments of 1448 bytes that a
	// network card takes together, and one segment of loopback's. What is
	// beyond that goes out as a packet of its own, and costs as much.
	maxRecord = 16<<10 - 128
	maxData   = maxRecord - frameHeaderLen
)

// frameHeader is the first 8 bytes of any frame (draft 3.1, 2.2).
type frameHeader struct {
	typ     FrameType // typeData for DATA
	version uint16    // control frames only
	id      uint32    // stream id, DATA only
	flags   frameFlags
	length  uint32 // of what follows the header
}

// parseFrameHeader reads the header at the start of b, of at least 8 bytes.
func parseFrameHeader(b []byte) (h frameHeader) {
	first := binary.BigEndian.Uint32(b)
	second := binary.BigEndian.Uint32(b[4:])
	h.flags = frameFlags(second >> 24)
	h.length = second & 0xffffff
	if first>>31 == 0 {
		h.id = first
		return h
	}
	h.version = uint16(first>>16) & 0x7fff
	h.typ = FrameType(first)
	return h
}

// control is true for every frame but DATA. A control frame of type 0 has a
// version, so it is told apart from DATA, whose version is 0 here.
func (h frameHeader) control() bool { return h.typ != typeData || h.version != 0 }

// appendControl appends the header of a control frame.
func appendControl(b []byte, t FrameType, f frameFlags, length int) []byte {
	b = binary.BigEndian.AppendUint32(b, 1<<31|wireVersion<<16|uint32(t))
	return binary.BigEndian.AppendUint32(b, uint32(f)<<24|uint32(length))
}

// putDataHeader writes the header of a DATA frame into b, of 8 bytes.
func putDataHeader(b []byte, id uint32, f frameFlags, length int) {
	binary.BigEndian.PutUint32(b, id)
	binary.BigEndian.PutUint32(b[4:], uint32(f)<<24|uint32(length))
}

// appendWords appends a control frame whose payload is words.
func appendWords(b []byte, t FrameType, words ...uint32) []byte {
	b = appendControl(b, t, 0, 4*len(words))
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// FrameInfo describes one frame for Config.Trace. It holds no secret: the
// values of cookie, set-cookie, authorization and proxy-authorization headers
// are replaced by their length.
type FrameInfo struct {
	Sent     bool // by this side; otherwise received
	Type     FrameType
	Flags    uint8
	StreamID uint32 // 0 for frames of the session
	Length   int    // of the payload in bytes

	Detail string // what the payload says, in words; empty for DATA
}

// String returns one line without its end.
func (f FrameInfo) String() string {
	var b strings.Builder
	if f.Sent {
		b.WriteString("send ")
	} else {
		b.WriteString("recv ")
	}
	b.WriteString(f.Type.String())
	if f.StreamID != 0 {
		fmt.Fprintf(&b, " stream=%d", f.StreamID)
	}
	if f.Flags != 0 {
		fmt.Fprintf(&b, " flags=%v", frameFlags(f.Flags))
	}
	fmt.Fprintf(&b, " length=%d", f.Length)
	if f.Detail != "" {
		b.WriteByte(' ')
		b.WriteString(f.Detail)
	}
	return b.String()
}
