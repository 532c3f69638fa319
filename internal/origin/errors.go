package origin

import "errors"

// Errors of Register and Acquire.
var (
	// ErrNotConnected: nobody serves the name, nor did within Config.Memory.
	ErrNotConnected = errors.New("the origin is not connected")
	// ErrHoldExpired: the origin was connected a moment ago, and did not come
	// back while the request waited.
	ErrHoldExpired = errors.New("the origin did not come back in time")
	// ErrHoldFull: the origin was connected a moment ago, and as many requests
	// as may wait already do.
	ErrHoldFull = errors.New("too many requests wait for an origin")
	// ErrStopping: the table was told to stop.
	ErrStopping = errors.New("the proxy is stopping")

	// ErrTooManyOrigins: Config.MaxOrigins are connected.
	ErrTooManyOrigins = errors.New("too many origins are connected")
	// ErrTooManyForCredential: this credential serves Config.MaxPerCredential.
	ErrTooManyForCredential = errors.New("this token serves as many origins as one token may")
	// ErrTooManySessions: Config.MaxSessions share the name.
	ErrTooManySessions = errors.New("as many connections as may share an origin already do")
)
