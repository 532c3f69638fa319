package spdy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// response is what a handler has said so far. Owned by the handler.
type response struct {
	header  http.Header
	status  int // 0 before WriteHeader
	length  int64
	written int64
	reply   *pairs // made, but without its Content-Type: the first bytes decide
	declare []string
	// early has the values of declared names that went out as headers.
	early map[string][]string
}

func (rw *response) bodyAllowed(st *Stream) bool {
	return st.req.Method != http.MethodHead && bodyAllowed(rw.status)
}

// Header returns the response's headers; changes count until WriteHeader, those
// of trailers until the handler's end.
func (st *Stream) Header() http.Header {
	if st.rw == nil {
		return http.Header{}
	}
	return st.rw.header
}

// WriteHeader fixes the response's status and headers. Only the first call
// counts; 1xx other than 101 have no form in SPDY and are not sent.
func (st *Stream) WriteHeader(code int) {
	rw := st.rw
	if rw == nil {
		return
	}
	if code < 100 || code > 999 {
		panic(fmt.Sprintf("spdy: WriteHeader with status %d", code))
	}
	if rw.status != 0 {
		st.s.log(slog.LevelWarn, "superfluous WriteHeader", "stream", st.id, "status", code)
		return
	}
	if code < 200 && code != http.StatusSwitchingProtocols {
		return
	}
	rw.status = code
	header := canonical(rw.header)
	length, _ := contentLength(slices.Values(header["Content-Length"]))
	if rw.bodyAllowed(st) && !st.duplexed() {
		rw.length = length
	}
	rw.reply = st.makeReply(header, length)
	_, typed := header["Content-Type"]
	_, coded := header["Content-Encoding"]
	if typed || coded || st.s.upstream || !rw.bodyAllowed(st) || st.duplexed() {
		st.holdReply()
	}
	if st.duplexed() {
		st.Flush()
	}
}

// makeReply makes the header block of the SYN_REPLY from what the headers are now,
// as canonical returns them, and the length that they announce, -1 if none.
func (st *Stream) makeReply(header http.Header, length int64) *pairs {
	rw, s := st.rw, st.s
	p := newPairs()
	p.add(nameStatus, statusLine(rw.status))
	p.add(nameVersion, "HTTP/1.1")
	for _, v := range header["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			rw.declare = append(rw.declare, key)
			if values := header[key]; len(values) > 0 {
				if rw.early == nil {
					rw.early = make(map[string][]string)
				}
				rw.early[key] = slices.Clone(values)
			}
		}
	}
	p.addCanonical(header, true, func(key string) bool {
		switch key {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Content-Length":
			return true
		}
		return strings.HasPrefix(key, http.TrailerPrefix) || key[:min(1, len(key))] == ":"
	})
	if length >= 0 && rw.status != http.StatusNoContent && !st.duplexed() {
		p.add("content-length", header["Content-Length"][0]) // the peer takes but one
	}
	if _, typed := header["Content-Type"]; !typed && s.upstream {
		p.add("content-type", "text/html; charset=utf-8")
	}
	if _, dated := header["Date"]; !dated {
		s.mu.Lock()
		date := s.dateLocked()
		s.unlock()
		p.add("date", date)
	}
	return p
}

// holdReply hands the SYN_REPLY over; it goes out with the body's first bytes.
func (st *Stream) holdReply() {
	p := st.rw.reply
	st.rw.reply = nil
	if err := st.s.checkBlock(p); err != nil {
		freePairs(p)
		st.s.log(slog.LevelWarn, "headers of a response are too large to be sent", "stream", st.id)
		st.s.reset(st, FrameTooLarge, err)
		return
	}
	st.s.mu.Lock()
	defer st.s.unlock()
	if st.state == streamClosed || st.err != nil {
		freePairs(p)
		return
	}
	st.send.reply, st.send.hold = p, true
}

func (rw *response) declared(key string) bool {
	for _, d := range rw.declare {
		if d == key {
			return true
		}
	}
	return false
}

// trailers returns what the handler set after it declared it, or nil.
func (rw *response) trailers() *pairs {
	var h http.Header
	for key, values := range rw.header {
		name, prefixed := strings.CutPrefix(key, http.TrailerPrefix)
		if !prefixed && !rw.declared(key) {
			continue
		}
		name = http.CanonicalHeaderKey(name)
		if forbiddenTrailer(name) || len(values) == 0 {
			continue
		}
		if early := rw.early[name]; !prefixed && len(values) > len(early) && slices.Equal(values[:len(early)], early) {
			values = values[len(early):] // what was added, as ReverseProxy does it
		}
		if h == nil {
			h = make(http.Header)
		}
		h[name] = values
	}
	if h == nil {
		return nil
	}
	p := newPairs()
	p.addHeader(h, true, func(string) bool { return false })
	return p
}

// Write sends p as DATA, after a SYN_REPLY 200 if none went out. It waits only
// for window and for room in the stream's buffer. Small writes wait for more of
// them, as in net/http: Flush sends them, and so does the handler's end.
func (st *Stream) Write(p []byte) (int, error) {
	n, err := st.startBody(p)
	if err != nil || n == 0 {
		return 0, err
	}
	if !st.rw.bodyAllowed(st) {
		return len(p), nil // HEAD
	}
	if n < len(p) {
		m, err := st.writeAll(p[:n], st.holds())
		if err == nil {
			err = http.ErrContentLength
		}
		return m, err
	}
	return st.writeAll(p, st.holds())
}

// holds reports whether small writes wait for more: not those of another
// protocol, nor with handlers that were written for the library of 2015.
func (st *Stream) holds() bool { return !st.duplexed() && !st.s.upstream }

// WriteString is Write.
func (st *Stream) WriteString(p string) (int, error) { return st.Write([]byte(p)) }

var errNotHandler = errors.New("spdy: the stream has no handler to write for")

// startBody sends the headers if they are due, and returns how many of p's
// bytes the announced length allows.
func (st *Stream) startBody(p []byte) (int, error) {
	rw := st.rw
	if rw == nil {
		return 0, errNotHandler
	}
	if rw.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	if !bodyAllowed(rw.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if rw.reply != nil && len(p) > 0 {
		rw.reply.add("content-type", http.DetectContentType(p))
		st.holdReply()
	}
	n := len(p)
	if rw.length >= 0 {
		if left := rw.length - rw.written; int64(n) > left {
			n = int(left)
			if n == 0 {
				return 0, http.ErrContentLength
			}
		}
	}
	rw.written += int64(n)
	return n, nil
}

// writeAll sends p.
func (st *Stream) writeAll(p []byte, hold bool) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	err = st.writeFrom(func(space []byte) (int, bool, error) {
		m := copy(space, p[n:])
		n += m
		return m, n < len(p), nil
	}, hold)
	return n, err
}

// ReadFrom sends what r gives until its end, each piece as it comes, reading it
// straight into the stream's buffer.
func (st *Stream) ReadFrom(r io.Reader) (n int64, err error) {
	rw := st.rw
	if rw == nil {
		return 0, errNotHandler
	}
	if rw.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	if rw.reply != nil || !rw.bodyAllowed(st) {
		// The first bytes decide the Content-Type, or nothing is to be sent.
		first := make([]byte, 512)
		m, err := 0, error(nil)
		for m == 0 && err == nil {
			m, err = r.Read(first) // and no more: the next may be long in coming
		}
		k, werr := st.Write(first[:m])
		n = int64(k)
		if werr != nil || err != nil {
			if werr == nil && err != io.EOF {
				werr = err
			}
			return n, werr
		}
		if !rw.bodyAllowed(st) {
			m, err := io.Copy(io.Discard, r)
			return n + m, err
		}
	}
	if rw.length >= 0 && rw.written == rw.length {
		return n, endOf(r)
	}
	if st.holds() && waits(r) {
		st.sendHeld()
	}
	err = st.writeFrom(func(space []byte) (int, bool, error) {
		if rw.length >= 0 {
			space = space[:min(int64(len(space)), rw.length-rw.written)]
		}
		m, err := r.Read(space)
		rw.written += int64(m)
		n += int64(m)
		if err == io.EOF {
			return m, false, nil
		}
		if err == nil && rw.written == rw.length {
			return m, false, endOf(r)
		}
		return m, err == nil, err
	}, true)
	return n, err
}

// waits reports whether r may have to wait for its next bytes, as no file does.
func waits(r io.Reader) bool {
	if l, ok := r.(*io.LimitedReader); ok {
		r = l.R
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
func (st *Stream) Flush() { st.FlushError() }

// FlushError is Flush for http.ResponseController.
func (st *Stream) FlushError() error {
	rw := st.rw
	if rw == nil {
		return errNotHandler
	}
	if rw.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	if rw.reply != nil {
		st.holdReply()
	}
	return st.sendHeld()
}

// SetReadDeadline bounds reads of the request's body; the zero time: no bound.
func (st *Stream) SetReadDeadline(t time.Time) error {
	st.recv.buf.setDeadline(t)
	return nil
}

// SetWriteDeadline bounds writes of the response's body; the zero time: no bound.
// It may be called while a Write waits, which it ends; that is an error that wraps
// os.ErrDeadlineExceeded. A response is broken off if one of its Writes failed so,
// if its handler returns after the deadline, and if the peer has not taken it whole
// by then.
func (st *Stream) SetWriteDeadline(t time.Time) error {
	st.setWriteDeadline(t)
	return nil
}

// EnableFullDuplex has nothing to do: a stream is duplex.
func (st *Stream) EnableFullDuplex() error { return nil }

var _ interface {
	http.ResponseWriter
	http.Flusher
	io.ReaderFrom
} = (*Stream)(nil)
