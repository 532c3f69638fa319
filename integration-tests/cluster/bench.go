//go:build linux

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
	"github.com/amahi/spdy-proxy/integration-tests/relay"
)

const (
	benchRounds = 5
	smallGets   = 8000
	smallSize   = 1 << 10
	atOnce      = 64
	bulkSize    = 512 << 20
	longSize    = 64 << 20

	// Of one core, with one each; and what is asked of those.
	ownCores = 0.2
	ownGets  = 2048
	partSize = 256 << 20

	manyOrigins = 10_000
	// restTime is how long what nobody asks is watched: some rounds of keep-alive.
	restTime = 45 * time.Second
)

// measurement is a part of bench's page.
type measurement struct {
	name string
	do   func(ctx context.Context, o *options, dir string, out io.Writer) error
}

var measurements = []measurement{{"hop", benchHop}, {"own", benchOwn}, {"five", benchFive}, {"many", benchMany}}

// bench measures what a hop costs, and what many origins do, and writes it as a page.
func bench(ctx context.Context, o *options, dir string, out io.Writer) error {
	began := time.Now()
	fmt.Fprintf(out, `# What a cluster costs

    make bench-cluster

Processes on one machine, the load and the origins among them: %d cores, load %s, %s, %s.

`, runtime.NumCPU(), loadAverage(), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
	for _, m := range measurements {
		if len(o.only) > 0 && !slices.Contains(o.only, m.name) {
			continue
		}
		if err := m.do(ctx, o, dir, out); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "Measured in %v; at its end the load was %s.\n", time.Since(began).Round(time.Second), loadAverage())
	return nil
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 0 {
		return fields[0]
	}
	return "unknown"
}

// sample is one round of a row.
type sample struct {
	rate float64          // requests, or MB, a second
	p99  time.Duration    // of requests
	cpu  [3]time.Duration // of the first node, the second and c: for a request, or a GiB
}

// median returns that of each number by itself.
func median(list []sample) (m sample) {
	number := func(get func(sample) float64) float64 {
		values := make([]float64, len(list))
		for i, s := range list {
			values[i] = get(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	m.rate = number(func(s sample) float64 { return s.rate })
	m.p99 = time.Duration(number(func(s sample) float64 { return float64(s.p99) }))
	for i := range m.cpu {
		m.cpu[i] = time.Duration(number(func(s sample) float64 { return float64(s.cpu[i]) }))
	}
	return m
}

// startWorld starts what the options say, which the caller closes.
func startWorld(ctx context.Context, o *options, dir string) (*world, error) {
	w, err := newWorld(o, nil, dir)
	if err != nil {
		return nil, err
	}
	if err := w.up(ctx, io.Discard); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// hopWorld starts two nodes, of which the first has a c with files of all sizes.
func hopWorld(ctx context.Context, o *options, dir string) (*world, error) {
	two := *o
	two.nodes, two.origins, two.spread = 2, 0, 1
	w, err := startWorld(ctx, &two, dir)
	if err != nil {
		return nil, err
	}
	w.cs[1].Stop() // the other one is the first node's
	root := filepath.Join(dir, "root")
	for name, size := range map[string]int64{"small": smallSize, "part": partSize, "bulk": bulkSize, "long": longSize} {
		if err := errors.Join(os.WriteFile(filepath.Join(root, name), nil, 0o644), os.Truncate(filepath.Join(root, name), size)); err != nil {
			w.close()
			return nil, err
		}
	}
	if err := until(ctx, comeback, func() error {
		_, there, err := w.nodes[0].others(ctx)
		if err == nil && there > 0 {
			err = errors.New("the second c is still there")
		}
		return err
	}); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// hopRow is what is asked for without a hop and with one.
type hopRow struct {
	what, path, unit string
	origin           string
	requests, conns  int
	per              float64 // CPU is for so many requests
	cpu              string  // its unit
	scale            time.Duration
}

// download is a row of one file of size bytes.
func download(what, path, origin string, size int64) hopRow {
	return hopRow{what, path, "MB/s", origin, 1, 1, float64(size) / (1 << 30), "ms/GiB", time.Millisecond}
}

// gets is a row of many small files.
func gets(requests int) hopRow {
	return hopRow{fmt.Sprintf("GET of 1 KiB, %d at once", atOnce), "small", "/s", fileOrigin, requests, atOnce, 1, "us", time.Microsecond}
}

// benchHop asks for the same by the node that has the origin, and by another.
func benchHop(ctx context.Context, o *options, dir string, out io.Writer) error {
	w, err := hopWorld(ctx, o, dir)
	if err != nil {
		return err
	}
	defer w.close()
	away, stop, err := w.farC(ctx, filepath.Join(dir, "root"))
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(out, "## A hop\n\nMedians of %d rounds in turn. \"P1\" is the node that the visitor asks, \"P2\" the one that C is connected to; without a hop they are one. All of them and the load share the cores, so where nothing else bounds it the rate falls as the CPU of all rises: it says what a hop costs in all, not what a visitor of nodes on machines of their own sees.\n\n", benchRounds)
	return w.compare(ctx, away, out, gets(smallGets), download("one download of 64 MiB, C's line: 50 MB/s, 50 ms", "long", farOrigin, longSize), download("one download of 512 MiB", "bulk", fileOrigin, bulkSize))
}

// benchOwn is benchHop where no process can take CPU from another: as if each were on a
// machine of its own.
func benchOwn(ctx context.Context, o *options, dir string, out io.Writer) error {
	fmt.Fprintf(out, "## A hop between machines of their own\n\n")
	shares, err := process.NewShares()
	if err == nil && runtime.NumCPU() < 2 {
		err = errors.New("this takes two cores")
	}
	if err != nil {
		fmt.Fprintf(out, "Not measured: %v.\n\n", err)
		return nil
	}
	defer shares.Close()
	if err := shares.Limit(os.Getpid(), ownCores); err != nil {
		return err
	}
	fmt.Fprintf(out, "As above, but P1, P2, C and the visitor have %.0f %% of one core each, and none can take from another's: four equal machines of one slow core. The slowest of them sets the rate. In a download that is P2, which decrypts what comes from C. With a hop it encrypts that for P1; without, for a visitor by TLS alone, so that visitor sees what a hop costs least.\n\n", 100*ownCores)
	part := download("one download of 256 MiB", "part", fileOrigin, partSize)
	byTLS := part
	byTLS.what += " by TLS"
	for _, world := range []struct {
		more []string
		rows []hopRow
	}{{nil, []hopRow{gets(ownGets), part}}, {[]string{"--tls"}, []hopRow{byTLS}}} {
		own := *o
		own.before, own.more = []string{"env", "GOMAXPROCS=1"}, world.more
		if err := compareOwn(ctx, &own, dir, out, shares, world.rows); err != nil {
			return err
		}
	}
	return nil
}

func compareOwn(ctx context.Context, o *options, dir string, out io.Writer, shares *process.Shares, rows []hopRow) error {
	w, err := hopWorld(ctx, o, dir)
	if err != nil {
		return err
	}
	defer w.close()
	for _, p := range []*process.Process{w.nodes[0].now, w.nodes[1].now, w.cs[0]} {
		if err := shares.Limit(p.PID(), ownCores); err != nil {
			return err
		}
	}
	return w.compare(ctx, nil, out, rows...)
}

// compare measures rows, and writes them as a table. away is the c of farOrigin.
func (w *world) compare(ctx context.Context, away *process.Process, out io.Writer, rows ...hopRow) error {
	fmt.Fprintf(out, "| | rate | p99, ms | CPU of P1 | of P2 | of C |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, row := range rows {
		var near, far []sample
		for round := range benchRounds + 1 {
			for _, hop := range []bool{false, true} {
				asked := w.nodes[0]
				if hop {
					asked = w.nodes[1]
				}
				c := w.cs[0]
				if row.origin == farOrigin {
					c = away
				}
				s, err := w.load(ctx, asked, c, hop, row.origin, row.path, row.requests, row.conns, row.per)
				if err != nil {
					return err
				}
				switch {
				case round == 0: // to warm up
				case hop:
					far = append(far, s)
				default:
					near = append(near, s)
				}
			}
		}
		a, b := median(near), median(far)
		cell := func(d time.Duration) string { return fmt.Sprintf("%d %s", d/row.scale, row.cpu) }
		fmt.Fprintf(out, "| %s, no hop | %.0f %s | %.1f | %s | | %s |\n", row.what, a.rate, row.unit, a.p99.Seconds()*1e3, cell(a.cpu[0]), cell(a.cpu[2]))
		fmt.Fprintf(out, "| %s, one hop | %.0f %s | %.1f | %s | %s | %s |\n", row.what, b.rate, row.unit, b.p99.Seconds()*1e3, cell(b.cpu[0]), cell(b.cpu[1]), cell(b.cpu[2]))
		pair, with := a.cpu[0]+a.cpu[2], b.cpu[0]+b.cpu[1]+b.cpu[2]
		fmt.Fprintf(out, "| with a hop to without | %.2f | | all: %.2f | of what both cost without: %.2f | |\n",
			b.rate/a.rate, float64(with)/float64(pair), float64(b.cpu[1])/float64(pair))
	}
	fmt.Fprintln(out)
	return nil
}

// farOrigin is served by a c that is far from its node.
const farOrigin = "far"

// farC starts a c that reaches the first node by a long line. In its place, nothing that
// a machine has little of bounds a download.
func (w *world) farC(ctx context.Context, root string) (c *process.Process, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	line := relay.Line{Delay: 25 * time.Millisecond, Up: 50e6}
	// Ends with the listener; what it has begun ends with c.
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", w.nodes[0].control)
			if err != nil {
				in.Close()
				continue
			}
			go line.Pass(in, out)
		}
	}()
	c, err = process.Command{Dir: w.dir, Name: farOrigin, Path: filepath.Join(w.o.bin, "c"), Args: []string{
		"--proxy", ln.Addr().String(), "--no-follow", "--ca", filepath.Join(w.o.certs, "ca.pem"), "--server-name", "localhost",
		"--token-file", w.o.tokenFile(), "--root", root, "--name", farOrigin,
	}}.Start()
	if err != nil {
		ln.Close()
		return nil, nil, err
	}
	stop = func() {
		c.Stop()
		ln.Close()
	}
	if err := until(ctx, comeback, func() error {
		if !w.nodes[1].ready(ctx, farOrigin) {
			return errors.New("the c that is far is not connected")
		}
		return nil
	}); err != nil {
		stop()
		return nil, nil, err
	}
	return c, stop, nil
}

// load asks one node. In cpu[0] is that node's, in cpu[1] the other's with a hop.
func (w *world) load(ctx context.Context, asked *node, c *process.Process, hop bool, origin, path string, requests, conns int, per float64) (s sample, err error) {
	id, err := w.identity()
	if err != nil {
		return s, err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, DisableCompression: true, TLSClientConfig: id.TLS}}
	defer client.CloseIdleConnections()
	used := func() (all [3]time.Duration) {
		for i, p := range []*process.Process{asked.now, w.nodes[0].now, c} {
			all[i], _ = process.CPU([]*process.Process{p})
		}
		return all
	}
	var mu sync.Mutex
	var took []time.Duration // guarded by mu, as what follows
	var bytes int64
	var failed error
	before, began := used(), time.Now()
	var asking sync.WaitGroup
	for range conns {
		// Ends with its requests, or ctx.
		asking.Go(func() {
			for range requests / conns {
				at := time.Now()
				n, err := get(ctx, client, asked, origin, path)
				mu.Lock()
				took, bytes, failed = append(took, time.Since(at)), bytes+n, errors.Join(failed, err)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	asking.Wait()
	lasted, after := time.Since(began), used()
	if failed != nil {
		return s, failed
	}
	slices.Sort(took)
	s.rate, s.p99 = float64(len(took))/lasted.Seconds(), took[len(took)*99/100]
	if requests == 1 {
		s.rate = float64(bytes) / 1e6 / lasted.Seconds()
	}
	for i := range s.cpu {
		if i != 1 || hop {
			s.cpu[i] = time.Duration(float64(after[i]-before[i]) / float64(requests) / per)
		}
	}
	return s, nil
}

func get(ctx context.Context, client *http.Client, n *node, origin, path string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url()+"/"+path, nil)
	if err != nil {
		return 0, err
	}
	req.Host = origin + "." + domain
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", n.id, resp.Status)
	}
	return io.Copy(io.Discard, resp.Body)
}

// benchFive asks one of five nodes, and all of them, for what each has itself; and
// measures how long it takes until an origin that connects to one is routed to by another.
func benchFive(ctx context.Context, o *options, dir string, out io.Writer) error {
	five := *o
	five.nodes, five.origins, five.spread = len(nodeNames), 0, len(nodeNames)
	w, err := startWorld(ctx, &five, dir)
	if err != nil {
		return err
	}
	defer w.close()
	if err := os.WriteFile(filepath.Join(dir, "root", "small"), make([]byte, smallSize), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "## Five nodes against one\n\nMedians of %d rounds in turn; two c, each connected to all five. One machine has them all: what each would carry on its own is in the last column.\n\n", benchRounds)
	fmt.Fprintf(out, "| GET of 1 KiB, %d at once | rate | CPU of all p | of both c | of the load | GETs for a core's second of p |\n| --- | --- | --- | --- | --- | --- |\n", atOnce)
	rounds := make([][]sample, 2)
	for round := range benchRounds + 1 {
		for i, nodes := range [][]*node{w.nodes[:1], w.nodes} {
			s, err := w.loadAll(ctx, nodes)
			if err != nil {
				return err
			}
			if round > 0 { // the first is to warm up
				rounds[i] = append(rounds[i], s)
			}
		}
	}
	for i, what := range []string{"one is asked", "all five are asked"} {
		m := median(rounds[i])
		fmt.Fprintf(out, "| %s | %.0f /s | %d us | %d us | %d us | %.0f |\n", what, m.rate, m.cpu[0].Microseconds(), m.cpu[1].Microseconds(), m.cpu[2].Microseconds(),
			float64(time.Second)/float64(m.cpu[0]))
	}
	took, err := w.routes(ctx, 20)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nFrom \"C is connected to P5\" to P1's first answer of it, 20 times: %v in the median, %v at most.\n\n",
		took[len(took)/2].Round(100*time.Microsecond), took[len(took)-1].Round(100*time.Microsecond))
	return nil
}

// loadAll asks nodes for a small file, and returns the CPU that a GET costs all p, both c
// and this program.
func (w *world) loadAll(ctx context.Context, nodes []*node) (s sample, err error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, DisableCompression: true}}
	defer client.CloseIdleConnections()
	used := func() (all [3]time.Duration) {
		p := w.used()
		all[0], all[2] = p[0], p[1]
		all[1], _ = process.CPU(w.cs)
		return all
	}
	before, began := used(), time.Now()
	var failed firstError
	var asking sync.WaitGroup
	for i := range atOnce {
		// Ends with its requests, or ctx.
		asking.Go(func() {
			for j := range smallGets / atOnce {
				if _, err := get(ctx, client, nodes[(i+j)%len(nodes)], fileOrigin, "small"); err != nil {
					failed.note(err)
					return
				}
			}
		})
	}
	asking.Wait()
	lasted, after := time.Since(began), used()
	s.rate = smallGets / lasted.Seconds()
	for i := range s.cpu {
		s.cpu[i] = (after[i] - before[i]) / smallGets
	}
	return s, failed.get()
}

// firstError keeps the first of several goroutines' errors.
type firstError struct {
	mu  sync.Mutex
	err error // guarded by mu
}

func (f *firstError) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// benchMany has many origins at five nodes, of which one is killed.
func benchMany(ctx context.Context, o *options, dir string, out io.Writer) error {
	five := *o
	o = &five
	five.nodes, five.origins, five.spread = len(nodeNames), 0, 2
	five.file = filepath.Join(dir, "tokens")
	var tokens strings.Builder
	for range 1 + o.many/100 { // at each node a part of them
		five.tokens = append(five.tokens, rand.Text())
		fmt.Fprintln(&tokens, five.tokens[len(five.tokens)-1], "*")
	}
	if err := os.WriteFile(five.file, []byte(tokens.String()), 0o600); err != nil {
		return err
	}
	alone, aloneRest, err := benchAlone(ctx, &five, dir)
	if err != nil {
		return err
	}
	w, err := startWorld(ctx, &five, dir)
	if err != nil {
		return err
	}
	defer w.close()
	memory := func() string {
		var list []string
		for _, n := range w.nodes {
			bytes, _ := process.Resident([]*process.Process{n.now})
			list = append(list, fmt.Sprint(bytes/1e6))
		}
		return strings.Join(list, ", ")
	}
	fmt.Fprintf(out, "## %d origins at five nodes\n\nEach is connected to two, as delivered, in as many processes as the files ask for that one may have open; together they begin %d handshakes at once at most.\n\n| | |\n| --- | --- |\n", o.many, allDials())
	fmt.Fprintf(out, "| memory of a p that is one by itself, with two fifths of them, MB | %d |\n", alone/1e6)
	fmt.Fprintf(out, "| memory of each node without them, MB | %s |\n", memory())
	began := time.Now()
	if err := w.startOrigins(o.many); err != nil {
		return err
	}
	have := func() error { return w.have(ctx, w.o.spread*(o.many+len(w.cs))) }
	if err := until(ctx, 10*comeback, have); err != nil {
		return err
	}
	fmt.Fprintf(out, "| all are connected, and known to all nodes, after | %v |\n", time.Since(began).Round(100*time.Millisecond))
	fmt.Fprintf(out, "| memory of each node with its share of them, and the names of the others', MB | %s |\n", memory())
	fmt.Fprintf(out, "| CPU of the p that is one by itself, when nobody asks, of a core | %s |\n", aloneRest)
	fmt.Fprintf(out, "| CPU of each node, when nobody asks | %s |\n", atRest(ctx, w.nodes))
	victim := w.nodes[len(w.nodes)-1]
	began, err = w.afterDeath(ctx, victim, o.many, out)
	if err != nil {
		return err
	}
	if err := until(ctx, 10*comeback, have); err != nil {
		return err
	}
	fmt.Fprintf(out, "| each of them is connected to two again, and all know, after | %v |\n", time.Since(began).Round(100*time.Millisecond))
	w.nodes = append(w.nodes, victim)
	began = time.Now()
	if err := victim.start(); err != nil {
		return err
	}
	if err := until(ctx, comeback, func() error {
		linked, there, err := victim.others(ctx)
		if err == nil && (linked < len(w.nodes)-1 || there < w.o.spread*o.many*9/10) { // some are on their way to it
			err = fmt.Errorf("%d links, %d sessions", linked, there)
		}
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintf(out, "| it is started again, and has the tables of the others, after | %v |\n\n", time.Since(began).Round(10*time.Millisecond))
	return nil
}

// atRest returns which part of a core each of nodes uses from now on.
func atRest(ctx context.Context, nodes []*node) string {
	used := func() (list []time.Duration) {
		for _, n := range nodes {
			cpu, _ := process.CPU([]*process.Process{n.now})
			list = append(list, cpu)
		}
		return list
	}
	before, began := used(), time.Now()
	pause(ctx, restTime)
	var list []string
	for i, cpu := range used() {
		list = append(list, fmt.Sprintf("%.1f %%", 100*float64(cpu-before[i])/float64(time.Since(began))))
	}
	return strings.Join(list, ", ")
}

// crowd is what so many requests at once came to.
type crowd struct {
	took   []time.Duration // in order
	failed int
	first  error
}

func (c *crowd) at(part float64) time.Duration { return c.took[int(part*float64(len(c.took)-1))] }

func (c *crowd) String() string {
	return fmt.Sprintf("a half of them within %v, 99 of 100 within %v, the slowest %v, %d failed",
		c.at(0.5).Round(time.Millisecond), c.at(0.99).Round(time.Millisecond), c.at(1).Round(time.Millisecond), c.failed)
}

// askAll asks a node for each of names, several at once.
func (w *world) askAll(client *http.Client, n *node, names []string) *crowd {
	var mu sync.Mutex
	c := new(crowd) // guarded by mu
	var asking sync.WaitGroup
	for j := range atOnce {
		// Ends with its requests, each of which has a limit.
		asking.Go(func() {
			for k := j; k < len(names); k += atOnce {
				at := time.Now()
				err := (&visits{w: w}).ask(client, n, names[k], false)
				mu.Lock()
				c.took = append(c.took, time.Since(at))
				if err != nil {
					c.failed++
					c.first = cmp.Or(c.first, err)
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	slices.Sort(c.took)
	return c
}

// afterDeath kills a node, and asks those that are left for the origins that it had
// first, each at each, from that moment on. It returns when that was.
func (w *world) afterDeath(ctx context.Context, victim *node, many int, out io.Writer) (began time.Time, err error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}, Timeout: hold}
	defer client.CloseIdleConnections()
	w.nodes = w.nodes[:len(w.nodes)-1]
	var names []string
	for i := len(w.nodes); i < many; i += len(nodeNames) {
		names = append(names, fmt.Sprint("n", i))
	}
	began = time.Now()
	before := w.askAll(client, w.nodes[0], names)
	fmt.Fprintf(out, "| the %d origins that first came to one node are asked at another, %d at once: all have answered after | %v; %v |\n",
		len(names), atOnce, time.Since(began).Round(10*time.Millisecond), before)
	cpu := w.used()
	if err := victim.signal(syscall.SIGKILL); err != nil {
		return began, err
	}
	began = time.Now()
	once := w.askAll(client, w.nodes[0], names)
	took := time.Since(began)
	for i, used := range w.used() {
		cpu[i] = used - cpu[i]
	}
	rest := new(crowd)
	for _, n := range w.nodes[1:] {
		c := w.askAll(client, n, names)
		rest.took, rest.failed, rest.first = append(rest.took, c.took...), rest.failed+c.failed, cmp.Or(rest.first, c.first)
	}
	slices.Sort(rest.took)
	all := time.Since(began)
	gone, err := w.lost(ctx, victim, began)
	if err != nil {
		return began, err
	}
	fmt.Fprintf(out, "| that node is killed: each of the others has said that the link to it is lost after | %v |\n", gone.Round(time.Millisecond))
	fmt.Fprintf(out, "| the same origins are asked from then on, while all that were connected to it connect anew: all have answered after | %v; %v |\n", took.Round(10*time.Millisecond), once)
	fmt.Fprintf(out, "| CPU that this took the nodes, and all origins and visitors | %v, %v |\n", cpu[0].Round(10*time.Millisecond), cpu[1].Round(10*time.Millisecond))
	fmt.Fprintf(out, "| and at each of the others: all have answered after | %v; %v |\n", all.Round(10*time.Millisecond), rest)
	if err := cmp.Or(before.first, once.first, rest.first); err != nil {
		return began, fmt.Errorf("around the death of a node: %w", err)
	}
	return began, nil
}

// used returns the CPU that the nodes have used until now, and this program with the
// processes of the origins.
func (w *world) used() (all [2]time.Duration) {
	var ps []*process.Process
	for _, n := range w.nodes {
		ps = append(ps, n.now)
	}
	all[0], _ = process.CPU(ps)
	var own syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	all[1], _ = process.CPU(w.origins)
	all[1] += time.Duration(own.Utime.Nano() + own.Stime.Nano())
	return all
}

// lost returns how long after began the last of the nodes has said that the link to
// another is lost: its routes are gone with it.
func (w *world) lost(ctx context.Context, victim *node, began time.Time) (last time.Duration, err error) {
	for _, n := range w.nodes {
		if err := until(ctx, comeback, func() error {
			for line := range strings.Lines(n.now.Log()) {
				if !strings.Contains(line, `msg="the link to a node is lost" node=`+victim.id+" ") {
					continue
				}
				stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
				at, err := time.Parse(time.RFC3339Nano, stamp)
				if err == nil && at.After(began.Add(-time.Millisecond)) { // it is cut to milliseconds
					last = max(last, at.Sub(began))
					return nil
				}
			}
			return fmt.Errorf("%s has not lost its link to %s", n.id, victim.id)
		}); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// benchAlone returns the memory of a p without a cluster that has a node's share, and
// its CPU when nobody asks.
func benchAlone(ctx context.Context, o *options, dir string) (memory int64, rest string, err error) {
	one := *o
	one.nodes = 2 // of which one is started, without what makes it a node
	w, err := newWorld(&one, nil, dir)
	if err != nil {
		return 0, "", err
	}
	n := w.nodes[0]
	w.nodes = w.nodes[:1]
	defer w.close()
	n.args = []string{
		"--front", n.front, "--control", n.control, "--admin", n.admin, "--domain", domain,
		"--cert", filepath.Join(o.certs, "p.pem"), "--key", filepath.Join(o.certs, "p.key"), "--token-file", o.tokenFile(),
	}
	if err := n.start(); err != nil {
		return 0, "", err
	}
	share := o.many * o.spread / len(nodeNames)
	one.spread = 1
	if err := w.startOrigins(share); err != nil {
		return 0, "", err
	}
	for i := range share {
		if err := until(ctx, comeback, func() error {
			if name := fmt.Sprint("n", i); !n.ready(ctx, name) {
				return fmt.Errorf("%s is not there", name)
			}
			return nil
		}); err != nil {
			return 0, "", err
		}
	}
	if memory, err = process.Resident([]*process.Process{n.now}); err != nil {
		return 0, "", err
	}
	return memory, atRest(ctx, w.nodes), nil
}

// have reports whether the nodes that run have so many sessions, and each knows all.
func (w *world) have(ctx context.Context, sessions int) error {
	for _, p := range w.origins {
		select {
		case <-p.Done():
			return fmt.Errorf("%s: %w: %s", p.Name, process.ErrEnded, p.Last())
		default:
		}
	}
	total := 0
	for _, n := range w.nodes {
		linked, there, err := n.others(ctx)
		if err != nil {
			return err
		}
		if linked != len(w.nodes)-1 {
			return fmt.Errorf("%s has the tables of %d", n.id, linked)
		}
		total += there
	}
	if got := total / (len(w.nodes) - 1); got < sessions {
		return fmt.Errorf("%d of %d sessions are there", got, sessions)
	}
	return nil
}
