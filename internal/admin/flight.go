package admin

import (
	"errors"
	"io"
	"runtime/trace"
	"sync"
	"time"
)

// What is kept of the runtime's doings: at least for how long, and how much at most.
const (
	flightAge   = 10 * time.Second
	flightBytes = 16 << 20
)

// Flight records what the runtime does, and forgets it after some seconds. The zero
// value is one that does not run. A process has one at a time.
type Flight struct {
	mu       sync.Mutex
	recorder *trace.FlightRecorder // guarded by mu; nil while it does not run
}

// Start begins to record, until Stop.
func (f *Flight) Start() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: flightAge, MaxBytes: flightBytes})
	if err := r.Start(); err != nil {
		return err
	}
	f.recorder = r
	return nil
}

// Stop ends what Start has begun, if it has. It waits for a WriteTo.
func (f *Flight) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recorder != nil {
		f.recorder.Stop()
		f.recorder = nil
	}
}

var errNotRecording = errors.New("the recorder does not run")

// WriteTo writes what was recorded last, for go tool trace; an error while it does
// not run.
func (f *Flight) WriteTo(w io.Writer) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recorder == nil {
		return 0, errNotRecording
	}
	return f.recorder.WriteTo(w)
}
