package front

import (
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strings"
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
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	return name == "forwarded" || name == "x-request-id" || strings.HasPrefix(name, "x-forwarded-")
}

// rewrite makes the request to C out of that of A, from which ReverseProxy has
// taken the hop-by-hop headers.
func (h *Handler) rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.Out.Context())
	in, out := x.in, pr.Out
	x.out = out

	path, _, _ := strings.Cut(requestTarget(in), "?")
	out.URL.Scheme = x.rec.Scheme
	out.URL.Host = ""
	out.URL.RawQuery = in.URL.RawQuery
	out.URL.ForceQuery = in.URL.ForceQuery
	if strings.HasPrefix(path, "/") {
		// As it is: URL.EscapedPath would escape what A did not.
		out.URL.Opaque = path
	}
	if out.Host == "" {
		// HTTP/1.0 needs no Host, but a SYN_STREAM does (draft 3.1, 3.2.1).
		out.Host = "localhost"
	}

	for name := range out.Header {
		if claims(name) {
			delete(out.Header, name)
		}
	}
	forwardedFor := "unknown" // as RFC 7239, 6 calls it
	if x.rec.Peer.IsValid() {
		forwardedFor = x.rec.Peer.String()
	}
	proto, host := x.rec.Scheme, in.Host
	if x.trusted {
		for name, values := range in.Header {
			if claims(name) && !strings.Contains(name, "_") {
				out.Header[name] = slices.Clone(values)
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
	out.Header["X-Forwarded-For"] = []string{forwardedFor}
	out.Header["X-Forwarded-Proto"] = []string{proto}
	if host == "" {
		delete(out.Header, "X-Forwarded-Host")
	} else {
		out.Header["X-Forwarded-Host"] = []string{host}
	}
	out.Header["X-Request-Id"] = []string{x.rec.RequestID}
	out.Header["Via"] = append(slices.Clone(out.Header["Via"]), via)

	// P has done what was expected (RFC 9110, 10.1.1).
	delete(out.Header, "Expect")
	if h.cfg.Auth != nil {
		delete(out.Header, "Authorization") // it was for P
	}
	if x.upgrade = x.http1 && wantsWebSocket(in); x.upgrade {
		out.Header["Upgrade"] = []string{"websocket"}
	} else {
		delete(out.Header, "Connection")
		delete(out.Header, "Upgrade")
	}
	if len(in.Header["User-Agent"]) == 0 {
		// ReverseProxy puts an empty one in the place of an absent one, after
		// this; RoundTrip takes it out again.
		x.noAgent = true
	}

	if out.Body != nil {
		x.body = &requestBody{src: out.Body, in: in, out: make(http.Header)}
		for name := range in.Trailer {
			if trailerAllowed(name) {
				x.body.out[name] = nil
			}
		}
	}
	out.Trailer = nil
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
	return "/"
}

// wantsWebSocket reports whether r asks for the one upgrade that is passed on.
// It is for HTTP/1 alone: the connection of h2 and SPDY is not one request's to
// switch.
func wantsWebSocket(r *http.Request) bool {
	return r.ProtoMinor == 1 && r.Method == http.MethodGet && r.ContentLength == 0 &&
		hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
}

// hasToken reports whether the comma-separated lists hold token, in any case.
func hasToken(lists []string, token string) bool {
	for _, l := range lists {
		for t := range strings.SplitSeq(l, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
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

// trailerAllowed: a trailer field that is merged into the headers by whoever
// gets it must not be able to say what the headers were not allowed to.
func trailerAllowed(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Host", "Content-Length", "Content-Encoding", "Content-Type", "Content-Range",
		"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Via", "Expect", "Range", "Priority":
		return false
	}
	return !claims(name)
}

// peerOf returns the address that a request came from.
func peerOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// trusts reports whether what addr claims is believed.
func (h *Handler) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(h.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// clientOf follows X-Forwarded-For back from the peer as far as it is believed.
func (h *Handler) clientOf(r *http.Request, peer netip.Addr) netip.Addr {
	addr := peer
	chain := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(chain) - 1; i >= 0 && h.trusts(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
	}
	return addr
}

// validID reports whether a request id of someone else's can be passed on and
// logged.
func validID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && strings.IndexByte("-._~:/+=@", c) < 0 {
			return false
		}
	}
	return true
}
