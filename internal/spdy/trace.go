package spdy

import (
	"fmt"
	"strings"
)

// tracer returns what is told of each frame, or nil. Once it is not nil it stays so.
func (s *Session) tracer() func(FrameInfo) {
	if s.compat && debugging.Load() {
		return s.debugFrame
	}
	return s.cfg.Trace
}

// trace reports a frame to the tracer, if there is one.
func (s *Session) trace(sent bool, t FrameType, f frameFlags, id uint32, length int, detail ...any) {
	if s.tracer() != nil {
		s.tracer()(FrameInfo{Sent: sent, Type: t, Flags: uint8(f), StreamID: id, Length: length, Detail: fmt.Sprint(detail...)})
	}
}

// traceItem reports a frame of the control queue, of so many bytes of payload.
func (s *Session) traceItem(it *item, length int) {
	detail := it.detail()
	if it.block != nil {
		detail = describeBlock(string(it.block.b))
	}
	s.tracer()(FrameInfo{Sent: true, Type: it.typ, Flags: uint8(it.flags), StreamID: it.id, Length: length, Detail: detail})
}

func (it *item) detail() string {
	switch it.typ {
	case typeRstStream:
		return "status=" + Status(it.value).String()
	case typeWindowUpdate:
		return fmt.Sprint("delta=", it.value)
	case typePing:
		return fmt.Sprint("id=", it.value)
	case typeGoAway:
		return fmt.Sprint("last-good=", it.value, " status=", GoAwayStatus(it.value2))
	case typeSettings:
		return fmt.Sprint("max-concurrent-streams=", it.settings[0], " initial-window-size=", it.settings[1])
	}
	return ""
}

// length is the payload length of a frame that has a fixed one.
func (it *item) length() int {
	switch it.typ {
	case typeRstStream, typeWindowUpdate, typeGoAway:
		return 8
	case typePing:
		return 4
	case typeSettings:
		return 20
	}
	return 0
}

// describeBlock renders a decoded block for a trace, with secrets hidden.
func describeBlock(block string) string {
	fields, err := parsePairs(nil, block, len(block), len(block))
	if err != nil {
		return "(" + err.Error() + ")"
	}
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch f.name {
		case "cookie", "set-cookie", "authorization", "proxy-authorization":
			fmt.Fprintf(&b, "%s=(%d bytes hidden)", f.name, len(f.value))
		default:
			fmt.Fprintf(&b, "%s=%q", f.name, f.value)
		}
	}
	return b.String()
}
