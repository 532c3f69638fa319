// Package tap lets others see what passes between a visitor and a handler of C's: how
// much of it, and what.
package tap

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Exchange is one request on its way through a handler. But for In, its fields are the
// handler's goroutine's.
type Exchange struct {
	Began   time.Time
	Status  int           // of the response, 0 while there is none
	Headers time.Duration // since Began, until the response's head; 0 while there is none, and without Timed
	Timed   bool          // fixed before Serve; Headers is wanted: it costs a look at the clock

	In  atomic.Int64 // bytes of the request's body that were read
	Out int64        // bytes of the response's body that were written

	viewer Viewer

	// What the handler gets, which is here so that it is not allocated by itself.
	writer writer
	body   body
}

// Viewer sees an exchange as it goes on. RequestBody may be called at once with the
// others, and after Serve. None may keep p or h.
type Viewer interface {
	RequestBody(p []byte)
	Head(status int, h http.Header)
	ResponseBody(p []byte)
}

// Serve has h answer r, and returns or panics as h does. viewer may be nil. What w can
// do beside http.ResponseWriter, h finds by an http.ResponseController, but for
// io.ReaderFrom, io.StringWriter and http.Flusher, which are there.
func (e *Exchange) Serve(h http.Handler, w http.ResponseWriter, r *http.Request, viewer Viewer) {
	e.Began, e.viewer = time.Now(), viewer
	if r.Body != nil && r.Body != http.NoBody {
		// In the request itself: a copy's Trailer would not be filled.
		e.body = body{r.Body, e}
		r.Body = &e.body
	}
	e.writer = writer{w, e}
	h.ServeHTTP(&e.writer, r)
	e.writer.head(http.StatusOK)
}

// Reset makes e as it was before Serve, which may be called again then. It reports false, and
// does nothing, where a part of e may be in use yet: transports read a request's body after
// their answer, and an upgraded connection goes on. Serve has returned: then the
// http.ResponseWriter is nobody's (http.Handler).
func (e *Exchange) Reset() bool {
	if e.body.e != nil || e.Status == http.StatusSwitchingProtocols {
		return false
	}
	*e = Exchange{Timed: e.Timed}
	return true
}

// body is the request's.
type body struct {
	io.ReadCloser
	e *Exchange
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.e.In.Add(int64(n))
		if b.e.viewer != nil {
			b.e.viewer.RequestBody(p[:n])
		}
	}
	return n, err
}

// writer is the handler's http.ResponseWriter.
type writer struct {
	http.ResponseWriter
	e *Exchange
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// head notes the head of the response, if there was none.
func (w *writer) head(status int) {
	if w.e.Status != 0 || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.e.Status = status
	if w.e.Timed {
		w.e.Headers = time.Since(w.e.Began)
	}
	if w.e.viewer != nil {
		w.e.viewer.Head(status, w.Header())
	}
}

func (w *writer) WriteHeader(status int) {
	w.head(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	w.head(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.e.Out += int64(n)
	if n > 0 && w.e.viewer != nil {
		w.e.viewer.ResponseBody(p[:n])
	}
	return n, err
}

// WriteString is Write.
func (w *writer) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// ReadFrom has the writer below read r, as that may do so straight into what is sent, and
// sends what it gives as it comes, where a Write may keep it until there is more.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	to, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		// A plain io.Copy would call this again.
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	w.head(http.StatusOK)
	if w.e.viewer != nil {
		r = viewed{r, w.e.viewer}
	}
	n, err := to.ReadFrom(r)
	w.e.Out += n
	return n, err
}

// viewed is a response's body that somebody looks at while it is read.
type viewed struct {
	io.Reader
	viewer Viewer
}

func (v viewed) Read(p []byte) (int, error) {
	n, err := v.Reader.Read(p)
	if n > 0 {
		v.viewer.ResponseBody(p[:n])
	}
	return n, err
}

// Flush is http.Flusher's; http.ResponseController finds the error by FlushError.
func (w *writer) Flush() { w.FlushError() }

// FlushError sends what was written.
func (w *writer) FlushError() error {
	w.head(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}
