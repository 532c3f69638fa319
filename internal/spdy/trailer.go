package spdy

import (
	"net/http"
	"strings"
)

// forbiddenTrailer: names that RFC 9110, 6.5.1 keeps out of trailers.
func forbiddenTrailer(key string) bool {
	switch key {
	case "Connection", "Content-Length", "Content-Encoding", "Content-Range", "Content-Type", "Host", "Keep-Alive",
		"Proxy-Connection", "Trailer", "Transfer-Encoding", "Authorization", "Cookie", "Set-Cookie":
		return true
	}
	return key == "" || key[0] == ':'
}

// announceTrailer moves the names that a Trailer header announces to trailer,
// those of the first limit that are good. More are not looked at: they take little on
// the wire.
func announceTrailer(h http.Header, trailer *http.Header, limit int) {
	values, ok := h["Trailer"]
	if !ok {
		return
	}
	delete(h, "Trailer")
	seen := 0
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			if seen++; seen > limit {
				return
			}
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			if !isToken(key) || forbiddenTrailer(key) {
				continue
			}
			if *trailer == nil {
				*trailer = make(http.Header)
			}
			(*trailer)[key] = nil
		}
	}
}

func mergeTrailer(trailer *http.Header, came http.Header) {
	for key, values := range came {
		if forbiddenTrailer(key) {
			continue
		}
		if *trailer == nil {
			*trailer = make(http.Header)
		}
		(*trailer)[key] = values
	}
}
