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
	kinds  map[key]*kind
	closed bool
}

// key is by what a kind is known.
type key struct {
	whose any // see HandlerOf
	name  string
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
	times  int // how many it stands for, if it was counted
}

// New returns a Logger that writes to log, nil: nowhere. burst is how many lines
// of a kind are written at once before they are counted; less than 1 means 1. It
// is what a kind has again after a minute, but for as many as were counted in that.
func New(log *slog.Logger, burst int) *Logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Logger{to: log.Handler(), burst: max(burst, 1), kinds: make(map[key]*kind)}
}

// Log writes a line, or counts it: the last of those that were counted in a
// minute is written at its end, with their number as "times". At the level debug
// each is written as it comes all the same.
func (l *Logger) Log(kindOf string, level slog.Level, msg string, attrs ...slog.Attr) {
	l.LogTo(l.to, kindOf, level, msg, attrs...)
}

// LogTo is Log of lines that are written to another handler, such as that of a Logger
// which bounds what of many kinds has one cause.
func (l *Logger) LogTo(to slog.Handler, kindOf string, level slog.Level, msg string, attrs ...slog.Attr) {
	if !to.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(time.Now(), level, msg, 0)
	r.AddAttrs(attrs...)
	l.handle(key{name: kindOf}, line{to: to, record: r})
}

// Handler returns a handler for another's lines; each message is a kind.
func (l *Logger) Handler() slog.Handler { return l.HandlerOf(nil) }

// HandlerOf returns one for the lines of one of many, who is comparable: each message is a
// kind of its own.
func (l *Logger) HandlerOf(whose any) slog.Handler { return handler{l.to, l, whose} }

type handler struct {
	slog.Handler // where lines go
	l            *Logger
	whose        any
}

func (h handler) Handle(_ context.Context, r slog.Record) error {
	h.l.handle(key{h.whose, r.Message}, line{to: h.Handler, record: r.Clone()})
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.l, h.whose}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.l, h.whose}
}

func (l *Logger) handle(of key, ln line) {
	if l.count(of, ln) {
		ln.record.Level = slog.LevelDebug
	}
	ln.write()
}

func (ln line) write() {
	ctx := context.Background()
	if !ln.to.Enabled(ctx, ln.record.Level) {
		return
	}
	if h, ok := ln.to.(handler); ok {
		h.l.handle(key{h.whose, ln.record.Message}, line{h.Handler, ln.record, ln.times})
		return
	}
	if ln.times > 0 {
		ln.record = ln.record.Clone()
		ln.record.AddAttrs(slog.Int("times", ln.times))
	}
	ln.to.Handle(ctx, ln.record)
}

// count reports whether ln is one that was only counted.
func (l *Logger) count(of key, ln line) bool {
	if ln.record.Level <= slog.LevelDebug {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return true
	}
	k := l.kinds[of]
	if k == nil && len(l.kinds) >= maxKinds {
		of = key{}
		k = l.kinds[of]
	}
	if k == nil {
		k, of.name = &kind{}, strings.Clone(of.name) // a piece of something larger, perhaps
		// Ends with the kind, in tell or Close.
		k.timer = time.AfterFunc(interval, func() { l.tell(of, k) })
		l.kinds[of] = k
	}
	if k.written < l.burst {
		k.written++
		return false
	}
	k.left += max(1, ln.times)
	k.last = ln
	return true
}

// tell writes what was counted of a kind in the last minute. A kind of which
// nothing came is forgotten.
func (l *Logger) tell(of key, k *kind) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	ln := k.summaryLocked()
	k.written = min(l.burst, ln.times)
	if ln.times == 0 {
		delete(l.kinds, of)
	} else {
		k.timer.Reset(interval)
	}
	l.mu.Unlock()
	if ln.times > 0 {
		ln.write()
	}
}

// summaryLocked takes what was counted, as a line that says how many there were.
func (k *kind) summaryLocked() line {
	ln := k.last
	ln.times, ln.record.Time = k.left, time.Now()
	k.last, k.left = line{}, 0
	return ln
}

// Close writes what is counted and not yet written. Lines after it are for
// debugging alone.
func (l *Logger) Close() {
	l.mu.Lock()
	kinds := l.kinds
	l.kinds, l.closed = nil, true
	var left []line
	for _, k := range kinds {
		k.timer.Stop()
		if k.left > 0 {
			left = append(left, k.summaryLocked())
		}
	}
	l.mu.Unlock()
	for _, ln := range left {
		ln.write()
	}
}
