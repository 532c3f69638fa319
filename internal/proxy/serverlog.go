package proxy

import (
	"context"
	"log/slog"
)

// serverLog is a slog.Handler for the lines of net/http's server. What is only
// about a visitor's mistake becomes a line for debugging.
type serverLog struct{ slog.Handler }

// Handle implements slog.Handler.
func (h serverLog) Handle(ctx context.Context, r slog.Record) error {
	if isQuiet(r.Message) {
		r.Level = slog.LevelDebug
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}
