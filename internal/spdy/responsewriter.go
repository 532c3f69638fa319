package spdy

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"
)

// responseWriter is the http.ResponseWriter of a handler. Owned by the handler, and
// after Hijack by the connection.
type responseWriter struct {
	st       *Stream
	hijacked bool
	header   http.Header
	status   int // 0 before WriteHeader
	length   int64
	written  int64
	reply    *pairs // made, but without its Content-Type: the first bytes decide
	declare  []string
	// early has the values of declared names that went out as headers.
	early map[string][]string
}

var _ interface {
	http.ResponseWriter
	http.Flusher
	http.Hijacker
	io.ReaderFrom
	io.StringWriter
} = (*responseWriter)(nil)

func (w *responseWriter) bodyAllowed() bool {
	return w.st.req.Method != http.MethodHead && bodyAllowed(w.status)
}

// switched: after a 101 both directions are raw bytes.
func (w *responseWriter) switched() bool { return w.status == http.StatusSwitchingProtocols }

// Header returns the response's headers; changes count until WriteHeader, those
// of trailers until the handler's end.
func (w *responseWriter) Header() http.Header { return w.header }

// WriteHeader fixes the response's status and headers. Only the first call
// counts; 1xx other than 101 have no form in SPDY and are not sent.
func (w *responseWriter) WriteHeader(code int) {
	if code < 100 || code > 999 {
		panic(fmt.Sprintf("spdy: WriteHeader with status %d", code))
	}
	if w.status != 0 || w.hijacked {
		w.st.s.cfg.Logger.Warn("superfluous WriteHeader", "stream", w.st.id, "status", code)
		return
	}
	if code < 200 && code != http.StatusSwitchingProtocols {
		return
	}
	w.begin(code, w.header)
	if w.switched() {
		w.Flush()
	}
}

// begin fixes status and headers, and makes the SYN_REPLY of them.
func (w *responseWriter) begin(code int, h http.Header) {
	w.status = code
	header := canonical(h)
	length, _ := contentLength(slices.Values(header["Content-Length"]))
	if w.bodyAllowed() && !w.switched() {
		w.length = length
	}
	w.reply = w.makeReply(header, length)
	_, typed := header["Content-Type"]
	_, coded := header["Content-Encoding"]
	if typed || coded || w.st.s.compat || !w.bodyAllowed() || w.switched() {
		w.holdReply()
	}
}

// Write sends p as DATA, after a SYN_REPLY 200 if none went out. It waits only
// for window and for room in the stream's buffer. Small writes wait for more of
// them, as in net/http: Flush sends them, and so does the handler's end.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	n, err := w.startBody(p)
	if err != nil || n == 0 {
		return 0, err
	}
	if !w.bodyAllowed() {
		return len(p), nil // HEAD
	}
	if n < len(p) {
		m, err := w.st.writeAll(p[:n], w.holds())
		if err == nil {
			err = http.ErrContentLength
		}
		return m, err
	}
	return w.st.writeAll(p, w.holds())
}

// holds reports whether small writes wait for more: not those of another
// protocol, nor with handlers that were written for the library of 2015.
func (w *responseWriter) holds() bool { return !w.switched() && !w.st.s.compat }

// WriteString is Write.
func (w *responseWriter) WriteString(p string) (int, error) { return w.Write([]byte(p)) }

// startBody sends the headers if they are due, and returns how many of p's
// bytes the announced length allows.
func (w *responseWriter) startBody(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.reply != nil && len(p) > 0 {
		w.reply.add("content-type", http.DetectContentType(p))
		w.holdReply()
	}
	n := len(p)
	if w.length >= 0 {
		if left := w.length - w.written; int64(n) > left {
			n = int(left)
			if n == 0 {
				return 0, http.ErrContentLength
			}
		}
	}
	w.written += int64(n)
	return n, nil
}

// ReadFrom sends what r gives until its end, each piece as it comes, reading it
// straight into the stream's buffer.
func (w *responseWriter) ReadFrom(r io.Reader) (n int64, err error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.reply != nil || !w.bodyAllowed() {
		// The first bytes decide the Content-Type, or nothing is to be sent.
		first := make([]byte, 512)
		m, err := 0, error(nil)
		for m == 0 && err == nil {
			m, err = r.Read(first) // and no more: the next may be long in coming
		}
		k, werr := w.Write(first[:m])
		n = int64(k)
		if werr != nil || err != nil {
			if werr == nil && err != io.EOF {
				werr = err
			}
			return n, werr
		}
		if !w.bodyAllowed() {
			m, err := io.Copy(io.Discard, r)
			return n + m, err
		}
	}
	if w.holds() && waits(r) {
		w.st.sendHeld()
	}
	if w.length >= 0 && w.written == w.length {
		return n, endOf(r)
	}
	err = w.st.writeFrom(func(space []byte) (int, bool, error) {
		if w.length >= 0 && w.written == w.length {
			return 0, false, endOf(r)
		}
		if w.length >= 0 {
			space = space[:min(int64(len(space)), w.length-w.written)]
		}
		m, err := r.Read(space)
		w.written += int64(m)
		n += int64(m)
		if err == io.EOF {
			return m, false, nil
		}
		if err == nil && w.written == w.length && !waits(r) {
			return m, false, endOf(r) // or what has come would wait for the end
		}
		return m, err == nil, err
	}, true)
	return n, err
}

// waits reports whether r may have to wait for its next bytes, as no file does, and no
// body of another session's response that has some.
func waits(r io.Reader) bool {
	if l, ok := r.(*io.LimitedReader); ok {
		if l.N <= 0 {
			return false
		}
		r = l.R
	}
	if some, ok := r.(interface{ Ready() bool }); ok && some.Ready() {
		return false
	}
	file, ok := r.(io.Seeker)
	if ok {
		_, err := file.Seek(0, io.SeekCurrent) // a pipe is an os.File too
		ok = err == nil
	}
	return !ok
}

// endOf says what is wrong with a body that must be at its end: one byte more
// than announced is one too many.
func endOf(r io.Reader) error {
	var one [1]byte
	n, err := io.ReadFull(r, one[:])
	if n > 0 {
		return http.ErrContentLength
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// Flush sends what was written so far.
func (w *responseWriter) Flush() { w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *responseWriter) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.reply != nil {
		w.holdReply()
	}
	return w.st.sendHeld()
}

// SetReadDeadline bounds reads of the request's body; the zero time: no bound.
func (w *responseWriter) SetReadDeadline(t time.Time) error {
	w.st.recv.buf.setDeadline(t)
	return nil
}

// SetWriteDeadline bounds writes of the response's body; the zero time: no bound.
// It may be called while a Write waits, which it ends; that is an error that wraps
// os.ErrDeadlineExceeded. A response is broken off if one of its Writes failed so,
// if its handler returns after the deadline, and if the peer has not taken it whole
// by then.
func (w *responseWriter) SetWriteDeadline(t time.Time) error {
	w.st.setWriteDeadline(t)
	return nil
}

// WaitSent waits until what a handler has written is not held up by the peer's
// windows any more: it has gone out, or is about to. A handler that returns
// before that leaves up to 128 KiB with its stream for as long as the peer likes.
// Where the windows are wide enough it returns at once, and sends nothing that
// would not go out by itself.
//
// An error says that the stream has ended, or that SetWriteDeadline's time came.
func (w *responseWriter) WaitSent() error { return w.st.waitSent() }

// EnableFullDuplex has nothing to do: a stream is duplex.
func (w *responseWriter) EnableFullDuplex() error { return nil }

// finish ends the response. It reports whether the request's body is still coming.
func (w *responseWriter) finish() (comes bool) {
	st, s := w.st, w.st.s
	if w.status == 0 && !st.failed() {
		w.WriteHeader(http.StatusOK)
	}
	if w.reply != nil {
		w.holdReply()
	}
	var trailers *pairs
	if !w.hijacked {
		trailers = w.trailers()
	}
	short := w.length >= 0 && w.written < w.length && w.bodyAllowed()
	if short && !st.failed() {
		// What was announced will never come: the peer must see that.
		s.reset(st, InternalError, fmt.Errorf("%w: the handler announced %d bytes and wrote %d", ErrBodyLength, w.length, w.written))
		freePairs(trailers)
		return false
	}
	s.mu.Lock()
	late := st.send.timedOut || !w.hijacked && st.send.deadline.passed()
	s.unlock()
	if late {
		// What failed to be written is missing, and nothing else would show it.
		s.reset(st, InternalError, os.ErrDeadlineExceeded)
		freePairs(trailers)
		return false
	}
	if trailers != nil {
		if err := s.checkBlock(trailers); err != nil {
			s.reset(st, FrameTooLarge, err)
			freePairs(trailers)
			return false
		}
	}
	s.mu.Lock()
	defer s.unlock()
	if st.send.reply != nil && w.length < 0 && trailers == nil && w.bodyAllowed() && !w.switched() {
		st.send.reply.add("content-length", strconv.Itoa(st.send.list.size))
	}
	st.finishLocked(trailers)
	return st.state != streamClosed
}
