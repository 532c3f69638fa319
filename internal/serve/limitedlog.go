package serve

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// logPause is the time between two lines about what any number of requests can cause.
const logPause = time.Minute

// A limitedLog writes about one thing that any number of requests can cause:
// the first time at once, after that at most one line in logPause, which says
// how often it happened and shows the last time.
type limitedLog struct {
	// Fixed when it is made.
	log   *slog.Logger
	level slog.Level
	msg   string

	mu sync.Mutex
	// Guarded by mu.
	timer  *time.Timer // runs for logPause after a line; nil: nothing was written lately
	times  int         // since the last line
	last   []any       // the attributes of the last of them
	closed bool        // nothing is written any more
}

func newLimitedLog(log *slog.Logger, level slog.Level, msg string) *limitedLog {
	return &limitedLog{log: log, level: level, msg: msg}
}

// print notes that it happened, with attributes as for slog.Logger.Log.
func (l *limitedLog) print(attrs ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
	case l.timer != nil:
		l.times++
		l.last = attrs
	default:
		l.log.Log(context.Background(), l.level, l.msg, attrs...)
		// Ends by itself after a pause in which nothing happened, or with close.
		l.timer = time.AfterFunc(logPause, l.pauseOver)
	}
}

// pauseOver writes what happened in the pause, and begins the next.
func (l *limitedLog) pauseOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return // closed meanwhile
	}
	if l.times == 0 {
		l.timer = nil
		return
	}
	l.sumUp()
	l.timer.Reset(logPause)
}

// sumUp writes the line about what was not written. l.mu is held.
func (l *limitedLog) sumUp() {
	l.log.Log(context.Background(), l.level, l.msg, append([]any{"times", l.times}, l.last...)...)
	l.times, l.last = 0, nil
}

// close writes what waits to be written, and is the end.
func (l *limitedLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if l.times > 0 {
		l.sumUp()
	}
	return nil
}
