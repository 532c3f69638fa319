//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// drainAtMost is how long a program may take to end after SIGTERM: --drain, and a
// slow machine's time.
const drainAtMost = drain + 20*time.Second

// handOvers is how often a program hands over.
const handOvers = 3

// outlasted are the requests that end well before --drain does.
var outlasted = []kind{get, download, upload, stream, sink, once}

func processFaults() []fault {
	p := func(l *lab) []*daemon { return []*daemon{l.p} }
	cs := func(l *lab) []*daemon { return l.cs() }
	return []fault{
		{name: "p-term", about: "p is told to end, and started again when it has", lasts: drain, soak: true, inflict: again(p, syscall.SIGTERM)},
		{name: "p-kill", about: "p is killed, and started again at once", lasts: time.Second, soak: true, inflict: killP},
		{name: "p-stop", about: "p stands still for 4 s", lasts: 4 * time.Second, spared: everything, soak: true, inflict: still(p, 4*time.Second)},
		{name: "p-stop-long", about: "p stands still for 14 s: c takes it for dead, and its own time limits for handshakes pass", lasts: longFreeze, soak: true, inflict: still(p, longFreeze)},
		{name: "c-term", about: "both Cs are told to end, and started again when they have", lasts: drain, spared: held, soak: true, inflict: again(cs, syscall.SIGTERM)},
		{name: "c-kill", about: "both Cs are killed, and started again at once", lasts: time.Second, spared: held, soak: true, inflict: again(cs, syscall.SIGKILL)},
		{name: "c-stop", about: "both Cs stand still for 4 s", lasts: 4 * time.Second, spared: everything, soak: true, inflict: still(cs, 4*time.Second)},
		{name: "c-stop-long", about: "both Cs stand still for 14 s: p takes them for dead", lasts: longFreeze, spared: held, soak: true, inflict: still(cs, longFreeze)},
		{name: "both-kill", about: "p and both Cs are killed, and started again at once", lasts: time.Second, soak: true,
			inflict: again(func(l *lab) []*daemon { return l.daemons() }, syscall.SIGKILL)},
		{name: "log-gone", about: "who reads what p and c print has gone; then each connection is cut", lasts: 3 * time.Second, spared: held,
			prepare: logGone, inflict: cut(time.Second)},
		{name: "clock", about: "the wall clocks of p and c go forward by an hour, back by two, and are put right; the connection is reset each time", lasts: 8 * time.Second,
			spared: []kind{get}, clock: true, once: true, prepare: setClocks, inflict: stepClocks},
		{name: "p-over", about: fmt.Sprintf("p hands over to a new p, %d times", handOvers), lasts: 20 * time.Second, spared: outlasted, prepare: heirs(p), inflict: handOver(p)},
		{name: "c-over", about: fmt.Sprintf("both Cs hand over to new ones, %d times", handOvers), lasts: 20 * time.Second, spared: outlasted, prepare: heirs(cs), inflict: handOver(cs)},
	}
}

// again ends programs by a signal, and starts each again as soon as it has ended.
func again(which func(*lab) []*daemon, s syscall.Signal) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		for _, d := range which(l) {
			if err := d.signal(s); err != nil {
				return err
			}
		}
		for _, d := range which(l) {
			if err := d.awaitEnd(ctx, drainAtMost); err != nil {
				return err
			}
			if text := d.now().Log(); s == syscall.SIGTERM && d.out == nil && !strings.Contains(text, "has stopped") {
				l.failf("%s does not say that it has stopped: %s", d.name, d.now().Last())
			}
			if err := d.start(); err != nil {
				return err
			}
		}
		return nil
	}
}

// killP spares the GETs that begin when the new p listens: what fails before is the
// system's doing, which refuses while nobody listens.
func killP(ctx context.Context, l *lab) error {
	if err := again(func(l *lab) []*daemon { return []*daemon{l.p} }, syscall.SIGKILL)(ctx, l); err != nil {
		return err
	}
	if err := until(ctx, comeback, func() error {
		conn, err := net.Dial("tcp", l.front)
		if err == nil {
			conn.Close()
		}
		return err
	}); err != nil {
		return err
	}
	l.tally.spare(get, true)
	defer l.tally.spare(get, false)
	return l.ready(ctx)
}

// still stops programs for a time, as a machine that swaps or is moved does.
func still(which func(*lab) []*daemon, d time.Duration) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) (err error) {
		for _, d := range which(l) {
			if err := d.signal(syscall.SIGSTOP); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, d.signal(syscall.SIGCONT)) }()
		}
		return pause(ctx, d)
	}
}

// logGone puts a pipe behind what the programs print, of which one line is read.
func logGone(l *lab) error {
	for _, d := range l.daemons() {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		d.out = w
		d.args = append(d.args, "--log-level", "debug")
		l.cleanups = append(l.cleanups, func() { r.Close(); w.Close() })
		// Ends with the first line, or with the pipe.
		go func() {
			bufio.NewReaderSize(r, 16).ReadString('\n')
			r.Close()
		}()
	}
	return nil
}

// heirs has programs write down who is the one that runs, which those do that can
// hand over.
func heirs(which func(*lab) []*daemon) func(*lab) error {
	return func(l *lab) error {
		for _, d := range which(l) {
			text, _ := exec.Command(d.path, "--help").CombinedOutput()
			if !strings.Contains(string(text), "--pid-file") {
				return fmt.Errorf("%w: this %s does not hand over", errSkip, filepath.Base(d.path))
			}
			d.args = append(d.args, "--pid-file", d.pidFile())
		}
		return nil
	}
}

func handOver(which func(*lab) []*daemon) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		for range handOvers {
			for _, d := range which(l) {
				if err := d.handOver(ctx); err != nil {
					return err
				}
			}
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
		}
		return nil
	}
}

func (d *daemon) pidFile() string { return filepath.Join(d.lab.dir, d.name+".pid") }

// handOver has a program hand over to another process of itself, and waits until the
// old one has ended.
func (d *daemon) handOver(ctx context.Context) error {
	old := d.pid()
	if err := d.signal(syscall.SIGUSR2); err != nil {
		return err
	}
	return until(ctx, drainAtMost, func() error {
		text, err := os.ReadFile(d.pidFile())
		if err != nil {
			return err
		}
		now, err := strconv.Atoi(strings.TrimSpace(string(text)))
		switch {
		case err != nil:
			return err
		case now == old:
			return fmt.Errorf("%s has no successor: %s", d.name, d.now().Last())
		case alive(old):
			return fmt.Errorf("%s has a successor and does not end: %s", d.name, d.now().Last())
		}
		d.heir = now
		return nil
	})
}
