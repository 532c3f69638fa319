package cli

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/internal/linelog"
)

// logOptions are the values of the two log flags. The zero value is the default.
type logOptions struct {
	format string
	level  string
}

func (o *logOptions) flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.format, "log-format", "text", "log lines as `text|json`, on standard error")
	fs.StringVar(&o.level, "log-level", "info", "least `level` logged: debug, info, warn or error")
}

func (o *logOptions) json() bool { return o.format == "json" }

func (o *logOptions) logger(w io.Writer) (*slog.Logger, error) {
	level := slog.LevelInfo
	if o.level != "" {
		if err := level.UnmarshalText([]byte(o.level)); err != nil {
			return nil, fmt.Errorf("--log-level: %q is not debug, info, warn or error", o.level)
		}
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.format {
	case "text", "":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-format: %q is not text or json", o.format)
}

// adoptLog has to write what libraries log without being given a logger, such as
// net/http's Transport: in our format, and for debugging, since what they have to say
// is about what the other end of a connection does, but for a panic.
func adoptLog(to *slog.Logger) {
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(to)
	log.SetOutput(slog.NewLogLogger(libraryLog{to.Handler()}, slog.LevelDebug).Writer())
}

// libraryLog makes errors of the lines about panics that somebody has caught.
type libraryLog struct{ slog.Handler }

// Enabled implements slog.Handler: the level is not known before the message.
func (h libraryLog) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h libraryLog) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "panic") {
		r.Level = slog.LevelError
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// outliveReaders has all that p writes to standard error go through the writer
// that it returns, which is to be closed at the end: a reader that stands still
// stops nothing. A write to one that has gone, of standard output as well, only
// fails, where Go else ends the program. That holds until the process ends; what
// it starts does not inherit it.
func (p *Process) outliveReaders() *linelog.Writer {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	lines := linelog.New(p.Stderr, linelog.Losses{End: func(lines uint64) {
		p.Log.Warn("log lines were left out: what reads standard error did not take them", "lines", lines)
	}})
	p.Stderr, p.Trace = lines, lines.Trace
	p.LogDropped = lines.Drops
	return lines
}
