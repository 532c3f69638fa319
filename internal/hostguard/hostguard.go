// Package hostguard keeps pages on the internet from a port that answers without a
// password: one can make a browser call localhost under a name of its own (DNS
// rebinding), and then the Host header gives it away.
package hostguard

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Headers sets what each answer of such a port bears: no page of another site frames
// or embeds it, nothing of it is kept, and its own pages do what contentPolicy lets them.
func Headers(h http.Header, contentPolicy string) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	// With no-referrer, a form of our own page would bear Origin: null, as a stranger's
	// does, and without TLS no more than that tells them apart.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// Guard knows by which names a port may be called.
type Guard struct {
	bound string     // the host listened on, lower case, "" for every address
	ip    netip.Addr // the same, if it is an address
	names []string   // others, lower case
}

// New returns the guard of a port at addr, HOST:PORT as it was asked for, that may be
// called by the names beside.
func New(addr string, names ...string) Guard {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	h := Guard{bound: strings.TrimSuffix(strings.ToLower(host), ".")}
	if ip, err := netip.ParseAddr(h.bound); err == nil {
		if h.ip = canonical(ip); h.ip.IsUnspecified() {
			h = Guard{}
		}
	}
	for _, name := range names {
		h.names = append(h.names, strings.TrimSuffix(strings.ToLower(name), "."))
	}
	return h
}

// Allows reports whether r asks for a loopback name, or for the address that the
// port is bound to. The port in it is not compared: behind a forwarded port (ssh -L)
// it is another, and a page that rebinds a name cannot change the name.
func (h Guard) Allows(r *http.Request) bool {
	name, ok := hostname(r.Host)
	if !ok {
		return false
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || name == h.bound || slices.Contains(h.names, name) {
		return true
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	ip = canonical(ip)
	if ip.IsLoopback() || ip == h.ip {
		return true
	}
	// Bound to every address, or to a name: the one that this connection came
	// in by.
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && canonical(local.AddrPort().Addr()) == ip
}

// canonical returns ip in the one form in which two spellings are equal.
func canonical(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// hostname takes the name out of a Host header: lower case, without port,
// brackets and a trailing dot. It reports false for what is neither NAME,
// NAME:PORT, [IPv6] nor [IPv6]:PORT.
func hostname(host string) (string, bool) {
	name, port := host, ""
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", false
		}
		name, port = host[1:end], host[end+1:]
		if ip, err := netip.ParseAddr(name); err != nil || !ip.Is6() {
			return "", false
		}
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		name, port = host[:i], host[i:]
	}
	if port != "" {
		if _, err := strconv.ParseUint(strings.TrimPrefix(port, ":"), 10, 16); err != nil || port[0] != ':' {
			return "", false
		}
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	return name, name != ""
}
