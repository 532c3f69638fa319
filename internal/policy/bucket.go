package policy

import (
	"time"

	xrate "golang.org/x/time/rate"
)

// bucket is a rate.Limiter whose time does not go back. Requests come with the time of
// their arrival, and not in that order; the Limiter counts what has passed since an
// older one again. The zero value has no limit. Its owner's lock guards it.
type bucket struct {
	rate  rate
	limit *xrate.Limiter // nil: none
	last  time.Time      // the latest that it was told
}

// set changes the rate; another one goes on with what there is, a first one begins with
// its whole burst.
func (b *bucket) set(to rate, now time.Time) {
	if to == b.rate {
		return
	}
	limit := xrate.Limit(to.perSecond)
	switch {
	case to.perSecond == 0:
		b.limit = nil
	case b.limit == nil:
		b.limit = xrate.NewLimiter(limit, to.burst)
	default:
		b.at(now)
		b.limit.SetLimitAt(b.last, limit)
		b.limit.SetBurstAt(b.last, to.burst)
	}
	b.rate = to
}

func (b *bucket) at(now time.Time) {
	if now.After(b.last) {
		b.last = now
	}
}

// maxEarly bounds what early returns: the reciprocal of a rate may be any number.
const maxEarly = 100 * 365 * 24 * time.Hour

// early returns how long it takes until n may pass, no more than a burst: zero if they
// may now, and take takes them.
func (b *bucket) early(n int, now time.Time) time.Duration {
	if b.limit == nil {
		return 0
	}
	b.at(now)
	lacking := float64(n) - b.limit.TokensAt(b.last)
	return time.Duration(min(max(0, lacking/b.rate.perSecond*float64(time.Second)), float64(maxEarly)))
}

// take takes n that are there, as early has just said.
func (b *bucket) take(n int) {
	if b.limit != nil {
		b.limit.AllowN(b.last, n)
	}
}

// full reports whether all of the burst is there.
func (b *bucket) full(now time.Time) bool { return b.early(b.rate.burst, now) == 0 }
