// Package accesslog writes a line for each request, of P's and of C's, to a file that
// holds no request up.
package accesslog

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Format is how a line looks.
type Format uint8

const (
	// Auto is Combined, or what Or says.
	Auto Format = iota
	// Combined is the format that Apache calls so, followed by the Host, the origin,
	// the milliseconds that the request took, and its id.
	Combined
	// JSON is an object a line, with the request's id, origin, stream and
	// durations.
	JSON
)

// Or returns f, or JSON for Auto where the log's own lines are that.
func (f Format) Or(logJSON bool) Format {
	if f == Auto && logJSON {
		return JSON
	}
	return f
}

// Set makes a Format a flag's value.
func (f *Format) Set(s string) error {
	switch s {
	case "":
		*f = Auto
	case "combined":
		*f = Combined
	case "json":
		*f = JSON
	default:
		return fmt.Errorf("%q is not combined or json", s)
	}
	return nil
}

// String is what Set takes.
func (f *Format) String() string {
	switch *f {
	case Combined:
		return "combined"
	case JSON:
		return "json"
	}
	return ""
}

// Type is what a flag's value is called.
func (f *Format) Type() string { return "string" }

// Log writes a line for each request. Whatever A sent is escaped: a value never ends a
// line or a field.
type Log struct {
	format Format
	w      io.Writer
	lines  sync.Pool              // of *[]byte, whose Write has returned
	second atomic.Pointer[second] // the newest that a line was of
}

// New writes to w, a whole line in each Write, with nothing in it that is
// [oneline.Unsafe] but its end. These are calls of many requests at once, none of which w
// must hold up; its errors are for it to tell.
func New(w io.Writer, f Format) *Log { return &Log{format: f, w: w} }

// Short reports whether a line has nothing of a Record's Peer, Scheme, Stream and Session,
// Priority, BytesIn and Headers, nor of what ended the request: who would have to look for
// them need not.
func (l *Log) Short() bool { return l.format != JSON }

// maxField is how many bytes of a text a line has, and dots where the rest was: a visitor
// may send as much as a head holds, and escaped that is four times as long.
const maxField = 2 << 10

// Write writes the line of r.
func (l *Log) Write(r *Record) {
	line, ok := l.lines.Get().(*[]byte)
	if !ok {
		line = new([]byte)
	}
	*line = l.append((*line)[:0], r)
	l.w.Write(*line)
	if cap(*line) <= maxField {
		l.lines.Put(line)
	}
}

func (l *Log) append(b []byte, r *Record) []byte {
	if l.format == JSON {
		return appendJSON(b, r, l.secondOf(r.Time))
	}
	return appendCombined(b, r, l.secondOf(r.Time))
}

// appendCombined appends CLIENT - USER [TIME] "REQUEST" STATUS BYTES "REFERER" "AGENT" HOST
// ORIGIN MILLISECONDS ID.
func appendCombined(b []byte, r *Record, s *second) []byte {
	switch {
	case !r.Client.IsValid():
		b = append(b, '-')
	case r.Client.Zone() == "":
		b = r.Client.AppendTo(b)
	default: // a zone is any text
		b = appendWord(b, r.Client.String())
	}
	b = append(b, " - "...)
	b = appendWord(b, r.User)
	b = append(b, " ["...)
	b = append(b, s.text...)
	b = append(b, `] "`...)
	b = appendEscaped(b, r.Method, quoted)
	b = append(b, ' ')
	b = appendEscaped(b, r.URI, words)
	b = append(b, ' ')
	b = appendEscaped(b, r.Proto, quoted)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	if r.BytesOut == 0 {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, r.BytesOut, 10)
	}
	for _, v := range [...]string{r.Referer, r.UserAgent} {
		b = append(b, ` "`...)
		if v == "" {
			b = append(b, '-')
		}
		b = appendEscaped(b, v, quoted)
		b = append(b, '"')
	}
	for _, v := range [...]string{r.Host, r.Origin} {
		b = append(b, ' ')
		b = appendWord(b, v)
	}
	b = append(b, ' ')
	b = appendMilliseconds(b, r.Duration)
	b = append(b, ' ')
	b = appendWord(b, r.RequestID)
	return append(b, '\n')
}

// appendWord appends a value that stands without quotes.
func appendWord(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendEscaped(b, s, words)
}

// appendEscaped appends s with \xHH for whatever is not visible ASCII, or a space that may
// be, and a backslash before quotes and backslashes.
func appendEscaped(b []byte, s string, set escapes) []byte {
	if len(s) > maxField {
		return append(appendEscaped(b, s[:maxField], set), "..."...)
	}
	from := 0 // what is before it was appended
	for i := set.clean(s); i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(append(b, s[from:i]...), '\\', c)
		case c < set.below || c > '~':
			b = append(append(b, s[from:i]...), '\\', 'x', hex[c>>4], hex[c&15])
		default:
			continue
		}
		from = i + 1
	}
	return append(b, s[from:]...)
}

// appendMilliseconds has up to three digits behind the point.
func appendMilliseconds(b []byte, d time.Duration) []byte {
	us := d.Microseconds()
	if us < 0 { // of a clock that was set back
		b, us = append(b, '-'), -us
	}
	b = strconv.AppendInt(b, us/1000, 10)
	return appendFraction(b, us%1000, 100)
}

// appendFraction appends a point and the digits of n, the first of which is worth unit,
// without the zeros at their end, or nothing for 0.
func appendFraction(b []byte, n, unit int64) []byte {
	if n > 0 {
		b = append(b, '.')
	}
	for ; n > 0; n, unit = n%unit, unit/10 {
		b = append(b, byte('0'+n/unit))
	}
	return b
}
