package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// maxHeld is how much of a body without a length is kept until its end, to say
// how long it is.
const maxHeld = 2 << 10

// response is how far the response to a request is.
type response struct {
	mu sync.Mutex // held across a Write to the client
	// Guarded by mu, but for header, own and taken, which are the handler's.
	header   http.Header
	own      http.Header // in the place of header before TakeHeader
	status   int         // 0 before WriteHeader
	length   int64       // announced, -1 if not
	written  int64       // of the body
	taken    bool        // header is one that TakeHeader got
	keep     bool        // the connection goes on
	closes   bool        // the handler says that it does not
	open     bool        // how the body ends is not settled yet, and the head lacks that
	chunked  bool
	bodyless bool
	hijacked bool
	over     bool     // the handler has returned: what the connection sends is not x's any more
	trailers []string // that the header announces
	held     []byte   // the body, while open; a buffer of conn's
}

// renew makes it one that has not begun.
func (r *response) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.length, r.written = 0, -1, 0
	r.keep, r.closes, r.open, r.chunked, r.bodyless, r.over = false, false, false, false, false, false
}

var errLate = errors.New("http1: the handler has returned")

// Header implements http.ResponseWriter.
func (x *exchange) Header() http.Header {
	if x.header == nil {
		x.header = make(http.Header)
	}
	return x.header
}

// TakeHeader makes h the response's header in the place of what Header has returned so
// far, and adds what is in that and not in h. h is the server's from then on. Who has a
// header to pass on need not copy it.
func (x *exchange) TakeHeader(h http.Header) {
	for name, values := range x.header {
		if _, there := h[name]; !there {
			h[name] = values
		}
	}
	if !x.taken {
		x.own, x.taken = x.header, true
	}
	x.header = h
}

// WriteHeader implements http.ResponseWriter. A status of 1xx but 101 is sent at
// once, and may be sent by another goroutine while the handler does nothing.
func (x *exchange) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("http1: status %d", status)) // as net/http's does
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if status < 200 && status != http.StatusSwitchingProtocols {
		x.interimLocked(status)
	} else {
		x.writeHeadLocked(status)
	}
}

// goneLocked returns an error if the connection is not the handler's to write to.
func (x *exchange) goneLocked() error {
	switch {
	case x.hijacked:
		return http.ErrHijacked
	case x.over:
		return errLate
	}
	return nil
}

// interimLocked sends an interim response, which an HTTP/1.0 client must not get
// (RFC 9110, 15.2).
func (x *exchange) interimLocked(status int) {
	if x.goneLocked() != nil || x.status != 0 || x.req.ProtoMinor == 0 {
		return
	}
	if status == http.StatusContinue {
		x.waits.Store(false)
	}
	out := &x.c.out
	out.buf = appendStatus(out.room(), status)
	if status != http.StatusContinue {
		out.buf = x.appendFields(out.buf)
	}
	out.buf = append(out.buf, "\r\n"...)
	out.flush()
}

// writeContinue asks the client for the body it holds back.
func (x *exchange) writeContinue() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.waits.Load() {
		x.interimLocked(http.StatusContinue)
	}
}

func appendStatus(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	return append(b, "\r\n"...)
}

// writeHeadLocked writes the head, but for the last lines if how the body ends is
// not known yet.
func (x *exchange) writeHeadLocked(status int) {
	if x.goneLocked() != nil || x.status != 0 {
		return
	}
	x.status = status
	x.bodyless = status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
	if v := x.header["Content-Length"]; len(v) > 0 && status >= 200 && status != http.StatusNoContent {
		if n, err := strconv.ParseUint(v[0], 10, 63); err == nil {
			x.length = int64(n)
		}
	}
	for _, list := range x.header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			x.trailers = append(x.trailers, http.CanonicalHeaderKey(strings.Trim(name, " \t")))
		}
	}
	// What is left of a body could be taken for a request; and who was not told
	// to send it may do so or not.
	waited := x.waits.Swap(false)
	x.keep = x.keep && !waited && status != http.StatusSwitchingProtocols && !x.c.s.closing.Load() && x.body.atHand()
	if x.closes = httpfield.HasToken(x.header["Connection"], "close"); x.closes {
		x.keep = false
	}
	out := &x.c.out
	b := appendStatus(out.room(), status)
	b = x.appendFields(b)
	if _, own := x.header["Date"]; !own {
		b = append(b, "Date: "...)
		b = append(b, *x.c.s.date.Load()...)
		b = append(b, "\r\n"...)
	}
	out.buf = b
	if x.length >= 0 || x.bodyless || x.head {
		x.endHeadLocked()
	} else {
		x.open = true
	}
}

// endHeadLocked writes how the body ends and what becomes of the connection.
func (x *exchange) endHeadLocked() {
	x.open = false
	b := x.c.out.room()
	switch {
	case x.length >= 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, x.length, 10)
		b = append(b, "\r\n"...)
	case x.bodyless || x.head:
	case x.req.ProtoMinor > 0:
		x.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	default:
		x.keep = false // its end is the body's (RFC 9112, 6.3)
	}
	options := x.header["Connection"]
	switch {
	case x.keep && x.req.ProtoMinor == 0:
		options = append(options[:len(options):len(options)], "keep-alive")
	case !x.keep && !x.closes && x.status != http.StatusSwitchingProtocols:
		options = append(options[:len(options):len(options)], "close")
	}
	if len(options) > 0 {
		b = appendField(b, "Connection", strings.Join(options, ", "))
	}
	x.c.out.buf = append(b, "\r\n"...)
}

// fieldLines is the lines of one name.
type fieldLines struct {
	name   string
	values []string
}

// appendFields writes the handler's fields, in the order of their names, without
// those that are the server's to say.
func (x *exchange) appendFields(b []byte) []byte {
	lines := x.c.lines[:0]
	for name, values := range x.header {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Connection":
			continue
		}
		if strings.HasPrefix(name, http.TrailerPrefix) || !isToken(name) || slices.Contains(x.trailers, name) {
			continue
		}
		i := len(lines)
		lines = append(lines, fieldLines{name, values})
		for ; i > 0 && len(lines) <= 32 && lines[i-1].name > name; i-- {
			lines[i] = lines[i-1]
		}
		lines[i] = fieldLines{name, values}
	}
	if len(lines) > 32 {
		slices.SortFunc(lines, func(a, b fieldLines) int { return strings.Compare(a.name, b.name) })
	}
	for _, l := range lines {
		for _, value := range l.values {
			b = appendField(b, l.name, value)
		}
	}
	clear(lines)
	x.c.lines = lines[:0]
	return b
}

// appendField writes a line, whatever value holds.
func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	from := len(b)
	b = append(b, value...)
	for i, c := range b[from:] {
		if !isValue[c] {
			b[from+i] = ' '
		}
	}
	return append(b, "\r\n"...)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.goneLocked(); err != nil {
		return 0, err
	}
	if x.status == 0 {
		x.writeHeadLocked(http.StatusOK)
	}
	if x.bodyless {
		return 0, http.ErrBodyNotAllowed
	}
	if x.written += int64(len(p)); x.length >= 0 && x.written > x.length {
		x.written -= int64(len(p))
		return 0, http.ErrContentLength
	}
	out := &x.c.out
	switch {
	case out.err != nil:
		return 0, out.err
	case x.head || len(p) == 0:
		return len(p), nil
	case x.open && len(x.held)+len(p) <= maxHeld:
		if x.held == nil {
			x.held = out.buffers.get()[:0]
		}
		x.held = append(x.held, p...)
		return len(p), nil
	case x.open:
		x.settleLocked()
	}
	return x.writeBodyLocked(p)
}

// settleLocked ends the head of a response whose body goes on.
func (x *exchange) settleLocked() {
	x.endHeadLocked()
	x.writeHeldLocked()
}

func (x *exchange) writeHeldLocked() {
	if x.held != nil {
		x.writeBodyLocked(x.held)
		x.c.out.buffers.put(x.held[:cap(x.held)])
		x.held = nil
	}
}

func (x *exchange) writeBodyLocked(p []byte) (int, error) {
	out := &x.c.out
	if x.chunked {
		b := out.room()
		b = strconv.AppendInt(b, int64(len(p)), 16)
		out.buf = append(b, "\r\n"...)
	}
	out.write(p)
	if x.chunked {
		out.buf = append(out.room(), "\r\n"...)
	}
	if out.err != nil {
		return 0, out.err
	}
	return len(p), nil
}

// FlushError is what http.ResponseController calls.
func (x *exchange) FlushError() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.goneLocked(); err != nil {
		return err
	}
	if x.status == 0 {
		x.writeHeadLocked(http.StatusOK)
	}
	if x.open {
		x.settleLocked()
	}
	x.c.out.flush()
	return x.c.out.err
}

// Flush implements http.Flusher.
func (x *exchange) Flush() { x.FlushError() }

// finishLocked ends the response of a handler that has returned. It reports
// whether the connection can go on.
func (x *exchange) finishLocked() bool {
	if x.status == 0 {
		x.writeHeadLocked(http.StatusOK)
	}
	if x.open && len(x.trailers) == 0 && !x.hasTrailers() {
		x.length = x.written
		x.endHeadLocked()
		x.writeHeldLocked()
	} else if x.open {
		x.settleLocked()
	}
	out := &x.c.out
	if x.chunked {
		b := append(out.room(), "0\r\n"...)
		b = x.appendTrailers(b)
		out.buf = append(b, "\r\n"...)
	}
	out.flush()
	x.over = true
	// A body that is too short must look so.
	short := x.length >= 0 && x.written < x.length && !x.head && !x.bodyless
	return x.keep && !short && out.err == nil
}

func (x *exchange) hasTrailers() bool {
	for name := range x.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

func (x *exchange) appendTrailers(b []byte) []byte {
	for _, name := range x.trailers {
		if isToken(name) && !frames(name) {
			for _, value := range x.header[name] {
				b = appendField(b, name, value)
			}
		}
	}
	for name, values := range x.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && isToken(name) && !frames(http.CanonicalHeaderKey(name)) {
			for _, value := range values {
				b = appendField(b, name, value)
			}
		}
	}
	return b
}

// Hijack implements http.Hijacker. What the client sent behind its request is in
// the reader.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	x.mu.Lock()
	if err := x.goneLocked(); err != nil {
		x.mu.Unlock()
		return nil, nil, err
	}
	if x.open {
		x.settleLocked()
	}
	x.c.out.flush()
	x.hijacked = true
	x.mu.Unlock()

	c := x.c
	c.takeInput(x)
	defer c.in.mu.Unlock()
	c.rwc.SetDeadline(time.Time{})
	early := bytes.Clone(c.in.buf[c.in.r:c.in.w])
	c.in.r = c.in.w
	c.in.freeLocked()
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), c.rwc), max(bufferSize, len(early)))
	r.Peek(len(early))
	c.release(http.StateHijacked)
	return c.rwc, bufio.NewReadWriter(r, bufio.NewWriter(c.rwc)), nil
}

// SetReadDeadline is what http.ResponseController calls.
func (x *exchange) SetReadDeadline(t time.Time) error {
	return x.setDeadline(x.c.rwc.SetReadDeadline, t)
}

// SetWriteDeadline is what http.ResponseController calls.
func (x *exchange) SetWriteDeadline(t time.Time) error {
	return x.setDeadline(x.c.rwc.SetWriteDeadline, t)
}

func (x *exchange) setDeadline(set func(time.Time) error, t time.Time) error {
	x.control.Lock()
	defer x.control.Unlock()
	if x.done {
		return errLate // it would be the next request's
	}
	x.deadline = true
	return set(t)
}

func (x *exchange) hasDeadline() bool {
	x.control.Lock()
	defer x.control.Unlock()
	return x.deadline
}

// EnableFullDuplex is what http.ResponseController calls. A handler may always
// read while it writes.
func (x *exchange) EnableFullDuplex() error { return nil }
