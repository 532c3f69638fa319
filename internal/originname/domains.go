package originname

import (
	"fmt"
	"slices"
	"strings"
)

// Domains are those under which P's origins are reached: NAME.D is the origin NAME,
// for each D of them. Make them with ParseDomains; nil is none.
type Domains []string // as Name has host names

// ParseDomains reads what a person wrote: a host name each, in any case, with or
// without "*." before it and a dot behind. What is empty is left out, and what is
// there twice. Its error is one line.
func ParseDomains(list []string) (Domains, error) {
	var d Domains
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(s, "*"), "."), ".")
		domain, err := asciiHost(name)
		if err != nil {
			return nil, fmt.Errorf("%.270q is not a domain: %w; a name such as example.org is wanted", s, err)
		}
		if !slices.Contains(d, domain) {
			d = append(d, domain)
		}
	}
	return d, nil
}

// Below returns what stands before the longest of the domains that host is below,
// and whether there is one. host is in lower case, without a final dot.
func (d Domains) Below(host string) (rest string, ok bool) {
	for _, domain := range d {
		if n := len(host) - len(domain) - 1; n >= 0 && host[n] == '.' && host[n+1:] == domain && (!ok || n < len(rest)) {
			rest, ok = host[:n], true
		}
	}
	return rest, ok
}

// Canonical returns the one name of an origin that has two: a host name directly
// below a domain is that of the label, NAME.D and NAME.
func (d Domains) Canonical(n Name) Name {
	if label, ok := d.Below(string(n)); ok && IsLabel(label) {
		return Name(label)
	}
	return n
}

// Parse reads what a person wrote, as the function of that name does, and returns the
// Canonical name of the origin that is meant.
func (d Domains) Parse(s string) (Name, error) {
	n, err := Parse(s)
	return d.Canonical(n), err
}

// Hosts returns the hosts that are n's: of a label, it below each domain; of a host
// name, that alone; none of the default origin, which has all that nobody else has.
func (d Domains) Hosts(n Name) []string {
	switch {
	case n == "":
		return nil
	case n.Host():
		return []string{string(n)}
	}
	var hosts []string
	for _, domain := range d {
		hosts = append(hosts, string(n)+"."+domain)
	}
	return hosts
}
