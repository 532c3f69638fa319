// Command bench measures p and c, as they are released, beside what people would
// run instead of them, and writes one table of medians with the ratio to each.
//
// The yardsticks are the same design on x/net/http2 (h2), Go's own reverse proxy
// in front of a TLS file server (hop), nginx in front of nginx over TLS, and
// ssh -R to nginx. The first two are in here: bench starts itself again as each
// end of them, as the load, and as the relay that delays. Everything listens on
// loopback, keeps its files in one temporary folder, and is gone at the end.
//
// Each measurement has fresh processes, and no other yardstick is up at the same
// time. The yardsticks take turns within a workload, and the workloads within a
// round, so that a machine which slows down does so for all of them. Every
// body that arrives is compared with what was sent.
//
// With --growth it measures how the pair's cost grows with the number of requests
// and of origins. It needs Linux, for /proc.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

func main() {
	process.Main(func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		return run(ctx, args, os.Stdin, stdout, stderr)
	})
}

// A part is one of the programs that bench starts itself again as.
type part func(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error

// partNamed returns the part that a first argument asks for, nil if it is a flag.
func partNamed(name string) part {
	switch name {
	case "load":
		return load
	case "relay":
		return relayPart
	case "h2-p":
		return h2Proxy
	case "h2-c":
		return h2Origin
	case "hop-front":
		return hopFront
	case "hop-origin":
		return hopOrigin
	case "sink":
		return sink
	case "origins":
		return origins
	}
	return nil
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		if p := partNamed(args[0]); p != nil {
			if err := p(ctx, args[1:], stdin, stdout); err != nil && ctx.Err() == nil {
				fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
				return 1
			}
			return 0
		}
	}
	o, err := parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, o.flags.Help())
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 2
	}
	b, err := newBench(ctx, o, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	defer b.close()
	work := b.compare
	if o.growth {
		work = b.grow
	}
	if err := work(ctx, stdout); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	bin, certs string
	out        string
	rounds     int
	only       []string // names of workloads; none: all
	against    []string // names of yardsticks; none: all
	quick      bool
	growth     bool // measure how cost grows instead

	flags *process.Flags
}

func parse(args []string) (*options, error) {
	o := new(options)
	o.flags = process.NewFlags("bench", "Measures p and c beside other ways to do the same. Run it from the repository's root, after make.")
	o.flags.IntVar(&o.rounds, "rounds", 3, "how often each figure is measured; the median counts")
	o.flags.StringSliceVar(&o.only, "only", nil, "workloads: "+strings.Join(names(workloads()), ","))
	o.flags.StringSliceVar(&o.against, "against", nil, "yardsticks, pair included: "+strings.Join(names(yardsticks()), ","))
	o.flags.BoolVar(&o.quick, "quick", false, "small sizes and short times, to try a change; not to be quoted")
	o.flags.BoolVar(&o.growth, "growth", false, "measure instead how cost grows with requests and origins; writes a chart too")
	o.flags.StringVar(&o.out, "out", "", "`FILE` for the tables; - is standard output (default: RESULTS.md or growth.md beside this program)")
	o.flags.StringVar(&o.bin, "bin", "bin", "`FOLDER` of p and c")
	o.flags.StringVar(&o.certs, "certs", "certs", "`FOLDER` of ca.pem, p.pem, p.key and token")
	if err := o.flags.Parse(args); err != nil {
		return o, err
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("--rounds %d: give a number from 1", o.rounds)
	}
	for _, n := range o.only {
		if !slices.Contains(names(workloads()), n) {
			return o, fmt.Errorf("--only %q: the workloads are %s", n, strings.Join(names(workloads()), ", "))
		}
	}
	for _, n := range o.against {
		if !slices.Contains(names(yardsticks()), n) {
			return o, fmt.Errorf("--against %q: the yardsticks are %s", n, strings.Join(names(yardsticks()), ", "))
		}
	}
	if o.growth && (o.only != nil || o.against != nil) {
		return o, errors.New("--growth goes with neither --only nor --against: it is about the pair alone")
	}
	if o.out == "" {
		o.out = "integration-tests/bench/RESULTS.md"
		if o.growth {
			o.out = "integration-tests/bench/growth.md"
		}
	}
	return o, nil
}

// named is what workloads and yardsticks have in common.
type named interface{ named() string }

func names[T named](list []T) (all []string) {
	for _, n := range list {
		all = append(all, n.named())
	}
	return all
}
