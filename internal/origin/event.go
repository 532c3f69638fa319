package origin

import (
	"errors"
	"log/slog"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/loglimit"
)

// EventKind says what happened to a session in the table.
type EventKind uint8

const (
	// Connected: a session registered and takes requests.
	Connected EventKind = iota
	// Replaced: another registration took its place; it finishes what it serves.
	Replaced
	// Leaving: its C said that it takes nothing new, or its stream ids are used up;
	// it finishes what it serves.
	Leaving
	// Dropped: it did not answer a PING in time and is closed.
	Dropped
	// Revoked: its credential is gone and it is closed.
	Revoked
	// Ended: the session is over. The last event of each session.
	Ended
)

// String returns what a log line says.
func (k EventKind) String() string {
	switch k {
	case Connected:
		return "origin connected"
	case Replaced:
		return "origin replaced by a newer connection"
	case Leaving:
		return "origin is leaving"
	case Dropped:
		return "origin dropped, it does not answer"
	case Revoked:
		return "origin closed, its token is gone"
	}
	return "origin disconnected"
}

// Event is one change of a session's state.
type Event struct {
	Kind     EventKind
	Member   *Member
	Sessions int           // of that origin that take requests after the event
	Lasted   time.Duration // since the registration
	Err      error         // Ended: why, nil if in good order. Dropped: what it did not do. Leaving: why, nil if C said so
	Told     bool          // Ended: an event of Dropped or Revoked came before
	Frames   spdy.Frames   // Dropped, and Ended with Err: the session's last ones
}

// Frames returns the last frames of m's session, where it remembers them.
func (m *Member) Frames() spdy.Frames {
	if s, ok := m.Session.(interface{ Frames() spdy.Frames }); ok {
		return s.Frames()
	}
	return nil
}

// State is what the event leaves of the origin, in the words of the status page and
// the metrics.
func (e *Event) State() string {
	switch {
	case e.Sessions > 0 || e.Kind == Connected || e.Kind == Replaced:
		return "connected"
	case e.Kind == Leaving:
		return "leaving"
	case e.Kind == Revoked:
		return "revoked"
	}
	return "absent"
}

// eventBurst is how many events of one kind and origin are logged as they come,
// before the log has one line a minute with their number: a C that comes and goes
// must not fill it.
const eventBurst = 20

// CredentialBurst is the same of one kind and credential: who may register any name could
// have lines of ever new ones. It is as many as one has at once, who may all come back.
const CredentialBurst = defaultPerCredential

// framesBurst is how often the last frames of a session are logged as they come, of
// all origins together, before it is once a minute; connections that were lost and
// sessions that ended for another reason are counted by themselves.
const framesBurst = 3

// LogEvents returns a function for Config.OnEvent that writes a line an event. A
// session that the table closed has one line, not another for its end. One that
// ended in an error has a second line with its last frames. end comes after the last
// event, and writes what was counted and not written yet.
func LogEvents(log *slog.Logger) (note func(Event), end func()) {
	lines, all, frames := loglimit.New(log, eventBurst), loglimit.New(log, CredentialBurst), loglimit.New(log, framesBurst)
	note = func(e Event) {
		if e.Kind == Ended && e.Told {
			return
		}
		level := slog.LevelInfo
		name := e.Member.Name().String()
		attrs := []slog.Attr{
			slog.String("origin", name),
			slog.String("remote", e.Member.RemoteAddr()),
		}
		if written := e.Member.Name().Unicode(); written != name {
			attrs = append(attrs, slog.String("written", written))
		}
		if i := e.Member.Instance(); i != "" {
			attrs = append(attrs, slog.String("instance", i))
		}
		attrs = append(attrs, slog.Int("sessions", e.Sessions), slog.String("state", e.State()))
		if e.Kind == Ended || e.Kind == Dropped || e.Kind == Revoked {
			attrs = append(attrs, slog.Duration("lasted", e.Lasted.Round(time.Millisecond)))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.Any("reason", e.Err))
		}
		if e.Kind == Dropped || e.Kind == Revoked || e.Kind == Ended && e.Err != nil {
			level = slog.LevelWarn
		}
		lines.LogTo(all.HandlerOf(e.Member.Credential()), name+" "+e.Kind.String(), level, e.Kind.String(), attrs...)
		if len(e.Frames) > 0 {
			kind := "faults"
			if errors.Is(e.Err, spdy.ErrLost) || errors.Is(e.Err, spdy.ErrDead) || e.Kind == Dropped {
				kind = "losses"
			}
			frames.Log(kind, slog.LevelInfo, "last frames of the origin's session", slog.String("origin", name), slog.String("remote", e.Member.RemoteAddr()),
				slog.Any("frames", e.Frames))
		}
	}
	return note, func() { lines.Close(); all.Close(); frames.Close() }
}
