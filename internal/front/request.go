package front

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
)

// via is what P adds to the Via header of each request.
const via = "1.1 spdy-proxy"

// maxHops is how often a request may have been here before. It gets here again
// when a C serves, with --to, the front port it is reached by.
const maxHops = 10

// claims reports whether a header says who A is and how it came, which nobody
// but a trusted proxy may say. Underscores count as hyphens: what is run behind
// CGI-like interfaces cannot tell them apart.
func claims(name string) bool {
	return foldedPrefix(name, "x-forwarded-") ||
		len(name) == len("forwarded") && foldedPrefix(name, "forwarded") ||
		len(name) == len("x-request-id") && foldedPrefix(name, "x-request-id")
}

// foldedPrefix reports whether s begins with prefix, which is in lower case,
// when its letters are lower and its underscores hyphens.
func foldedPrefix(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c = '-'
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}

// request makes the request to C out of that of A, which is not changed. Their
// headers share their values.
func (e *exchange) request() (*http.Request, *failure) {
	in := e.in
	e.out = *in.WithContext(&e.ctx)
	out := &e.out
	out.Close = false

	path, _, _ := strings.Cut(requestTarget(in), "?")
	e.url = *in.URL
	out.URL = &e.url
	out.URL.Scheme = e.rec.Scheme
	out.URL.Host = ""
	if strings.HasPrefix(path, "/") {
		// As it is: URL.EscapedPath would escape what A did not.
		out.URL.Opaque = path
	} else {
		out.URL.Path = path // "*"
	}
	if out.Host == "" {
		// HTTP/1.0 needs no Host, but a SYN_STREAM does (draft 3.1, 3.2.1).
		out.Host = "localhost"
	}

	e.upgrade = e.http1 && wantsWebSocket(in)
	if !e.upgrade && httpfield.HasToken(in.Header["Connection"], "upgrade") && !isPrintable(in.Header.Get("Upgrade")) {
		return nil, &failure{status: http.StatusBadRequest, reason: reasonRequest, detail: "the request cannot be passed on"}
	}
	out.Header = e.endToEndHeader()
	e.addForwarding(out.Header)

	out.Body, out.Trailer = nil, nil
	if in.ContentLength != 0 && in.Body != nil {
		e.body = newRequestBody(e)
	}
	return out, nil
}

// endToEndHeader returns what A sent for C, with room for what P adds.
func (e *exchange) endToEndHeader() http.Header {
	in := e.in
	header := e.header
	if header == nil {
		header = make(http.Header, len(in.Header)+len(e.ownValues))
		e.header = header
	}
	for name, values := range httpfield.EndToEnd(in.Header) {
		if !claims(name) {
			header[name] = values
		}
	}
	// P has done what was expected (RFC 9110, 10.1.1).
	delete(header, "Expect")
	if n, ok := maxForwards(in); ok {
		header["Max-Forwards"] = []string{strconv.FormatUint(n-1, 10)} // admit has answered 0
	}
	if e.auth != nil {
		delete(header, "Authorization") // it was for P
	}
	if httpfield.HasToken(in.Header["Te"], "trailers") {
		header["Te"] = []string{"trailers"} // P passes them on
	}
	if e.upgrade {
		header["Connection"] = []string{"Upgrade"}
		header["Upgrade"] = []string{"websocket"}
	}
	return header
}

// addForwarding adds to header who A is and how it came, and the request's id.
func (e *exchange) addForwarding(header http.Header) {
	in := e.in
	forwardedFor := "unknown" // as RFC 7239, 6 calls it
	if e.rec.Peer.IsValid() {
		forwardedFor = peerText(in.RemoteAddr, e.rec.Peer)
	}
	proto, host := e.rec.Scheme, in.Host
	if e.trusted {
		for name, values := range in.Header {
			if claims(name) && !strings.Contains(name, "_") {
				header[name] = values
			}
		}
		if prior := in.Header["X-Forwarded-For"]; len(prior) > 0 {
			forwardedFor = strings.Join(prior, ", ") + ", " + forwardedFor
		}
		if p := strings.ToLower(in.Header.Get("X-Forwarded-Proto")); p == "http" || p == "https" {
			proto = p
		}
		if p := in.Header.Get("X-Forwarded-Host"); p != "" {
			host = p
		}
	}
	e.ownValues = [...]string{forwardedFor, proto, e.rec.RequestID, via, host}
	own := e.ownValues[:]
	header["X-Forwarded-For"] = own[0:1:1]
	header["X-Forwarded-Proto"] = own[1:2:2]
	header["X-Request-Id"] = own[2:3:3]
	if prior := header["Via"]; len(prior) == 0 {
		header["Via"] = own[3:4:4]
	} else {
		header["Via"] = append(slices.Clone(prior), via)
	}
	if e.auth != nil {
		// Whoever a trusted proxy names has shown no password here.
		header["X-Forwarded-User"] = []string{e.rec.User}
	}
	if host == "" {
		delete(header, "X-Forwarded-Host")
	} else {
		header["X-Forwarded-Host"] = own[4:5:5]
	}
}

// isPrintable reports whether s is ASCII that can be seen, and spaces.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// requestTarget is the path and the query as A sent them.
func requestTarget(r *http.Request) string {
	t := r.RequestURI
	if t == "" || t[0] == '/' || t == "*" {
		return t
	}
	// The absolute form (RFC 9112, 3.2.2).
	if _, rest, ok := strings.Cut(t, "://"); ok {
		if i := strings.IndexAny(rest, "/?"); i >= 0 && rest[i] == '/' {
			return rest[i:]
		} else if i >= 0 {
			return "/" + rest[i:]
		}
	}
	if r.Method == http.MethodOptions {
		return "*" // RFC 9112, 3.2.4
	}
	return "/"
}

// badTarget returns a failure for a method or target that is none, as HTTP/1's never are
// here, and for a target in absolute form that is no resource that could be had here.
func (e *exchange) badTarget() *failure {
	status, detail := http.StatusBadRequest, ""
	switch u := e.in.URL; {
	case !httpfield.IsToken(e.in.Method):
		detail = "the method is not valid"
	case !httpfield.IsTarget(e.in.RequestURI):
		detail = "the target is not valid"
	case e.in.RequestURI == "*" && e.in.Method != http.MethodOptions: // RFC 9112, 3.2.4
		detail = "this method has no target *"
	case u.Scheme == "":
		return nil
	case u.Scheme != "http" && u.Scheme != "https":
		detail = "the target's scheme is not served"
	case u.Host == "" || u.Opaque != "": // RFC 9110, 4.2.1
		detail = "the target has no host"
	case u.User != nil: // RFC 9110, 4.2.4
		detail = "the target has user information"
	case u.Scheme == "https" && e.in.TLS == nil && !e.trusted: // RFC 9110, 7.4
		status, detail = http.StatusMisdirectedRequest, "the target is secure and the connection is not"
	default:
		return nil
	}
	return &failure{status: status, reason: reasonRequest, detail: detail}
}

// maxForwards returns the number in a Max-Forwards header that an intermediary
// has to look at (RFC 9110, 7.6.2). What is no number counts as absent, and one
// that is too large as the largest.
func maxForwards(r *http.Request) (n uint64, ok bool) {
	values := r.Header["Max-Forwards"]
	if r.Method != http.MethodOptions || len(values) != 1 || values[0] == "" || strings.Trim(values[0], "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(values[0], 10, 32)
	if err != nil {
		n = 1<<32 - 1
	}
	return n, true
}

// hops counts how often a request has been through a proxy like this.
func hops(r *http.Request) int {
	n := 0
	for _, l := range r.Header["Via"] {
		for v := range strings.SplitSeq(l, ",") {
			if strings.TrimSpace(v) == via {
				n++
			}
		}
	}
	return n
}

// trailerAllowed reports whether a trailer field is passed on: it must not say what
// a header field would not be believed.
func trailerAllowed(name string) bool { return httpfield.Trailer(name) && !claims(name) }
