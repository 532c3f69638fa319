package spdy

import (
	"io"
	"net/http"
)

// response makes the response of the fields that the reader decoded last.
func (s *Session) response(st *Stream, fin bool) (*http.Response, error) {
	status, ok := lookup(s.reader.fields, nameStatus)
	if !ok {
		return nil, malformed("no :status")
	}
	code, text, ok := parseStatus(status)
	if !ok {
		return nil, malformed(":status %q", status)
	}
	version, ok := lookup(s.reader.fields, nameVersion)
	if !ok {
		return nil, malformed("no :version")
	}
	switching := code == http.StatusSwitchingProtocols && st.duplex
	if code < 200 && !switching {
		return nil, malformed(":status %d has no meaning in SYN_REPLY", code)
	}
	length, err := parseContentLength(s.reader.fields)
	if err != nil {
		return nil, err // whoever guesses at it may cut the answer elsewhere than another
	}
	resp := &st.answer.resp
	*resp = http.Response{
		Status: text, StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: s.reader.names.header(s.reader.fields, false), Request: st.req, TLS: s.tls, ContentLength: -1,
	}
	if major, minor, ok := http.ParseHTTPVersion(version); ok {
		resp.Proto, resp.ProtoMajor, resp.ProtoMinor = version, major, minor
	}
	if length >= 0 {
		resp.ContentLength = length
		if v := resp.Header["Content-Length"]; len(v) > 1 {
			resp.Header["Content-Length"] = v[:1]
		}
	}
	announceTrailer(resp.Header, &resp.Trailer, s.cfg.MaxHeaderPairs)
	head := st.req != nil && st.req.Method == http.MethodHead
	body := &st.answer.body
	body.st, body.resp = st, resp
	resp.Body = body
	switch {
	case switching:
		resp.Header["Connection"] = []string{"Upgrade"}
		resp.ContentLength = 0
		resp.Body = &duplexBody{body}
	case head || !bodyAllowed(code):
		s.mu.Lock()
		st.recv.discard = true
		s.unlock()
		if !head {
			resp.ContentLength = 0
		}
		body.early = !fin
		st.recv.buf.end(io.EOF)
	case fin && length < 0:
		resp.ContentLength = 0
	default:
		st.body.want = length
	}
	return resp, nil
}

// responseBody is the body of a response. It has one reader.
type responseBody struct {
	st    *Stream
	resp  *http.Response
	read  bool // to its end
	early bool // there is none: its end did not wait for the stream's
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.st.readBody(p)
	if err == io.EOF {
		b.atEnd()
	}
	if err != nil {
		b.st.bodyEnded()
	}
	return n, err
}

// Ready reports whether the next Read returns at once, with bytes or an error.
// Who passes a body on can hold back what it has, and send it with more.
func (b *responseBody) Ready() bool { return b.st.recv.buf.ready() }

// Await returns when Ready does so, or the stream's end has come: who has many bodies to
// pass on need not have a buffer for each that waits.
func (b *responseBody) Await() { b.st.recv.buf.await() }

// atEnd hands the trailers over; the response is its reader's by now.
func (b *responseBody) atEnd() {
	if b.read {
		return
	}
	b.read = true
	mergeTrailer(&b.resp.Trailer, b.st.recv.buf.takeTrailer())
}

// Close gives the stream up if its end was not reached. Where there is no body, and the
// peer was not heard to end the stream, it has lingerTime for that.
func (b *responseBody) Close() error {
	st := b.st
	if b.early {
		st.s.mu.Lock()
		st.s.lingerLocked(st, lingerTime)
		st.s.unlock()
	}
	if !st.recv.buf.finished() {
		st.s.mu.Lock()
		whole := st.recv.fin
		st.s.unlock()
		if !whole {
			st.s.reset(st, Cancel, errBodyClosed)
		}
		st.recv.buf.abort(errBodyClosed)
	}
	st.bodyEnded()
	return nil
}

// duplexBody is both directions of a stream after a 101.
type duplexBody struct{ *responseBody }

// Write sends p. It waits for window, and for nothing of the peer's beyond it.
func (b *duplexBody) Write(p []byte) (int, error) { return b.st.writeAll(p, false) }

// CloseWrite ends this side's direction; the other goes on.
func (b *duplexBody) CloseWrite() error {
	b.st.s.mu.Lock()
	defer b.st.s.unlock()
	b.st.finishLocked(nil)
	return nil
}

// Close ends both directions.
func (b *duplexBody) Close() error {
	b.CloseWrite()
	return b.responseBody.Close()
}
