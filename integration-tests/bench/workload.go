package main

import (
	"context"
	"fmt"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// A figure is one number that a workload gives.
type figure struct {
	title string
	unit  string
	less  bool // is better
	more  bool // is told apart from the table, as what stands behind it
}

// A sample is the figures of one measurement, in the order of the workload's.
type sample []float64

// A workload is what is measured.
type workload struct {
	name    string
	far     bool // through the relay
	figures []figure
	run     func(ctx context.Context, b *bench, y yardstick, s *setup) (sample, error)
}

func (w workload) named() string { return w.name }

// sizes are how much there is of everything.
type sizes struct {
	small, big, half, upload int64         // bytes
	steady, beside, fresh    time.Duration // how long
	readers                  int
}

// of is the size of one of the files that are served.
func (s sizes) of(file string) int64 {
	switch file {
	case smallFile:
		return s.small
	case halfFile:
		return s.half
	}
	return s.big
}

func fullSizes() sizes {
	return sizes{
		small: 1 << 10, big: 512 << 20, half: 256 << 20, upload: 256 << 20,
		steady: 4 * time.Second, beside: 7 * time.Second, fresh: 6 * time.Second, readers: 500,
	}
}

func quickSizes() sizes {
	return sizes{
		small: 1 << 10, big: 128 << 20, half: 64 << 20, upload: 64 << 20,
		steady: time.Second, beside: 2 * time.Second, fresh: 2 * time.Second, readers: 100,
	}
}

const (
	connections = 64               // of workload small
	readerRate  = 16 << 10         // bytes/s
	besideRate  = 50               // requests/s
	freshRate   = 10               // requests/s
	unanswered  = 20 * time.Second // how long the last GET beside slow readers is waited for
)

func workloads() []workload {
	return []workload{
		// 1 KiB GET over 64 keep-alive connections.
		{name: "small", run: small, figures: []figure{
			{title: "1 KiB GET, 64 connections", unit: "req/s"},
			{title: "its CPU, both sides", unit: "us/req", less: true},
			{title: "CPU, public side", unit: "us/req", less: true, more: true},
			{title: "CPU, origin", unit: "us/req", less: true, more: true},
			{title: "p99", unit: "ms", less: true, more: true},
		}},
		{name: "bulk1", run: bulk(1, bigFile), figures: bulkFigures("one 512 MiB download")},
		{name: "bulk4", run: bulk(4, halfFile), figures: bulkFigures("four of 256 MiB at once")},
		// 1 KiB GET at 50/s beside four endless downloads.
		{name: "beside", run: beside, figures: []figure{
			{title: "1 KiB GET beside four downloads, p99", unit: "ms", less: true},
			{title: "p50", unit: "ms", less: true, more: true},
			{title: "unanswered", unit: "", less: true, more: true},
			{title: "the downloads meanwhile", unit: "MB/s", more: true},
		}},
		// 500 readers at 16 KiB/s with receive buffers of 64 KiB, and a GET of 1 KiB on a fresh connection ten times a second.
		{name: "slow", run: slow, figures: []figure{
			{title: "500 slow readers: memory of the public side", unit: "MB", less: true},
			{title: "p99 of a fresh GET beside them", unit: "ms", less: true},
			{title: "fresh GETs not answered in 20 s", unit: "", less: true},
			{title: "p50", unit: "ms", less: true, more: true},
			{title: "memory of the origin", unit: "MB", less: true, more: true},
			{title: "the kernel's memory for TCP, all ends", unit: "MB", less: true, more: true},
			{title: "readers that got a byte", unit: "", more: true},
			{title: "readers behind their rate", unit: "", less: true, more: true},
		}},
		// One download of 256 MiB where the two sides are 50 ms apart.
		{name: "rtt", far: true, run: far, figures: []figure{
			{title: "one download over 50 ms", unit: "MB/s"},
		}},
		{name: "upload", run: upload, figures: []figure{
			{title: "256 MiB upload", unit: "MB/s"},
			{title: "CPU, both sides", unit: "s/GiB", less: true, more: true},
		}},
	}
}

func bulkFigures(title string) []figure {
	return []figure{
		{title: title, unit: "MB/s"},
		{title: "its CPU, both sides", unit: "s/GiB", less: true},
		{title: "CPU, public side", unit: "s/GiB", less: true, more: true},
		{title: "CPU, origin", unit: "s/GiB", less: true, more: true},
	}
}

// used is the CPU time of both sides.
type used struct{ public, origin time.Duration }

func (s *setup) used() (u used, err error) {
	if u.public, err = process.CPU(s.public); err != nil {
		return u, err
	}
	u.origin, err = process.CPU(s.origin)
	return u, err
}

func (u used) minus(v used) used { return used{u.public - v.public, u.origin - v.origin} }

// costs does a job, and says what it cost both sides.
func (b *bench) costs(ctx context.Context, s *setup, j job) (r result, u used, err error) {
	before, err := s.used()
	if err != nil {
		return r, u, err
	}
	if r, err = b.do(ctx, j); err != nil {
		return r, u, err
	}
	after, err := s.used()
	return r, after.minus(before), err
}

// get is a job that asks for a file.
func (s *setup) get(kind, file string, size int64) job {
	return job{Kind: kind, Addr: s.front, Hosts: []string{s.front}, Path: "/" + file, Size: size}
}

// warm lets a yardstick make its connections and grow its pools.
func (b *bench) warm(ctx context.Context, s *setup) error {
	j := s.get(jobSteady, smallFile, b.sizes.small)
	j.Conns, j.For = connections, b.sizes.steady/10
	_, err := b.do(ctx, j)
	return err
}

func small(ctx context.Context, b *bench, _ yardstick, s *setup) (sample, error) {
	if err := b.warm(ctx, s); err != nil {
		return nil, err
	}
	j := s.get(jobSteady, smallFile, b.sizes.small)
	j.Conns, j.For = connections, b.sizes.steady
	r, u, err := b.costs(ctx, s, j)
	if err != nil {
		return nil, err
	}
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(r.Requests) }
	return sample{float64(r.Requests) / r.Seconds, us(u.public + u.origin), us(u.public), us(u.origin), r.P99}, nil
}

const mega = 1e6

func bulk(n int, file string) func(context.Context, *bench, yardstick, *setup) (sample, error) {
	return func(ctx context.Context, b *bench, _ yardstick, s *setup) (sample, error) {
		j := s.get(jobBulk, file, b.sizes.of(file))
		j.Conns = n
		r, u, err := b.costs(ctx, s, j)
		if err != nil {
			return nil, err
		}
		return sample{float64(r.Bytes) / mega / r.Seconds, perGiB(u.public+u.origin, r.Bytes), perGiB(u.public, r.Bytes), perGiB(u.origin, r.Bytes)}, nil
	}
}

// perGiB returns seconds for each GiB.
func perGiB(d time.Duration, bytes int64) float64 {
	return d.Seconds() / (float64(bytes) / (1 << 30))
}

func beside(ctx context.Context, b *bench, _ yardstick, s *setup) (sample, error) {
	j := s.get(jobEndless, bigFile, b.sizes.big)
	j.Conns = 4
	downloads, err := b.startLoad(j)
	if err != nil {
		return nil, err
	}
	defer downloads.end()
	if err := downloads.going(ctx, 15*time.Second); err != nil {
		return nil, err
	}
	j = s.get(jobRate, smallFile, b.sizes.small)
	j.Rate, j.For, j.Limit = besideRate, b.sizes.beside, b.sizes.beside+unanswered
	r, err := b.do(ctx, j)
	if err != nil {
		return nil, err
	}
	d, err := downloads.finish(ctx)
	if err != nil {
		return nil, fmt.Errorf("the downloads: %w", err)
	}
	return sample{r.P99, r.P50, float64(r.Unanswered), float64(d.Bytes) / mega / d.Seconds}, nil
}

// going waits until all of an endless job runs; if it has failed, it returns why.
func (l *loadProcess) going(ctx context.Context, within time.Duration) error {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-l.running:
		return nil
	case <-l.Done():
		if _, err := l.wait(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%s: it ended by itself", l.job.Kind)
	case <-late.C:
		return fmt.Errorf("%w: not all of %d connections got a byte in %v", errStuck, l.job.Conns, within)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func slow(ctx context.Context, b *bench, _ yardstick, s *setup) (sample, error) {
	j := s.get(jobReaders, bigFile, b.sizes.big)
	j.Conns, j.Rate, j.Limit = b.sizes.readers, readerRate, 90*time.Second
	readers, err := b.startLoad(j)
	if err != nil {
		return nil, err
	}
	defer readers.end()
	// Those that get nothing are counted at the end, and do not end the run: that
	// some starve is what the figure is about.
	if err := readers.going(ctx, 10*time.Second); err != nil && !isStuck(err) {
		return nil, fmt.Errorf("the readers: %w", err)
	}
	j = s.get(jobRate, smallFile, b.sizes.small)
	j.Rate, j.For, j.Fresh, j.Limit = freshRate, b.sizes.fresh, true, b.sizes.fresh+unanswered
	r, err := b.do(ctx, j)
	if err != nil {
		return nil, err
	}
	kernel, err := b.settle(ctx, s, r.Unanswered > 0)
	if err != nil {
		return nil, err
	}
	public, err := process.Peak(s.public)
	if err != nil {
		return nil, err
	}
	at, err := process.Peak(s.origin)
	if err != nil {
		return nil, err
	}
	d, err := readers.finish(ctx)
	if err != nil {
		return nil, fmt.Errorf("the readers: %w", err)
	}
	return sample{float64(public) / mega, r.P99, float64(r.Unanswered), r.P50, float64(at) / mega, float64(kernel) / mega, float64(d.Running), float64(d.Behind)}, nil
}

// settle waits until both sides have taken in what they will before the readers
// have read it, but not for long: some go on for as long as there is space on the
// disk. If it is over, it has been long enough. It returns the most memory that
// it saw the kernel use for TCP meanwhile.
//
// That both are idle does not show it: who fills the sockets of all readers first
// brings the kernel to its limit, where every connection stands still now and
// then. So the public side's memory must have stopped growing too, for some time.
func (b *bench) settle(ctx context.Context, s *setup, over bool) (kernel int64, err error) {
	const (
		step, most, enough = time.Second, 20, 3
		idle               = 250 * time.Millisecond // CPU in a step
		still              = 1 << 20                // bytes that the memory grows by in a step
	)
	every := time.NewTicker(step)
	defer every.Stop()
	var before used
	var had int64
	for i, quiet := 0, 0; ; i++ {
		now, err := process.TCPMemory()
		if err != nil {
			return 0, err
		}
		kernel = max(kernel, now)
		after, err := s.used()
		if err != nil {
			return 0, err
		}
		has, err := process.Peak(s.public)
		if err != nil {
			return 0, err
		}
		if u := after.minus(before); u.public+u.origin < idle && has-had < still {
			quiet++
		} else {
			quiet = 0
		}
		if over || quiet == enough || i == most {
			return kernel, nil
		}
		before, had = after, has
		select {
		case <-every.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func far(ctx context.Context, b *bench, _ yardstick, s *setup) (sample, error) {
	j := s.get(jobBulk, halfFile, b.sizes.half)
	j.Conns = 1
	r, err := b.do(ctx, j)
	if err != nil {
		return nil, err
	}
	return sample{float64(r.Bytes) / mega / r.Seconds}, nil
}

func upload(ctx context.Context, b *bench, y yardstick, s *setup) (sample, error) {
	j := s.get(jobUpload, "", b.sizes.upload)
	j.Path = y.post
	r, u, err := b.costs(ctx, s, j)
	if err != nil {
		return nil, err
	}
	return sample{float64(r.Bytes) / mega / r.Seconds, perGiB(u.public+u.origin, r.Bytes)}, nil
}
