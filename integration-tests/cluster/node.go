//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
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
	dir                              string    // of its log files
	out                              io.Writer // in place of them, if not nil

	now *process.Process // the one that runs
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

func (n *node) start() (err error) {
	n.now, err = process.Command{Dir: n.dir, Name: n.id, Path: n.path, Args: n.args, Stdout: n.out, Stderr: n.out}.Start()
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

// others returns how many nodes it is linked to, with equal tables, and the sessions
// that those have.
func (n *node) others(ctx context.Context) (linked, sessions int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+"/api/v1/nodes", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := asks.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	var c struct {
		Nodes []struct {
			Linked, Synced bool
			Sessions       int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		return 0, 0, fmt.Errorf("the nodes that %s sees: %w", n.id, err)
	}
	for _, o := range c.Nodes {
		if o.Linked && o.Synced {
			linked++
		}
		sessions += o.Sessions
	}
	return linked, sessions, nil
}
