package origin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/amahi/spdy"
)

// Session is what the table needs of a *spdy.Session, which see.
type Session interface {
	RoundTrip(*http.Request) (*http.Response, error)
	PingContext(context.Context) (time.Duration, error)
	Shutdown(context.Context) error
	Close()
	Done() <-chan struct{}
	GoingAway() <-chan struct{}
	AfterGoingAway(func())
	Err() error
	Available() int
	InFlight() int
	MaxStreams() int
	Stats() spdy.Stats
}

var _ Session = (*spdy.Session)(nil)

// Member is a session in the table.
type Member struct {
	Session

	// Fixed at the registration.
	id         uint64
	name       Name
	instance   string
	credential any
	remote     string
	agent      string
	since      time.Time
	dialsAgain bool
	byFront    bool
	node       string // "" for a session here

	// Guarded by Table.mu.
	picked uint64 // entry.picks when it was last picked
	left   bool   // no longer serving
	told   bool   // an event said why it takes no more requests
	closed bool   // the table closes it, and an event said why
	asked  bool   // a PING is under way, see probe
}

// goingAway reports whether m takes no new request. The table learns of it a
// moment later, in watch.
func (m *Member) goingAway() bool {
	select {
	case <-m.GoingAway():
		return true
	default:
		return false
	}
}

// Leaves implements Upstream.
func (m *Member) Leaves() bool {
	se, ok := errors.AsType[*spdy.SessionError](m.Err())
	return m.goingAway() && ok && (se.Remote || se.Cause == spdy.ErrGoingAway)
}

// ID is the number of the registration, from 1.
func (m *Member) ID() uint64 { return m.id }

// Credential is the registration's.
func (m *Member) Credential() any { return m.credential }

// Name is the origin's.
func (m *Member) Name() Name { return m.name }

// Instance is what C calls this connection, "" if it does not say.
func (m *Member) Instance() string { return m.instance }

// RemoteAddr is C's address.
func (m *Member) RemoteAddr() string { return m.remote }

// Agent is C's program and version, "" if it does not say.
func (m *Member) Agent() string { return m.agent }

// Node is the id of the node whose session it is, "" for one here.
func (m *Member) Node() string { return m.node }

// Since is when it registered.
func (m *Member) Since() time.Time { return m.since }
