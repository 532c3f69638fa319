//go:build unix

package upgrade

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/testlog"
)

// A process that takes over does so though its id cannot be written, on a full disk
// for one: the process before has gone, and there is nobody else.
func TestTakesOverWithoutPIDFile(t *testing.T) {
	in, _, tell := handedTo(t)
	if _, err := tell.Write([]byte{goOn}); err != nil {
		t.Fatal(err)
	}
	var log testlog.Buffer
	file := filepath.Join(t.TempDir(), "no-folder", "pid")
	l := &Life{pidFile: file, inherited: in, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := l.Started(t.Context()); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), file) {
		t.Errorf("the log has\n%s\nwant one error, with the file's name", &log)
	}
	l.End()

	l = &Life{pidFile: file, log: slog.New(slog.DiscardHandler)}
	if l.Started(t.Context()) == nil {
		t.Error("one that takes over from nobody starts without its file")
	}
}

// Who has handed over leaves the pid file to the successor, which may not have
// written it yet.
func TestEndLeavesTheSuccessorsPIDFile(t *testing.T) {
	for state, left := range map[state]bool{starting: false, running: false, handedOver: true} {
		file := filepath.Join(t.TempDir(), "pid")
		if err := writePIDFile(file); err != nil {
			t.Fatal(err)
		}
		l := &Life{pidFile: file, state: state, log: slog.New(slog.DiscardHandler)}
		l.End()
		if _, err := os.Stat(file); (err == nil) != left {
			t.Errorf("state %d: stat of the pid file after the end: %v; want it there: %v", state, err, left)
		}
	}
}
