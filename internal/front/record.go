package front

import (
	"time"

	"github.com/amahi/spdy-proxy/internal/accesslog"
)

// Record is what is known of a request when it has ended.
type Record struct {
	accesslog.Record // what a line says of it

	// Known says whether such an origin was connected during the request; if not,
	// Origin is whatever A wrote.
	Known bool
	// Stalled: broken off because A read nothing of it.
	Stalled bool
	// OverShare: refused because A's address has its share of what there is.
	OverShare bool
	// Refused is why the request was not let through to its origin by what the operator
	// has said, or by a limit; "" if it was not for such a reason.
	Refused string

	Queued   time.Duration // how long it waited for its address's turn, 0 if it did not
	Opened   time.Duration // until its stream was opened, the last one; 0 if none was
	Attempts []Attempt     // the first of those that failed before another was made
}

// The values of Record.Refused.
const (
	RefusedAddress     = "address"      // it is not allowed, or denied
	RefusedPassword    = "password"     // a name and a password are asked for
	RefusedVisitorRate = "visitor_rate" // too many requests a second of its address
	RefusedRate        = "rate"         // too many requests a second to the origin
	RefusedInFlight    = "in_flight"    // the origin has as many requests as it may
	RefusedShare       = "share"        // its address has
)

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
