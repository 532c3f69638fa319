package admin

import (
	"time"

	"github.com/amahi/spdy-proxy/internal/inspect"
)

// Source is what the admin port looks at, beside the Board. Its methods are called by
// several requests at once, and must not wait for a peer.
type Source interface {
	// Ready reports whether the program listens and is not stopping.
	Ready() bool
	// Name returns how the origin is shown that somebody calls so, in whichever way it
	// may be written; what is no name, in lower case.
	Name(written string) string
	// Connected reports whether the origin of that name, "@" for the default one, has
	// a session that takes requests. Any text may be asked for.
	Connected(origin string) bool
	// Figures returns the state of now.
	Figures() Figures
	// Serving returns how many requests have a stream, or wait for one, on a session.
	// It costs something for each session.
	Serving() int
	// Resets returns how streams were reset, zeros too. It costs something for each
	// session.
	Resets() []Reset
	// Open returns the requests that have not ended which f takes, at most max, those
	// that have been there longest.
	Open(f inspect.Filter, max int) []inspect.Request
	// Frames returns the last frames of each session of an origin.
	Frames(origin string) []SessionFrames
	// Certificates returns those in use.
	Certificates() []Certificate
	// Disconnect has the sessions of an origin finish what they serve and end, and
	// returns how many there were.
	Disconnect(origin string) int
}

// Figures are the state of P at one moment, in numbers that are had at once.
type Figures struct {
	Front, Control string // addresses listened on
	Incoming       int    // requests from A that have not ended
	Held           int    // of those, the ones that wait for an origin
	Connections    Connections

	AccessLogDropped uint64    // lines that could not be written
	LogDropped       uint64    // the same of the log
	TraceDropped     uint64    // lines of frames for which there was no room
	Reloaded         time.Time // when all files were last read and all went well
	ReloadFailed     bool      // since then
}

// Connections are those of visitors to the front port.
type Connections struct {
	Open int
	// New ones that were closed at once since the program started: because their
	// address had as many as it may, and because the front port had, all in use.
	RefusedAddress, RefusedTotal uint64
	// Those that were closed for a new one because the front port had as many as
	// it may: without a request yet, and between two requests.
	DroppedSilent, DroppedIdle uint64
}

// Reset counts the streams that ended by RST_STREAM with one status.
type Reset struct {
	Sent   bool   // by P; else by C
	Status string // its name, one of a dozen
	Count  uint64
}

// SessionFrames are the last frames of one session, the oldest first.
type SessionFrames struct {
	Session uint64
	Frames  []Frame
}

// Frame is one of SPDY's, without its payload.
type Frame struct {
	Time   time.Time
	Sent   bool   // by P; else by C
	Type   string // as the draft calls it
	Stream uint32 // 0: of the session
	Length int    // bytes of payload
	Flags  uint8
	Detail string // what one of a fixed length says
}

// Certificate is one that P shows.
type Certificate struct {
	Name     string    // the first name that it is for
	From     string    // its file, or acme
	NotAfter time.Time // the zero Time: there is none yet
	EndsSoon bool      // it should have been renewed
	Problem  string    // why it could not be got, or renewed; "" if all is well
}
