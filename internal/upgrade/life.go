package upgrade

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Life is a process's from the start to the end, as others see it: systemd, the
// process before and the one after, and who reads the file with its id. Make one
// with Begin. Its methods may be called at once.
type Life struct {
	// Fixed by Begin.
	pidFile   string
	works     func(context.Context) error
	log       *slog.Logger
	inherited *inherited
	notifier  *notifier

	watching sync.WaitGroup // the goroutines that tell systemd

	mu sync.Mutex
	// Guarded by mu.
	state   state
	next    *Successor         // the last one that was ready
	reloads int                // how many there were
	still   context.CancelFunc // ends watching, but for its last word; nil before Started
}

type state uint8

const (
	starting state = iota
	running
	handedOver // another process is the program now
)

// Options are what Begin can be told. All may be zero.
type Options struct {
	PIDFile string   // "": none
	Ports   []string // the names of sockets that the program can be handed
	// Works says for systemd's watchdog whether the program does. Nil: it does as
	// long as it runs.
	Works func(context.Context) error
	Log   *slog.Logger
}

// Begin takes what the process was started with. Call it once, before the process
// opens any file. Its error is one line that says what would mend it.
func Begin(o Options) (*Life, error) {
	l := &Life{pidFile: o.PIDFile, works: o.Works, log: o.Log}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.works == nil {
		l.works = func(context.Context) error { return nil }
	}
	err := checkPIDFile(o.PIDFile)
	if err != nil {
		return nil, err
	}
	if l.inherited, err = inherit(o.Ports...); err != nil {
		return nil, err
	}
	l.notifier = newNotifier(l.log)
	return l, nil
}

// Listener returns a socket that the process was started with, nil if there is
// none of that name.
func (l *Life) Listener(name string) (net.Listener, error) { return l.inherited.Listener(name) }

// Kept reports whether systemd has the socket of that name, too, and listens on when
// this process ends.
func (l *Life) Kept(name string) bool { return slices.Contains(l.inherited.Kept, name) }

// TakesOver reports whether another process hands its work over to this one.
func (l *Life) TakesOver() bool { return l.inherited.TakesOver() }

// State is what the process before wants this one to know, "" if there is none.
func (l *Life) State() string { return l.inherited.State }

// Started says that the program could do its work, and returns when it is to do
// it: at once, if there is no process before. ctx is the program's whole life.
func (l *Life) Started(ctx context.Context) error {
	if err := l.inherited.Ready(ctx.Done()); err != nil {
		return err
	}
	if err := writePIDFile(l.pidFile); err != nil {
		if !l.inherited.TakesOver() {
			return err
		}
		// The process before makes way: who else is to do the work?
		l.log.Error("this process has taken over, but its id is nowhere to be read", "err", err)
	}
	if !l.inherited.TakesOver() {
		// The process before has said who is ready now, and nobody else is listened to
		// until that was heard.
		l.notifier.Ready()
	}
	watched, still := context.WithCancel(ctx)
	l.mu.Lock()
	l.state, l.still = running, still
	l.mu.Unlock()
	// These end with ctx or at a hand-over; End waits for them.
	l.watching.Go(func() { l.notifier.Watch(watched, l.works) })
	l.watching.Go(func() {
		<-watched.Done()
		l.mu.Lock()
		stops := l.state == running && ctx.Err() != nil
		l.mu.Unlock()
		if stops {
			l.notifier.Stopping()
		}
	})
	return nil
}

// Reload does f, and tells systemd, and the successor, if there is one: it may have
// read its files before.
func (l *Life) Reload(f func()) {
	l.notifier.Reloading()
	defer l.notifier.Ready()
	f()
	l.mu.Lock()
	l.reloads++
	next := l.next
	l.mu.Unlock()
	if next != nil {
		next.reload()
	}
}

// HandOver does f, which starts a successor by Start and has it go on. There is one
// line about an error, and the process goes on.
func (l *Life) HandOver(ctx context.Context, f func() error) {
	l.mu.Lock()
	state, next := l.state, l.next
	l.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		l.log.Warn("no hand-over: this process is stopping")
		return
	case state == starting:
		l.log.Warn("no hand-over: this process has not started yet, try again")
		return
	case state == handedOver:
		l.log.Warn("no hand-over: another process has taken over already, ask that", "pid", next.PID())
		return
	}
	l.log.Info("a new process is started to take over")
	l.notifier.Reloading()
	began := time.Now()
	if err := f(); err != nil {
		l.log.Error("the hand-over failed, this process goes on", "err", err)
		l.notifier.Ready()
		return
	}
	l.mu.Lock()
	l.state = handedOver
	l.still()
	pid := l.next.PID()
	l.mu.Unlock()
	l.notifier.Successor(pid)
	l.log.Info("another process has taken over, what is open here finishes", "pid", pid, "took", time.Since(began).Round(time.Millisecond))
}

// Start is h.Start, and remembers the successor.
func (l *Life) Start(ctx context.Context, h Handover) (*Successor, error) {
	l.mu.Lock()
	reloads := l.reloads
	l.mu.Unlock()
	h.kept = l.inherited.Kept
	s, err := h.Start(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = s
	if l.reloads != reloads {
		s.reload()
	}
	return s, nil
}

// End is called last.
func (l *Life) End() {
	l.mu.Lock()
	still, state := l.still, l.state
	l.mu.Unlock()
	if still != nil {
		still()
	}
	l.watching.Wait()
	if state != handedOver { // since when the file is the successor's, which may be about to write it
		removePIDFile(l.pidFile)
	}
}
