//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// programs are the files of one p and one c.
type programs struct{ p, c string }

// programs returns those for a run.
func (o *options) programs(v variant, f fault) programs {
	switch {
	case f.clock && o.clocked != nil:
		return *o.clocked
	case v.race && o.raced != nil:
		return *o.raced
	}
	return o.released
}

// build makes the programs that are tried, beside those that make has built. Where
// some cannot be built their runs are left out, and that is said.
func (o *options) build(ctx context.Context, stderr io.Writer) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	o.released = programs{filepath.Join(bin, "p"), filepath.Join(bin, "c")}
	for _, name := range []string{o.released.p, o.released.c} {
		if _, err := os.Stat(name); err != nil {
			return fmt.Errorf("%w; run make, which builds the programs", err)
		}
	}
	if o.raced, err = buildIn(ctx, filepath.Join(bin, "faults", "race"), o.goes, nil, "-race"); err != nil {
		fmt.Fprintf(stderr, "faults: nothing is run with -race: %v\n", err)
	}
	if o.set != setSoak && slices.ContainsFunc(o.chosen(), func(f fault) bool { return f.clock }) {
		if o.clocked, err = o.buildClocked(ctx, filepath.Join(bin, "faults", "clock")); err != nil {
			fmt.Fprintf(stderr, "faults: no clock is set: %v\n", err)
		}
	}
	return ctx.Err()
}

func (o *options) buildClocked(ctx context.Context, dir string) (*programs, error) {
	// The same each time, so that what was built of Go's own packages is found again;
	// hidden, as it is none of our own Go.
	at := filepath.Join(filepath.Dir(dir), ".overlay")
	if err := errors.Join(os.RemoveAll(at), os.MkdirAll(at, 0o755)); err != nil {
		return nil, err
	}
	overlay, root, err := o.overlay(ctx, at)
	if err != nil {
		return nil, err
	}
	return buildIn(ctx, dir, filepath.Join(root, "bin", "go"), []string{"GOROOT=" + root, "GOTOOLCHAIN=local"}, "-overlay", overlay)
}

// buildIn builds p and c in a folder, with a go command and some variables.
func buildIn(ctx context.Context, dir, goes string, env []string, flags ...string) (*programs, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", dir + string(filepath.Separator)}, flags...)
	cmd := exec.CommandContext(ctx, goes, append(args, "./cmd/p", "./cmd/c")...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build %s: %w: %s", strings.Join(flags, " "), err, oneLine(out))
	}
	return &programs{filepath.Join(dir, "p"), filepath.Join(dir, "c")}, nil
}

// oneLine is the end of what a program has printed.
func oneLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], " / ")
}
