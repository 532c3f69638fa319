//go:build linux

package main

import (
	"context"
	"slices"
	"time"
)

// The sets of faults.
const (
	setQuick = "quick" // some 5 minutes, without root
	setAll   = "all"   // more, that take longer or need namespaces
	setSoak  = "soak"  // one pair for a long time, with faults at random
)

// A fault is one thing that goes wrong.
type fault struct {
	name, about string
	lasts       time.Duration // some time that inflict takes

	// prepare changes what is to be started. May be nil.
	prepare func(l *lab) error

	// inflict does it, and returns when the cause is gone.
	inflict func(ctx context.Context, l *lab) error

	spared []kind // requests that must not fail, not even meanwhile
	slow   bool   // in setAll alone
	soak   bool   // in setSoak too: it needs nothing prepared
	clock  bool   // the programs' wall clocks can be set
	once   bool   // tried with released programs alone
	inside bool   // in namespaces alone
	mayDie bool   // a program may end by a fatal error
}

// everything are all kinds of request.
var everything = []kind{get, download, upload, stream, sink, once, socket}

// held are the requests that p holds, repeats or resumes over a c's next connection.
var held = []kind{get, download}

func faults() []fault {
	return slices.Concat([]fault{
		{name: "nothing", about: "nothing is the matter: what the others are to be compared with", lasts: 2 * time.Second, spared: everything,
			inflict: func(ctx context.Context, _ *lab) error { return pause(ctx, 2*time.Second) }},
	}, wireFaults(), processFaults(), limitFaults(), fileFaults(), crowdFaults(), packetFaults())
}

func faultNamed(name string) *fault {
	for _, f := range faults() {
		if f.name == name {
			return &f
		}
	}
	return nil
}
