package spdy

import (
	"errors"
	"fmt"
)

// Status is the status of a RST_STREAM frame (draft 3.1, 2.6.3).
type Status uint32

// The statuses of RST_STREAM.
const (
	ProtocolError       Status = 1
	InvalidStream       Status = 2
	RefusedStream       Status = 3 // nothing was processed; safe to repeat
	UnsupportedVersion  Status = 4
	Cancel              Status = 5
	InternalError       Status = 6
	FlowControlError    Status = 7
	StreamInUse         Status = 8
	StreamAlreadyClosed Status = 9
	FrameTooLarge       Status = 11
)

var statusNames = [...]string{
	1: "PROTOCOL_ERROR", 2: "INVALID_STREAM", 3: "REFUSED_STREAM", 4: "UNSUPPORTED_VERSION", 5: "CANCEL",
	6: "INTERNAL_ERROR", 7: "FLOW_CONTROL_ERROR", 8: "STREAM_IN_USE", 9: "STREAM_ALREADY_CLOSED", 11: "FRAME_TOO_LARGE",
}

// String returns the draft's name of s.
func (s Status) String() string {
	if int(s) < len(statusNames) && statusNames[s] != "" {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint32(s))
}

// GoAwayStatus is the status of a GOAWAY frame (draft 3.1, 2.6.6).
type GoAwayStatus uint32

// The statuses of GOAWAY. Any other that a peer sends counts as an error.
const (
	GoAwayOK            GoAwayStatus = 0
	GoAwayProtocolError GoAwayStatus = 1
	GoAwayInternalError GoAwayStatus = 2
)

// String returns the draft's name of s.
func (s GoAwayStatus) String() string {
	switch s {
	case GoAwayOK:
		return "OK"
	case GoAwayProtocolError:
		return "PROTOCOL_ERROR"
	case GoAwayInternalError:
		return "INTERNAL_ERROR"
	}
	return fmt.Sprintf("status %d", uint32(s))
}

// Errors that a StreamError or SessionError wraps, for errors.Is.
var (
	// ErrClosed: the session was ended by this side's Close or Shutdown.
	ErrClosed = errors.New("session closed")
	// ErrGoingAway: a GOAWAY was sent or received, no new stream can be opened.
	ErrGoingAway = errors.New("session is going away")
	// ErrLost: the connection failed, with the error that is wrapped too, or the
	// peer closed it without a GOAWAY.
	ErrLost = errors.New("connection lost")
	// ErrDead: the peer was silent for two keep-alive intervals, or did not take
	// a write in time.
	ErrDead = errors.New("peer is silent")
	// ErrBodyLength: a body is not as long as its content-length.
	ErrBodyLength = errors.New("body length differs from content-length")
	// ErrMalformed: the peer's headers are none that the draft or HTTP allows: an
	// answer without :status, a content-length that is not one number, a bad name. Or
	// what a handler wrote to a hijacked connection is no response.
	ErrMalformed = errors.New("malformed headers")
	// ErrHeaderTooLarge: a header block is above a limit. From RoundTrip, with
	// StreamID 0: the request's, which was not sent; with Remote false: the
	// answer's, for Config.MaxHeaderBytes or MaxHeaderPairs; with Remote true:
	// either, for a limit of the peer's. Any StreamError with FRAME_TOO_LARGE is one.
	ErrHeaderTooLarge = errors.New("header block too large")
)

// malformedError says what is malformed.
type malformedError string

func (e malformedError) Error() string { return string(e) }

// Is makes it an ErrMalformed.
func (malformedError) Is(target error) bool { return target == ErrMalformed }

func malformed(format string, args ...any) error { return malformedError(fmt.Sprintf(format, args...)) }

// StreamError says that one stream ended before its time. The session goes on.
type StreamError struct {
	StreamID uint32 // 0 if the stream had none yet
	Status   Status
	Remote   bool  // the peer sent the RST_STREAM; otherwise this side did
	Cause    error // what was wrong, nil if only the status is known
}

func (e *StreamError) Error() string {
	by := "reset here"
	if e.Remote {
		by = "reset by the peer"
	}
	if e.Cause != nil {
		return fmt.Sprintf("spdy: stream %d %s with %v: %v", e.StreamID, by, e.Status, e.Cause)
	}
	return fmt.Sprintf("spdy: stream %d %s with %v", e.StreamID, by, e.Status)
}

// Unwrap returns the cause.
func (e *StreamError) Unwrap() error { return e.Cause }

// Is makes one with FRAME_TOO_LARGE an ErrHeaderTooLarge.
func (e *StreamError) Is(target error) bool {
	return target == ErrHeaderTooLarge && e.Status == FrameTooLarge
}

// SessionError says that a whole session ended, or cannot take a new stream.
type SessionError struct {
	Status GoAwayStatus // INTERNAL_ERROR if nothing but the connection failed
	Remote bool         // the peer sent GOAWAY; otherwise this side did, or the connection was lost
	Cause  error        // never nil
	// NotProcessed: the peer never acted on the request that this error is
	// returned for (its stream was never sent, or is above the last-good id of
	// a GOAWAY), so that repeating it is safe whatever its method.
	NotProcessed bool
	// StreamID is the stream of the request that this error is returned for, 0 if none
	// was opened for it.
	StreamID uint32
}

func (e *SessionError) Error() string {
	if errors.Is(e.Cause, ErrLost) {
		return fmt.Sprintf("spdy: %v", e.Cause) // no side has named a status
	}
	by := "here"
	if e.Remote {
		by = "by the peer"
	}
	return fmt.Sprintf("spdy: session ended %s with %v: %v", by, e.Status, e.Cause)
}

// Unwrap returns the cause.
func (e *SessionError) Unwrap() error { return e.Cause }

// Retryable reports whether err, returned by RoundTrip, proves that the peer
// never acted on the request: any request may then be sent again (draft 3.1,
// 2.6.3 and 2.6.6), if none of its body was read.
func Retryable(err error) bool {
	if se, ok := errors.AsType[*StreamError](err); ok {
		return se.Remote && se.Status == RefusedStream
	}
	if se, ok := errors.AsType[*SessionError](err); ok {
		return se.NotProcessed
	}
	return false
}
