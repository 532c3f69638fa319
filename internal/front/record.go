package front

import (
	"net/netip"
	"time"
)

// Record is what is known of a request when it has ended.
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

	// Origin is the origin's name, "@" for the default one. Known says whether
	// such an origin was connected during the request; if not, the name is
	// whatever A wrote, and is empty if it is no name.
	Origin string
	Known  bool
	// Session and Stream are where the response came from, last. 0: none did.
	Session uint64
	Stream  uint32
	// Priority is the stream's, 0 to 7.
	Priority uint8

	// Status is the response's. 499: A left before there was one.
	Status int
	// Reason is the Proxy-Status error of an answer of P's own, or of a response
	// that was broken off. Empty: the answer is C's and whole.
	Reason string
	// Detail is Reason in words.
	Detail string
	// Aborted: broken off after the headers, or A left.
	Aborted bool
	// Stalled: broken off because A read nothing of it.
	Stalled bool
	// OverShare: refused because A's address has its share of what there is.
	OverShare bool
	// Upgraded: the connection was switched to WebSocket.
	Upgraded bool

	BytesIn  int64 // of the request's body
	BytesOut int64 // of the response's body

	Queued   time.Duration // how long it waited for its address's turn, 0 if it did not
	Held     time.Duration // how long it waited for an origin, 0 if it did not
	Opened   time.Duration // until its stream was opened, the last one; 0 if none was
	Headers  time.Duration // until the response's headers, 0 if none came
	Duration time.Duration // until the end
	Replayed int           // how often it, or what asks for the rest of its answer, was sent again
	Resumed  int           // how often its answer went on over another session
	Attempts []Attempt     // the first of those that failed before another was made
}

// maxAttempts is how many a Record has.
const maxAttempts = 4

// Attempt is a stream that brought no response, or not all of it.
type Attempt struct {
	Session uint64
	Stream  uint32        // 0: it was not opened
	After   time.Duration // since the Record's Time
	Err     error
}

// failedAttempt notes one in whose place another will be made.
func (r *Record) failedAttempt(err error) {
	if len(r.Attempts) < maxAttempts {
		r.Attempts = append(r.Attempts, Attempt{r.Session, r.Stream, time.Since(r.Time), err})
	}
}

// Failed reports whether the request came to nothing, or not to its end, and not for
// the visitor's sake.
func (r *Record) Failed() bool {
	return r.Status >= 500 || r.Aborted && r.Reason != "" && !r.Stalled
}
