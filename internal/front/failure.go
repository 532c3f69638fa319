package front

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// statusLeft is logged for a request whose A left before there was an answer.
// It is never sent.
const statusLeft = 499

// retryAfter is what A is told to wait for an origin. C redials at once, and in
// pauses of at most 10 s.
const retryAfter = 5 * time.Second

// failure is an answer of P's own.
type failure struct {
	status int
	reason string // error type of Proxy-Status (RFC 9209, 2.3), "" if it is none
	detail string // for Proxy-Status, the text, and the log; of our own words
	header [2]string
	retry  time.Duration // Retry-After
	refuse string        // why it was refused, see Record.Refused
	left   bool          // A is gone, or is sent nothing
	bare   bool          // h2 and SPDY: without text, which would wait for A's window
}

// The reasons of RFC 9209, 2.3, that are used here.
const (
	reasonDenied      = "http_request_denied"
	reasonRequest     = "http_request_error"
	reasonUnavailable = "destination_unavailable"
	reasonLimit       = "connection_limit_reached"
	reasonTerminated  = "connection_terminated"
	reasonIncomplete  = "http_response_incomplete"
	reasonProtocol    = "http_protocol_error"
	reasonTooLarge    = "http_response_header_section_size"
	reasonTimeout     = "http_response_timeout"
	reasonLoop        = "proxy_loop_detected"
	reasonInternal    = "proxy_internal_response"
	reasonStalled     = "connection_write_timeout"
)

// detailLeft is the detail of a request whose A went away before it had its answer, or
// all of it.
const detailLeft = "the client left"

// detailTheirs is the detail of an error that C has answered with, which is passed on.
const detailTheirs = "the origin answered so itself: its c's log says why, or the service behind it"

func unavailable(name origin.Name, err error) *failure {
	who := "the default origin"
	if name != "" {
		who = "origin " + name.String()
	}
	f := &failure{status: http.StatusServiceUnavailable, reason: reasonUnavailable, retry: retryAfter}
	switch {
	case errors.Is(err, origin.ErrStopping):
		return stopping()
	case errors.Is(err, origin.ErrHoldFull):
		f.reason, f.detail = reasonLimit, "too many requests wait for "+who
	case errors.Is(err, origin.ErrHoldExpired):
		f.detail = who + " was connected and has not come back yet"
	default:
		f.detail = who + " is not connected"
	}
	return f
}

func stopping() *failure {
	return &failure{
		status: http.StatusServiceUnavailable, reason: reasonInternal, detail: "the proxy is stopping",
		retry: time.Second, header: [2]string{"Connection", "close"},
	}
}

// badGateway is a failure of the origin's.
func badGateway(reason, format string, args ...any) *failure {
	return &failure{status: http.StatusBadGateway, reason: reason, detail: fmt.Sprintf(format, args...)}
}

// failureOf says what A is answered when err came before the headers, and what is
// logged when it came after.
func (e *exchange) failureOf(err error) *failure {
	switch cause := e.ctx.Err(); {
	case cause == nil:
	case errors.Is(cause, errBrokenOff):
		return stopping()
	case errors.Is(cause, errMute):
		return &failure{status: http.StatusRequestTimeout, reason: reasonRequest, detail: errMute.Error()}
	case errors.Is(cause, errResponseTimeout):
		f := badGateway(reasonTimeout, "no response within %v", e.h.cfg.ResponseTimeout)
		f.status = http.StatusGatewayTimeout
		return f
	case errors.Is(cause, ErrStuck):
		f := badGateway(reasonTimeout, "the origin has taken nothing of the request for too long")
		f.status, f.header = http.StatusGatewayTimeout, [2]string{"Connection", "close"}
		return f
	default:
		return &failure{status: statusLeft, left: true, detail: detailLeft}
	}
	if _, err := e.body.state(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &failure{status: http.StatusRequestEntityTooLarge, reason: reasonRequest, detail: "the request's body is too long"}
		}
		return &failure{status: http.StatusBadRequest, reason: reasonRequest, detail: "the request's body could not be read"}
	}
	for _, known := range []error{origin.ErrNotConnected, origin.ErrHoldExpired, origin.ErrHoldFull, origin.ErrStopping} {
		if errors.Is(err, known) {
			return unavailable(e.name, known)
		}
	}
	if re, ok := errors.AsType[*responseError](err); ok {
		return badGateway(reasonProtocol, "the origin's answer is not HTTP: %s", re.what)
	}
	if errors.Is(err, errAnswerTooLarge) {
		return badGateway(reasonTooLarge, "%v", errAnswerTooLarge)
	}
	if se, ok := errors.AsType[*spdy.StreamError](err); ok {
		return streamFailure(se)
	}
	if _, ok := errors.AsType[*spdy.SessionError](err); ok {
		return badGateway(reasonTerminated, "the connection to the origin ended")
	}
	for _, known := range []error{errShort, errLong, errChanged} {
		if errors.Is(err, known) {
			return badGateway(reasonIncomplete, "%v", known)
		}
	}
	return badGateway(reasonInternal, "the request cannot be passed on")
}

// streamFailure is failureOf for a stream that ended before the headers.
func streamFailure(se *spdy.StreamError) *failure {
	if spdy.Retryable(se) {
		return badGateway(reasonIncomplete, "the origin refuses the request")
	}
	switch {
	case errors.Is(se, spdy.ErrHeaderTooLarge) && (se.Remote || se.StreamID == 0):
		// The request's head: C refused it, or it was too large to be sent.
		return &failure{status: http.StatusRequestHeaderFieldsTooLarge, reason: reasonRequest, detail: "the request's head is too large for the origin"}
	case errors.Is(se, spdy.ErrHeaderTooLarge):
		return badGateway(reasonTooLarge, "%v", errAnswerTooLarge)
	case !se.Remote && se.Status == spdy.Cancel:
		// Of the request's end: its trailers, or a length that is not kept.
		return &failure{status: http.StatusBadRequest, reason: reasonRequest, detail: "the request cannot be passed on"}
	case !se.Remote:
		// The engine has found what C must not send.
		return badGateway(reasonProtocol, "the origin's answer cannot be understood: %v", se.Status)
	}
	return badGateway(reasonIncomplete, "the origin reset the stream with %v", se.Status)
}

// answer sends a response of P's own.
func (e *exchange) answer(f *failure) {
	e.rec.Reason, e.rec.Detail, e.rec.Refused = f.reason, f.detail, f.refuse
	if f.left {
		// Whatever was sent now would look like an answer to a log.
		e.rec.Status = f.status
		panic(http.ErrAbortHandler)
	}
	e.own = true
	head := e.w.begin()
	e.setHeader(head)
	kind, text := "text/plain; charset=utf-8", fmt.Sprintf("%d %s: %s\n", f.status, http.StatusText(f.status), f.detail)
	switch {
	case f.bare && !e.http1:
		text = ""
	case f.status >= http.StatusBadRequest && wantsPage(e.in):
		kind, text = "text/html; charset=utf-8", e.ownPage(f.status)
		if text == "" {
			text = f.page(e.rec.RequestID)
			head.Set("Content-Security-Policy", pagePolicy)
		}
	}
	head.Set("Content-Type", kind)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	head.Set("X-Request-Id", e.rec.RequestID)
	proxyStatus := "spdy-proxy"
	if f.reason != "" {
		proxyStatus += "; error=" + f.reason
	}
	head.Set("Proxy-Status", proxyStatus+"; details="+sfString(f.detail))
	if f.retry > 0 {
		head.Set("Retry-After", strconv.Itoa(int(f.retry/time.Second)))
	}
	if f.header[0] != "" {
		head.Set(f.header[0], f.header[1])
	}
	head.Set("Content-Length", strconv.Itoa(len(text)))
	e.w.WriteHeader(f.status)
	if e.in.Method != http.MethodHead && text != "" {
		e.w.Write([]byte(text))
	}
}

// sfString writes a structured-field string (RFC 9651, 4.1.6).
func sfString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
