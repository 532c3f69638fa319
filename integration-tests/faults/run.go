//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// verdict is what came of one run.
type verdict struct {
	problems []string // none: all was as it must be
	notes    []string
	skipped  string // why it was not tried
	sum      [outcomes]int
	back     time.Duration // from the fault's end to the right answer of both origins
	before   levels
	after    levels
}

const (
	warmUp = time.Second             // of load, before levels are measured
	beside = 1500 * time.Millisecond // of load before a fault, and after it
	atMost = 8 * time.Minute         // a run, its fault's own time apart
)

// errSkip is that a fault cannot be tried here.
var errSkip = errors.New("not here")

// carryOut is one run of a fault.
func (o *options) carryOut(ctx context.Context, f fault, v variant, seed uint64) *verdict {
	ctx, cancel := context.WithTimeoutCause(ctx, f.lasts+atMost, errors.New("the run has taken too long"))
	defer cancel()
	l, err := o.newLab(v, f, seed)
	if err != nil {
		if errors.Is(err, errSkip) {
			return &verdict{skipped: err.Error()}
		}
		return &verdict{problems: []string{err.Error()}}
	}
	defer l.close()
	if err := l.run(ctx, f); errors.Is(err, errSkip) {
		l.skipped = err.Error()
	} else if err != nil {
		l.failf("%v", err)
	}
	l.judgeLogs()
	l.sum = l.tally.sum()
	l.problems = append(l.problems, l.tally.problems()...)
	if o.keep != "" && len(l.problems) > 0 {
		kept := filepath.Join(o.keep, f.name+"-"+v.name)
		os.RemoveAll(kept)
		if err := os.CopyFS(kept, os.DirFS(l.logs)); err != nil {
			l.failf("%v", err)
		}
	}
	return &l.verdict
}

// run is what happens once all is in place.
func (l *lab) run(ctx context.Context, f fault) error {
	if err := l.up(ctx); err != nil {
		return fmt.Errorf("it does not start: %w", err)
	}
	if err := l.level(ctx); err != nil {
		return err
	}
	l.tally.setCalm(true)
	going, breakOff := context.WithCancel(ctx)
	load := l.visits.start(going)
	defer load.finish()
	defer breakOff()
	if err := pause(ctx, beside); err != nil {
		return err
	}
	if err := l.suffer(ctx, f); err != nil {
		return err
	}
	if err := pause(ctx, beside); err != nil {
		return err
	}
	load.finish()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return l.compare(ctx)
}

// suffer inflicts a fault, and returns when all is well again.
func (l *lab) suffer(ctx context.Context, f fault) error {
	l.tally.setCalm(false)
	if err := f.inflict(ctx, l); err != nil {
		return err
	}
	over := time.Now()
	if err := l.ready(ctx); err != nil {
		return fmt.Errorf("it does not come back: %w", err)
	}
	l.back = max(l.back, time.Since(over))
	l.tally.setCalm(true)
	return nil
}

// level finds out what each daemon uses when it has worked and nothing is asked of it.
func (l *lab) level(ctx context.Context) (err error) {
	load := l.visits.start(ctx)
	pause(ctx, warmUp)
	load.finish()
	if l.before, err = l.settle(ctx, nil); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	if err := l.dump(ctx, l.before); err != nil {
		return err
	}
	for _, d := range l.cs() {
		if d.out == nil {
			if err := d.start(); err != nil {
				return err
			}
		}
	}
	return l.ready(ctx)
}

// compare holds what each daemon uses against what it used before.
func (l *lab) compare(ctx context.Context) (err error) {
	if l.after, err = l.settle(ctx, l.before); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	l.judgeUploads()
	if err := l.dump(ctx, l.after); err != nil {
		return err
	}
	for name, now := range l.after {
		if err := now.above(l.before[name], l.variant.race); err != nil {
			return fmt.Errorf("after the fault: %s has %w", name, err)
		}
	}
	return nil
}
