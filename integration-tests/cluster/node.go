//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// nodeNames are the ids for which make has certificates.
var nodeNames = []string{"p1", "p2", "p3", "p4", "p5"}

// node is one P, which may be started several times.
type node struct {
	id                               string
	front, control, admin, bus, peer string // HOST:PORT
	path                             string
	args                             []string
	wrap                             []string  // comes before the command
	dir                              string    // of its log files
	out                              io.Writer // in place of them, if not nil

	now *process.Process // the one that runs

	visitors sync.WaitGroup // who are there; added to under world.mu while they are sent to it
}

// newNode returns a node whose addresses are set, that joins others.
func (o *options) newNode(id string, addrs [5]string, join []string, more ...string) *node {
	n := &node{id: id, front: addrs[0], control: addrs[1], admin: addrs[2], bus: addrs[3], peer: addrs[4], path: filepath.Join(o.bin, "p")}
	cert := func(name string) string { return filepath.Join(o.certs, "cluster", name) }
	n.args = append([]string{
		"--front", n.front, "--control", n.control, "--admin", n.admin, "--cluster", n.bus, "--peer", n.peer,
		"--cluster-ca", cert("ca.pem"), "--cluster-cert", cert(id + ".pem"), "--cluster-key", cert(id + ".key"),
		"--cert", filepath.Join(o.certs, "p.pem"), "--key", filepath.Join(o.certs, "p.key"), "--token-file", o.tokenFile(),
	}, more...)
	for _, addr := range join {
		n.args = append(n.args, "--cluster-join", addr)
	}
	return n
}

// url is of its front port.
func (n *node) url() string {
	if slices.Contains(n.args, "--tls") {
		return "https://" + n.front
	}
	return "http://" + n.front
}

func (n *node) start() (err error) {
	line := slices.Concat(n.wrap, []string{n.path}, n.args)
	n.now, err = process.Command{Dir: n.dir, Name: n.id, Path: line[0], Args: line[1:], Stdout: n.out, Stderr: n.out}.Start()
	return err
}

func (n *node) signal(s syscall.Signal) error {
	if err := syscall.Kill(n.now.PID(), s); err != nil {
		return fmt.Errorf("%v to %s: %w", s, n.id, err)
	}
	return nil
}

// ends waits until it has ended.
func (n *node) ends(ctx context.Context, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-n.now.Done():
		return nil
	case <-timer.C:
		return fmt.Errorf("%s has not ended after %v: %s", n.id, limit, n.now.Last())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// asks is how the programs' admin ports are asked.
var asks = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}

// ready reports whether it says so, for an origin if that is not "".
func (n *node) ready(ctx context.Context, origin string) bool {
	url := "http://" + n.admin + "/readyz"
	if origin != "" {
		url += "?origin=" + origin
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := asks.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// seen is what a node says of another.
type seen struct {
	ID             string
	Linked, Synced bool
	Sessions       int
}

// others returns how many nodes it is linked to, with equal tables, and the sessions
// that those have.
func (n *node) others(ctx context.Context) (linked, sessions int, err error) {
	list, err := n.nodes(ctx)
	for _, o := range list {
		if o.Linked && o.Synced {
			linked++
		}
		sessions += o.Sessions
	}
	return linked, sessions, err
}

// nodes returns what it says of the others.
func (n *node) nodes(ctx context.Context) ([]seen, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+"/api/v1/nodes", nil)
	if err != nil {
		return nil, err
	}
	resp, err := asks.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var c struct{ Nodes []seen }
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		return nil, fmt.Errorf("the nodes that %s sees: %w", n.id, err)
	}
	return c.Nodes, nil
}
