//go:build linux

// Command faults breaks what p and c stand on, while visitors ask: the line between
// them, the programs themselves, their disk, files, limits, clocks and credentials.
// Each run has a pair of its own on loopback. Every byte of every body is compared,
// and each request is right, a failure that its visitor sees, wrong, or hung: there
// must be none of the last two. When the fault is over everything must be right
// again, and goroutines, descriptors and memory be back at what they were.
//
// A fault is tried with the programs as released and visitors that speak HTTP/1.1,
// and again with programs built with -race and visitors that speak h2 over TLS.
// What p and c promise is counted in seconds; what is waited for here is long
// enough for a machine that has other things to do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

func main() { process.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, o.flags.Help())
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "faults: %v\n", err)
		return 2
	}
	if o.list {
		for _, f := range faults() {
			fmt.Fprintf(stdout, "%-14s %s\n", f.name, f.about)
		}
		return 0
	}
	if os.Getenv(insideMark) != "" {
		unfurnish, err := o.furnish()
		if err != nil {
			fmt.Fprintf(stderr, "faults: in namespaces: %v\n", err)
			return 1
		}
		defer unfurnish()
	}
	said := stderr
	if o.inside {
		said = io.Discard // what cannot be built was said outside
	}
	if err := o.begin(ctx, said); err != nil {
		fmt.Fprintf(stderr, "faults: %v\n", err)
		return 1
	}
	// After begin, which may need a network, and finds everything built in there.
	if !o.inside && o.set != setSoak && slices.ContainsFunc(o.chosen(), func(f fault) bool { return f.inside }) {
		if status, ok := process.Enter(ctx, insideMark, args, stdout, stderr); ok {
			return status
		}
	}
	fmt.Fprintf(stdout, "seed %d\n", o.seed)
	r := o.results(ctx, stdout)
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "faults: interrupted")
		return 1
	}
	fmt.Fprintln(stdout, r.last())
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(r.tables(ctx, o)), 0o644); err != nil {
			fmt.Fprintf(stderr, "faults: %v\n", err)
			return 1
		}
	}
	if r.failed() > 0 {
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	set  string
	only []string
	list bool
	jobs int
	seed uint64
	soak time.Duration
	out  string
	keep string
	bin  string
	goes string // the go command

	flags *process.Flags

	// Fixed by begin.
	ca       *authority
	released programs
	raced    *programs // nil: none could be built
	clocked  *programs // nil: none could be built
	inside   bool      // this program has namespaces of its own
	hosts    *hosts    // then
}

func parse(args []string) (*options, error) {
	o := new(options)
	o.flags = process.NewFlags("faults", "Breaks what p and c stand on. Run it from the repository's root, after make.")
	o.flags.StringVar(&o.set, "set", setQuick, "`SET` of faults: quick (some 5 minutes, no root), all (longer ones too, and packets where namespaces are allowed), soak (faults at random)")
	o.flags.StringSliceVar(&o.only, "only", nil, "`NAMES` of faults, with commas between; see --list")
	o.flags.BoolVar(&o.list, "list", false, "print the faults and exit")
	o.flags.IntVar(&o.jobs, "jobs", 4, "how many runs go on at once; each mostly waits")
	o.flags.Uint64Var(&o.seed, "seed", 0, "of all that is random; 0: a new one, which is printed")
	o.flags.DurationVar(&o.soak, "soak", 10*time.Minute, "how long --set soak goes on")
	o.flags.StringVar(&o.out, "out", "", "`FILE` for the table (default: RESULTS.md or soak.md beside this program, with --only none)")
	o.flags.StringVar(&o.keep, "keep", "", "`FOLDER` in which the logs of p and c are kept where a run failed")
	o.flags.StringVar(&o.bin, "bin", "bin", "`FOLDER` of p and c; those for here are built in its faults")
	o.flags.StringVar(&o.goes, "go", "go", "the go `COMMAND`")
	if err := o.flags.Parse(args); err != nil {
		return o, err
	}
	if !slices.Contains([]string{setQuick, setAll, setSoak}, o.set) {
		return o, fmt.Errorf("--set %q: there are quick, all and soak", o.set)
	}
	if o.jobs < 1 {
		return o, fmt.Errorf("--jobs %d: give a number from 1", o.jobs)
	}
	for _, n := range o.only {
		if faultNamed(n) == nil {
			return o, fmt.Errorf("--only %q: there is no such fault; see --list", n)
		}
	}
	if o.set == setSoak && len(o.only) > 0 {
		return o, errors.New("--only does not go with --set soak, which takes what comes")
	}
	if o.out == "" && len(o.only) == 0 {
		o.out = "integration-tests/faults/RESULTS.md"
		if o.set == setSoak {
			o.out = "integration-tests/faults/soak.md"
		}
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1<<32) + 1
	}
	return o, nil
}

// begin makes what all runs share.
func (o *options) begin(ctx context.Context, stderr io.Writer) (err error) {
	if o.ca, err = newAuthority(); err != nil {
		return err
	}
	if o.keep != "" {
		if err := os.MkdirAll(o.keep, 0o755); err != nil {
			return err
		}
	}
	return o.build(ctx, stderr)
}

var (
	asReleased = variant{name: "released"}
	withRace   = variant{name: "race", race: true, tls: true}
)

// A trial is one run that is to be, and then its verdict.
type trial struct {
	fault   fault
	variant variant
	seed    uint64
	verdict *verdict
}

// results carries everything out, and prints a row for each run as it ends.
func (o *options) results(ctx context.Context, stdout io.Writer) *report {
	r := &report{began: time.Now()}
	if r.trials = o.trials(); o.set == setSoak {
		r.trials = o.soakTrials(stdout)
	}
	o.inTurn(ctx, r.trials, stdout)
	r.took = time.Since(r.began)
	return r
}

// chosen are the faults that were asked for.
func (o *options) chosen() (all []fault) {
	for _, f := range faults() {
		if slices.Contains(o.only, f.name) || len(o.only) == 0 && (!f.slow || o.set == setAll) {
			all = append(all, f)
		}
	}
	return all
}

// trials are the runs that were asked for.
func (o *options) trials() (all []*trial) {
	for _, f := range o.chosen() {
		all = append(all, &trial{fault: f, variant: asReleased, seed: o.seed + uint64(len(all))})
		if o.raced != nil && !f.once {
			all = append(all, &trial{fault: f, variant: withRace, seed: o.seed + uint64(len(all))})
		}
	}
	return all
}

// inTurn carries trials out, jobs of them at once.
func (o *options) inTurn(ctx context.Context, all []*trial, stdout io.Writer) {
	next := make(chan *trial)
	var mu sync.Mutex // of stdout
	var working sync.WaitGroup
	for range o.jobs {
		// Ends when next is closed; awaited below.
		working.Go(func() {
			for t := range next {
				t.verdict = o.carryOut(ctx, t.fault, t.variant, t.seed)
				if ctx.Err() != nil {
					continue // what it found is that it was interrupted
				}
				mu.Lock()
				fmt.Fprint(stdout, t.row())
				mu.Unlock()
			}
		})
	}
	for _, t := range all {
		if ctx.Err() != nil {
			break
		}
		next <- t
	}
	close(next)
	working.Wait()
}

// row tells what came of a trial, on a line.
func (t *trial) row() string {
	v := t.verdict
	name := fmt.Sprintf("%-14s %-9s", t.fault.name, t.variant.name)
	if v.skipped != "" {
		return fmt.Sprintf("%s skipped: %s\n", name, v.skipped)
	}
	word := "ok"
	if len(v.problems) > 0 {
		word = "FAILED"
	}
	text := fmt.Sprintf("%s %-7s right %5d  visible %4d  wrong %d  hung %d  back after %4.1f s  %s", name, word,
		v.sum[right], v.sum[visible], v.sum[untrue], v.sum[hung], v.back.Seconds(), strings.Join(slices.Concat(v.problems, v.notes), "; "))
	return strings.TrimRight(text, " ") + "\n"
}
