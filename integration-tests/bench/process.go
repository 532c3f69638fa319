package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/amahi/spdy-proxy/integration-tests/process"
)

// loadProcess is a process that does a job.
type loadProcess struct {
	*process.Process
	job     job
	input   io.Closer
	running chan struct{} // closed when it says so
	result  chan result   // one, when there is one
}

func (b *bench) startLoad(j job) (*loadProcess, error) {
	if j.Limit == 0 {
		j.Limit = time.Minute
	}
	p, input, output, err := process.Command{Dir: b.dir, Name: "load", Path: b.self, Args: []string{"load"}}.StartPiped()
	if err != nil {
		return nil, err
	}
	l := &loadProcess{Process: p, job: j, input: input, running: make(chan struct{}), result: make(chan result, 1)}
	// Ends with the process, which stop ends.
	go func() {
		defer output.Close()
		lines := json.NewDecoder(output)
		for {
			var r report
			if lines.Decode(&r) != nil {
				return
			}
			if r.Running {
				close(l.running)
			}
			if r.Result != nil {
				l.result <- *r.Result
			}
		}
	}()
	if err := json.NewEncoder(input).Encode(j); err != nil {
		l.end()
		return nil, err
	}
	return l, nil
}

func (l *loadProcess) end() {
	l.input.Close()
	l.Stop()
}

// errStuck is that the load got no further within its time.
var errStuck = errors.New("stuck")

// wait returns the result of a job that ends by itself, or of one that finish
// has asked to.
func (l *loadProcess) wait(ctx context.Context) (result, error) {
	// The load ends by itself before this; it is for one that does not.
	late := time.NewTimer(l.job.Limit + 5*time.Second)
	defer late.Stop()
	var r result
	select {
	case r = <-l.result:
	case <-l.Done():
		select {
		case r = <-l.result:
		case <-time.After(time.Second):
			return r, fmt.Errorf("the load ended without a result: %s", l.Last())
		}
	case <-late.C:
		return r, fmt.Errorf("%w: the load does not end", errStuck)
	case <-ctx.Done():
		return r, ctx.Err()
	}
	switch {
	case r.WrongBody:
		return r, &wrongBodyError{strings.TrimPrefix(r.Error, "a wrong body: ")}
	case r.Late:
		return r, fmt.Errorf("%w: %s", errStuck, r.Error)
	case r.Error != "":
		return r, errors.New(r.Error)
	}
	return r, nil
}

// finish asks an endless job to end.
func (l *loadProcess) finish(ctx context.Context) (result, error) {
	l.input.Close()
	return l.wait(ctx)
}

// do runs a job that ends by itself.
func (b *bench) do(ctx context.Context, j job) (result, error) {
	l, err := b.startLoad(j)
	if err != nil {
		return result{}, err
	}
	defer l.end()
	return l.wait(ctx)
}
