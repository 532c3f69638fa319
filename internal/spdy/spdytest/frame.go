package spdytest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Type is the type of a control frame, or TypeData.
type Type uint16

// The frames of draft 3.1, 2.6, and what earlier drafts had.
const (
	TypeData         Type = 0 // not on the wire: a frame without the control bit
	TypeSynStream    Type = 1
	TypeSynReply     Type = 2
	TypeRstStream    Type = 3
	TypeSettings     Type = 4
	TypeNoop         Type = 5
	TypePing         Type = 6
	TypeGoAway       Type = 7
	TypeHeaders      Type = 8
	TypeWindowUpdate Type = 9
	TypeCredential   Type = 10
)

var typeNames = [...]string{"DATA", "SYN_STREAM", "SYN_REPLY", "RST_STREAM", "SETTINGS", "NOOP", "PING", "GOAWAY", "HEADERS",
	"WINDOW_UPDATE", "CREDENTIAL"}

// String returns the draft's name of t.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %#04x", uint16(t))
}

// Flags of frames.
const (
	Fin            uint8 = 1 // DATA, SYN_STREAM, SYN_REPLY, HEADERS
	Unidirectional uint8 = 2 // SYN_STREAM
	ClearSettings  uint8 = 1 // SETTINGS
)

// Ids of settings (draft 3.1, 2.6.4).
const (
	SettingMaxConcurrentStreams uint32 = 4
	SettingInitialWindowSize    uint32 = 7
)

// Pair is a name with its value; NUL joins the parts of a value.
type Pair struct{ Name, Value string }

// Setting is an entry of a SETTINGS frame.
type Setting struct {
	Flags uint8
	ID    uint32 // 24 bits
	Value uint32
}

// Frame is one frame, to be sent or as it was received. Which fields count
// depends on Type.
type Frame struct {
	Type     Type
	Flags    uint8
	ID       uint32 // the stream's; of PING, the ping's; of GOAWAY, the last-good stream's
	Value    uint32 // RST_STREAM and GOAWAY: status; WINDOW_UPDATE: delta
	Assoc    uint32 // SYN_STREAM: the associated stream
	Priority uint8  // SYN_STREAM: 0 to 7
	Settings []Setting
	Data     []byte // DATA, and types that are not known: the payload

	// SYN_STREAM, SYN_REPLY, HEADERS. Pairs are in the order of the wire.
	Pairs []Pair
	// Plain, if not nil, is the decoded block to send in place of Pairs.
	Plain []byte
	// Block is the compressed block; to send: in place of Pairs and Plain,
	// past the sender's zlib state.
	Block []byte

	// Wire is the frame as it was received; to send: in place of all else.
	Wire []byte
}

// Get returns the value of the pair called name.
func (f Frame) Get(name string) (value string, ok bool) {
	for _, p := range f.Pairs {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// String describes f in a line.
func (f Frame) String() string {
	var b strings.Builder
	b.WriteString(f.Type.String())
	switch f.Type {
	case TypeSettings:
		for _, s := range f.Settings {
			fmt.Fprintf(&b, " %d=%d", s.ID, s.Value)
			if s.Flags != 0 {
				fmt.Fprintf(&b, "(flags %02x)", s.Flags)
			}
		}
	case TypePing:
		fmt.Fprintf(&b, " %d", f.ID)
	case TypeGoAway:
		fmt.Fprintf(&b, " last-good %d, status %d", f.ID, f.Value)
	case TypeRstStream:
		fmt.Fprintf(&b, " stream %d, status %d", f.ID, f.Value)
	case TypeWindowUpdate:
		fmt.Fprintf(&b, " stream %d, delta %d", f.ID, f.Value)
	case TypeData:
		fmt.Fprintf(&b, " stream %d, %d bytes", f.ID, len(f.Data))
		if len(f.Data) <= 32 {
			fmt.Fprintf(&b, " %q", f.Data)
		}
	case TypeSynStream, TypeSynReply, TypeHeaders:
		fmt.Fprintf(&b, " stream %d", f.ID)
		if f.Type == TypeSynStream {
			fmt.Fprintf(&b, ", associated %d, priority %d", f.Assoc, f.Priority)
		}
		for _, p := range f.Pairs {
			fmt.Fprintf(&b, ", %s=%q", p.Name, p.Value)
		}
	}
	if f.Flags != 0 {
		fmt.Fprintf(&b, ", flags %02x", f.Flags)
	}
	return b.String()
}

// Data is a DATA frame; flags may be 0 or Fin.
func Data(id uint32, data string, flags uint8) Frame {
	return Frame{Type: TypeData, ID: id, Data: []byte(data), Flags: flags}
}

// SynStream is a SYN_STREAM of priority 0.
func SynStream(id uint32, flags uint8, pairs ...Pair) Frame {
	return Frame{Type: TypeSynStream, ID: id, Flags: flags, Pairs: pairs}
}

// SynReply is a SYN_REPLY.
func SynReply(id uint32, flags uint8, pairs ...Pair) Frame {
	return Frame{Type: TypeSynReply, ID: id, Flags: flags, Pairs: pairs}
}

// Headers is a HEADERS frame.
func Headers(id uint32, flags uint8, pairs ...Pair) Frame {
	return Frame{Type: TypeHeaders, ID: id, Flags: flags, Pairs: pairs}
}

// Rst is a RST_STREAM.
func Rst(id, status uint32) Frame { return Frame{Type: TypeRstStream, ID: id, Value: status} }

// Settings is a SETTINGS frame of entries without flags: id, value, id, value...
func Settings(idValue ...uint32) Frame {
	f := Frame{Type: TypeSettings}
	for i := 0; i+1 < len(idValue); i += 2 {
		f.Settings = append(f.Settings, Setting{ID: idValue[i], Value: idValue[i+1]})
	}
	return f
}

// Ping is a PING.
func Ping(id uint32) Frame { return Frame{Type: TypePing, ID: id} }

// GoAway is a GOAWAY.
func GoAway(lastGood, status uint32) Frame {
	return Frame{Type: TypeGoAway, ID: lastGood, Value: status}
}

// WindowUpdate is a WINDOW_UPDATE; id 0 is the session's window.
func WindowUpdate(id, delta uint32) Frame {
	return Frame{Type: TypeWindowUpdate, ID: id, Value: delta}
}

// Control is a control frame of version 3 with any type, flags and payload.
func Control(typ Type, flags uint8, payload []byte) Frame {
	return Frame{Type: typ, Flags: flags, Wire: appendControl(nil, 3, typ, flags, payload)}
}

// Raw is bytes to send as they are.
func Raw(b []byte) Frame { return Frame{Wire: b} }

// Request returns the five pairs of a request to a.test.
func Request(method, path string) []Pair {
	return []Pair{{":method", method}, {":path", path}, {":version", "HTTP/1.1"}, {":host", "a.test"}, {":scheme", "https"}}
}

// Response returns the two pairs of a response.
func Response(status string) []Pair {
	return []Pair{{":status", status}, {":version", "HTTP/1.1"}}
}

// AppendBlock appends the decoded form of pairs to b (draft 3.1, 2.6.10).
func AppendBlock(b []byte, pairs ...Pair) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(pairs)))
	for _, p := range pairs {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.Name)))
		b = append(b, p.Name...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.Value)))
		b = append(b, p.Value...)
	}
	return b
}

func appendControl(b []byte, version uint16, typ Type, flags uint8, payload []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, 0x8000|version)
	b = binary.BigEndian.AppendUint16(b, uint16(typ))
	b = binary.BigEndian.AppendUint32(b, uint32(flags)<<24|uint32(len(payload)))
	return append(b, payload...)
}

// hasBlock reports whether frames of type t carry a name/value block, and
// after how many bytes of payload.
func hasBlock(t Type) (at int, ok bool) {
	switch t {
	case TypeSynStream:
		return 10, true
	case TypeSynReply, TypeHeaders:
		return 4, true
	}
	return 0, false
}

// Append appends f as it is on the wire, with block as its compressed block if
// it is of a kind that has one.
func (f Frame) Append(b, block []byte) []byte {
	if f.Wire != nil {
		return append(b, f.Wire...)
	}
	u32 := binary.BigEndian.AppendUint32
	var p []byte
	switch f.Type {
	case TypeData:
		b = u32(b, f.ID)
		b = u32(b, uint32(f.Flags)<<24|uint32(len(f.Data)))
		return append(b, f.Data...)
	case TypeSynStream:
		p = append(u32(u32(nil, f.ID), f.Assoc), f.Priority<<5, 0)
		p = append(p, block...)
	case TypeSynReply, TypeHeaders:
		p = append(u32(nil, f.ID), block...)
	case TypeRstStream, TypeGoAway, TypeWindowUpdate:
		p = u32(u32(nil, f.ID), f.Value)
	case TypePing:
		p = u32(nil, f.ID)
	case TypeSettings:
		p = u32(nil, uint32(len(f.Settings)))
		for _, s := range f.Settings {
			p = u32(u32(p, uint32(s.Flags)<<24|s.ID), s.Value)
		}
	default:
		p = f.Data
	}
	return appendControl(b, 3, f.Type, f.Flags, p)
}

// matches reports whether got, a received frame, is what f asks for. Frames
// without a block are compared byte for byte. Of the others, Pairs count if
// there are any; in any order, and got may have more.
func (f Frame) matches(got Frame) bool {
	if _, ok := hasBlock(f.Type); !ok || f.Wire != nil {
		return bytes.Equal(f.Append(nil, nil), got.Wire)
	}
	if f.Type != got.Type || f.ID != got.ID || f.Flags != got.Flags || f.Assoc != got.Assoc || f.Priority != got.Priority {
		return false
	}
	for _, p := range f.Pairs {
		if v, ok := got.Get(p.Name); !ok || v != p.Value {
			return false
		}
	}
	return true
}
