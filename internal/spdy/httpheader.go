package spdy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
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
	h := make(http.Header, len(fields))
	values := make([]string, 0, len(fields))
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

// pairsPool holds the buffers of blocks between their making and their writing.
var pairsPool = sync.Pool{New: func() any { return new(pairs) }}

func newPairs() *pairs {
	p := pairsPool.Get().(*pairs)
	p.reset()
	return p
}

func freePairs(p *pairs) {
	if p != nil && cap(p.b) <= 64<<10 {
		pairsPool.Put(p)
	}
}

// checkBlock returns an error for a block that must not be sent: the frame could
// be above what the peer takes, and the session with all its streams would end for
// it.
func (s *Session) checkBlock(p *pairs) error {
	if frameOf(len(p.b)) > int(s.cfg.MaxPeerFrameSize) {
		return errBlockSize
	}
	return nil
}

// frameOf is how long the payload of a frame may be that holds a block of n bytes:
// what compression may add to it, and the ids.
func frameOf(n int) int { return n + n/1024 + 64 }

// addHeader appends the lines of h for which skip is false, names in lower case
// and the values of one name joined by NUL. An invalid name or value is an
// error; lenient instead leaves the name out, and writes a space for a byte
// that no value may hold.
func (p *pairs) addHeader(h http.Header, lenient bool, skip func(key string) bool) error {
	return p.addCanonical(canonical(h), lenient, skip) // or one name could be written twice
}

// addCanonical is addHeader for what canonical returned.
func (p *pairs) addCanonical(h http.Header, lenient bool, skip func(key string) bool) error {
	for key, values := range h {
		if len(values) == 0 || skip(key) {
			continue
		}
		if !isToken(key) {
			if lenient {
				continue
			}
			return fmt.Errorf("invalid header name %q", key)
		}
		p.b = binary.BigEndian.AppendUint32(p.b, uint32(len(key)))
		for i := range len(key) {
			p.b = append(p.b, lower(key[i]))
		}
		if !p.addValues(values, lenient) {
			return fmt.Errorf("invalid value of header %q", key)
		}
		p.n++
		binary.BigEndian.PutUint32(p.b, p.n)
	}
	return nil
}

// canonical returns h with the spellings of each name brought together: h itself
// if there is but one of each.
func canonical(h http.Header) http.Header {
	one := true
	for key := range h {
		one = one && key == textproto.CanonicalMIMEHeaderKey(key)
	}
	if one {
		return h
	}
	c := make(http.Header, len(h))
	for key, values := range h {
		key = textproto.CanonicalMIMEHeaderKey(key)
		c[key] = append(c[key], values...)
	}
	return c
}

// addValues appends the 32-bit length and the values joined by NUL. No part may
// be empty, unless it is the only one (draft 3.1, 2.6.10).
func (p *pairs) addValues(values []string, lenient bool) bool {
	at := len(p.b)
	p.b = append(p.b, 0, 0, 0, 0)
	for _, v := range values {
		if v == "" {
			continue
		}
		if len(p.b) > at+4 {
			p.b = append(p.b, 0)
		}
		for i := range len(v) {
			c := v[i]
			if c < ' ' && c != '\t' || c == 0x7f {
				if !lenient {
					return false
				}
				c = ' '
			}
			p.b = append(p.b, c)
		}
	}
	binary.BigEndian.PutUint32(p.b[at:], uint32(len(p.b)-at-4))
	return true
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
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// hasToken reports whether the comma-separated values hold token, in any case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
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

// addRequest makes the block of a request, and says whether it asks for an
// upgrade, whose stream stays open both ways. The caller's Header is not
// changed.
func (p *pairs) addRequest(req *http.Request, hasBody bool) (upgrade bool, err error) {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	if !isToken(method) {
		return false, fmt.Errorf("invalid method %q", method)
	}
	if req.URL == nil {
		return false, errors.New("request has no URL")
	}
	path := req.URL.Opaque
	if strings.HasPrefix(path, "/") {
		if req.URL.ForceQuery || req.URL.RawQuery != "" {
			path += "?" + req.URL.RawQuery
		}
	} else {
		path = req.URL.RequestURI()
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] == 0x7f {
			return false, fmt.Errorf("invalid path %q", path)
		}
	}
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	if !validHost(host) {
		return false, fmt.Errorf("invalid host %q", host)
	}
	scheme := req.URL.Scheme
	if scheme == "" {
		scheme = "http"
	}
	p.add(nameMethod, method)
	p.add(namePath, path)
	p.add(nameVersion, "HTTP/1.1")
	p.add(nameHost, host)
	p.add(nameScheme, scheme)

	// With a body the stream's bytes are that body's, and cannot be another
	// protocol's as well.
	upgrade = upgradeOf(req.Header) != "" && !hasBody
	if req.ContentLength > 0 || req.ContentLength == 0 && !hasBody && sendsZeroLength(method) {
		p.add("content-length", strconv.FormatInt(req.ContentLength, 10))
	}
	if len(req.Trailer) > 0 {
		names := make([]string, 0, len(req.Trailer))
		for k := range req.Trailer {
			if isToken(k) && !forbiddenTrailer(textproto.CanonicalMIMEHeaderKey(k)) {
				names = append(names, k)
			}
		}
		if len(names) > 0 {
			p.add("trailer", strings.Join(names, ", "))
		}
	}
	err = p.addHeader(req.Header, false, func(key string) bool {
		switch key {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Host", "Content-Length", "Trailer", "Expect":
			return true
		case "Upgrade":
			return !upgrade
		}
		return key[:min(1, len(key))] == ":"
	})
	return upgrade, err
}

// sendsZeroLength: methods whose lack of a body is worth saying (RFC 9110, 8.6).
func sendsZeroLength(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// validHost takes what RFC 3986 allows in an authority without user information.
func validHost(h string) bool {
	for i := range len(h) {
		c := h[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("!$%&'()*+,-.:;=[]_~", c) >= 0) {
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
