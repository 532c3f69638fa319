package accesslog

import (
	"encoding/json"
	"net/netip"
	"strconv"

	"github.com/amahi/spdy-proxy/internal/oneline"
)

// appendJSON appends an object, as encoding/json does of a struct with these names.
func appendJSON(b []byte, r *Record, s *second) []byte {
	b = append(b, `{"time":"`...)
	b = append(b, s.text...)
	b = appendFraction(b, int64(r.Time.Nanosecond()), 100_000_000)
	b = append(b, s.zone...)
	b = append(b, '"')
	b = appendText(b, `,"id":`, r.RequestID)
	if r.Peer.IsValid() {
		b = appendAddr(b, `,"client":`, r.Client)
		b = appendAddr(b, `,"peer":`, r.Peer)
	} else {
		b = append(b, `,"client":"","peer":""`...)
	}
	b = appendSome(b, `,"user":`, r.User)
	b = appendText(b, `,"method":`, r.Method)
	b = appendText(b, `,"scheme":`, r.Scheme)
	b = appendText(b, `,"host":`, r.Host)
	b = appendText(b, `,"uri":`, r.URI)
	b = appendText(b, `,"proto":`, r.Proto)
	b = appendSome(b, `,"referer":`, r.Referer)
	b = appendSome(b, `,"user_agent":`, r.UserAgent)
	b = appendSome(b, `,"origin":`, r.Origin)
	if r.Session != 0 {
		b = strconv.AppendUint(append(b, `,"session":`...), r.Session, 10)
	}
	if r.Stream != 0 {
		b = strconv.AppendUint(append(b, `,"stream":`...), uint64(r.Stream), 10)
	}
	b = appendInt(b, `,"priority":`, int64(r.Priority))
	b = appendInt(b, `,"status":`, int64(r.Status))
	b = appendSome(b, `,"reason":`, r.Reason)
	b = appendSome(b, `,"detail":`, r.Detail)
	if r.Aborted {
		b = append(b, `,"aborted":true`...)
	}
	if r.Upgraded {
		b = append(b, `,"upgraded":true`...)
	}
	b = appendInt(b, `,"bytes_in":`, r.BytesIn)
	b = appendInt(b, `,"bytes_out":`, r.BytesOut)
	if r.Headers.Microseconds() != 0 {
		b = appendMilliseconds(append(b, `,"headers_ms":`...), r.Headers)
	}
	b = appendMilliseconds(append(b, `,"duration_ms":`...), r.Duration)
	if r.Held.Microseconds() != 0 {
		b = appendMilliseconds(append(b, `,"held_ms":`...), r.Held)
	}
	if r.Replayed != 0 {
		b = appendInt(b, `,"replayed":`, int64(r.Replayed))
	}
	if r.Resumed != 0 {
		b = appendInt(b, `,"resumed":`, int64(r.Resumed))
	}
	return append(b, "}\n"...)
}

func appendInt(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(b, key...), n, 10)
}

func appendAddr(b []byte, key string, a netip.Addr) []byte {
	if !a.IsValid() || a.Zone() != "" {
		return appendText(b, key, a.String())
	}
	b = append(append(b, key...), '"')
	return append(a.AppendTo(b), '"')
}

// appendSome appends a text that is left out if it is empty.
func appendSome(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendText(b, key, s)
}

// appendText appends a text in quotes, with what JSON wants escaped, and what is
// [oneline.Unsafe].
func appendText(b []byte, key, s string) []byte {
	if len(s) > maxField {
		s = s[:maxField] + "..."
	}
	b = append(b, key...)
	begin := len(b)
	b = append(b, '"')
	from := 0 // what is before it was appended
	for i := markup.clean(s); i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(append(b, s[from:i]...), '\\', c)
		case '<', '>', '&': // which encoding/json keeps from who takes it for HTML
			b = append(append(b, s[from:i]...), '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			if ' ' <= c && c <= '~' {
				continue
			}
			text, err := json.Marshal(s)
			if err != nil { // a string is always JSON
				text = []byte(`""`)
			}
			return oneline.Append(b[:begin], text)
		}
		from = i + 1
	}
	return append(append(b, s[from:]...), '"')
}
