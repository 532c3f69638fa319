package admin

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"runtime/trace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// What is kept of the runtime's doings: at least for how long, and how much at most.
// flightIdle is how long it is recorded for nobody.
const (
	flightAge   = 10 * time.Second
	flightBytes = 16 << 20
	flightIdle  = time.Hour
)

// Flight records what the runtime does, and forgets it after some seconds. That costs some
// 10 % of the CPU at many small requests, so it begins when somebody asks for it first, and
// ends when nobody has for an hour.
// The zero value is ready. A process has one that records at a time.
type Flight struct {
	mu       sync.Mutex
	recorder *trace.FlightRecorder // guarded by mu; nil while it does not run
	idle     *time.Timer           // guarded by mu; calls end; nil before the first time
	closed   bool                  // guarded by mu

	sending atomic.Bool // one is being sent; it is large
}

var errFlightClosed = errors.New("p is stopping")

// begin has it record from now on, and reports whether it did not before.
func (f *Flight) begin() (begun bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false, errFlightClosed
	}
	if f.recorder != nil {
		f.idle.Reset(flightIdle)
		return false, nil
	}
	r := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: flightAge, MaxBytes: flightBytes})
	if err := r.Start(); err != nil {
		return false, err
	}
	f.recorder = r
	if f.idle == nil {
		f.idle = time.AfterFunc(flightIdle, f.end)
	} else {
		f.idle.Reset(flightIdle)
	}
	return true, nil
}

// end has it record no more, until begin.
func (f *Flight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recorder != nil {
		f.idle.Stop()
		f.recorder.Stop()
		f.recorder = nil
	}
}

// Close ends it for good.
func (f *Flight) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
}

// recorded returns what was recorded last. It is whole before the lock is given back: who
// reads it slowly holds up nobody else, and no end.
func (f *Flight) recorded() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recorder == nil {
		return nil, errors.New("it was ended meanwhile")
	}
	var b bytes.Buffer
	_, err := f.recorder.WriteTo(&b)
	return b.Bytes(), err
}

// ServeHTTP answers with what was recorded last, for go tool trace. The first time, it
// begins to record, and says when to ask again; with the query stop=1, it ends that.
func (f *Flight) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("stop") == "1" {
		f.end()
		fmt.Fprintln(w, "It does not record any more. Ask without stop=1 to have it begin.")
		return
	}
	begun, err := f.begin()
	if begun {
		w.Header().Set("Retry-After", strconv.Itoa(int(flightAge.Seconds())))
		http.Error(w, fmt.Sprintf("It records from now on, which costs p some 10 %% of its CPU. Ask again, in %.0f s or when something has happened, "+
			"for what the runtime did until then; with ?stop=1 to end it, which an hour in which nobody asks does, too.", flightAge.Seconds()), http.StatusServiceUnavailable)
		return
	}
	if !f.sending.CompareAndSwap(false, true) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "Somebody else is being sent it: ask again soon.", http.StatusServiceUnavailable)
		return
	}
	defer f.sending.Store(false)
	var recorded []byte
	if err == nil {
		recorded, err = f.recorded()
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("There is no recording: %v.", err), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(recorded)
}
