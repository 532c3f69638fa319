//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// agents are origins in a process of their own, as its standard input has them.
type agents struct {
	From, To int // of these numbers, the last one excluded
	Spread   int
	Dials    int      // handshakes that they begin at once
	Controls []string // of the nodes
	Certs    string
	File     string // of tokens
	Tokens   []string
}

// otherFiles is how many files a process of agents, and this one, have open beside the
// connections of the origins.
const otherFiles = 2000

// startOrigins starts the first so many origins, in as many processes as it takes that each
// may have the connections of its part open: each origin's, and the next one before it
// leaves one. They end with w.
func (w *world) startOrigins(origins int) error {
	files, err := process.OpenFiles()
	if err != nil {
		return err
	}
	most := (files - otherFiles) / (w.o.spread + 1)
	if most <= 0 {
		return fmt.Errorf("this program may have %d files open: let it have more (ulimit -n)", files)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	parts := (origins + most - 1) / most
	all := agents{
		Spread: w.o.spread, Dials: max(1, allDials()/parts), Certs: w.o.certs, File: w.o.tokenFile(), Tokens: w.o.tokens,
	}
	for _, n := range w.nodes {
		all.Controls = append(all.Controls, n.control)
	}
	for i := range parts {
		part := all
		part.From, part.To = origins*i/parts, origins*(i+1)/parts
		said, err := json.Marshal(part)
		if err != nil {
			return err
		}
		p, err := process.Command{Dir: w.dir, Name: fmt.Sprint("agents", i+1), Path: self, Args: []string{"--agents"}, Stdin: strings.NewReader(string(said))}.Start()
		if err != nil {
			return err
		}
		w.origins = append(w.origins, p)
	}
	return nil
}

// allDials is how many handshakes all origins together begin at once.
func allDials() int { return 2 * runtime.NumCPU() }

// beAgents is what a process does that startOrigins has started.
func beAgents(ctx context.Context, in io.Reader) error {
	var a agents
	if err := json.NewDecoder(in).Decode(&a); err != nil {
		return fmt.Errorf("what agents to be, on standard input: %w", err)
	}
	w := &world{o: &options{certs: a.Certs, file: a.File, tokens: a.Tokens, spread: a.Spread, dials: make(turns, a.Dials)}}
	w.ctx, w.cancel = context.WithCancel(ctx)
	defer w.close()
	for _, addr := range a.Controls {
		w.nodes = append(w.nodes, &node{control: addr})
	}
	for i := a.From; i < a.To; i++ {
		if err := w.agent(i); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}
