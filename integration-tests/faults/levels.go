//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A level is what a program uses while nothing is asked of it.
type level struct {
	goroutines, descriptors int
	memory                  int64 // resident, in bytes
}

// levels are those of each daemon, by name.
type levels map[string]level

// How much more there may be afterwards. Goroutines and descriptors come and go by
// a few with timers, keep-alive connections and the runtime's own; memory is given
// back to the system late, and the race detector keeps much.
const (
	moreGoroutines  = 8
	moreDescriptors = 8
	moreMemory      = 64 << 20
	raceMemory      = 4 // times as much
)

// descriptors is how many files a process has open.
func descriptors(pid int) (int, error) {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(names), err
}

// statm is one of the numbers that /proc tells of a process's memory, in bytes: its
// size, then what of it is resident.
func statm(pid, field int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if field >= len(fields) {
		return 0, fmt.Errorf("/proc/PID/statm is %q", text)
	}
	pages, err := strconv.ParseInt(fields[field], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

const (
	statmSize = iota
	statmResident
)

// above says what of l is above what it was.
func (l level) above(before level, race bool) error {
	memory := int64(moreMemory)
	if race {
		memory *= raceMemory
	}
	switch {
	case l.goroutines > before.goroutines+moreGoroutines:
		return fmt.Errorf("%d goroutines, %d before", l.goroutines, before.goroutines)
	case l.descriptors > before.descriptors+moreDescriptors:
		return fmt.Errorf("%d descriptors, %d before", l.descriptors, before.descriptors)
	case l.memory > before.memory+memory:
		return fmt.Errorf("%d MB, %d before", l.memory>>20, before.memory>>20)
	}
	return nil
}

// measure looks at the running daemons. Goroutines of a c are not told: see dump.
func (l *lab) measure(ctx context.Context) (levels, error) {
	all := levels{}
	for _, d := range l.daemons() {
		var now level
		var err error
		if now.descriptors, err = descriptors(d.pid()); err != nil {
			return nil, err
		}
		if now.memory, err = statm(d.pid(), statmResident); err != nil {
			return nil, err
		}
		all[d.name] = now
	}
	text, err := l.adminText(ctx, "/debug")
	if err != nil {
		return nil, err
	}
	p := all[l.p.name]
	if p.goroutines, err = debugNumber(text, "goroutines:"); err != nil {
		return nil, err
	}
	all[l.p.name] = p
	serving, err := debugNumber(text, "serving:")
	if err == nil && serving > 0 {
		err = fmt.Errorf("%d requests are open", serving)
	}
	return all, err
}

// debugNumber is a number that the admin port tells.
func debugNumber(text, name string) (int, error) {
	_, rest, ok := strings.Cut(text, name)
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		return 0, fmt.Errorf("/debug says %q, and no %s", text, name)
	}
	return strconv.Atoi(fields[0])
}

// settle waits until the daemons are back at what they were before; with nil for
// that, until nothing is asked of them any more.
func (l *lab) settle(ctx context.Context, before levels) (now levels, err error) {
	l.service.closeIdle()
	err = until(ctx, settling, func() error {
		var err error
		if now, err = l.measure(ctx); err != nil {
			return err
		}
		for name, b := range before {
			n := now[name]
			if name != l.p.name {
				n.goroutines = b.goroutines // of these there is no count yet
			}
			if err := n.above(b, l.variant.race); err != nil {
				return fmt.Errorf("%s has %w", name, err)
			}
		}
		return nil
	})
	return now, err
}

// resting is how long a c's sessions keep goroutines for requests that do not come,
// and some more.
const resting = 3 * time.Second

// dump ends both Cs in the way that makes Go's runtime print every goroutine, and
// counts them. There is no other way to ask a c.
func (l *lab) dump(ctx context.Context, into levels) error {
	if err := pause(ctx, resting); err != nil {
		return err
	}
	for _, d := range l.cs() {
		if d.out != nil {
			continue // nobody reads what it prints
		}
		if err := d.end(ctx, syscall.SIGQUIT, 20*time.Second); err != nil {
			return err
		}
		n := into[d.name]
		_, text, _ := strings.Cut(d.now().Log(), "SIGQUIT: quit")
		n.goroutines = strings.Count(text, "\ngoroutine ")
		into[d.name] = n
	}
	return nil
}
