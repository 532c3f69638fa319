//go:build unix

package upgrade

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

// A program that stops at once has said so before it is gone.
func TestStopIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skip(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	told := func() string { // by now: nothing is waited for
		b, n := make([]byte, 100), 0
		raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			return true
		})
		return string(b[:max(n, 0)])
	}
	for range 50 {
		l, err := Begin(Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := l.Started(ctx); err != nil {
			t.Fatal(err)
		}
		if got := told(); got != "READY=1\n" {
			t.Fatalf("systemd was told %q, want READY=1", got)
		}
		cancel()
		l.End()
		if got := told(); got != "STOPPING=1\n" {
			t.Fatalf("systemd was told %q, want STOPPING=1", got)
		}
	}
}
