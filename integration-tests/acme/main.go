//go:build linux

// Command acme has p get certificates from real ACME servers: Debian's pebble, with its
// server of names for tests, and smallstep's step-ca, where that is installed. Every
// process is a real one, on loopback; certificates are good for less than a minute, so
// that they are renewed while it watches.
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
	"time"

	"github.com/spf13/pflag"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

func main() { process.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	l := &lab{ctx: ctx, out: stdout}
	var only []string
	var list, require bool
	flags := process.NewFlags("acme", "Has p get certificates from pebble and step-ca. Run it from the repository's root, after make.")
	flags.StringVar(&l.bin, "bin", "bin", "`FOLDER` of p and c")
	flags.StringVar(&l.certs, "certs", "certs", "`FOLDER` of the development certificates, which pebble shows for itself")
	flags.StringSliceVar(&only, "only", nil, "`NAMES` of tests, with commas between; see --list")
	flags.StringVar(&l.stepCA, "step-ca", "step-ca", "`PROGRAM` of smallstep's CA; the tests with it are left out where it is not there")
	flags.BoolVar(&list, "list", false, "print the tests and exit")
	flags.BoolVar(&require, "require", false, "fail where a program is missing, other than step-ca")
	fail := func(err error) int {
		fmt.Fprintf(stderr, "acme: %v\n", err)
		return 1
	}
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, flags.Help())
		return 0
	} else if err != nil {
		return fail(err)
	}
	if list {
		for _, t := range tests {
			fmt.Fprintf(stdout, "%-12s %s\n", t.name, t.about)
		}
		return 0
	}
	for program, name := range map[string]string{"pebble": "pebble", "pebble-challtestsrv": "pebble", "curl": "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			fmt.Fprintf(stdout, "SKIP  %s is not here: install Debian's package %s\n", program, name)
			if require {
				return 1
			}
			return 0
		}
	}
	if _, err := process.Prepare(&l.bin, &l.certs); err != nil {
		return fail(err)
	}
	if err := process.Made(filepath.Join(l.bin, "p"), filepath.Join(l.bin, "c"), filepath.Join(l.certs, "ca.pem")); err != nil {
		return fail(err)
	}
	failed := 0
	for _, t := range tests {
		if len(only) > 0 && !slices.Contains(only, t.name) {
			continue
		}
		began := time.Now()
		err := l.test(t)
		if ctx.Err() != nil {
			return fail(errors.New("interrupted"))
		}
		if m, ok := errors.AsType[missing](err); ok {
			fmt.Fprintf(stdout, "SKIP  %s: %v\n", t.about, m)
			process.Skipped(t.about, m)
			continue
		}
		if err != nil {
			failed++
			fmt.Fprintf(stdout, "FAIL  %s: %v\n", t.about, err)
			continue
		}
		fmt.Fprintf(stdout, "PASS  %s (%.0f s)\n", t.about, time.Since(began).Seconds())
	}
	if failed > 0 {
		return 1
	}
	return 0
}

// test runs one in a folder of its own.
func (l *lab) test(t test) (err error) {
	if l.dir, err = os.MkdirTemp("", "acme-"); err != nil {
		return err
	}
	defer func() {
		for _, p := range l.running {
			if err != nil && (p.Name == "p" || p.Name == "c") {
				fmt.Fprintf(l.out, "      %s\n", strings.ReplaceAll(strings.TrimSpace(p.Log()), "\n", "\n      "))
			}
			p.Stop()
		}
		l.running = nil
		os.RemoveAll(l.dir)
	}()
	if err := l.begin(); err != nil {
		return err
	}
	return t.run(l)
}
