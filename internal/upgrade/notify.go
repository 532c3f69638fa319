package upgrade

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier tells systemd how the program does (sd_notify(3)). A nil one tells
// nobody.
type notifier struct {
	socket   *net.UnixAddr
	watchdog time.Duration // systemd ends a program that says nothing for so long; 0: it does not
	log      *slog.Logger
}

// newNotifier returns nil if the environment names nobody to tell.
func newNotifier(log *slog.Logger) *notifier {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" || name[0] != '/' && name[0] != '@' {
		return nil
	}
	n := &notifier{socket: &net.UnixAddr{Name: name, Net: "unixgram"}, log: log}
	// inherit has judged whom WATCHDOG_PID names: a successor is not in it.
	if us, err := strconv.ParseUint(os.Getenv("WATCHDOG_USEC"), 10, 50); err == nil {
		n.watchdog = time.Duration(us) * time.Microsecond
	}
	return n
}

// Ready says that the program has started, or has ended a reload.
func (n *notifier) Ready() { n.send("READY=1") }

// Reloading says that a reload or a hand-over has begun: Ready, or Successor, says
// that it has ended.
func (n *notifier) Reloading() {
	n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic(), 10))
}

// Successor says that the process pid is the program from now on.
func (n *notifier) Successor(pid int) { n.send("MAINPID="+strconv.Itoa(pid), "READY=1") }

// Stopping says that the program has begun to stop.
func (n *notifier) Stopping() { n.send("STOPPING=1") }

// sendTime is how long systemd is waited for. With nobody at the other end who reads, or
// none in time, the queue is full, and a write would wait for good.
const sendTime = 2 * time.Second

// send is best effort: nobody can be told that systemd does not listen.
func (n *notifier) send(lines ...string) {
	if n == nil {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, n.socket)
	if err == nil {
		conn.SetWriteDeadline(time.Now().Add(sendTime))
		_, err = conn.Write([]byte(strings.Join(lines, "\n") + "\n"))
		conn.Close()
	}
	if err != nil {
		n.log.Debug("systemd was not told", "what", lines[0], "err", err)
	}
}

// Watch tells systemd's watchdog until ctx ends that the program works, each time
// that works says so, not at once: of a process that has just taken over systemd
// may not know yet. works is to give up when its context ends.
func (n *notifier) Watch(ctx context.Context, works func(context.Context) error) {
	if n == nil || n.watchdog <= 0 {
		return
	}
	every := n.watchdog / 3
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, every)
		err := works(limited)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			n.send("WATCHDOG=1")
		} else if !failing {
			n.log.Error("the watchdog of systemd is not fed", "err", fmt.Sprint(err))
		}
		failing = err != nil
	}
}
