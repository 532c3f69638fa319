package accesslog

import "time"

// second is how the times within one are written: formatting them is what takes longest
// of a line, and the lines of a second are many.
type second struct {
	begin      time.Time // without a monotonic clock: the other is what is written
	location   *time.Location
	text, zone string // zone is what comes after the fraction, if that is written
}

func (l *Log) secondOf(t time.Time) *second {
	last := l.second.Load()
	if last != nil && last.location == t.Location() {
		if d := t.Sub(last.begin); 0 <= d && d < time.Second {
			return last
		}
	}
	s := &second{begin: t.Truncate(time.Second), location: t.Location()}
	if l.format == JSON {
		s.text, s.zone = t.Format("2006-01-02T15:04:05"), t.Format("Z07:00")
	} else {
		s.text = t.Format("02/Jan/2006:15:04:05 -0700")
	}
	// Those that took long, and so are of another second each, do not drive out the one
	// that the others are of.
	if last == nil || !s.begin.Before(last.begin) {
		l.second.Store(s)
	}
	return s
}
