package front

import (
	"errors"
	"io"
	"net/http"

	"github.com/amahi/spdy"
)

var (
	errShort   = errors.New("the response's body is shorter than announced")
	errLong    = errors.New("the response's body is longer than announced")
	errChanged = errors.New("the connection to the origin ended, and the rest cannot be had: it has changed, or the origin gives no part of it")
)

// download is the body of a response on its way to A. It is never shorter or
// longer than announced without an error, and when the session that brings it
// ends, the rest may come over another. It belongs to the handler's goroutine.
type download struct {
	e    *exchange
	req  *http.Request  // as it was sent, without the body
	resp *http.Response // as A got it, but for the header, which is the server's by now; its Trailer is filled at the end of src
	src  io.ReadCloser
	want int64 // -1: not announced
	got  int64

	// rest is what resp brings, if resumes says that the rest of it can be had.
	rest    span
	coding  string // Content-Encoding
	resumes bool
	repeats uint8 // for send: since a byte came last
	mark    int64 // got when it was last taken up
}

// begin is for resp.Body.
func (d *download) begin(e *exchange, req *http.Request, resp *http.Response) {
	*d = download{e: e, req: req, resp: resp, src: resp.Body, want: resp.ContentLength}
	if e.in.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		d.want = -1
	}
	if e.in.Method == http.MethodGet && e.body == nil {
		d.rest, d.resumes = resumable(resp)
		d.coding = resp.Header.Get("Content-Encoding")
	}
}

// deliver sends the body to A, all that has come at once and without a wait for
// more. Its error means that A has not all of it.
func (d *download) deliver() error {
	var buf []byte // nil while nothing is there to be read
	failed := false
	defer func() {
		// The h2 server may still read what a Write that failed was given: a
		// buffer used again could carry another visitor's bytes to this one.
		if !failed && buf != nil {
			d.e.h.buffers.put(buf)
		}
	}()
	for {
		if !d.ready() {
			// Nothing of what was written, the headers at first, is held back
			// while there is nothing to read.
			d.e.w.flush()
			if src, ok := d.src.(interface{ Await() }); ok {
				// Thousands may wait, some of them for events of which few come.
				if buf != nil {
					d.e.h.buffers.put(buf)
					buf = nil
				}
				src.Await()
			}
		}
		if size := d.piece(); len(buf) != size {
			if buf != nil {
				d.e.h.buffers.put(buf)
			}
			buf = d.e.h.buffers.get(size)
		}
		n, err := d.src.Read(buf)
		if d.want >= 0 && int64(n) > d.want-d.got {
			n, err = int(d.want-d.got), errLong
		}
		if n > 0 {
			if _, err := d.e.w.Write(buf[:n]); err != nil {
				failed = true
				return err
			}
			d.got += int64(n)
		}
		if err == nil {
			continue
		}
		if more, err := d.ended(err); !more {
			return err
		}
	}
}

// piece is how much is read and written at once.
func (d *download) piece() int {
	switch {
	case d.want >= 0 && d.want <= smallBuffer:
		return smallBuffer
	case !d.e.http1:
		return frameBuffer
	case d.got >= largeAfter:
		return largeBuffer
	}
	return copyBuffer
}

// ended is called when src has ended with err. If it reports more, src is another
// one, with the rest; else its error says why A has not all of the body.
func (d *download) ended(err error) (more bool, _ error) {
	if err == io.EOF {
		if d.got >= d.want {
			return false, nil
		}
		err = errShort
	}
	if _, ended := errors.AsType[*spdy.SessionError](err); ended && d.want >= 0 {
		if d.got == d.want && len(d.resp.Trailer) == 0 {
			return false, nil // all of it had come
		}
		if d.resumes {
			d.e.w.flush() // it may take a while
			if err = d.resume(err); err == nil {
				return true, nil
			}
		}
	}
	f := d.e.failureOf(err)
	d.e.rec.Reason, d.e.rec.Detail = f.reason, f.detail
	return false, err
}

// ready reports whether the next Read of src returns at once. Then what was
// written can wait for what it brings, or for the end.
func (d *download) ready() bool {
	r, ok := d.src.(interface{ Ready() bool })
	return ok && r.Ready()
}

// Close gives up what has not come.
func (d *download) Close() error { return d.src.Close() }
