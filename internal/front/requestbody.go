package front

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

var errBodyGone = errors.New("the request's body is not this attempt's to read any more")

// What becomes of A's body.
const (
	uploadNone    uint32 = iota // there is none, or it is at its end
	uploadHeld                  // A's turn is over: the origin's window is shut, or a policy waits
	uploadAwaited               // it is A's turn to send
	uploadSeen                  // the same, and a look of sweep has seen that
)

// requestBody is A's body, which the attempts of one request share. None but
// the first that reads it gets any of it.
type requestBody struct {
	// Fixed.
	src io.ReadCloser
	e   *exchange   // of A's request, whose Trailer is filled at the end of src
	out http.Header // the Trailer of the request to C; read after the end alone

	mu sync.Mutex
	// Guarded by mu, which is not held across a read of src.
	started bool  // a Read has begun
	over    bool  // the handler has returned
	whole   bool  // io.EOF was reached
	read    int64 // bytes
	err     error // what ended it, if not io.EOF
}

// newRequestBody returns the body of e's request.
func newRequestBody(e *exchange) *requestBody {
	b := &requestBody{src: e.in.Body, e: e, out: make(http.Header)}
	b.passTrailers()
	return b
}

// passTrailers puts into out what is known of A's trailers.
func (b *requestBody) passTrailers() {
	for name, values := range httpfield.Trailers(b.e.in.Header, b.e.in.Trailer) {
		if !claims(name) {
			b.out[name] = values
		}
	}
}

// isWhole reports whether all of the body was read.
func (b *requestBody) isWhole() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.whole
}

// untouched reports whether no byte was or will be read by the attempts so far.
func (b *requestBody) untouched() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.started
}

// state returns how much was read, and the error that reading ended in.
func (b *requestBody) state() (read int64, err error) {
	if b == nil {
		return 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read, b.err
}

// attemptBody is one attempt's access to the body.
type attemptBody struct {
	*requestBody
	ended  func()           // called at the body's end
	meter  Meter            // nil: nobody counts
	pace   func(n int) bool // waits until n bytes may have passed, false when that is for nothing; nil: it does not
	closed bool             // guarded by mu
}

// Read reads from A. The first one makes http.Server ask A for the body, if A
// waits to be asked ("Expect: 100-continue").
func (a *attemptBody) Read(p []byte) (int, error) {
	a.mu.Lock()
	if a.closed || a.over {
		a.mu.Unlock()
		return 0, errBodyGone
	}
	a.started = true
	a.mu.Unlock()

	a.e.upload.Store(uploadAwaited)
	n, err := a.src.Read(p)
	next := uploadHeld
	if err != nil {
		next = uploadNone
	}
	a.e.upload.Store(next)
	if n > 0 && a.meter != nil {
		a.meter.In(n)
	}
	if a.pace != nil && !a.pace(n) && err == nil {
		err = errBodyGone
	}
	a.mu.Lock()
	a.read += int64(n)
	if err == io.EOF {
		a.whole = true
	} else if err != nil && a.err == nil {
		a.err = err
	}
	a.mu.Unlock()
	if err == io.EOF {
		a.passTrailers()
		a.ended()
	}
	return n, err
}

// Close ends the attempt's access. The body itself is closed by http.Server.
func (a *attemptBody) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return nil
}

// close ends the access of all attempts, with the handler: http.Server's body
// may not be read after it.
func (b *requestBody) close() {
	if b != nil {
		b.mu.Lock()
		b.over = true
		b.mu.Unlock()
	}
}
