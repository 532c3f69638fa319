package spdy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
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
// with "/". Its body is not read before the stream is open, nor further than the
// stream's window lets it be sent, and is always closed. Names that speak of one
// HTTP/1.1 connection are left out, but for an upgrade: with "Connection: Upgrade"
// the stream stays open both ways, and the Body of a 101 response is an
// io.ReadWriteCloser with a CloseWrite method. Any Body has a method Ready() bool,
// whether the next Read returns at once, and Await(), which waits until it does.
// WithPriority sets the priority.
//
// The error is a *StreamError, one with StreamID 0 and CANCEL for what is no request
// that could be sent, or a *SessionError, and Retryable says whether the request may
// be repeated; a server session alone has another. The error wraps the context's when
// that ended the request. When the context ends later, reading the body fails. A body
// that was cut short, or is not as long as its Content-Length says, never ends in io.EOF. An
// answer that is none is not returned: that is an ErrMalformed, or an
// ErrHeaderTooLarge.
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
		return nil, &StreamError{Status: Cancel, Cause: err}
	}
	st.req = req
	if err := s.checkBlock(block); err != nil {
		freePairs(block)
		closeBody()
		return nil, &StreamError{Status: FrameTooLarge, Cause: err}
	}
	st.duplex, st.send.paced = upgrade, hasBody
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

// sendBody copies a request's body to its stream.
func (st *Stream) sendBody(req *http.Request) {
	defer req.Body.Close()
	sent := int64(0)
	var failed error
	err := st.writeFrom(func(space []byte) (int, bool, error) {
		n, err := req.Body.Read(space)
		sent += int64(n)
		if n > 0 && sent == req.ContentLength {
			st.unpace() // what is left is the end, which needs no window
		}
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
