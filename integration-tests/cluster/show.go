//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

const (
	// showDrain is how long requests may finish at the end of show.
	showDrain = 5 * time.Second
	// readyTime is how long nodes may take to be there.
	readyTime = 30 * time.Second
)

// show runs three Ps and two Cs until ctx ends. The first one has the default ports.
func show(ctx context.Context, o *options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "spdy-proxy-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var mu sync.Mutex
	line := func(name string) io.Writer { return &prefixed{to: out, mu: &mu, prefix: name + " | "} }
	var nodes []*node
	for i, id := range nodeNames[:3] {
		var addrs [5]string
		for j := range addrs {
			addrs[j] = net.JoinHostPort("127.0.0.1", strconv.Itoa(1443+10*i+j))
		}
		var join []string
		for _, before := range nodes {
			join = append(join, before.bus)
		}
		n := o.newNode(id, addrs, join, "--drain", showDrain.String())
		n.dir, n.out = dir, line(id)
		nodes = append(nodes, n)
	}
	var running []*process.Process
	defer func() {
		for _, p := range running {
			syscall.Kill(p.PID(), syscall.SIGTERM) // it may have ended
		}
		limit := time.After(showDrain + 5*time.Second)
		for _, p := range running {
			select {
			case <-p.Done():
			case <-limit:
			}
			p.Stop()
		}
	}()
	for _, n := range nodes {
		if err := n.start(); err != nil {
			return err
		}
		running = append(running, n.now)
	}
	for i, proxy := range []string{nodes[0].control, nodes[1].control} {
		name := fmt.Sprint("c", i+1)
		w := line(name)
		p, err := process.Command{Dir: dir, Name: name, Path: filepath.Join(o.bin, "c"), Stdout: w, Stderr: w, Args: []string{
			"--proxy", proxy, "--ca", filepath.Join(o.certs, "ca.pem"), "--server-name", "localhost", "--token-file", filepath.Join(o.certs, "token"),
			"--root", o.root, "--drain", showDrain.String(),
		}}.Start()
		if err != nil {
			return err
		}
		running = append(running, p)
	}
	err = until(ctx, readyTime, func() error {
		for _, n := range nodes {
			select {
			case <-n.now.Done():
				return process.ErrEnded
			default:
			}
			if linked, _, err := n.others(ctx); err != nil || linked != len(nodes)-1 || !n.ready(ctx, "@") {
				return fmt.Errorf("%s is not ready", n.id)
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the cluster did not get ready, see the lines above: %w", err)
	}
	mu.Lock()
	fmt.Fprintln(out, "ready; each of these leads to both c, whichever p they are connected to:")
	for _, n := range nodes {
		fmt.Fprintf(out, "  curl http://%s/     status http://%s/     nodes http://%s/api/v1/nodes     kill -9 %d\n", n.front, n.admin, n.admin, n.now.PID())
	}
	mu.Unlock()
	<-ctx.Done()
	return nil
}

// prefixed writes whole lines, each with a prefix.
type prefixed struct {
	to     io.Writer
	mu     *sync.Mutex // of to
	prefix string
	rest   []byte // of a line; one goroutine writes
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		fmt.Fprintf(p.to, "%s%s\n", p.prefix, line)
		p.rest = rest
	}
}
