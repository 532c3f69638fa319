package upgrade

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/testlog"
)

// The watchdog is fed while the program works, and starves while it does not, which
// is said once.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skip(err)
	}
	defer conn.Close()
	fed := func(within time.Duration) bool {
		b := make([]byte, 100)
		conn.SetReadDeadline(time.Now().Add(within))
		n, err := conn.Read(b)
		if err == nil && string(b[:n]) != "WATCHDOG=1\n" {
			t.Fatalf("systemd was told %q", b[:n])
		}
		return err == nil
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000")
	var log testlog.Buffer
	n := newNotifier(slog.New(slog.NewTextHandler(&log, nil)))
	var broken atomic.Bool
	looked := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	// Ends with ctx; waited for below.
	watching.Go(func() {
		n.Watch(ctx, func(ctx context.Context) error {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > 60*time.Millisecond {
				t.Errorf("it may take until %v, which is longer than the watchdog waits", end)
			}
			defer func() { looked <- struct{}{} }()
			if broken.Load() {
				return errors.New("it is broken")
			}
			return nil
		})
	})
	for range 3 {
		if !fed(10 * time.Second) {
			t.Fatal("it is not fed")
		}
	}
	broken.Store(true)
	for fed(200 * time.Millisecond) {
	}
	for len(looked) > 0 {
		<-looked
	}
	<-looked
	<-looked
	if fed(time.Millisecond) {
		t.Error("it is fed by a program that does not work")
	}
	broken.Store(false)
	if !fed(10 * time.Second) {
		t.Error("it is not fed any more")
	}
	cancel()
	watching.Wait()
	if log.Count("is not fed") != 1 || log.Count("it is broken") != 1 {
		t.Errorf("the log has\n%s\nwant one line", &log)
	}
}

// A systemd that does not read holds nothing up: neither a reload nor the end.
func TestNobodyReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	addr := &net.UnixAddr{Name: path, Net: "unixgram"}
	silent, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Skip(err)
	}
	defer silent.Close() // which ends whoever waits, too
	conn, err := net.DialUnix("unixgram", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for err == nil { // until its queue is full
		conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = conn.Write([]byte("X=1\n"))
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000")
	l, err := Begin(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	// Ends with what it waits for; waited for below.
	go func() {
		defer close(done)
		if err := l.Started(ctx); err != nil {
			t.Error(err)
		}
		l.Reload(func() {})
		stop()
		l.End()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("it still waits for who does not read")
		silent.Close()
		<-done
	}
}

// Without systemd, or with an address that is none, nobody is told.
func TestNobodyIsTold(t *testing.T) {
	for _, addr := range []string{"", "vsock:2:1234", "relative"} {
		t.Setenv("NOTIFY_SOCKET", addr)
		n := newNotifier(nil)
		if n != nil {
			t.Errorf("%q: a notifier", addr)
		}
		n.Ready()
		n.Reloading()
		n.Successor(1)
		n.Stopping()
		n.Watch(t.Context(), nil)
	}
	// One that has gone does no harm.
	var log testlog.Buffer
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	newNotifier(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))).Ready()
	if !strings.Contains(log.String(), "READY=1") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("the log has %q, want one line", &log)
	}
}
