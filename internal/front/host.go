package front

import (
	"fmt"
	"strings"

	"github.com/amahi/spdy-proxy/internal/httpfield"
	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/originname"
)

// parseHost returns the name or address in a Host header, without the port, in
// lower case, without a final dot. "" is "" (HTTP/1.0 needs no Host). What
// could be read in two ways is an error: an escape, an empty label, user
// information.
func parseHost(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", fmt.Errorf("%.100q is not a host", s)
		}
		host, port = s[:end+1], s[end+1:]
		for i := 1; i < end; i++ {
			if c := s[i]; !httpfield.IsAlnum(c) && c != ':' && c != '.' {
				return "", fmt.Errorf("%.100q is not a host", s)
			}
		}
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, port = s[:i], s[i:]
		}
		host = strings.TrimSuffix(host, ".")
		if host == "" || host[0] == '.' || strings.Contains(host, "..") || strings.HasSuffix(host, ".") {
			return "", fmt.Errorf("%.100q is not a host", s)
		}
		for i := range len(host) {
			if c := host[i]; !httpfield.IsAlnum(c) && strings.IndexByte("-._~!$&'()*+,;=", c) < 0 {
				return "", fmt.Errorf("%.100q is not a host", s)
			}
		}
	}
	if port != "" {
		digits := port[1:]
		if port[0] != ':' || len(digits) > 5 || strings.Trim(digits, "0123456789") != "" {
			return "", fmt.Errorf("%.100q has no valid port", s)
		}
	}
	return strings.ToLower(host), nil
}

// Route returns the origin that host, as parseHost returns it, stands for. NAME.D
// is NAME's for each domain D, and a host that is an origin's own is that one's. A
// host below a domain that can be no origin's is nobody's: ok is false. Neither
// becomes the default origin when its own is away, which may be someone else's.
func (h *Handler) Route(host string) (name origin.Name, ok bool) {
	label, below := h.cfg.Domains.Below(host)
	switch {
	case below && originname.IsLabel(label):
		return origin.Name(label), true
	case h.cfg.Own != nil && h.cfg.Own(host):
		return origin.Name(host), true
	}
	return "", !below
}
