package spdy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

var (
	errNotClient  = errors.New("spdy: RoundTrip on a server session")
	errBodyClosed = errors.New("spdy: read of a closed body")
)

// RoundTrip sends one request on a stream of its own and returns the response
// when its headers have come; its body then streams. It is safe for any number
// of callers at once, and waits its turn while the peer's
// MAX_CONCURRENT_STREAMS is reached. With the last stream id that there is,
// 2^31-1, the session begins to go away by itself: see GoingAway.
//
// The request's path is URL.RequestURI, or URL.Opaque as it is if that starts
// with "/". Its body is not read before the stream is open, and is always
// closed. Names that speak of one HTTP/1.1 connection are left out, but for an
// upgrade: with "Connection: Upgrade" the stream stays open both ways, and the
// Body of a 101 response is an io.ReadWriteCloser with a CloseWrite method. Any
// Body has a method Ready() bool, whether the next Read returns at once.
// WithPriority sets the priority.
//
// The error is a *StreamError or a *SessionError, and Retryable judges it; it
// wraps the context's error when that ended the request. When the context ends
// later, reading the body fails. A body that was cut short, or is not as long
// as its Content-Length says, never ends in io.EOF. An answer that is none is not
// returned: that is an ErrMalformed, or an ErrHeaderTooLarge.
func (s *Session) RoundTrip(req *http.Request) (*http.Response, error) {
	return s.roundTrip(s.newStream(), req)
}

// roundTrip is RoundTrip on a stream that is not open yet.
func (s *Session) roundTrip(st *Stream, req *http.Request) (*http.Response, error) {
	hasBody := req.Body != nil && req.Body != http.NoBody
	closeBody := func() {
		if req.Body != nil {
			req.Body.Close()
		}
	}
	if s.server != nil {
		closeBody()
		return nil, errNotClient
	}
	block := newPairs()
	upgrade, err := block.addRequest(req, hasBody)
	if err != nil {
		freePairs(block)
		closeBody()
		return nil, fmt.Errorf("spdy: %w", err)
	}
	st.req = req
	if err := s.checkBlock(block); err != nil {
		freePairs(block)
		closeBody()
		return nil, &StreamError{Status: FrameTooLarge, Cause: err}
	}
	st.duplex = upgrade
	if s.cfg.FairKey != nil {
		st.fairKey = s.cfg.FairKey(req)
	}
	ctx := req.Context()
	if p, ok := PriorityFrom(ctx); ok {
		st.pri = p
	}
	if err := s.openStream(ctx, st, block, !hasBody && !upgrade); err != nil {
		closeBody()
		return nil, err
	}
	if hasBody {
		// Ends when the body does, or its Read after the stream has ended.
		go st.sendBody(req)
	} else {
		closeBody()
	}
	s.mu.Lock()
	defer s.unlock()
	for st.resp == nil && st.err == nil {
		st.cond.Wait()
	}
	if st.resp == nil {
		return nil, st.err
	}
	return st.resp, nil
}

// openStream gives st an id and queues its SYN_STREAM, under one lock: ids on
// the wire must grow (draft 3.1, 2.3.2).
func (s *Session) openStream(ctx context.Context, st *Stream, block *pairs, fin bool) error {
	if err := context.Cause(ctx); err != nil {
		freePairs(block)
		return &StreamError{Status: Cancel, Cause: err}
	}
	s.mu.Lock()
	defer s.unlock()
	if err := s.placeLocked(ctx); err != nil {
		freePairs(block)
		return err
	}
	s.enterLocked(st, s.nextID)
	s.nextID += 2
	s.resets.known++
	st.opened = true
	if s.minRTT == 0 && s.replyRTT == 0 {
		st.grow.last = time.Now()
	}
	it := item{typ: typeSynStream, st: st, id: st.id, block: block}
	if fin {
		it.flags = flagFin
		st.finQueued = true
		st.localClosed = true
	}
	s.queueLocked(it)
	if s.nextID > maxStreamID {
		// There is no other id (draft 3.1, 2.3.2). The peer hears of it now, while
		// no request waits for one.
		s.goAwayLocked()
	}
	if ctx.Done() != nil {
		st.stopCtx = context.AfterFunc(ctx, func() { s.reset(st, Cancel, context.Cause(ctx)) })
	}
	return nil
}

// enterLocked puts st among the open streams.
func (s *Session) enterLocked(st *Stream, id uint32) {
	st.id = id
	st.sendWin = sendWindow(s.initialSend)
	s.streams[id] = st
	s.stats.StreamsOpened++
}

// placeLocked waits for a place under the peer's MAX_CONCURRENT_STREAMS, and
// takes it: the caller opens its stream before it unlocks.
func (s *Session) placeLocked(ctx context.Context) error {
	if err := s.unavailableLocked(); err != nil {
		return err
	}
	if len(s.waiters) == 0 && (s.peerMax < 0 || int64(len(s.streams)+s.reserved) < s.peerMax) {
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	s.waiters = append(s.waiters, w)
	s.unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
	}
	s.mu.Lock()
	if w.granted {
		s.reserved--
		if err := s.unavailableLocked(); err != nil {
			s.wakeLocked()
			return err
		}
		if err := context.Cause(ctx); err != nil {
			s.admitLocked()
			return &StreamError{Status: Cancel, Cause: err}
		}
		return nil
	}
	for i, x := range s.waiters {
		if x == w {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			break
		}
	}
	if err := s.unavailableLocked(); err != nil {
		return err
	}
	return &StreamError{Status: Cancel, Cause: context.Cause(ctx)}
}

// sendBody copies a request's body to its stream.
func (st *Stream) sendBody(req *http.Request) {
	defer req.Body.Close()
	sent := int64(0)
	var failed error
	err := st.writeFrom(func(space []byte) (int, bool, error) {
		n, err := req.Body.Read(space)
		sent += int64(n)
		switch {
		case req.ContentLength > 0 && sent > req.ContentLength:
			failed = fmt.Errorf("%w: %d bytes announced, more read", ErrBodyLength, req.ContentLength)
			return 0, false, failed
		case err == io.EOF:
			if req.ContentLength > 0 && sent < req.ContentLength {
				failed = fmt.Errorf("%w: %d bytes announced, %d read", ErrBodyLength, req.ContentLength, sent)
			}
			return n, false, failed
		case err != nil:
			failed = err
		}
		return n, err == nil, err
	}, false)
	if failed != nil {
		st.s.reset(st, Cancel, failed)
		return
	}
	if err != nil {
		return // the stream has ended
	}
	var trailers *pairs
	if len(req.Trailer) > 0 {
		trailers = newPairs()
		trailers.addHeader(req.Trailer, true, forbiddenTrailer)
		if err := st.s.checkBlock(trailers); err != nil {
			freePairs(trailers)
			st.s.reset(st, Cancel, err)
			return
		}
	}
	st.s.mu.Lock()
	defer st.s.unlock()
	st.finishLocked(trailers)
}

// forbiddenTrailer: names that RFC 9110, 6.5.1 keeps out of trailers.
func forbiddenTrailer(key string) bool {
	switch key {
	case "Connection", "Content-Length", "Content-Encoding", "Content-Range", "Content-Type", "Host", "Keep-Alive",
		"Proxy-Connection", "Trailer", "Transfer-Encoding", "Authorization", "Cookie", "Set-Cookie":
		return true
	}
	return key == "" || key[0] == ':'
}

// response makes the response of the fields that the reader decoded last.
func (s *Session) response(st *Stream, fin bool) (*http.Response, error) {
	status, ok := lookup(s.fields, nameStatus)
	if !ok {
		return nil, malformed("no :status")
	}
	code, text, ok := parseStatus(status)
	if !ok {
		return nil, malformed(":status %q", status)
	}
	version, ok := lookup(s.fields, nameVersion)
	if !ok {
		return nil, malformed("no :version")
	}
	switching := code == http.StatusSwitchingProtocols && st.duplex
	if code < 200 && !switching {
		return nil, malformed(":status %d has no meaning in SYN_REPLY", code)
	}
	length, err := parseContentLength(s.fields)
	if err != nil {
		return nil, err // whoever guesses at it may cut the answer elsewhere than another
	}
	resp := &http.Response{
		Status: text, StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: s.names.header(s.fields, false), Request: st.req, TLS: s.tls, ContentLength: -1,
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
	body := &responseBody{st: st, resp: resp}
	resp.Body = body
	switch {
	case switching:
		resp.Header["Connection"] = []string{"Upgrade"}
		resp.ContentLength = 0
		resp.Body = &duplexBody{body}
	case head || !bodyAllowed(code):
		s.mu.Lock()
		st.discard = true
		s.unlock()
		if !head {
			resp.ContentLength = 0
		}
		st.buf.end(io.EOF)
	case fin && length < 0:
		resp.ContentLength = 0
	default:
		st.want = length
	}
	return resp, nil
}

// announceTrailer moves the names that a Trailer header announces to trailer,
// the first limit of them.
func announceTrailer(h http.Header, trailer *http.Header, limit int) {
	values, ok := h["Trailer"]
	if !ok {
		return
	}
	delete(h, "Trailer")
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			if !isToken(key) || forbiddenTrailer(key) || len(*trailer) >= limit {
				continue
			}
			if *trailer == nil {
				*trailer = make(http.Header)
			}
			(*trailer)[key] = nil
		}
	}
}

// responseBody is the body of a response. It has one reader.
type responseBody struct {
	st   *Stream
	resp *http.Response
	read bool // to its end
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
func (b *responseBody) Ready() bool { return b.st.buf.ready() }

// WriteTo writes what is left of the body to w, without a copy in between.
func (b *responseBody) WriteTo(w io.Writer) (int64, error) {
	n, err := b.st.writeBodyTo(w)
	if err == nil {
		b.atEnd()
		b.st.bodyEnded()
	}
	return n, err
}

// atEnd hands the trailers over; the response is its reader's by now.
func (b *responseBody) atEnd() {
	if b.read {
		return
	}
	b.read = true
	mergeTrailer(&b.resp.Trailer, b.st.buf.takeTrailer())
}

func mergeTrailer(trailer *http.Header, came http.Header) {
	for key, values := range came {
		if forbiddenTrailer(key) {
			continue
		}
		if *trailer == nil {
			*trailer = make(http.Header)
		}
		(*trailer)[key] = values
	}
}

// Close gives the stream up if its end was not reached.
func (b *responseBody) Close() error {
	st := b.st
	if !st.buf.finished() {
		st.s.mu.Lock()
		whole := st.remoteClosed
		st.s.unlock()
		if !whole {
			st.s.reset(st, Cancel, errBodyClosed)
		}
	}
	st.buf.abort(errBodyClosed)
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
