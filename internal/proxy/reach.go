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

// reached is where visitors reach an origin.
type reached struct {
	urls    []string
	lacking []string // hosts among them for which the front port has no certificate
	none    bool     // no visitor gets there
	warning string   // why not, or why not by all urls; "" if nothing is wrong
}

// reach returns where visitors reach an origin. P may not know the host under which
// it is reached itself: from is what a C has dialled, which leads here, "" if there
// is none.
func (p *Proxy) reach(name origin.Name, from string) (r reached) {
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
		r.urls = append(r.urls, pub.url(host))
		if p.lacks(host) {
			r.lacking = append(r.lacking, host)
		}
	}
	switch {
	case len(r.lacking) > 0:
		r.none, r.warning = len(r.lacking) == len(r.urls), lackText(r.lacking)
	case len(r.urls) > 0 || len(domains) == 0 && name == "":
	case name == "":
		r.none, r.warning = true, "each domain of this proxy is the name of an origin of its own: visitors reach the default origin by hosts alone that nobody has named"
	default:
		r.none = true
		r.warning = fmt.Sprintf("this proxy has no domain: start p with --domain example.org, and visitors reach it as %s.example.org, or register a full host name", name)
	}
	return r
}

// lacks reports whether browsers do not take the front port for a host, for want of a
// certificate. What stands before P, where something does, has its own.
func (p *Proxy) lacks(host string) bool {
	return p.cfg.TLS && p.outside.scheme == "" && p.certs.Lacks(host)
}

// maxNamed bounds how many hosts are named in a line.
const maxNamed = 3

// lackText says that hosts have no certificate, and what would mend it.
func lackText(hosts []string) string {
	return "browsers do not accept this proxy's certificate for " + someOf(hosts) +
		": give p one for it by a further --cert and --key, or --acme-email"
}

// someOf names the first few of hosts.
func someOf(hosts []string) string {
	list := strings.Join(hosts[:min(len(hosts), maxNamed)], ", ")
	if n := len(hosts) - maxNamed; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	return list
}

// warnLacking says in a line which of the hosts that tokens can have served have no
// certificate.
func (p *Proxy) warnLacking() {
	var hosts []string
	seen := make(map[string]bool)
	add := func(host string) {
		if !seen[host] {
			seen[host] = true
			hosts = append(hosts, host)
		}
	}
	if p.auth.Any() {
		for _, d := range p.auth.Domains {
			if p.lacks("any." + d) {
				add("*." + d)
			}
		}
	}
	for _, name := range p.auth.NamesWritten() {
		for _, host := range p.reach(origin.Name(name), "").lacking {
			if _, parent, _ := strings.Cut(host, "."); !seen["*."+parent] {
				add(host)
			}
		}
	}
	if len(hosts) > 0 {
		p.log.Warn(lackText(hosts))
	}
}

// ownHost reports whether a host is the name of an origin of its own.
func (p *Proxy) ownHost(host string) bool {
	if p.cfg.NoAuth {
		return strings.Contains(host, ".") && p.origins.Known(origin.Name(host))
	}
	return p.auth.Names(host)
}
