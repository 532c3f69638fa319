package spdy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// incoming is a stream that the peer opens, with what its handler gets, which is made
// with it.
type incoming struct {
	Stream
	req  http.Request
	ctx  streamContext
	rw   responseWriter
	body requestBody
}

// request makes the request of the fields that the reader decoded last. An
// error is answered with 400.
func (s *Session) request(in *incoming, fin bool) (*http.Request, error) {
	st := &in.Stream
	pseudo, err := pseudoHeaders(s.reader.fields)
	if err != nil {
		return nil, err
	}
	method, path, version, host := pseudo[0], pseudo[1], pseudo[2], pseudo[3]
	major, minor, ok := http.ParseHTTPVersion(version)
	switch {
	case !isToken(method):
		return nil, fmt.Errorf(":method %q", method)
	case !ok:
		return nil, fmt.Errorf(":version %q", version)
	case !validHost(host):
		return nil, fmt.Errorf(":host %q", host)
	}
	u, err := requestURL(method, path)
	if err != nil {
		return nil, err
	}
	length, err := parseContentLength(s.reader.fields)
	if err != nil {
		return nil, err
	}
	st.body.want = length
	if fin && length > 0 {
		return nil, fmt.Errorf("content-length %d without a body", length)
	}
	in.ctx = streamContext{st: st, above: s.baseCtx}
	st.ctx = &in.ctx
	in.req = *new(http.Request).WithContext(&in.ctx)
	in.rw = responseWriter{st: st, header: make(http.Header), length: -1}
	req := &in.req
	st.req, st.rw = req, &in.rw
	req.Method, req.URL, req.RequestURI, req.Host = method, u, path, host
	req.Proto, req.ProtoMajor, req.ProtoMinor = version, major, minor
	req.Header = s.reader.names.header(s.reader.fields, true)
	req.RemoteAddr, req.TLS, req.ContentLength = s.remoteAddr, s.tls, length
	if v := req.Header["Content-Length"]; len(v) > 1 {
		req.Header["Content-Length"] = v[:1]
	}
	if fin {
		req.ContentLength = 0
		req.Body = http.NoBody
	} else {
		in.body = requestBody{st: st, req: req}
		req.Body = &in.body
	}
	if req.Header["Upgrade"] != nil && !fin && length <= 0 {
		req.Header["Connection"] = []string{"Upgrade"}
		req.ContentLength = 0
		st.body.want = -1 // what comes is the other protocol's
		st.duplex = true
	}
	announceTrailer(req.Header, &req.Trailer, s.cfg.MaxHeaderPairs)
	if s.compat {
		for i, name := range requestNames {
			req.Header[name] = []string{pseudo[i]}
		}
	}
	return req, nil
}

// pseudoHeaders returns the values of requestNames.
func pseudoHeaders(fields []field) (values [len(requestNames)]string, err error) {
	for i, name := range requestNames {
		v, ok := lookup(fields, name)
		if !ok {
			return values, fmt.Errorf("no %s", name)
		}
		if v == "" || strings.IndexByte(v, 0) >= 0 {
			return values, fmt.Errorf("%s %q", name, v)
		}
		values[i] = v
	}
	return values, nil
}

// requestURL reads a ":path".
func requestURL(method, path string) (*url.URL, error) {
	switch {
	case path[0] == '/':
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return nil, fmt.Errorf(":path: %w", err)
		}
		return u, nil
	case path == "*" && method == http.MethodOptions:
		return &url.URL{Path: "*"}, nil
	}
	return nil, fmt.Errorf(":path %q", path)
}

// requestBody is the body of a request. It has one reader.
type requestBody struct {
	st  *Stream
	req *http.Request
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.st.readBody(p)
	if err == io.EOF {
		mergeTrailer(&b.req.Trailer, b.st.recv.buf.takeTrailer())
	}
	return n, err
}

// Close drops the rest of the body.
func (b *requestBody) Close() error {
	b.st.stopReading(http.ErrBodyReadAfterClose)
	b.st.recv.buf.abort(http.ErrBodyReadAfterClose)
	return nil
}
