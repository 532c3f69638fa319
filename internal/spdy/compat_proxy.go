package spdy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// newStreamWait is how long NewClientStream waits for a place under the peer's
// MAX_CONCURRENT_STREAMS.
const newStreamWait = 1500 * time.Millisecond

var (
	errNoStream  = errors.New("no stream can be opened")
	errRequested = errors.New("spdy: Request was called on this stream before")
)

// NewClientStream returns a stream for one Request, or nil if none can be opened:
// after a GOAWAY of either side, on a session that has ended, on a server
// session, or when the peer's MAX_CONCURRENT_STREAMS leaves no room within
// 1.5 s. It takes no place: Request does, and waits if others were faster. The
// stream has no id before that, because ids have to grow on the wire.
//
// Deprecated: use Session.RoundTrip.
func (s *Session) NewClientStream() *Stream {
	if s.server != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), newStreamWait)
	defer cancel()
	s.mu.Lock()
	defer s.unlock()
	if s.placeLocked(ctx) != nil {
		return nil
	}
	// Nothing was reserved for good; whoever waits may have the place.
	s.admitLocked()
	return s.newStream()
}

// NewStreamProxy sends r on a new stream and copies the answer to w as it comes,
// trailers too. It returns at the answer's end. Any number of calls may run at
// once; one that finds the peer's MAX_CONCURRENT_STREAMS reached waits its turn,
// as long as r's context allows.
//
// The request needs a URL with scheme and host; an empty path is "/". The host
// sent is r.Host, or the URL's, with the scheme's port if it has none. Neither r
// nor its Header is changed; r.Body is always closed.
//
// When no stream can be opened, because a GOAWAY went either way or the session
// has ended, w gets "404 page not found" and the error is nil. When the request
// fails, w gets the same if nothing was written to it yet, and the error is
// returned. When the answer breaks off later, w's own connection is made to break
// off too, if w is net/http's or this package's: a cut answer must not look whole.
//
// Deprecated: use Session.RoundTrip, or a ReverseProxy with the Session as its Transport.
func (s *Session) NewStreamProxy(r *http.Request, w http.ResponseWriter) (err error) {
	wrote, err := s.newStream().proxy(r, w)
	if err != nil && !wrote {
		http.NotFound(w, r)
	}
	if errors.Is(err, errNoStream) {
		return nil
	}
	return err
}

// Request sends request on a stream of NewClientStream and copies the answer to
// writer as it comes. It returns at the answer's end, with an error if that did
// not come whole. A stream is good for one request; of request and writer holds
// what NewStreamProxy says, but that writer gets no 404.
//
// Deprecated: use Session.RoundTrip.
func (s *Stream) Request(request *http.Request, writer http.ResponseWriter) (err error) {
	_, err = s.proxy(request, writer)
	return err
}

// proxy reports whether it wrote to w.
func (s *Stream) proxy(r *http.Request, w http.ResponseWriter) (wrote bool, err error) {
	resp, err := s.do(r)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	return true, copyResponse(w, resp)
}

// do sends r on a stream that is not open yet. The error wraps errNoStream if the
// session can open none.
func (s *Stream) do(r *http.Request) (*http.Response, error) {
	if r == nil {
		return nil, incompleteURLError("")
	}
	if s.s.server != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errNotClient
	}
	req, err := outgoing(r)
	if err == nil {
		s.s.mu.Lock()
		if s.requested {
			err = errRequested
		}
		s.requested = true
		s.s.unlock()
	}
	if err == nil {
		err = dropEmptyBody(req)
	}
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	s.pri = PriorityFor(req.URL)
	resp, err := s.s.roundTrip(s, req)
	if se, ok := errors.AsType[*SessionError](err); ok && !s.wasOpened() {
		return nil, fmt.Errorf("%w: %w", errNoStream, se)
	}
	return resp, err
}

func (s *Stream) wasOpened() bool {
	s.s.mu.Lock()
	defer s.s.unlock()
	return s.opened
}

// incompleteURLError is the error for a request that does not say where it goes.
type incompleteURLError string

func (e incompleteURLError) Error() string {
	return fmt.Sprintf("Incomplete path provided to resource: URL %q needs a scheme and a host", string(e))
}

// outgoing returns a copy of r as it is to be sent.
func outgoing(r *http.Request) (*http.Request, error) {
	u := r.URL
	if u == nil {
		return nil, incompleteURLError("")
	}
	if u.Scheme == "" || u.Host == "" {
		return nil, incompleteURLError(u.String())
	}
	req := r.WithContext(r.Context())
	if req.Host == "" {
		req.Host = u.Host
	}
	req.Host = withPort(req.Host, u)
	if upgradeOf(r.Header) != "" {
		// An http.ResponseWriter has no way for what comes after a 101.
		req.Header = r.Header.Clone()
		req.Header.Del("Connection")
	}
	return req, nil
}

// withPort adds the port of u's scheme to a host that has none.
func withPort(host string, u *url.URL) string {
	if strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']') {
		return host
	}
	switch u.Scheme {
	case "http":
		return host + ":80"
	case "https":
		return host + ":443"
	}
	return host
}

// dropEmptyBody finds out whether a body of unknown length has a first byte: a
// request without a body is whole in its SYN_STREAM.
func dropEmptyBody(req *http.Request) error {
	if req.ContentLength != 0 || req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	body := req.Body
	first := &firstByte{ReadCloser: body}
	read := make(chan struct{})
	// Ends when the body's Read does; nobody waits for it once the request's
	// context has ended.
	go func() {
		defer close(read)
		first.n, first.err = io.ReadFull(body, first.b[:])
	}()
	select {
	case <-read:
	case <-req.Context().Done():
		return &StreamError{Status: Cancel, Cause: context.Cause(req.Context())}
	}
	if first.n == 0 && first.err == io.EOF {
		req.Body = http.NoBody
		return body.Close()
	}
	req.Body = first
	req.ContentLength = -1
	return nil
}

// firstByte is a body of which one byte was read already.
type firstByte struct {
	io.ReadCloser
	b   [1]byte
	n   int
	err error
}

func (f *firstByte) Read(p []byte) (int, error) {
	if f.n > 0 && len(p) > 0 {
		f.n = 0
		p[0] = f.b[0]
		return 1, nil
	}
	if f.err != nil {
		return 0, f.err
	}
	return f.ReadCloser.Read(p)
}

// copyResponse copies resp to w, each piece when it comes.
func copyResponse(w http.ResponseWriter, resp *http.Response) error {
	h := w.Header()
	for key, values := range resp.Header {
		h[key] = slices.Clone(values)
	}
	announced := slices.Sorted(maps.Keys(resp.Trailer))
	if len(announced) > 0 {
		h.Add("Trailer", strings.Join(announced, ", "))
	}
	w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(w).Flush
	buf := make([]byte, 32<<10)
	for {
		// Sent at once even before the body's first byte: it may be long in coming.
		flush()
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			breakOff(w)
			return err
		}
	}
	for key, values := range resp.Trailer {
		if !slices.Contains(announced, key) {
			key = http.TrailerPrefix + key
		}
		h[key] = values
	}
	return nil
}

// breakOff makes the rest of a response fail: a write deadline in the past ends
// the connection of HTTP/1.1, and the stream of HTTP/2 and of SPDY.
func breakOff(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
}
