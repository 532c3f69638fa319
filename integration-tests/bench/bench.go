package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// A bench is one run.
type bench struct {
	// Fixed when it is made.
	ctx     context.Context // of the run
	opts    *options
	sizes   sizes
	pattern *pattern
	self    string // this program
	dir     string // temporary, for all that is written
	root    string // in it: the folder that is served
	log     io.Writer

	// Owned by compare.
	separated bool // the folder that sshd wants was made, and is to be removed
}

func newBench(ctx context.Context, o *options, log io.Writer) (b *bench, err error) {
	b = &bench{ctx: ctx, opts: o, sizes: fullSizes(), pattern: newPattern(), log: log}
	if o.quick {
		b.sizes = quickSizes()
	}
	if b.self, err = process.Prepare(&o.bin, &o.certs); err != nil {
		return nil, err
	}
	if err := process.Made(b.cert("p.pem")); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "spdy-proxy-bench-"); err != nil {
		return nil, err
	}
	b.root = filepath.Join(b.dir, "root")
	if err := b.fill(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) cert(name string) string { return filepath.Join(b.opts.certs, name) }

// fill writes the files that are served.
func (b *bench) fill() error {
	if err := os.Mkdir(b.root, 0o700); err != nil {
		return err
	}
	for _, name := range []string{smallFile, bigFile, halfFile} {
		if err := b.pattern.file(filepath.Join(b.root, name), b.sizes.of(name)); err != nil {
			return err
		}
	}
	return nil
}

// close removes what was written.
func (b *bench) close() {
	os.RemoveAll(b.dir)
	if b.separated {
		os.Remove(separation)
	}
}

// A cell is what one yardstick did in one workload.
type cell struct {
	samples []sample // one a round, nil if it failed
	failed  []string // why
}

// medians returns the median of each figure over the rounds, nil without any.
func (c *cell) medians() (m sample) {
	if c == nil {
		return nil
	}
	all := map[int][]float64{}
	for _, s := range c.samples {
		for i, v := range s {
			all[i] = append(all[i], v)
		}
	}
	for i := range len(all) {
		m = append(m, median(all[i]))
	}
	return m
}

// outcome is all that a run found.
type outcome struct {
	began      time.Time
	took       time.Duration
	workloads  []workload
	yardsticks []yardstick
	cells      map[string]map[string]*cell // by workload and yardstick
	missing    map[string]string           // by yardstick: what is not installed
}

// budget is how long one measurement may take, starting and ending included.
const budget = 2 * time.Minute

// compare measures everything, writes the tables, and fails if a body was wrong
// or the pair did not do its work.
func (b *bench) compare(ctx context.Context, stdout io.Writer) error {
	o := &outcome{began: time.Now(), cells: map[string]map[string]*cell{}, missing: map[string]string{}}
	for _, w := range workloads() {
		if len(b.opts.only) == 0 || slices.Contains(b.opts.only, w.name) {
			o.workloads = append(o.workloads, w)
			o.cells[w.name] = map[string]*cell{}
		}
	}
	for _, y := range yardsticks() {
		if len(b.opts.against) > 0 && !slices.Contains(b.opts.against, y.name) {
			continue
		}
		if why := y.missing(b); why != "" {
			if y.name == pair {
				return fmt.Errorf("there is no %s", why)
			}
			o.missing[y.name] = why
		}
		o.yardsticks = append(o.yardsticks, y)
		for _, w := range o.workloads {
			o.cells[w.name][y.name] = new(cell)
		}
	}
	var bad []error
	for round := range b.opts.rounds {
		for _, w := range o.workloads {
			for _, y := range o.yardsticks {
				if o.missing[y.name] != "" {
					continue
				}
				c := o.cells[w.name][y.name]
				began := time.Now()
				s, err := b.measure(ctx, w, y)
				if ctx.Err() != nil {
					return errors.New("interrupted; nothing was written")
				}
				if err != nil {
					fmt.Fprintf(b.log, "round %d  %-6s  %-5s  FAILED: %v\n", round+1, w.name, y.name, err)
					c.samples, c.failed = append(c.samples, nil), append(c.failed, err.Error())
					if _, wrong := errors.AsType[*wrongBodyError](err); wrong || y.name == pair {
						bad = append(bad, fmt.Errorf("%s, %s: %w", w.name, y.name, err))
					}
					continue
				}
				c.samples = append(c.samples, s)
				fmt.Fprintf(b.log, "round %d  %-6s  %-5s ", round+1, w.name, y.name)
				for i, f := range w.figures {
					fmt.Fprintf(b.log, "  %s %s", number(s[i]), f.unit)
				}
				fmt.Fprintf(b.log, "  in %.1f s\n", time.Since(began).Seconds())
			}
		}
	}
	o.took = time.Since(o.began)
	if err := b.write(ctx, o, stdout); err != nil {
		return err
	}
	return errors.Join(bad...)
}

// measure runs one workload on one yardstick, with processes of its own.
func (b *bench) measure(ctx context.Context, w workload, y yardstick) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	s, err := b.up(ctx, y, w.far)
	if err != nil {
		return nil, fmt.Errorf("it does not start: %w", err)
	}
	defer s.stop()
	return w.run(ctx, b, y, s)
}

func isStuck(err error) bool { return errors.Is(err, errStuck) }

// write puts the tables where --out says.
func (b *bench) write(ctx context.Context, o *outcome, stdout io.Writer) error {
	text := b.tables(ctx, o)
	if b.opts.out == "-" {
		_, err := io.WriteString(stdout, text)
		return err
	}
	if err := os.WriteFile(b.opts.out, []byte(text), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is written\n", b.opts.out)
	return nil
}
