package spdy

import (
	"iter"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// The names of draft 3.1, 3.2.1 and 3.2.2.
const (
	nameMethod  = ":method"
	namePath    = ":path"
	nameVersion = ":version"
	nameHost    = ":host"
	nameScheme  = ":scheme"
	nameStatus  = ":status"
)

// requestNames are what each request has (draft 3.1, 3.2.1).
var requestNames = [...]string{nameMethod, namePath, nameVersion, nameHost, nameScheme}

// forbidden names are never sent and are dropped when received (draft 3.1,
// 3.2.1): they speak of one HTTP/1.1 connection. The argument is in lower case.
func forbidden(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding":
		return true
	}
	return false
}

// canonicalizer turns names into http.Header keys. Owned by one goroutine.
type canonicalizer struct{ known map[string]string }

// maxKnownNames bounds the cache: names come from the peer.
const maxKnownNames = 256

func (c *canonicalizer) key(name string) string {
	if k, ok := c.known[name]; ok {
		return k
	}
	k := textproto.CanonicalMIMEHeaderKey(name)
	if len(c.known) < maxKnownNames && len(name) <= 64 {
		if c.known == nil {
			c.known = make(map[string]string)
		}
		c.known[strings.Clone(name)] = strings.Clone(k)
	}
	return k
}

// header makes an http.Header of the fields that are neither pseudo headers
// nor forbidden.
func (c *canonicalizer) header(fields []field, request bool) http.Header {
	n := 0 // of those that become fields: a map for more than eight is of the costlier kind
	for _, f := range fields {
		if f.name[0] != ':' {
			n++
		}
	}
	h := make(http.Header, n)
	values := make([]string, 0, n)
	for _, f := range fields {
		if f.name[0] == ':' || forbidden(f.name) {
			continue
		}
		if request && (f.name == "host" || f.name == "te" && f.value != "trailers") {
			continue
		}
		first := len(values)
		switch {
		case strings.IndexByte(f.value, 0) < 0:
			values = append(values, f.value)
		case f.name == "cookie":
			values = append(values, strings.ReplaceAll(f.value, "\x00", "; "))
		default:
			for v := range strings.SplitSeq(f.value, "\x00") {
				values = append(values, v)
			}
		}
		h[c.key(f.name)] = values[first:len(values):len(values)]
	}
	return h
}

// lookup returns the value of a field, and whether it is there.
func lookup(fields []field, name string) (string, bool) {
	for _, f := range fields {
		if f.name == name {
			return f.value, true
		}
	}
	return "", false
}

// parseContentLength returns -1 for an absent header.
func parseContentLength(fields []field) (int64, error) {
	v, ok := lookup(fields, "content-length")
	if !ok {
		return -1, nil
	}
	return contentLength(strings.SplitSeq(v, "\x00"))
}

// contentLength returns the one length that all values are, in decimal digits: -1
// if there is none. Equal values count once (RFC 9110, 8.6; RFC 9112, 6.3).
func contentLength(values iter.Seq[string]) (int64, error) {
	length, first := int64(-1), ""
	for v := range values {
		if length >= 0 && v == first {
			continue
		}
		n, err := strconv.ParseUint(v, 10, 63)
		switch {
		case err != nil:
			return -1, malformed("content-length %q is not a length", v)
		case length >= 0:
			return -1, malformed("content-length has two values, %q and %q", first, v)
		}
		length, first = int64(n), v
	}
	return length, nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// isToken: RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

// What may stand in a token, in a value, and in an authority without user information
// (RFC 9110, 5.6.2 and 5.5; RFC 3986, 3.2).
var (
	isTokenByte = table(func(c byte) bool { return isAlnum(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 })
	isValueByte = table(func(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' })
	isHostByte  = table(func(c byte) bool { return isAlnum(c) || strings.IndexByte("!$%&'()*+,-.:;=[]_~", c) >= 0 })
)

func table(in func(byte) bool) (t [256]bool) {
	for i := range t {
		t[i] = in(byte(i))
	}
	return t
}

func isAlnum(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// hasToken reports whether the comma-separated values hold token, which is in lower
// case, in any case of ASCII's letters: strings.EqualFold folds others as well.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.Trim(part, " \t"); len(part) == len(token) && strings.ToLower(part) == token {
				return true
			}
		}
	}
	return false
}

// upgradeOf returns the protocol that a request asks to switch to, or "".
func upgradeOf(h http.Header) string {
	if !hasToken(h["Connection"], "upgrade") {
		return ""
	}
	return h.Get("Upgrade")
}

// validHost takes what RFC 3986 allows in an authority without user information.
func validHost(h string) bool {
	for i := range len(h) {
		if !isHostByte[h[i]] {
			return false
		}
	}
	return h != ""
}

// parseStatus reads ":status", "200" or "200 OK" (draft 3.1, 3.2.2).
func parseStatus(v string) (code int, text string, ok bool) {
	if len(v) < 3 || len(v) > 3 && v[3] != ' ' {
		return 0, "", false
	}
	for i := range 3 {
		if v[i] < '0' || v[i] > '9' {
			return 0, "", false
		}
	}
	code = int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0')
	if code < 100 {
		return 0, "", false
	}
	if len(v) > 4 {
		return code, v, true
	}
	return code, statusLine(code), true
}

// statusLine returns "200 OK" for 200.
func statusLine(code int) string {
	if code == http.StatusOK {
		return "200 OK"
	}
	if text := http.StatusText(code); text != "" {
		return strconv.Itoa(code) + " " + text
	}
	return strconv.Itoa(code)
}

// bodyAllowed reports whether a response with this status may have a body.
func bodyAllowed(code int) bool {
	return code >= 200 && code != http.StatusNoContent && code != http.StatusNotModified || code == http.StatusSwitchingProtocols
}
