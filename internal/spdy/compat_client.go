package spdy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"time"
)

// Client is a client session with its connection, for callers that want requests
// and no more. NewClient and NewClientConn make one. All methods may be called at
// once.
//
// A Client is an http.RoundTripper too, so that an http.Client can use it.
//
// Deprecated: use Config.NewClientSession, whose sessions are an http.RoundTripper.
type Client struct {
	s   *Session // nil if there is no connection
	err error    // why there is none
}

var errNoConnection = errors.New("spdy: the client has no connection")

// NewClient connects to addr with TCP, without TLS, and starts a session. On an
// error the Client is not nil, but all that it does fails.
//
// Deprecated: use Config.NewClientSession.
func NewClient(addr string) (*Client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return &Client{err: fmt.Errorf("%w: %w", errNoConnection, err)}, err
	}
	return NewClientConn(conn)
}

// NewClientConn starts a session on a connection that is ready: if it is of TLS,
// after the handshake. The session is SPDY/3 if that was negotiated, else
// SPDY/3.1. Close closes c.
//
// Deprecated: use Config.NewClientSession.
func NewClientConn(c net.Conn) (*Client, error) {
	if c == nil {
		return &Client{err: errNoConnection}, errNoConnection
	}
	s := NewClientSession(c)
	// Ends with the session; Close waits for it.
	go s.serveLogged()
	return &Client{s: s}, nil
}

// doBuffer is how many bytes of a body Do keeps in memory if it has the choice, and
// doMost how long a body may be at most: its caller makes room for what ContentLength
// says, which a server may say as it likes.
const (
	doBuffer = 1 << 20
	doMost   = 1<<31 - 1
)

// Do sends a request and returns its response, whose ContentLength is the
// length of the body, never -1; one Read of that many bytes yields it whole. That
// asks for the body to be in memory before Do returns, unless its length was
// announced and is above 1 MiB: then it is read from the connection as it is
// read from Body, and its end may be an error. A body of 2 GiB or more is an error, as
// soon as that is known. RoundTrip has no such rules. Where there is no body, as in
// the answer to HEAD, ContentLength is 0.
//
// Body need not be closed; closing one that is still coming stops it. Status is
// empty, Request and TLS are nil. The request's context bounds the whole
// exchange. Of the request holds what Session.NewStreamProxy says.
//
// When no stream can be opened, because a GOAWAY came or the session has ended,
// the response is "404 page not found" and the error nil. With an error the
// response is not nil, but empty.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	if c.s == nil {
		if req != nil && req.Body != nil {
			req.Body.Close()
		}
		return new(http.Response), c.err
	}
	resp, err := c.s.newStream().do(req)
	if errors.Is(err, errNoStream) {
		rec := NewRecorder()
		http.NotFound(rec, req)
		return wholeResponse(rec.Code, rec.HeaderMap, rec.Body.Bytes()), nil
	}
	if err != nil {
		return new(http.Response), err
	}
	comes := resp.ContentLength // what is announced to come in Body
	if req.Method == http.MethodHead {
		comes = 0
	}
	if doBuffer < comes && comes <= doMost {
		return streamedResponse(resp), nil
	}
	defer resp.Body.Close()
	body, err := readWhole(resp.Body, comes, doMost)
	if err != nil {
		return new(http.Response), err
	}
	whole := wholeResponse(resp.StatusCode, resp.Header, body)
	whole.Trailer = resp.Trailer
	return whole, nil
}

// readWhole reads a body of which announced bytes are to come, if that is not below 0,
// and most may.
func readWhole(r io.Reader, announced, most int64) ([]byte, error) {
	if announced <= most {
		body, err := io.ReadAll(io.LimitReader(r, most+1))
		if err != nil || int64(len(body)) <= most {
			return body, err
		}
	}
	return nil, fmt.Errorf("spdy: Do takes no body above %d bytes, RoundTrip does", most)
}

// wholeResponse is a response with its body.
func wholeResponse(code int, header http.Header, body []byte) *http.Response {
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// streamedResponse is resp with a Body that Do's callers can live with.
func streamedResponse(resp *http.Response) *http.Response {
	whole := wholeResponse(resp.StatusCode, resp.Header, nil)
	whole.ContentLength = resp.ContentLength
	body := &fullBody{from: resp, to: whole}
	whole.Body = body
	// Nobody has to close it: its stream ends when nobody can read it any more.
	runtime.AddCleanup(body, func(b io.Closer) { b.Close() }, io.Closer(resp.Body))
	return whole
}

// fullBody is a body whose Read fills what it is given, if there is as much.
type fullBody struct{ from, to *http.Response }

func (b *fullBody) Read(p []byte) (int, error) {
	n, err := io.ReadFull(b.from.Body, p)
	if err == io.ErrUnexpectedEOF && n > 0 {
		err = nil // the end comes with the next Read, or the engine's error has
	}
	if err == io.EOF {
		b.to.Trailer = b.from.Trailer
	}
	return n, err
}

func (b *fullBody) Close() error { return b.from.Body.Close() }

// RoundTrip is Session.RoundTrip: the response streams.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	if c.s == nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, c.err
	}
	return c.s.RoundTrip(req)
}

// Ping sends a PING and reports whether the peer echoed it within d. The error
// says why none could be sent.
func (c *Client) Ping(d time.Duration) (pinged bool, err error) {
	if c.s == nil {
		return false, c.err
	}
	if c.s.Ping(d) {
		return true, nil
	}
	select {
	case <-c.s.Done():
		return false, c.s.Err()
	default:
		return false, nil
	}
}

// Close ends the session, with a GOAWAY, and closes the connection. Requests that
// are under way fail. It may be called more than once.
func (c *Client) Close() error {
	if c.s == nil {
		return c.err
	}
	c.s.Close()
	return nil
}
