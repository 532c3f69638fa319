// Command dist makes a release of the commit that is checked out: static programs for
// several systems in archives, images for containers, what is in them, and their sums.
// Nothing in it depends on the time, the machine or the folder it is made in: who makes
// it from the same commit with the same Go has the same bytes.
//
// It needs no compiler but Go's, and no daemon. make dist runs it.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/internal/cli"
)

// programs are what is built, in cmd/.
var programs = []string{"p", "c", "a"}

// product begins the names of all that is made.
const product = "spdy-proxy"

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var out, licences string
	var only []string
	program := &cli.Program{
		Name:  "dist",
		Short: "makes a release of spdy-proxy",
		About: "Makes archives, images, lists of what is in them, and sums, of the commit that is checked out. It runs in the repository's root.",
		Flags: func(fs *cli.Flags) {
			fs.StringVar(&out, "out", "dist", "`DIR` for what is made; an earlier release in it is removed")
			fs.StringSliceVar(&only, "only", nil, "only for this system, `OS/ARCH`; may be repeated")
			fs.StringVar(&licences, "licences", "", "make nothing, and print the licences of what is linked into the programs for a system, `OS/ARCH`")
		},
		Run: func(ctx context.Context, p *cli.Process) error {
			if len(p.Args) > 0 {
				return cli.Usagef("unexpected argument %q", p.Args[0])
			}
			if licences != "" {
				return printLicences(ctx, licences, p.Stdout)
			}
			chosen, err := choose("only", only)
			if err != nil {
				return cli.Usage(err)
			}
			return (&release{out: out, systems: chosen, say: p.Stdout}).make(ctx)
		},
	}
	return program.Main(ctx, args, stdout, stderr)
}

// choose returns the systems that a flag names, or all.
func choose(flag string, names []string) (chosen []system, err error) {
	if len(names) == 0 {
		return systems, nil
	}
	var known []string
	for _, s := range systems {
		known = append(known, s.String())
		if slices.Contains(names, s.String()) {
			chosen = append(chosen, s)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("--%s %s: give one of %s", flag, name, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

// release is one run.
type release struct {
	// Fixed when it is made.
	out     string
	systems []system
	say     io.Writer // a line a file made

	// Known once this machine's programs are built; then fixed.
	work     string // a folder that is removed at the end
	version  string // v1.2.3
	commit   string
	modified bool      // there are changes that no commit has
	date     time.Time // of the commit, or SOURCE_DATE_EPOCH

	made []string // names in out
}

func (r *release) make(ctx context.Context) (err error) {
	if r.work, err = os.MkdirTemp("", product+"-dist-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)

	here := system{os: runtime.GOOS, arch: runtime.GOARCH}
	if err := r.build(ctx, here); err != nil {
		return err
	}
	if err := r.identify(ctx, r.bin(here)); err != nil {
		return err
	}
	common, err := r.stage(ctx, r.bin(here))
	if err != nil {
		return err
	}
	if err := emptied(r.out); err != nil {
		return err
	}
	images := make(map[system]content)
	for _, s := range r.systems {
		if s != here {
			if err := r.build(ctx, s); err != nil {
				return err
			}
		}
		c, err := r.content(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		if err := r.archive(s, append(c.files(s), common.of(s)...)); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		if err := r.write(r.name(s)+".cdx.json", c.list); err != nil {
			return err
		}
		if s.image() {
			images[s] = c
		}
	}
	if len(images) > 0 {
		for _, program := range []string{"p", "c"} {
			if err := r.image(program, images); err != nil {
				return fmt.Errorf("image of %s: %w", program, err)
			}
		}
	}
	if err := r.source(ctx); err != nil {
		return err
	}
	return r.sums()
}

// name begins the names of what is made for a system.
func (r *release) name(s system) string {
	return strings.Join([]string{product, r.version, s.os, s.arch + s.variant()}, "-")
}

// emptied makes a folder that has no earlier release in it. What else is there
// stays.
func emptied(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && (strings.HasPrefix(e.Name(), product+"-") || e.Name() == sumsFile) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// write makes a file of the release.
func (r *release) write(name string, data []byte) error {
	if err := os.WriteFile(filepath.Join(r.out, name), data, 0o644); err != nil {
		return err
	}
	r.made = append(r.made, name)
	fmt.Fprintf(r.say, "%10d  %s\n", len(data), filepath.Join(r.out, name))
	return nil
}

// sumsFile is what sha256sum -c reads.
const sumsFile = "SHA256SUMS"

func (r *release) sums() error {
	slices.Sort(r.made)
	var b bytes.Buffer
	for _, name := range r.made {
		data, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), name)
	}
	return r.write(sumsFile, b.Bytes())
}

// file is one in an archive.
type file struct {
	name string // with slashes, below the archive's folder
	mode fs.FileMode
	data []byte

	owner int // user and group; root if zero
}
