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
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

func main() { process.Main(run) }

// options are the flags.
type options struct {
	run         bool
	port        int
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
	agents      bool

	// before comes before the commands of p and c, more are further arguments of p.
	before, more []string

	dials turns // of the agents; nil: any number

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
	fs.IntVar(&o.port, "port", 1443, "the first p's front `PORT`, with --run; others follow")
	fs.StringVar(&o.bin, "bin", "bin", "`DIR` of p and c")
	fs.StringVar(&o.certs, "certs", "certs", "`DIR` of certificates, with those of the nodes in its folder cluster")
	fs.StringVar(&o.root, "root", "testdata", "`DIR` that the c serve, with --run")
	fs.IntVar(&o.nodes, "nodes", 5, "how many p, from 2 to 5")
	fs.IntVar(&o.origins, "origins", 40, "how many origins")
	fs.IntVar(&o.spread, "spread", 2, "to how many p each origin is connected")
	fs.IntVar(&o.workers, "workers", 8, "how many visitors ask at once")
	fs.StringSliceVar(&o.only, "only", nil, "try these `NAMES` alone; with --bench: hop, own, five, many")
	fs.BoolVar(&o.list, "list", false, "say what there is to try")
	fs.BoolVar(&o.short, "short", false, "try each for a shorter time")
	fs.StringVar(&o.bench, "bench", "", "measure, and write the figures to `FILE`")
	fs.IntVar(&o.many, "many", manyOrigins, "how many origins, with --bench")
	fs.StringVar(&o.keep, "keep", "", "keep what the programs print in `DIR`")
	fs.BoolVar(&o.agents, "agents", false, "be the origins that standard input says, until interrupted")
	fs.MarkHidden("agents")
	if err := fs.Parse(args); err != nil {
		return o, fs, err
	}
	if o.nodes < 2 || o.nodes > len(nodeNames) {
		return o, fs, fmt.Errorf("--nodes %d: give 2 to %d", o.nodes, len(nodeNames))
	}
	for _, name := range o.only {
		known := slices.ContainsFunc(slices.Concat(trials, labTrials), func(t trial) bool { return t.name == name })
		if o.bench != "" {
			known = slices.ContainsFunc(measurements, func(m measurement) bool { return m.name == name })
		}
		if !known {
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
	if o.agents {
		if err := beAgents(ctx, os.Stdin); err != nil {
			return fail(err, 1)
		}
		return 0
	}
	if o.list {
		for _, t := range slices.Concat(trials, labTrials) {
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
	if os.Getenv(insideMark) != "" {
		failed, err := o.tryInside(ctx, o.chosen(labTrials), dir, stdout)
		if err != nil {
			return fail(err, 1)
		}
		return min(failed, 1)
	}
	failed := 0
	if list := o.chosen(trials); len(list) > 0 {
		if failed, err = o.tryAll(ctx, list, nil, dir, stdout); err != nil {
			return fail(err, 1)
		}
	}
	if len(o.chosen(labTrials)) > 0 {
		status, ok := process.Enter(ctx, insideMark, args, stdout, stderr)
		if !ok {
			fmt.Fprintln(stdout, "SKIP       what needs network namespaces: they are not allowed here")
		} else if status != 0 {
			failed++
		}
	}
	if failed > 0 {
		fmt.Fprintln(stdout, "some failed, see above")
		if o.keep == "" {
			fmt.Fprintln(stdout, "with --keep DIR what the programs printed stays")
		}
		return 1
	}
	fmt.Fprintln(stdout, "all is as promised")
	return 0
}

// chosen returns those of list that are to be tried.
func (o *options) chosen(list []trial) []trial {
	return slices.DeleteFunc(slices.Clone(list), func(t trial) bool { return len(o.only) > 0 && !slices.Contains(o.only, t.name) })
}

// tryAll starts all, in l if that is not nil, and returns how many of list failed.
func (o *options) tryAll(ctx context.Context, list []trial, l *lab, dir string, out io.Writer) (failed int, err error) {
	w, err := newWorld(o, l, dir)
	if err != nil {
		return 0, err
	}
	defer w.close()
	if err := w.up(ctx, out); err != nil {
		return 0, err
	}
	for _, t := range list {
		faults := w.try(ctx, t, out)
		if ctx.Err() != nil {
			return 0, errors.New("interrupted")
		}
		if len(faults) > 0 {
			failed++
			fmt.Fprintf(out, "           FAILED: %s\n", strings.Join(faults, "; "))
		}
	}
	return failed, nil
}

// while returns a time, or a shorter one with --short.
func (o *options) while(d time.Duration) time.Duration {
	if o.short {
		return d / 3
	}
	return d
}
