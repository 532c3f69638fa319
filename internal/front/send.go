package front

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/httpfield"
	"github.com/amahi/spdy-proxy/internal/origin"
)

const (
	// maxRepeats is how often a request that C may have acted on is sent again
	// without a byte of its answer. A request that kills every C it meets must not
	// go round for ever.
	maxRepeats = 3

	// Pauses between attempts that no wait for a session has parted.
	minPause = 10 * time.Millisecond
	maxPause = 500 * time.Millisecond
)

// send finds a session for req, and sends it; again where that is safe, as long
// as Hold lasts. repeats counts how often C may have acted on it before. The
// response's headers are such as HTTP allows.
func (e *exchange) send(req *http.Request, repeats *uint8) (*http.Response, error) {
	budget := e.h.cfg.Hold
	var last error             // of the attempt before
	var before origin.Upstream // where it was
	pause := time.Duration(0)
	for {
		e.phase.Store(phaseHeld)
		up, waited, err := e.h.cfg.Origins.Acquire(req.Context(), origin.Query{
			Name: e.name, Hold: budget, Cost: e.head.bytes, From: e.who, Avoid: before,
		})
		budget -= waited
		e.rec.Held += waited
		if err != nil {
			return nil, err
		}
		if last != nil {
			// A session that was not there before is worth an attempt at once;
			// what refused the request will do so again.
			if up == before || pause > 0 && waited == 0 {
				pause = min(max(minPause, 2*pause), maxPause)
				if pause > budget {
					return nil, last
				}
				if err := e.sleep(req.Context(), pause); err != nil {
					return nil, err
				}
				budget -= pause
			} else {
				pause = minPause / 2
			}
			e.rec.Replayed++
		}
		resp, err := e.roundTrip(req, up)
		if err == nil {
			return resp, nil
		}
		if !spdy.Retryable(err) {
			if !e.repeatable(err) || *repeats == maxRepeats {
				return nil, err
			}
			*repeats++
		}
		if !e.body.untouched() || req.Context().Err() != nil {
			return nil, err
		}
		e.rec.failedAttempt(err)
		last, before = err, up
	}
}

// repeatable reports whether a request that failed with err may be sent again
// although C may have acted on it: it is safe in itself (RFC 9110, 9.2.1), and
// its session ended before the headers of its response.
func (e *exchange) repeatable(err error) bool {
	switch e.in.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		_, ended := errors.AsType[*spdy.SessionError](err)
		return ended && e.body == nil
	}
	return false
}

// sleep counts as waiting for the origin.
func (e *exchange) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		e.rec.Held += d
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// roundTrip sends req to up once. Response headers that HTTP forbids are an error.
func (e *exchange) roundTrip(req *http.Request, up origin.Upstream) (*http.Response, error) {
	timeout := &e.late
	out := req
	var body *attemptBody
	if e.body != nil {
		// Copies: the attempt before may still be reading its own body.
		timeout, out = new(responseTimer), req.WithContext(req.Context())
		body = &attemptBody{requestBody: e.body, ended: timeout.start}
		if e.policy != nil {
			body.pace = func(n int) bool { return e.paceAll(true, n) }
		}
		out.Body, out.Trailer = body, e.body.out
	}
	timeout.begin(e.h.cfg.ResponseTimeout, &e.ctx)
	if body == nil {
		timeout.start()
	}
	e.upstream, e.rec.Session, e.rec.Known = up, up.ID(), true
	if e.meter == nil && e.h.cfg.Meter != nil {
		e.meter = e.h.cfg.Meter(e.name)
	}
	if body != nil {
		body.meter = e.meter
	}
	e.rec.Opened, e.rec.Stream = max(time.Since(e.rec.Time), 1), 0
	e.phase.Store(phaseSent)
	e.lent = min(e.lent+1, 2) // respond has one back
	resp, err := up.RoundTrip(out)
	e.phase.Store(phaseAnswered)
	inTime := timeout.stop()
	if err == nil {
		e.rec.Stream = spdy.ResponseStreamID(resp)
		if inTime {
			err = e.checkResponse(resp)
		}
		if err != nil || !inTime {
			resp.Body.Close()
		}
	} else if se, ok := errors.AsType[*spdy.StreamError](err); ok {
		e.rec.Stream = se.StreamID
	} else if se, ok := errors.AsType[*spdy.SessionError](err); ok {
		e.rec.Stream = se.StreamID
	}
	if !inTime {
		err = errResponseTimeout
	}
	if err != nil {
		if body != nil {
			// No Read begins after this: untouched then says for good whether
			// there can be another attempt.
			body.Close()
		}
		return nil, err
	}
	return resp, nil
}

// responseError is an answer of C's that HTTP forbids.
type responseError struct{ what string }

func (e *responseError) Error() string { return e.what }

// errAnswerTooLarge: the head of C's answer is above a limit.
var errAnswerTooLarge = errors.New("the head of the origin's answer is too large")

// checkResponse finds what HTTP forbids and the engine does not: it takes any
// status of three digits that is final, and any name that cannot be another
// header's line. A head above a limit is errAnswerTooLarge. It notes e.whole.
func (e *exchange) checkResponse(resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code == http.StatusSwitchingProtocols:
		if to := resp.Header["Upgrade"]; !e.upgrade || len(to) != 1 || !httpfield.Equal(strings.TrimSpace(to[0]), "websocket") {
			return &responseError{"it switches to a protocol that was not asked for"}
		}
	case code > 599: // RFC 9110, 15
		return &responseError{fmt.Sprintf("status %d", code)}
	}
	var n head
	e.whole = true
	for name, values := range resp.Header {
		if !httpfield.IsToken(name) {
			return &responseError{fmt.Sprintf("header name %.60q", name)}
		}
		n.add(name, values)
		e.whole = e.whole && !httpfield.HopByHop(name) && !strings.HasPrefix(name, secWebsocket)
	}
	if most := e.h.cfg.MaxHeaderBytes; most > 0 && n.bytes > most || n.lines > MaxHeaderLines {
		return errAnswerTooLarge
	}
	return nil
}
