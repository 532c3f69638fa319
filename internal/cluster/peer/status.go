package peer

import (
	"errors"
	"fmt"

	"github.com/amahi/spdy"
)

// Statuses of RST_STREAM that only a link has. C cannot make one: what it resets a
// stream with is sent on only if the draft has it.
const (
	statusGone      spdy.Status = 0x1000 + iota // the node has no session for the request, or stops
	statusLost                                  // C's session ended before its answer did
	statusMalformed                             // C's answer is none
	statusTooLarge                              // the head of C's answer is above a limit
)

// statusOf returns the RST_STREAM that says to the node that asked why a request
// failed here with err, in RoundTrip or in the reading of the body.
func statusOf(err error) spdy.Status {
	if spdy.Retryable(err) {
		return spdy.RefusedStream
	}
	if se, ok := errors.AsType[*spdy.StreamError](err); ok {
		switch {
		case se.Remote && se.Status >= spdy.ProtocolError && se.Status <= spdy.FrameTooLarge:
			return se.Status
		case se.Remote:
			return spdy.ProtocolError
		case errors.Is(err, spdy.ErrHeaderTooLarge) && se.StreamID == 0:
			return spdy.FrameTooLarge // it is the request that is too large to be sent to C
		case errors.Is(err, spdy.ErrHeaderTooLarge):
			return statusTooLarge
		case se.Status == spdy.Cancel:
			return spdy.Cancel // its context has ended, or its body failed: the other node knows
		}
		return statusMalformed
	}
	if _, ok := errors.AsType[*spdy.SessionError](err); ok {
		return statusLost
	}
	return spdy.InternalError
}

// errorOf returns what err of a link to a node is for who asked it, as if the session
// with C were its own.
func errorOf(node string, err error) error {
	se, ok := errors.AsType[*spdy.StreamError](err)
	if !ok || !se.Remote {
		return err
	}
	switch se.Status {
	case statusGone:
		return &spdy.StreamError{StreamID: se.StreamID, Status: spdy.RefusedStream, Remote: true}
	case statusLost:
		return &spdy.SessionError{Status: spdy.GoAwayInternalError, Cause: fmt.Errorf("%w at node %s", spdy.ErrLost, node)}
	case statusMalformed:
		return &spdy.StreamError{StreamID: se.StreamID, Status: spdy.ProtocolError, Cause: spdy.ErrMalformed}
	case statusTooLarge:
		return &spdy.StreamError{StreamID: se.StreamID, Status: spdy.FrameTooLarge}
	}
	return err
}
