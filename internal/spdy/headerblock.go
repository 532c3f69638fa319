package spdy

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

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
		from := len(p.b)
		p.b = append(p.b, key...)
		for i, c := range p.b[from:] {
			p.b[from+i] = lower(c)
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
		from := len(p.b)
		p.b = append(p.b, v...)
		for i, c := range p.b[from:] {
			switch {
			case isValueByte[c]:
			case lenient:
				p.b[from+i] = ' '
			default:
				return false
			}
		}
	}
	binary.BigEndian.PutUint32(p.b[at:], uint32(len(p.b)-at-4))
	return true
}

// addRequest makes the block of a request, and says whether it asks for an
// upgrade, whose stream stays open both ways. The caller's Header is not
// changed.
func (p *pairs) addRequest(req *http.Request, hasBody bool) (upgrade bool, err error) {
	method := cmp.Or(req.Method, http.MethodGet)
	if !isToken(method) {
		return false, fmt.Errorf("invalid method %q", method)
	}
	if req.URL == nil {
		return false, errors.New("request has no URL")
	}
	path, err := requestPath(req.URL)
	if err != nil {
		return false, err
	}
	host := cmp.Or(req.Host, req.URL.Host)
	if !validHost(host) {
		return false, fmt.Errorf("invalid host %q", host)
	}
	p.add(nameMethod, method)
	p.add(namePath, path)
	p.add(nameVersion, "HTTP/1.1")
	p.add(nameHost, host)
	p.add(nameScheme, cmp.Or(req.URL.Scheme, "http"))

	// With a body the stream's bytes are that body's, and cannot be another
	// protocol's as well.
	upgrade = upgradeOf(req.Header) != "" && !hasBody
	if req.ContentLength > 0 || req.ContentLength == 0 && !hasBody && sendsZeroLength(method) {
		p.add("content-length", strconv.FormatInt(req.ContentLength, 10))
	}
	if names := trailerNames(req.Trailer); len(names) > 0 {
		p.add("trailer", strings.Join(names, ", "))
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

// requestPath returns the ":path" of a request to u.
func requestPath(u *url.URL) (string, error) {
	path := u.Opaque
	if !strings.HasPrefix(path, "/") {
		path = u.RequestURI()
	} else if u.ForceQuery || u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] == 0x7f {
			return "", fmt.Errorf("invalid path %q", path)
		}
	}
	return path, nil
}

// trailerNames returns the names of trailer that may be announced.
func trailerNames(trailer http.Header) (names []string) {
	for name := range trailer {
		if isToken(name) && !forbiddenTrailer(textproto.CanonicalMIMEHeaderKey(name)) {
			names = append(names, name)
		}
	}
	return names
}

// sendsZeroLength: methods whose lack of a body is worth saying (RFC 9110, 8.6).
func sendsZeroLength(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}
