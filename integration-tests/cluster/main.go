//go:build linux

// Command cluster runs several Ps that are one, as processes on loopback. With --run it
// has three of them and two Cs until it is interrupted, to look at, to ask and to kill.
// Without, it tries what they promise: under load a P is killed, one is stopped for a
// while, all are restarted in turn, a C is killed; each answer is compared, and what
// reached an origin is counted there.
//
// Visitors are sent to the Ps that are ready, as a load balancer does it: who talks to a
// P at the moment when that is killed sees it, whatever the others do.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the flags.
type options struct {
	run         bool
	bin, certs  string
	root        string
	nodes       int
	origins     int
	spread      int
	workers     int
	only        []string
	list, short bool
	bench       string
	many        int
	keep        string

	// What more origins show than one token may serve, and their file.
	tokens []string
	file   string
}

// tokenFile is what p and c read.
func (o *options) tokenFile() string {
	return cmp.Or(o.file, filepath.Join(o.certs, "token"))
}

func parse(args []string) (*options, *process.Flags, error) {
	o := new(options)
	fs := process.NewFlags("cluster", "Runs several p that are one, and tries what becomes of requests when one of them ends.")
	fs.BoolVar(&o.run, "run", false, "run three p and two c on fixed ports until interrupted")
	fs.StringVar(&o.bin, "bin", "bin", "`DIR` of p and c")
	fs.StringVar(&o.certs, "certs", "certs", "`DIR` of certificates, with those of the nodes in its folder cluster")
	fs.StringVar(&o.root, "root", "testdata", "`DIR` that the c serve, with --run")
	fs.IntVar(&o.nodes, "nodes", 5, "how many p, from 2 to 5")
	fs.IntVar(&o.origins, "origins", 40, "how many origins")
	fs.IntVar(&o.spread, "spread", 2, "to how many p each origin is connected")
	fs.IntVar(&o.workers, "workers", 8, "how many visitors ask at once")
	fs.StringSliceVar(&o.only, "only", nil, "try these `NAMES` alone")
	fs.BoolVar(&o.list, "list", false, "say what there is to try")
	fs.BoolVar(&o.short, "short", false, "try each for a shorter time")
	fs.StringVar(&o.bench, "bench", "", "measure, and write the figures to `FILE`")
	fs.IntVar(&o.many, "many", manyOrigins, "how many origins, with --bench")
	fs.StringVar(&o.keep, "keep", "", "keep what the programs print in `DIR`")
	if err := fs.Parse(args); err != nil {
		return o, fs, err
	}
	if o.nodes < 2 || o.nodes > len(nodeNames) {
		return o, fs, fmt.Errorf("--nodes %d: give 2 to %d", o.nodes, len(nodeNames))
	}
	for _, name := range o.only {
		if !slices.ContainsFunc(trials, func(t trial) bool { return t.name == name }) {
			return o, fs, fmt.Errorf("--only %q: see --list", name)
		}
	}
	return o, fs, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, fs, err := parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, fs.Help())
		return 0
	}
	fail := func(err error, status int) int {
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return status
	}
	if err != nil {
		return fail(err, 2)
	}
	if o.list {
		for _, t := range trials {
			fmt.Fprintf(stdout, "%-10s %s\n", t.name, t.about)
		}
		return 0
	}
	files := []string{filepath.Join(o.bin, "p"), filepath.Join(o.bin, "c"), filepath.Join(o.certs, "p.pem"), filepath.Join(o.certs, "cluster", "ca.pem")}
	if err := process.Made(files...); err != nil {
		return fail(err, 1)
	}
	if o.run {
		if err := show(ctx, o, stdout); err != nil {
			return fail(err, 1)
		}
		return 0
	}
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "spdy-proxy-cluster-"); err != nil {
			return fail(err, 1)
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return fail(err, 1)
	}
	if o.bench != "" {
		var page bytes.Buffer
		if err := bench(ctx, o, dir, io.MultiWriter(&page, stdout)); err != nil {
			return fail(err, 1)
		}
		if err := os.WriteFile(o.bench, page.Bytes(), 0o644); err != nil {
			return fail(err, 1)
		}
		return 0
	}
	w, err := newWorld(o, dir)
	if err == nil {
		defer w.close()
		err = w.up(ctx, stdout)
	}
	if err != nil {
		return fail(err, 1)
	}
	failed := 0
	for _, t := range trials {
		if len(o.only) > 0 && !slices.Contains(o.only, t.name) {
			continue
		}
		faults := w.try(ctx, t, stdout)
		if ctx.Err() != nil {
			return fail(errors.New("interrupted"), 1)
		}
		if len(faults) > 0 {
			failed++
			fmt.Fprintf(stdout, "           FAILED: %s\n", strings.Join(faults, "; "))
		}
	}
	if failed > 0 {
		fmt.Fprintf(stdout, "%d failed\n", failed)
		if o.keep == "" {
			fmt.Fprintln(stdout, "with --keep DIR what the programs printed stays")
		}
		return 1
	}
	fmt.Fprintln(stdout, "all is as promised")
	return 0
}

// while returns a time, or a shorter one with --short.
func (o *options) while(d time.Duration) time.Duration {
	if o.short {
		return d / 3
	}
	return d
}
