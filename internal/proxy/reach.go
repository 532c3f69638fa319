package proxy

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/originname"
)

// public is how visitors' addresses begin and end around the host.
type public struct {
	scheme string
	host   string // of P itself; "" if P does not know it
	port   string
}

// parsePublic reads Config.PublicURL; "" gives the zero public.
func parsePublic(s string) (public, error) {
	if s == "" {
		return public{}, nil
	}
	bad := func(why string) (public, error) {
		return public{}, fmt.Errorf("--public-url %q: %s; give what visitors call this proxy, such as https://example.org or https://example.org:8443", s, why)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return bad("it is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("it begins neither with http:// nor with https://")
	case u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("scheme, host and port are all that can be in it")
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil {
		name, err := originname.ParseNamed(strings.TrimSuffix(host, "."))
		if err != nil {
			return bad(err.Error())
		}
		host = string(name)
	}
	if n, err := strconv.ParseUint(cmp.Or(u.Port(), "1"), 10, 16); err != nil || n == 0 {
		return bad("that is no port")
	}
	return public{u.Scheme, host, u.Port()}, nil
}

// public is as Config.PublicURL says, else as the front port is listened on.
func (p *Proxy) public() public {
	if p.outside.scheme != "" {
		return p.outside
	}
	pub := public{scheme: "http"}
	if p.cfg.TLS {
		pub.scheme = "https"
	}
	host, _, _ := net.SplitHostPort(p.cfg.Front)
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() { // else it is every address of this machine
		pub.host = strings.ToLower(host)
	}
	_, pub.port, _ = net.SplitHostPort(p.FrontAddr().String())
	return pub
}

// url returns the address of a host.
func (p public) url(host string) string {
	port := p.port
	if p.scheme == "http" && port == "80" || p.scheme == "https" && port == "443" {
		port = ""
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return p.scheme + "://" + host + "/"
}

// maxReach bounds how many addresses of one origin are told.
const maxReach = 16

// reach returns the addresses under which visitors reach an origin, or, if there is
// none, why not. P may not know the host under which it is reached itself: from is
// what a C has dialled, which leads here, "" if there is none.
func (p *Proxy) reach(name origin.Name, from string) (urls []string, none string) {
	pub, domains := p.public(), p.auth.Domains
	hosts := domains.Hosts(name)
	if name == "" {
		// Any host that is nobody else's: these are known to lead here.
		candidates := domains
		if len(domains) == 0 || p.outside.host != "" {
			candidates = append(slices.Clone(domains), cmp.Or(pub.host, from))
		}
		for _, host := range candidates {
			if got, ok := p.handler.Route(host); ok && got == name && host != "" && !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
	}
	for _, host := range hosts[:min(len(hosts), maxReach)] {
		urls = append(urls, pub.url(host))
	}
	switch {
	case len(urls) > 0 || len(domains) == 0 && name == "":
		return urls, ""
	case name == "":
		return nil, "each domain of this proxy is the name of an origin of its own: visitors reach the default origin by hosts alone that nobody has named"
	}
	return nil, fmt.Sprintf("this proxy has no domain: start p with --domain example.org, and visitors reach it as %s.example.org, or register a full host name", name)
}

// ownHost reports whether a host is the name of an origin of its own.
func (p *Proxy) ownHost(host string) bool {
	if p.cfg.NoAuth {
		return strings.Contains(host, ".") && p.origins.Known(origin.Name(host))
	}
	return p.auth.Names(host)
}
