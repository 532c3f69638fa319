//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
			addrs[j] = showAddr(o.port, i, j)
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

// showAddr is one of the five addresses of a node, both counted from 0.
func showAddr(first, node, port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(first+10*node+port))
}

// ran runs this program with --run, asks each p, kills one of them as it says, and
// interrupts it.
func ran(ctx context.Context, w *world) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	port, err := freeRow()
	if err != nil {
		return "", err
	}
	began := time.Now()
	args := []string{"--run", "--port", strconv.Itoa(port), "--bin", w.o.bin, "--certs", w.o.certs, "--root", filepath.Join(w.dir, "root")}
	p, err := process.Command{Dir: w.dir, Name: "run", Path: self, Args: args}.Start()
	if err != nil {
		return "", err
	}
	defer p.Stop()
	var killed int
	if err := until(ctx, readyTime+5*time.Second, func() error {
		select {
		case <-p.Done():
			return fmt.Errorf("%w: %s", process.ErrEnded, p.Last())
		default:
		}
		const before = "kill -9 "
		_, list, _ := strings.Cut(p.Log(), "ready; ")
		if strings.Count(list, before) < 3 {
			return fmt.Errorf("it is not ready: %s", p.Last())
		}
		// The third p's.
		pid, _, whole := strings.Cut(list[strings.LastIndex(list, before)+len(before):], "\n")
		if !whole {
			return errors.New("its last line is not whole")
		}
		killed, err = strconv.Atoi(pid)
		return err
	}); err != nil {
		return "", err
	}
	ready := time.Since(began)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	ask := func(i int) error {
		resp, err := client.Get("http://" + showAddr(port, i, 0) + "/hello")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || string(text) != "hello of "+fileOrigin {
			return fmt.Errorf("p%d answers %d, %.80q: %w", i+1, resp.StatusCode, text, err)
		}
		return nil
	}
	for i := range 3 {
		if err := ask(i); err != nil {
			return "", err
		}
	}
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		return "", err
	}
	for i := range 2 {
		if err := ask(i); err != nil {
			return "", fmt.Errorf("after kill -9 of the third: %w", err)
		}
	}
	if err := syscall.Kill(p.PID(), syscall.SIGINT); err != nil {
		return "", err
	}
	select {
	case <-p.Done():
	case <-time.After(2 * showDrain):
		return "", fmt.Errorf("it did not end: %s", p.Last())
	}
	return fmt.Sprintf("ready after %v", ready.Round(time.Millisecond)), nil
}

// freeRow returns a port from which on those that show needs are free.
func freeRow() (int, error) {
	for range 20 {
		addr, err := process.FreeAddr()
		if err != nil {
			return 0, err
		}
		_, text, _ := net.SplitHostPort(addr)
		first, err := strconv.Atoi(text)
		if err != nil {
			return 0, err
		}
		free := true
		for i := range 3 {
			for j := range 5 {
				ln, err := net.Listen("tcp", showAddr(first, i, j))
				if free = free && err == nil; err == nil {
					ln.Close()
				}
			}
		}
		if free {
			return first, nil
		}
	}
	return 0, errors.New("there are no free ports in a row")
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
