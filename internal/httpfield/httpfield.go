// Package httpfield is what HTTP says of header fields to whoever passes messages
// on: which speak of one connection alone, which may stand in trailers, and how
// lists of tokens are read.
//
// The engine has two lists of its own, and needs the standard library alone. What
// SPDY forbids in a header block (draft 3.1, 3.2.1) is shorter than HopByHop's:
// a SPDY session is a connection, of which Te, Trailer and Upgrade speak. What it
// keeps out of trailers is what no handler could mean; a proxy, which does not know
// who reads them, keeps out more.
package httpfield

import (
	"iter"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// HopByHop reports whether a field speaks of one connection only, whether or not
// a Connection field names it (RFC 9110, 7.6.1). key is an http.Header's.
func HopByHop(key string) bool {
	switch key {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authorization":
		return true
	}
	return false
}

// EndToEnd returns the fields of h that an intermediary passes on (RFC 9110,
// 7.6.1).
func EndToEnd(h http.Header) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		named := named(h, h)
		for key, values := range h {
			if !HopByHop(key) && !named[key] && !yield(key, values) {
				return
			}
		}
	}
}

// Trailers returns the fields of trailer that an intermediary passes on behind the
// headers h.
func Trailers(h, trailer http.Header) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		named := named(h, trailer)
		for key, values := range trailer {
			if Trailer(key) && !named[key] && !yield(key, values) {
				return
			}
		}
	}
}

// Trailer reports whether a field of that name may stand in trailers, if
// Connection does not name it. Whoever gets one may merge it into the headers: it
// must not say what they were not allowed to say, nor what has to be known before
// the body (RFC 9110, 6.5.1).
func Trailer(name string) bool {
	switch key := http.CanonicalHeaderKey(name); key {
	case "Cookie", "Set-Cookie", "Via", "Priority":
		return false
	default:
		return IsToken(name) && !HopByHop(key) && httpguts.ValidTrailerHeader(key)
	}
}

// named returns the keys of fields that the Connection fields of h name; nil if
// there are none. It is not larger than fields, however many names are listed, and
// reads the lists once.
func named(h, fields http.Header) map[string]bool {
	var keys map[string]bool
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			key := http.CanonicalHeaderKey(strings.Trim(name, " \t"))
			if _, there := fields[key]; !there || HopByHop(key) {
				continue
			}
			if keys == nil {
				keys = make(map[string]bool)
			}
			keys[key] = true
		}
	}
	return keys
}

// HasToken reports whether the comma-separated lists hold token, in any case
// (RFC 9110, 5.6.1).
func HasToken(lists []string, token string) bool {
	return httpguts.HeaderValuesContainsToken(lists, token)
}

// IsToken reports whether s is a token (RFC 9110, 5.6.2), as each name of a field
// is.
func IsToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }

// IsAlnum reports whether c is a letter or a digit of ASCII.
func IsAlnum(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// IsTarget reports whether s has no byte by which a request's target would be read in two
// ways: a space, a control character, or "#", since a fragment (RFC 9112, 3.2) is cut off
// by some and kept by others. Browsers and others send more than RFC 3986 has, bytes above
// ASCII among it, and origins understand them.
func IsTarget(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// Equal reports whether a and b are the same but for the case of their ASCII
// letters, which is how names, tokens and codings are compared (RFC 9110, 5.6.2).
// strings.EqualFold takes the Kelvin sign for a k, too, which no other program does:
// one that reads "chun\u212aed" as chunked ends a message where others do not.
func Equal(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
