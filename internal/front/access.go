package front

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// AccessFormat is how a line of the access log looks.
type AccessFormat uint8

const (
	// Combined is the format that Apache calls so.
	Combined AccessFormat = iota
	// JSON is an object a line, with the request's id, origin, stream and
	// durations.
	JSON
)

// AccessLog writes a line for each request. Whatever A sent is escaped: a value
// never ends a line or a field.
type AccessLog struct {
	format AccessFormat
	w      io.Writer
}

// NewAccessLog writes to w, a whole line in each Write. These are calls of many
// requests at once, none of which w must hold up; its errors are for it to tell.
func NewAccessLog(w io.Writer, f AccessFormat) *AccessLog { return &AccessLog{format: f, w: w} }

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

func (l *AccessLog) write(r *Record) {
	r = clipped(r)
	var line []byte
	if l.format == JSON {
		line = jsonLine(r)
	} else {
		line = combinedLine(r)
	}
	l.w.Write(line)
}

// combinedLine: HOST - USER [TIME] "REQUEST" STATUS BYTES "REFERER" "AGENT".
func combinedLine(r *Record) []byte {
	b := make([]byte, 0, 256)
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
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~' || c == ' ' && spaces:
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return b
}

func jsonLine(r *Record) []byte {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
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
