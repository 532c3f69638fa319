package proxy

import (
	"context"
	"log/slog"
	"strings"
)

// serverLog is a slog.Handler for what the servers of the front port and the
// admin port say: package http1's, net/http's, and the engine's. Any visitor
// can have them say nearly all of it, as often as it likes, and an operator can
// mend none of it: so it is for debugging, but for a panic, which is our own
// fault.
type serverLog struct{ slog.Handler }

// panicking are the beginnings of lines about one.
var panicking = []string{"http: panic serving ", "http2: panic serving "}

// Enabled implements slog.Handler: the level is not known before the message.
func (h serverLog) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h serverLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError {
		r.Level = slog.LevelDebug
	}
	for _, p := range panicking {
		if strings.HasPrefix(r.Message, p) {
			r.Level = slog.LevelError
		}
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h serverLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return serverLog{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h serverLog) WithGroup(name string) slog.Handler { return serverLog{h.Handler.WithGroup(name)} }
