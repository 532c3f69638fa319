package certs

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapCore writes what certmagic logs. All of it is for debugging, but for warnings
// and errors that come to nobody otherwise: what a try fails of is its result.
type zapCore struct {
	to   slog.Handler
	with []zapcore.Field
}

// adoptLibraryLog has the parts of certmagic that take no logger, its file locks among
// them, log as the rest: they have one in common, which writes to standard error, and
// is the one that Default shows.
var adoptLibraryLog = sync.OnceFunc(func() { *certmagic.Default.Logger = *zap.New(zapCore{to: processLog{}}) })

// processLog is the slog.Handler of slog.Default, whichever that is.
type processLog struct{}

// Enabled implements slog.Handler.
func (processLog) Enabled(ctx context.Context, l slog.Level) bool {
	return slog.Default().Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (processLog) Handle(ctx context.Context, r slog.Record) error {
	return slog.Default().Handler().Handle(ctx, r)
}

// WithAttrs implements slog.Handler; zapCore has attributes of its own.
func (processLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return slog.Default().Handler().WithAttrs(attrs)
}

// WithGroup implements slog.Handler, as WithAttrs.
func (processLog) WithGroup(name string) slog.Handler {
	return slog.Default().Handler().WithGroup(name)
}

// tryLoggers are the loggers, or the ends of their names, of what a try does.
var tryLoggers = []string{"obtain", "renew", "acme_client"}

// tryMessages are warnings and errors about what is tried again in any case.
var tryMessages = []string{
	"updating ARI upon managing", "stapling OCSP", "tls-alpn challenge", "cleaning up solver", "looking up info for HTTP challenge", "certificate is in configured renewal window",
	"certificate is in emergency renewal window",
}

func (c zapCore) level(e zapcore.Entry) slog.Level {
	tried := slices.ContainsFunc(tryLoggers, func(s string) bool { return strings.HasSuffix(e.LoggerName, s) }) ||
		slices.ContainsFunc(tryMessages, func(s string) bool { return strings.HasPrefix(e.Message, s) })
	if e.Level < zapcore.WarnLevel || tried {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// Enabled implements zapcore.LevelEnabler: what level a line has is seen by its
// message.
func (c zapCore) Enabled(l zapcore.Level) bool {
	level := slog.LevelDebug
	if l >= zapcore.WarnLevel {
		level = slog.LevelWarn
	}
	return c.to.Enabled(context.Background(), level)
}

// With implements zapcore.Core.
func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{c.to, slices.Concat(c.with, fields)}
}

// Check implements zapcore.Core.
func (c zapCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.to.Enabled(context.Background(), c.level(e)) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements zapcore.Core.
func (c zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, c.level(e), "certificates: "+e.Message, 0)
	values := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(c.with, fields) {
		f.AddTo(values)
		if v, ok := values.Fields[f.Key]; ok {
			r.AddAttrs(slog.Any(f.Key, v))
		}
	}
	return c.to.Handle(context.Background(), r)
}

// Sync implements zapcore.Core.
func (c zapCore) Sync() error { return nil }
