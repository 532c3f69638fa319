// Package accesslog writes a line for each request, of P's and of C's, to a file that
// holds no request up.
package accesslog

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
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
	lines  sync.Pool // of *[]byte, whose Write has returned
}

// New writes to w, a whole line in each Write. These are calls of many requests at once,
// none of which w must hold up; its errors are for it to tell.
func New(w io.Writer, f Format) *Log { return &Log{format: f, w: w} }

// maxField is how many bytes of a text of the visitor's a line has: it may send
// as much as a head holds, and escaped that is four times as long.
const maxField = 2 << 10

// clipped returns r with its long texts cut, and dots where they were.
func clipped(r *Record) *Record {
	texts := func(r *Record) [6]*string {
		return [...]*string{&r.User, &r.Method, &r.Host, &r.URI, &r.Referer, &r.UserAgent}
	}
	for _, s := range texts(r) {
		if len(*s) > maxField {
			c := *r
			for _, s := range texts(&c) {
				if len(*s) > maxField {
					*s = (*s)[:maxField] + "..."
				}
			}
			return &c
		}
	}
	return r
}

// Write writes the line of r.
func (l *Log) Write(r *Record) {
	r = clipped(r)
	if l.format == JSON {
		l.w.Write(jsonLine(r))
		return
	}
	line, ok := l.lines.Get().(*[]byte)
	if !ok {
		line = new([]byte)
	}
	*line = appendCombined((*line)[:0], r)
	l.w.Write(*line)
	if cap(*line) <= maxField {
		l.lines.Put(line)
	}
}

// appendCombined appends CLIENT - USER [TIME] "REQUEST" STATUS BYTES "REFERER" "AGENT" HOST
// ORIGIN MILLISECONDS ID.
func appendCombined(b []byte, r *Record) []byte {
	if r.Client.IsValid() {
		b = r.Client.AppendTo(b)
	} else {
		b = append(b, '-')
	}
	b = append(b, " - "...)
	b = appendWord(b, r.User)
	b = append(b, " ["...)
	b = r.Time.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = appendEscaped(b, r.Method, false)
	b = append(b, ' ')
	b = appendEscaped(b, r.URI, true)
	b = append(b, ' ')
	b = appendEscaped(b, r.Proto, false)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	if r.BytesOut == 0 {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, r.BytesOut, 10)
	}
	for _, v := range []string{r.Referer, r.UserAgent} {
		b = append(b, ` "`...)
		if v == "" {
			b = append(b, '-')
		}
		b = appendEscaped(b, v, false)
		b = append(b, '"')
	}
	for _, v := range []string{r.Host, r.Origin} {
		b = append(b, ' ')
		b = appendWord(b, v)
	}
	b = append(b, ' ')
	b = strconv.AppendFloat(b, milliseconds(r.Duration), 'f', -1, 64)
	b = append(b, ' ')
	b = appendWord(b, r.RequestID)
	return append(b, '\n')
}

// appendWord appends a value that stands without quotes.
func appendWord(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendEscaped(b, s, true)
}

// appendEscaped appends s with \xHH for whatever is not visible ASCII, and a
// backslash before quotes and backslashes.
func appendEscaped(b []byte, s string, spaces bool) []byte {
	from := 0 // what is before it was appended
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(append(b, s[from:i]...), '\\', c)
		case c < ' ' || c > '~' || c == ' ' && spaces:
			b = fmt.Appendf(append(b, s[from:i]...), `\x%02x`, c)
		default:
			continue
		}
		from = i + 1
	}
	return append(b, s[from:]...)
}

// milliseconds has microseconds behind the point.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func jsonLine(r *Record) []byte {
	ms := milliseconds
	client, peer := "", ""
	if r.Peer.IsValid() {
		client, peer = r.Client.String(), r.Peer.String()
	}
	line, err := json.Marshal(struct {
		Time      time.Time `json:"time"`
		ID        string    `json:"id"`
		Client    string    `json:"client"`
		Peer      string    `json:"peer"`
		User      string    `json:"user,omitempty"`
		Method    string    `json:"method"`
		Scheme    string    `json:"scheme"`
		Host      string    `json:"host"`
		URI       string    `json:"uri"`
		Proto     string    `json:"proto"`
		Referer   string    `json:"referer,omitempty"`
		UserAgent string    `json:"user_agent,omitempty"`
		Origin    string    `json:"origin,omitempty"`
		Session   uint64    `json:"session,omitempty"`
		Stream    uint32    `json:"stream,omitempty"`
		Priority  uint8     `json:"priority"`
		Status    int       `json:"status"`
		Reason    string    `json:"reason,omitempty"`
		Detail    string    `json:"detail,omitempty"`
		Aborted   bool      `json:"aborted,omitempty"`
		Upgraded  bool      `json:"upgraded,omitempty"`
		BytesIn   int64     `json:"bytes_in"`
		BytesOut  int64     `json:"bytes_out"`
		Headers   float64   `json:"headers_ms,omitempty"`
		Duration  float64   `json:"duration_ms"`
		Held      float64   `json:"held_ms,omitempty"`
		Replayed  int       `json:"replayed,omitempty"`
		Resumed   int       `json:"resumed,omitempty"`
	}{
		r.Time, r.RequestID, client, peer, r.User, r.Method, r.Scheme, r.Host, r.URI, r.Proto, r.Referer, r.UserAgent,
		r.Origin, r.Session, r.Stream, r.Priority, r.Status, r.Reason, r.Detail, r.Aborted, r.Upgraded, r.BytesIn, r.BytesOut,
		ms(r.Headers), ms(r.Duration), ms(r.Held), r.Replayed, r.Resumed,
	})
	if err != nil {
		// Strings, numbers and a time of this century are always JSON.
		return fmt.Appendf(nil, "{\"id\":%q}\n", r.RequestID)
	}
	return append(line, '\n')
}
