package agent

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
)

const (
	// heldLongEnough is how long a connection must have held for the pauses to
	// start over: a P that takes us and drops us is not hammered.
	heldLongEnough = 10 * time.Second

	// Pauses grow slowly, by half each time: a P that was away for some seconds
	// is found again in about half as many.
	firstPause = 100 * time.Millisecond
	maxPause   = 10 * time.Second

	// After a 401 or 403 only a person can help.
	firstRefusedPause = 10 * time.Second
	maxRefusedPause   = 60 * time.Second

	// maxRetryAfter bounds what P may ask for: C must come back by itself.
	maxRetryAfter = 5 * time.Minute
)

// backoff says how long to wait before the next attempt. The zero value is
// ready.
type backoff struct {
	pause   time.Duration // the next pause at most; 0: none
	refused time.Duration // the same after a 401 or 403
}

// lost returns the pause after a connection that had held for a time.
func (b *backoff) lost(held time.Duration) time.Duration {
	b.refused = 0
	if held >= heldLongEnough {
		b.pause = 0
	}
	if b.pause == 0 {
		b.pause = firstPause
		return 0
	}
	return b.grow()
}

// failed returns the pause after an attempt without a connection.
func (b *backoff) failed(err error) time.Duration {
	b.pause = max(b.pause, firstPause)
	refused, ok := errors.AsType[*control.RefusedError](err)
	if !ok {
		b.refused = 0
		return b.grow()
	}
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		b.refused = min(max(2*b.refused, firstRefusedPause), maxRefusedPause)
		return random(b.refused)
	}
	// Those who were told the same time shall not come at the same time.
	return min(refused.RetryAfter, maxRetryAfter) + b.grow()
}

// grow returns a random pause and makes the next one longer.
func (b *backoff) grow() time.Duration {
	d := random(b.pause)
	b.pause = min(b.pause+b.pause/2, maxPause)
	return d
}

// random returns a duration from half of d to d.
func random(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
