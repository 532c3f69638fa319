package http1

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/amahi/spdy-proxy/internal/httpfield"
	"github.com/amahi/spdy-proxy/internal/lazycontext"
)

// exchange is one request and the response to it: the handler's
// http.ResponseWriter, and what its http.Request is made of. When the handler says
// that it has let all of it go, the connection's next request is made of it, too.
type exchange struct {
	// Fixed before the handler is called.
	c      *conn
	req    http.Request
	body   body
	url    url.URL
	values []string // of req.Header

	ctx lazycontext.Context // ends when the client is seen to leave, with the connection's, and with the handler

	waits atomic.Bool // the client waits for 100 (Continue), and may get it
	free  bool        // see Reuse; the handler's, then the connection's
	head  bool        // the request's method is HEAD; fixed before the handler is called

	response

	control sync.Mutex
	// Guarded by control.
	done     bool // the handler has returned
	deadline bool // the handler has set one
}

// Reuse is what a handler calls as the last it does, if neither it nor anybody who got
// them from it has the request or the http.ResponseWriter any more, or anything that
// they are made of, but for strings: the next request is made of them. A handler that
// does not know leaves it.
func (x *exchange) Reuse() { x.free = true }

// letGo drops what a request had that has ended, and reports whether another one can be
// made of x. Nobody has x then but conn.leave, which may end ctx, and conn.beginWatch,
// which looks at body.
func (x *exchange) letGo() bool {
	if x.taken {
		x.header, x.own, x.taken = x.own, nil, false
	}
	if !x.free || len(x.header) > maxKeptHeader || len(x.req.Header) > maxKeptHeader || !x.ctx.Renew() {
		return false
	}
	clear(x.header)
	clear(x.req.Header)
	if clear(x.values); cap(x.values) > maxKeptHeader {
		x.values = nil // many lines of few names
	}
	x.req = http.Request{Header: x.req.Header}
	x.url = url.URL{}
	x.trailers = nil
	return true
}

// take returns what the next request is made of. It is called with in.mu held.
func (c *conn) take() *exchange {
	x := c.spare
	if c.spare = nil; x == nil {
		x = &exchange{c: c}
		x.body.x = x
		x.length = -1
		return x
	}
	x.free = false
	x.waits.Store(false)
	x.body.renewLocked()
	x.response.renew()
	x.control.Lock()
	defer x.control.Unlock()
	x.done, x.deadline = false, false
	return x
}

// newExchange makes a request of a whole head. text is the head's, and every string
// of the request a part of it: who keeps one for longer than the request, as the key of a
// map above all, keeps 64 KiB with a word of it, and is to have a copy (strings.Clone).
func (c *conn) newExchange(text string) (*exchange, *refusal) {
	p := &c.parser
	x := c.take()
	x.ctx.Begin(c.ctx)
	f := framing{length: -1}
	header, why := x.fields(p, text, &f)
	if why != nil {
		return nil, why
	}
	if why := f.judge(p.minor); why != nil {
		return nil, why
	}
	if f.expects && !f.continues && p.minor > 0 {
		return nil, &refusal{http.StatusExpectationFailed, "what is expected is not known"} // RFC 9110, 10.1.1
	}
	r := http.Request{
		Method: p.method.of(text), RequestURI: p.target.of(text),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: p.minor,
		Header: header, Host: f.host, Body: http.NoBody,
		RemoteAddr: c.remote, TLS: c.tls,
	}
	options := header["Connection"]
	r.Close = httpfield.HasToken(options, "close") || p.minor == 0 && !httpfield.HasToken(options, "keep-alive")
	if p.minor == 0 {
		r.Proto = "HTTP/1.0"
	}
	x.head = r.Method == http.MethodHead
	switch {
	case len(f.codings) > 0:
		x.body.chunked = true
		r.ContentLength, r.TransferEncoding, r.Body = -1, []string{"chunked"}, &x.body
		if r.Trailer = announced(header); r.Trailer != nil {
			delete(header, "Trailer")
		}
	case f.length > 0:
		if first := header["Content-Length"]; strings.IndexByte(first[0], ',') >= 0 {
			first[0], _, _ = strings.Cut(first[0], ",")
			first[0] = strings.TrimRight(first[0], " \t")
		}
		x.body.left = f.length
		r.ContentLength, r.Body = f.length, &x.body
	default:
		x.body.whole.Store(true)
	}
	if f.continues && p.minor > 0 && !x.body.whole.Load() {
		x.waits.Store(true)
	}
	if why := x.target(&r); why != nil {
		return nil, why
	}
	// What follows CONNECT may be a tunnel's (RFC 9110, 9.3.6).
	x.keep = !r.Close && r.Method != http.MethodConnect
	x.req = *r.WithContext(&x.ctx)
	return x, nil
}

// fields makes the header of a head, without what f takes for itself.
func (x *exchange) fields(p *parser, text string, f *framing) (http.Header, *refusal) {
	header, values := x.req.Header, x.values[:0]
	if header == nil {
		header = make(http.Header, len(p.fields))
	}
	if cap(values) < len(p.fields) {
		values = make([]string, 0, len(p.fields))
	}
	for _, fd := range p.fields {
		name, value := fd.name.of(text), fd.value.of(text)
		taken, why := f.note(name, value)
		if why != nil {
			return nil, why
		}
		if taken {
			continue
		}
		if before := header[name]; before != nil {
			header[name] = append(before, value)
			continue
		}
		values = append(values, value)
		n := len(values)
		header[name] = values[n-1 : n : n]
	}
	x.values = values
	return header, nil
}

// announced returns what a Trailer field names, without what cannot be one (RFC
// 9110, 6.5.1).
func announced(h http.Header) http.Header {
	lists, ok := h["Trailer"]
	if !ok {
		return nil
	}
	names := make(http.Header)
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); name != "" && !frames(name) {
				names[name] = nil
			}
		}
	}
	return names
}

// frames reports whether a field says where a message goes or ends, or what becomes
// of the connection, and so comes too late in trailers (RFC 9110, 6.5.1).
func frames(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Connection", "Host", "Trailer":
		return true
	}
	return false
}

// target reads the request's target, in one of its four forms (RFC 9112, 3.2).
func (x *exchange) target(r *http.Request) *refusal {
	t := r.RequestURI
	r.URL = &x.url
	switch {
	case r.Method == http.MethodConnect:
		host, port, ok := strings.Cut(t, ":")
		if strings.HasPrefix(t, "[") {
			host, port, ok = strings.Cut(t, "]:")
		}
		if !ok || host == "" || port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" || !isHostText(t) {
			return bad("the target is no host with a port")
		}
		x.url.Host = t
		r.Host = t
		return nil
	case t == "*":
		if r.Method != http.MethodOptions {
			return bad("this method has no target *")
		}
		x.url.Path = t
		return nil
	case t[0] == '/':
		path, query, more := strings.Cut(t, "?")
		if all(path, &isPlain) {
			x.url.Path, x.url.RawQuery, x.url.ForceQuery = path, query, more && query == ""
			return nil
		}
	case !strings.Contains(t, "://"):
		return bad("the target is no path, and no URL")
	}
	u, err := url.ParseRequestURI(t)
	if err != nil {
		return bad("the target is not valid")
	}
	x.url = *u
	if u.Host != "" {
		if !isHostText(u.Host) {
			return bad("the target's host is not valid")
		}
		r.Host = u.Host // whatever the Host field says (RFC 9112, 3.2.2)
	}
	return nil
}
