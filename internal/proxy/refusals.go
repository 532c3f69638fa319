package proxy

import (
	"log/slog"
	"time"
)

// refusal is why a visitor's connection was closed, which might have been of use
// otherwise.
type refusal int

const (
	refusedAddress refusal = iota // a new one: its address has as many as one may
	refusedTotal                  // a new one: the front port has, and all are in use
	droppedSilent                 // it had asked for nothing yet, and another needed its place
	droppedIdle                   // it waited for its next request, and another needed its place
	refusalKinds
)

// refusedEvery is how often the log says that connections were refused: anybody
// can bring as many as it likes.
const refusedEvery = time.Minute

// refusals counts connections that were refused or dropped. Guarded by
// visitors.mu.
type refusals struct {
	count  [refusalKinds]uint64 // by refusal
	unsaid [refusalKinds]uint64 // since the last line
	last   string               // the address of the last one, "" if it has none
	said   time.Time
}

// add notes one.
func (r *refusals) add(why refusal, address string) {
	r.count[why]++
	r.unsaid[why]++
	r.last = address
}

// line returns the attributes of a log line, nil if it is not time for one, or
// there is nothing to say.
func (r *refusals) line(now time.Time, open int) []any {
	if r.unsaid == [refusalKinds]uint64{} || !r.said.IsZero() && now.Sub(r.said) < refusedEvery {
		return nil
	}
	attrs := []any{
		"address_full", r.unsaid[refusedAddress], "all_full", r.unsaid[refusedTotal],
		"silent_dropped", r.unsaid[droppedSilent], "idle_dropped", r.unsaid[droppedIdle], "open", open,
	}
	if r.last != "" {
		attrs = append(attrs, "last_from", r.last)
	}
	r.said, r.unsaid = now, [refusalKinds]uint64{}
	return attrs
}

// sayRefused writes the line, without visitors.mu.
func sayRefused(log *slog.Logger, what string, attrs []any) {
	if attrs != nil {
		log.Warn(what+" port: connections closed, their address or the port has as many as it may", attrs...)
	}
}
