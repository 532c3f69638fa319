// Package loglimit writes the log lines that somebody outside can cause, so that
// they fill no disk: of each kind some lines at once, then one a minute that
// says how many there were.
package loglimit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// interval is how long lines of a kind are counted before the count is written.
	interval = time.Minute

	// maxKinds bounds how many kinds are told apart at once; those beyond it are
	// one kind together. A P has 10 000 origins at most, which come and go.
	maxKinds = 1 << 15
)

// Logger writes lines of several kinds. All methods may be called at once.
type Logger struct {
	// Fixed by New.
	to    slog.Handler
	burst int

	mu sync.Mutex
	// Guarded by mu, which is not held while a line is written.
	kinds  map[string]*kind
	closed bool
}

// kind is what is known of one kind of lines. Guarded by Logger.mu.
type kind struct {
	written int // lines that were written at once
	left    int // lines that were counted since
	last    line
	timer   *time.Timer
}

type line struct {
	to     slog.Handler
	record slog.Record
}

// New returns a Logger that writes to log, nil: nowhere. burst is how many lines
// of a kind are written at once before they are counted; less than 1 means 1. It
// is what a kind has again after a minute without a line.
func New(log *slog.Logger, burst int) *Logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Logger{to: log.Handler(), burst: max(burst, 1), kinds: make(map[string]*kind)}
}

// Log writes a line, or counts it: the last of those that were counted in a
// minute is written at its end, with their number as "times". At the level debug
// each is written as it comes all the same.
func (l *Logger) Log(kindOf string, level slog.Level, msg string, attrs ...slog.Attr) {
	if !l.to.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, msg, 0)
	r.AddAttrs(attrs...)
	l.handle(kindOf, line{l.to, r})
}

// Handler returns a handler for another's lines; each message is a kind.
func (l *Logger) Handler() slog.Handler { return handler{l.to, l} }

type handler struct {
	slog.Handler // where lines go
	l            *Logger
}

func (h handler) Handle(_ context.Context, r slog.Record) error {
	h.l.handle(r.Message, line{h.Handler, r.Clone()})
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.l}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.l}
}

func (l *Logger) handle(name string, ln line) {
	if l.count(name, ln) {
		ln.record.Level = slog.LevelDebug
	}
	ln.write()
}

func (ln line) write() {
	if ctx := context.Background(); ln.to.Enabled(ctx, ln.record.Level) {
		ln.to.Handle(ctx, ln.record)
	}
}

// count reports whether ln is one that was only counted.
func (l *Logger) count(name string, ln line) bool {
	if ln.record.Level <= slog.LevelDebug {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return true
	}
	k := l.kinds[name]
	if k == nil && len(l.kinds) >= maxKinds {
		name = ""
		k = l.kinds[name]
	}
	if k == nil {
		k, name = &kind{}, strings.Clone(name) // a piece of something larger, perhaps
		// Ends with the kind, in tell or Close.
		k.timer = time.AfterFunc(interval, func() { l.tell(name, k) })
		l.kinds[name] = k
	}
	if k.written < l.burst {
		k.written++
		return false
	}
	k.left++
	k.last = ln
	return true
}

// tell writes what was counted of a kind in the last minute. A kind of which
// nothing came is forgotten.
func (l *Logger) tell(name string, k *kind) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	ln, times := k.last, k.left
	k.last, k.left, k.written = line{}, 0, l.burst
	if times == 0 {
		delete(l.kinds, name)
	} else {
		k.timer.Reset(interval)
	}
	l.mu.Unlock()
	ln.summary(times)
}

func (ln line) summary(times int) {
	if times == 0 {
		return
	}
	ln.record = ln.record.Clone()
	ln.record.Time = time.Now()
	ln.record.AddAttrs(slog.Int("times", times))
	ln.write()
}

// Close writes what is counted and not yet written. Lines after it are for
// debugging alone.
func (l *Logger) Close() {
	l.mu.Lock()
	kinds := l.kinds
	l.kinds, l.closed = nil, true
	for _, k := range kinds {
		k.timer.Stop()
	}
	l.mu.Unlock()
	for _, k := range kinds {
		k.last.summary(k.left)
	}
}
