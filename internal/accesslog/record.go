package accesslog

import (
	"net/netip"
	"time"
)

// Record is what a line says of a request, when it has ended.
type Record struct {
	Time      time.Time // of the request's headers
	RequestID string
	Peer      netip.Addr // who connected
	Client    netip.Addr // whom a trusted proxy names, else Peer
	User      string     // of Basic authentication, "" if none
	Method    string
	Scheme    string // http or https
	Host      string
	URI       string // the request target as sent
	Proto     string // such as HTTP/2.0
	Referer   string
	UserAgent string

	// Origin is the origin's name, "@" for the default one. At P it is empty if what
	// A wrote is no name.
	Origin string
	// Session and Stream are where the response came from, last. 0: none did.
	Session uint64
	Stream  uint32
	// Priority is the stream's, 0 to 7.
	Priority uint8
	// Aborted: broken off after the headers, or A left.
	Aborted bool
	// Upgraded: the connection was switched to WebSocket.
	Upgraded bool

	// Status is the response's. 499: A left before there was one.
	Status int
	// Reason is the Proxy-Status error of an answer of P's own, or of a response
	// that was broken off. Empty: the answer is C's and whole.
	Reason string
	// Detail is Reason in words, or why there is no answer that was whole without one.
	Detail string

	BytesIn  int64 // of the request's body
	BytesOut int64 // of the response's body

	Headers  time.Duration // until the response's headers, 0 if none came
	Duration time.Duration // until the end
	Held     time.Duration // how long it waited for an origin, 0 if it did not
	Replayed int           // how often it, or what asks for the rest of its answer, was sent again
	Resumed  int           // how often its answer went on over another session
}
