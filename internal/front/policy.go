package front

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

// Policy is what the visitors of one origin may, and what they get, for one request.
// It belongs to the request's goroutines.
type Policy interface {
	// Allows reports whether the client, who may be unknown, is answered at all.
	Allows() bool

	// Auth asks visitors for a name and a password; nil: what Config.Auth does holds.
	Auth() *Htpasswd

	// Visit counts a request of the client's. It returns how much too early it is, zero
	// if it may go on.
	Visit(now time.Time) (early time.Duration)

	// MaxRequests is how many requests the origin may have in flight; 0: what
	// Config.MaxRequests says holds.
	MaxRequests() int

	// Enter counts a request that is about to be sent to the origin, of who's share, which
	// is the zero Addr if it is nobody's. It returns how much too early it is; if it may go
	// on, it is in flight until Leave.
	Enter(who netip.Addr, now time.Time) (early time.Duration)
	Leave()

	// Pace waits until some of n bytes of bodies, but for P's own answers, may pass to the origin, or from it,
	// and returns how many: 1 at least, or 0 when ctx has ended. waits, if not nil, is
	// called before it waits. The visitors take turns.
	Pace(ctx context.Context, toOrigin bool, n int, waits func()) int

	// Header is set in each answer, but for a 101, in the place of what the origin says; an
	// empty value takes the field out.
	Header() http.Header

	// Page is HTML for a person in the place of P's 502, 503 and 504; nil: there is none.
	Page() []byte
}

// visit applies the origin's policy before anybody is asked for a password, so that
// guesses are counted, too.
func (e *exchange) visit() *failure {
	if e.policy == nil {
		return nil
	}
	if !e.policy.Allows() {
		return &failure{status: http.StatusForbidden, reason: reasonDenied, detail: "this address is not served here", refuse: RefusedAddress}
	}
	if early := e.policy.Visit(e.rec.Time); early > 0 {
		return tooEarly(RefusedVisitorRate, "too many requests of this address", early)
	}
	return nil
}

// enter applies the rest of it, to who has shown a password if one is needed, and has a
// place or waits for one: what others ask for costs the origin nothing.
func (e *exchange) enter() *failure {
	if e.policy == nil {
		return nil
	}
	if early := e.policy.Enter(e.who, e.rec.Time); early > 0 {
		return tooEarly(RefusedRate, "too many requests to this origin", early)
	}
	e.entered = true
	return nil
}

// maxRequests is how many requests the origin may have in flight by its policy.
func (e *exchange) maxRequests() int {
	if e.policy != nil {
		if n := e.policy.MaxRequests(); n > 0 {
			return n
		}
	}
	return e.h.cfg.MaxRequests
}

func tooEarly(refuse, detail string, early time.Duration) *failure {
	return &failure{
		status: http.StatusTooManyRequests, reason: reasonDenied, detail: detail, refuse: refuse,
		retry: early.Truncate(time.Second) + time.Second, // whole seconds, and not too early once more
	}
}

// asks returns what asks e's visitor for a password, nil if nothing does.
func (e *exchange) asks() *Htpasswd {
	if e.policy != nil {
		if auth := e.policy.Auth(); auth != nil {
			return auth
		}
	}
	return e.h.cfg.Auth
}

// setHeader applies the policy's fields to an answer's.
func (e *exchange) setHeader(h http.Header) {
	if e.policy == nil {
		return
	}
	for name, values := range e.policy.Header() {
		if len(values) == 0 || values[0] == "" {
			delete(h, name)
		} else {
			h[name] = values
		}
	}
}

// ownPage is the operator's page for an answer of P's own, "" if there is none.
func (e *exchange) ownPage(status int) string {
	if e.policy == nil || status < http.StatusBadGateway || status > http.StatusGatewayTimeout {
		return ""
	}
	return string(e.policy.Page())
}

// paceAll waits until all of n bytes that have been read may count as passed. Who has
// to wait reads no more meanwhile. It reports false when ctx has ended.
func (e *exchange) paceAll(toOrigin bool, n int) bool {
	for n > 0 && e.policy != nil {
		m := e.policy.Pace(&e.ctx, toOrigin, n, nil)
		if m == 0 {
			return false
		}
		n -= m
	}
	return true
}
