//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// An outcome is what became of one request.
type outcome int

const (
	right   outcome = iota // the answer that was due, every byte of it
	visible                // a failure that the visitor sees: a status, or a connection that breaks
	untrue                 // it looked complete and was not, or a byte was another
	hung                   // nothing came for patience
	outcomes
)

// A kind is a kind of request.
type kind string

const (
	get      kind = "get"      // a small file
	download kind = "download" // a large file, at a steady rate
	upload   kind = "upload"   // a file that c keeps
	stream   kind = "stream"   // an answer of a service, in chunks of no announced length
	sink     kind = "sink"     // a body to a service, in chunks of no announced length
	once     kind = "once"     // a POST that must not be acted on twice
	socket   kind = "socket"   // a message over a WebSocket, and its echo
)

// A tally counts what became of requests. Its methods may be called at once.
type tally struct {
	mu sync.Mutex

	// Guarded by mu.
	n      map[kind]*[outcomes]int
	why    map[string]int // of what was wrong or hung, and of what failed though nothing was the matter
	spared map[kind]bool  // kinds that must not fail even while something is the matter
	calm   bool           // nothing is the matter
	phase  int            // grows with each change of calm
}

func newTally(spared []kind) *tally {
	t := &tally{n: map[kind]*[outcomes]int{}, why: map[string]int{}, spared: map[kind]bool{}}
	for _, k := range spared {
		t.spared[k] = true
	}
	return t
}

// setCalm says whether something is the matter.
func (t *tally) setCalm(calm bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calm = calm
	t.phase++
}

// spare says whether requests of kind k that begin, and end, from now on may fail.
func (t *tally) spare(k kind, spared bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spared[k] = spared
}

// A request is one that has begun.
type request struct {
	t      *tally
	kind   kind
	calm   bool
	phase  int
	spared bool
}

func (t *tally) begin(k kind) *request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &request{t, k, t.calm, t.phase, t.spared[k]}
}

// errHung is why a request was given up.
var errHung = errors.New("nothing came for a long time")

// judge tells what an error means.
func judge(err error) outcome {
	_, bad := errors.AsType[*wrong](err)
	switch {
	case err == nil:
		return right
	case bad:
		return untrue
	case errors.Is(err, errHung):
		return hung
	}
	return visible
}

// end counts what became of a request. One that was called off counts nowhere.
func (r *request) end(err error) outcome {
	o := judge(err)
	if o == visible && errors.Is(err, context.Canceled) {
		return o
	}
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.n[r.kind]
	if n == nil {
		n = new([outcomes]int)
		t.n[r.kind] = n
	}
	n[o]++
	switch {
	case o == untrue:
		t.why[fmt.Sprintf("WRONG %s: %v", r.kind, err)]++
	case o == hung:
		t.why[fmt.Sprintf("HUNG %s: %v", r.kind, err)]++
	case o == visible && r.calm && r.phase == t.phase:
		t.why[fmt.Sprintf("%s failed though nothing was the matter: %v", r.kind, err)]++
	case o == visible && r.spared && t.spared[r.kind]:
		t.why[fmt.Sprintf("%s failed, and should not have noticed: %v", r.kind, err)]++
	}
	return o
}

// wrongf counts what somebody else than a visitor has found to be wrong.
func (t *tally) wrongf(k kind, format string, a ...any) {
	(&request{t: t, kind: k}).end(wrongf(format, a...))
}

// sum is the requests of all kinds.
func (t *tally) sum() (sum [outcomes]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.n {
		for o := range sum {
			sum[o] += n[o]
		}
	}
	return sum
}

// right is how many of a kind were.
func (t *tally) right(k kind) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.n[k]; n != nil {
		return n[right]
	}
	return 0
}

// maxWhy is how many reasons are told.
const maxWhy = 5

// problems are what must not have been, with how often it was.
func (t *tally) problems() (all []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, why := range slices.Sorted(maps.Keys(t.why)) {
		if len(all) == maxWhy {
			return append(all, fmt.Sprintf("and %d kinds of failure more", len(t.why)-maxWhy))
		}
		all = append(all, fmt.Sprintf("%d times: %s", t.why[why], why))
	}
	return all
}
