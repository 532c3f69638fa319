package http1

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"sync/atomic"
)

const (
	// maxChunkLine is the longest line that begins a chunk, and maxExtensions how
	// many bytes of extensions a body may have in all: nobody uses them, and they
	// are read for nothing (RFC 9112, 7.1.1).
	maxChunkLine  = 1 << 10
	maxExtensions = 16 << 10

	// maxTrailerBytes and maxTrailerLines are what a trailer section may have.
	maxTrailerBytes = 64 << 10
	maxTrailerLines = 1000
)

var (
	errChunk    = errors.New("http1: the request's chunks are not valid")
	errTrailers = errors.New("http1: the request's trailers are not valid")
)

// body is a request's (RFC 9112, 6 and 7).
type body struct {
	x *exchange // its request

	whole atomic.Bool // all was read, trailers included; set with mu held

	// Guarded by conn.in.mu.
	chunked    bool
	left       int64 // bytes of the body, or of the chunk that is read
	begun      bool  // a chunk was
	extensions int
	err        error
	closed     bool // the handler has returned
}

// renewLocked makes it one that nobody has read of. Not before its request's phase is
// over: until then conn.beginWatch would take it for one that was read, and goes on.
func (b *body) renewLocked() {
	b.whole.Store(false)
	b.chunked, b.begun, b.closed = false, false, false
	b.left, b.extensions, b.err = 0, 0, nil
}

// Read implements io.Reader. The first one has the client asked for the body, if
// it waits for that.
func (b *body) Read(p []byte) (int, error) {
	in := &b.x.c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.whole.Load():
		return 0, io.EOF
	case b.err != nil:
		return 0, b.err
	}
	if b.x.waits.Load() {
		if in.r == in.w {
			b.x.writeContinue()
		}
		b.x.waits.Store(false)
	}
	n, err := b.readLocked(in, p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// Close implements io.Closer. What is left is the server's to see to.
func (b *body) Close() error { return nil }

// readLocked reads what has come, or waits for more. Small chunks are read together.
func (b *body) readLocked(in *input, p []byte) (n int, err error) {
	n, err = b.readPartLocked(in, p)
	for err == nil && n > 0 && n < len(p) && b.chunkAtHandLocked(in) {
		var m int
		m, err = b.readPartLocked(in, p[n:])
		n += m
	}
	return n, err
}

// chunkAtHandLocked reports whether a chunk was read to its end, and the begin of
// another, with some of its data, has come.
func (b *body) chunkAtHandLocked(in *input) bool {
	if !b.chunked || b.left > 0 || in.w-in.r < 2 {
		return false
	}
	line := in.buf[in.r+2 : in.w]
	if i := bytes.IndexByte(line, '\n'); i < 0 || i == len(line)-1 {
		return false
	}
	return unhex(bytes.TrimLeft(line, "0")[0]) >= 0 // the last has size 0, and trailers that may not be there
}

// readPartLocked reads of one chunk, or of a body that has none.
func (b *body) readPartLocked(in *input, p []byte) (n int, err error) {
	if b.chunked && b.left == 0 {
		if err := b.nextChunkLocked(in); err != nil {
			return 0, err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !b.whole.Load() {
		if int64(len(p)) > b.left {
			p = p[:b.left]
		}
		n, err = in.readLocked(p)
		b.left -= int64(n)
		switch {
		case err == io.EOF:
			return n, io.ErrUnexpectedEOF
		case err != nil:
			return n, err
		case b.left > 0:
			return n, nil
		case !b.chunked:
			b.whole.Store(true)
		case in.r < in.w:
			// The end may have come with the data, and then costs no Read more.
			if err := b.peekEndLocked(in); err != nil {
				return n, err
			}
		}
	}
	if b.whole.Load() {
		return n, io.EOF
	}
	return n, nil
}

// peekEndLocked looks whether the chunk was the last, if what follows it is there.
func (b *body) peekEndLocked(in *input) error {
	if bytes.HasPrefix(in.buf[in.r:in.w], []byte("\r\n0\r\n\r\n")) {
		return b.nextChunkLocked(in)
	}
	return nil
}

// nextChunkLocked reads up to the next chunk's data, or to the end (RFC 9112, 7.1):
//
//	chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
func (b *body) nextChunkLocked(in *input) error {
	if b.begun {
		line, err := in.lineLocked(2)
		if err != nil || len(line) > 0 {
			return orChunk(err)
		}
	}
	b.begun = true
	line, err := in.lineLocked(maxChunkLine)
	if err != nil {
		return orChunk(err)
	}
	size, digits := int64(0), 0
	for digits < len(line) && unhex(line[digits]) >= 0 {
		if size > math.MaxInt64>>4 {
			return errChunk
		}
		size = size<<4 | int64(unhex(line[digits]))
		digits++
	}
	if b.extensions += len(line) - digits; digits == 0 || b.extensions > maxExtensions || !isExtensions(line[digits:]) {
		return errChunk
	}
	if b.left = size; size > 0 {
		return nil
	}
	return b.trailersLocked(in)
}

// orChunk is for an error of lineLocked; nil stands for a line that should not be.
func orChunk(err error) error {
	if err == nil {
		return errChunk
	}
	return err
}

func unhex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// isExtensions: chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ).
func isExtensions(s []byte) bool {
	for len(s) > 0 {
		if s = bytes.TrimLeft(s, " \t"); len(s) == 0 || s[0] != ';' {
			return false
		}
		name := bytes.TrimLeft(s[1:], " \t")
		if s = afterToken(name); len(s) == len(name) {
			return false
		}
		value, ok := bytes.CutPrefix(bytes.TrimLeft(s, " \t"), []byte("="))
		if !ok {
			continue
		}
		value = bytes.TrimLeft(value, " \t")
		if s = afterToken(value); len(s) < len(value) {
			continue
		}
		if s, ok = afterQuoted(value); !ok {
			return false
		}
	}
	return true
}

func afterToken(s []byte) []byte {
	i := 0
	for i < len(s) && isTokenByte[s[i]] {
		i++
	}
	return s[i:]
}

// afterQuoted: RFC 9110, 5.6.4.
func afterQuoted(s []byte) (rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return s[i+1:], true
		case s[i] == '\\':
			if i++; i == len(s) || !isValue[s[i]] {
				return nil, false
			}
		case !isValue[s[i]]:
			return nil, false
		}
	}
	return nil, false
}

// trailersLocked reads the trailer section into the request's Trailer, without
// what must not be in one because it says what becomes of a message (RFC 9110,
// 6.5.1). What would say where it ends, or the connection, is refused.
func (b *body) trailersLocked(in *input) error {
	p := &b.x.c.parser
	p.reset(true)
	for {
		done, why := p.parse(in.buf[in.r:in.w], limits{maxTrailerBytes, maxTrailerLines})
		if why != nil {
			return errTrailers
		}
		if done {
			break
		}
		if err := in.fillLocked(); err != nil {
			return unexpected(err)
		}
	}
	if len(p.fields) > 0 {
		text := string(in.buf[in.r : in.r+p.pos])
		if b.x.req.Trailer == nil {
			b.x.req.Trailer = make(http.Header, len(p.fields))
		}
		for _, f := range p.fields {
			switch name := f.name.of(text); {
			case name == "Host", name == "Trailer":
			case frames(name):
				return errTrailers
			default:
				b.x.req.Trailer[name] = append(b.x.req.Trailer[name], f.value.of(text))
			}
		}
	}
	in.r += p.pos
	b.whole.Store(true)
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// atHand reports whether the next request can be read, when what has come of the
// body is dropped.
func (b *body) atHand() bool {
	if b.whole.Load() {
		return true
	}
	in := &b.x.c.in
	if !in.mu.TryLock() {
		return false // somebody waits for more
	}
	defer in.mu.Unlock()
	return b.err == nil && !b.chunked && int64(in.w-in.r) >= b.left
}

// skipLocked drops what is left of the body if it has come, and reports whether
// the next request can be read.
func (b *body) skipLocked(in *input) bool {
	if b.whole.Load() {
		return true
	}
	if b.err != nil || b.chunked || int64(in.w-in.r) < b.left {
		return false
	}
	in.r += int(b.left)
	b.left = 0
	b.whole.Store(true)
	return true
}
