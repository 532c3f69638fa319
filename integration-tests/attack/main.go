// Command attack attacks p and c, as they are built, the way a stranger can: at
// the front port, at the control port, and from a service behind c. Each attack
// has a pair of its own on loopback and lasts half a minute at most. It prints a
// row: what p and c used, how long an innocent visitor waited meanwhile, and
// whether all was as it must be.
//
// The attacker is this program, started again as a process of its own, so that
// it does not slow the innocent visitor down more than a stranger's would. It
// comes from 127.0.0.2 and onwards, the innocent visitor from 127.0.0.3: p has
// no cap for 127.0.0.1. Linux gives all of 127/8 to the loopback; elsewhere, as
// without /proc, it does not run.
package main

import (
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

func main() {
	process.Main(func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		return run(ctx, args, os.Stdin, stdout, stderr)
	})
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "strike" {
		if err := strikePart(ctx, args[1:], stdin, stdout); err != nil {
			fmt.Fprintf(stderr, "attack strike: %v\n", err)
			return 1
		}
		return 0
	}
	o, err := parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, o.flags.Help())
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "attack: %v\n", err)
		return 2
	}
	if o.list {
		for _, a := range attacks() {
			fmt.Fprintf(stdout, "%-18s %s\n", a.name, a.about)
		}
		return 0
	}
	if err := o.check(); err != nil {
		fmt.Fprintf(stderr, "attack: %v\n", err)
		return 1
	}
	failed := 0
	began := time.Now()
	fmt.Fprintln(stdout, heading)
	for _, a := range attacks() {
		if len(o.only) > 0 && !slices.Contains(o.only, a.name) {
			continue
		}
		v := o.carryOut(ctx, a)
		if ctx.Err() != nil {
			fmt.Fprintln(stderr, "attack: interrupted")
			return 1
		}
		fmt.Fprint(stdout, v.row(a.name))
		if len(v.problems) > 0 {
			failed++
			if o.keep != "" {
				fmt.Fprintf(stderr, "the logs of %s are in %s\n", a.name, v.kept)
			}
		}
	}
	fmt.Fprintf(stdout, "%d failed, in %.0f s\n", failed, time.Since(began).Seconds())
	if failed > 0 {
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	p, c, certs string
	only        []string // names of attacks; none: all
	list        bool
	keep        string // folder for the logs of what failed; "": none are kept

	flags *process.Flags
	self  string // this program
}

func parse(args []string) (*options, error) {
	o := new(options)
	o.flags = process.NewFlags("attack", "Attacks p and c. Run it from the repository's root, after make.")
	o.flags.StringSliceVar(&o.only, "only", nil, "`NAMES` of attacks, with commas between; see --list")
	o.flags.BoolVar(&o.list, "list", false, "print the attacks and exit")
	o.flags.StringVar(&o.p, "p", "bin/p", "`FILE` of p")
	o.flags.StringVar(&o.c, "c", "bin/c", "`FILE` of c")
	o.flags.StringVar(&o.certs, "certs", "certs", "`FOLDER` of ca.pem, p.pem, p.key and token")
	o.flags.StringVar(&o.keep, "keep", "", "`FOLDER` in which the logs of p and c are kept where an attack succeeded")
	if err := o.flags.Parse(args); err != nil {
		return o, err
	}
	for _, n := range o.only {
		if attackNamed(n) == nil {
			return o, fmt.Errorf("--only %q: there is no such attack; see --list", n)
		}
	}
	return o, nil
}

// check finds out whether there is all that an attack needs.
func (o *options) check() (err error) {
	if o.self, err = process.Prepare(&o.p, &o.c, &o.certs); err != nil {
		return err
	}
	if err := process.Made(o.p, o.c, o.cert("p.pem"), o.cert("token")); err != nil {
		return err
	}
	if o.keep != "" {
		return os.MkdirAll(o.keep, 0o755)
	}
	return nil
}

func (o *options) cert(name string) string { return filepath.Join(o.certs, name) }

// token is the first of the token file.
func (o *options) token() (string, error) {
	text, err := os.ReadFile(o.cert("token"))
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return "", fmt.Errorf("%s is empty", o.cert("token"))
	}
	return fields[0], nil
}
