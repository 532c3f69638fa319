//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
)

const (
	domain = "cluster.test"
	// fileOrigin is served by two processes of c.
	fileOrigin = "files"

	// drain is that of p and c, hold p's: longer than as delivered, for slow machines.
	drain = 10 * time.Second
	hold  = 30 * time.Second
	// comeback is how long all may take to be as before.
	comeback = time.Minute
)

// world is the Ps, their origins, and the visitors.
type world struct {
	o     *options
	lab   *lab // nil: on loopback
	dir   string
	nodes []*node
	cs    []*process.Process // two c of fileOrigin
	args  [][]string         // theirs

	origins []*process.Process // origins in processes of their own

	// agents end with ctx.
	ctx      context.Context
	cancel   context.CancelFunc
	agents   sync.WaitGroup
	lastPost atomic.Int64 // the id of the last POST of all trials
	posts    sync.Map     // id of a POST: *atomic.Int32, how often an origin got it

	// service has the nodes that visitors are sent to.
	mu      sync.Mutex
	service map[*node]bool // guarded by mu
}

// newWorld makes one that is up to be started, in l if that is not nil.
func newWorld(o *options, l *lab, dir string) (*world, error) {
	w := &world{o: o, lab: l, dir: dir, service: make(map[*node]bool)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	var join []string
	addrs := make([][5]string, o.nodes)
	if l == nil {
		var all []*string
		for i := range addrs {
			for j := range addrs[i] {
				all = append(all, &addrs[i][j])
			}
		}
		if err := process.FreeAddrs(all...); err != nil {
			return nil, err
		}
	}
	for i, id := range nodeNames[:o.nodes] {
		wrap := o.before
		if l != nil {
			addrs[i], wrap = l.addrs(i)
		}
		n := o.newNode(id, addrs[i], join, append([]string{"--domain", domain, "--drain", drain.String(), "--hold", hold.String()}, o.more...)...)
		n.dir, n.wrap = dir, wrap
		// Each knows the two first ones, as if by name.
		if len(join) < 2 {
			join = append(join, n.bus)
		}
		w.nodes = append(w.nodes, n)
	}
	// The first knows the second, or it would be alone after a new start.
	w.nodes[0].args = append(w.nodes[0].args, "--cluster-join", w.nodes[1].bus)
	return w, nil
}

// up starts everything, and says how long that took.
func (w *world) up(ctx context.Context, out io.Writer) error {
	began := time.Now()
	for _, n := range w.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	if err := w.settled(ctx, 0); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d nodes linked after %v\n", len(w.nodes), time.Since(began).Round(time.Millisecond))
	began = time.Now()
	for i := range w.o.origins {
		if err := w.agent(i); err != nil {
			return err
		}
	}
	root := filepath.Join(w.dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "hello"), []byte("hello of "+fileOrigin), 0o644); err != nil {
		return err
	}
	for i := range 2 {
		w.args = append(w.args, []string{
			"--proxy", w.nodes[i%len(w.nodes)].control, "--spread", fmt.Sprint(w.o.spread), "--ca", filepath.Join(w.o.certs, "ca.pem"), "--server-name", "localhost",
			"--token-file", w.o.tokenFile(), "--root", root, "--name", fileOrigin, "--drain", drain.String(),
		})
		w.cs = append(w.cs, nil)
		if err := w.startC(i); err != nil {
			return err
		}
	}
	if err := w.settled(ctx, w.sessions()); err != nil {
		return err
	}
	for _, n := range w.nodes {
		w.serve(n, true)
	}
	fmt.Fprintf(out, "%d origins with %d sessions, known to all nodes after %v\n", w.o.origins+1, w.sessions(), time.Since(began).Round(time.Millisecond))
	return nil
}

// sessions is how many there are in all.
func (w *world) sessions() int {
	return (w.o.origins + len(w.cs)) * min(w.o.spread, len(w.nodes))
}

func (w *world) startC(i int) (err error) {
	line := slices.Concat(w.o.before, []string{filepath.Join(w.o.bin, "c")}, w.args[i])
	w.cs[i], err = process.Command{Dir: w.dir, Name: fmt.Sprint("c", i+1), Path: line[0], Args: line[1:]}.Start()
	return err
}

// agent runs a C in this process.
func (w *world) agent(i int) error {
	name := fmt.Sprint("n", i)
	var dial func(ctx context.Context, network, addr string) (net.Conn, error)
	if w.o.dials != nil {
		dial = w.o.dials.dial
	}
	a, err := agent.New(agent.Config{
		Proxies: []string{w.nodes[i%len(w.nodes)].control}, Name: name, Spread: w.o.spread, Drain: drain, DialContext: dial,
		Load: func() (agent.Identity, error) {
			id, err := w.identity()
			if tokens := w.o.tokens; len(tokens) > 0 {
				id.Token = tokens[i%len(tokens)]
			}
			return id, err
		},
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				n, _ := w.posts.LoadOrStore(r.Header.Get("X-Post"), new(atomic.Int32))
				n.(*atomic.Int32).Add(1)
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					return
				}
			}
			io.WriteString(rw, "hello of "+name)
		}),
	})
	if err != nil {
		return err
	}
	// Ends with w.ctx; close waits for it.
	w.agents.Go(func() { a.Run(w.ctx, w.ctx) })
	return nil
}

func (w *world) identity() (agent.Identity, error) {
	pem, err := os.ReadFile(filepath.Join(w.o.certs, "ca.pem"))
	if err != nil {
		return agent.Identity{}, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	token, err := (&control.TokenSource{File: w.o.tokenFile()}).First()
	return agent.Identity{Token: token, TLS: &tls.Config{RootCAs: pool, ServerName: "localhost"}}, err
}

// settled waits until each node that runs is linked to all others, has their tables, and
// all sessions are there.
func (w *world) settled(ctx context.Context, sessions int) error {
	return until(ctx, comeback, func() error {
		total := 0
		for _, n := range w.nodes {
			select {
			case <-n.now.Done():
				return fmt.Errorf("%s: %w: %s", n.id, process.ErrEnded, n.now.Last())
			default:
			}
			linked, there, err := n.others(ctx)
			switch {
			case err != nil:
				return err
			case linked != len(w.nodes)-1:
				return fmt.Errorf("%s has %d links", n.id, linked)
			case !n.ready(ctx, ""):
				return fmt.Errorf("%s is not ready", n.id)
			}
			total += there
		}
		// Each session is counted by all the others.
		if got := total / (len(w.nodes) - 1); got < sessions {
			return fmt.Errorf("%d of %d sessions are there", got, sessions)
		}
		return nil
	})
}

// serve has visitors sent to a node from now on, or not any more.
func (w *world) serve(n *node, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if yes {
		w.service[n] = true
	} else {
		delete(w.service, n)
	}
}

// serving returns a node that visitors are sent to, for one who says when it has been
// there: n.visitors.Done.
func (w *world) serving(i int) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	i %= max(1, len(w.service))
	for _, n := range w.nodes {
		if w.service[n] {
			if i == 0 {
				n.visitors.Add(1)
				return n
			}
			i--
		}
	}
	return nil
}

func (w *world) close() {
	for _, n := range w.nodes {
		if n.now != nil {
			syscall.Kill(n.now.PID(), syscall.SIGCONT) // it may have ended
			n.now.Stop()
		}
	}
	for _, c := range slices.Concat(w.cs, w.origins) {
		if c != nil {
			c.Stop()
		}
	}
	w.cancel()
	w.agents.Wait()
}

// until waits until ok returns nil, and returns what it said last.
func until(ctx context.Context, limit time.Duration, ok func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		err := ok()
		if err == nil || errors.Is(err, process.ErrEnded) {
			return err
		}
		select {
		case <-tick.C:
		case <-late.C:
			return fmt.Errorf("after %v: %w", limit, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// warnings returns what a node has printed of that kind, for people.
func (n *node) warnings() (list []string) {
	for line := range strings.Lines(n.now.Log()) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}
