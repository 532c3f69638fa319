package cli

import (
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/spf13/pflag"
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

// lockedWriter lets the log, frame traces and the last line share one writer
// without mixing their lines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
