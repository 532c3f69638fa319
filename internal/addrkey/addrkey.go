// Package addrkey says in whose name an address is counted, where each has a
// part of something: who has one IPv6 address has others as well.
//
// All functions of addresses take IPv4 mapped into IPv6, and zones, and return neither. Site
// and Net of what Addr returns are those of the address itself.
package addrkey

import (
	"fmt"
	"net/netip"
	"slices"
)

// SiteFactor is how many times what an address has, as Addr counts, a site may
// have, as Site does: an IPv6 /48 has 65536 such addresses.
const SiteFactor = 4

// Addr returns what stands for an address alone: an IPv4 address itself, and of
// an IPv6 address the first in its /64, which a subscriber has at least
// (RFC 6177). It returns the zero Addr for the zero Addr.
func Addr(ip netip.Addr) netip.Addr { return first(ip, 32, 64) }

// Site returns what a subscriber may have the whole of: of an IPv6 address the
// first in its /48 (RFC 6177), and an IPv4 address itself.
func Site(ip netip.Addr) netip.Addr { return first(ip, 32, 48) }

// Net returns what stands for an address with its neighbours: the first address
// in its IPv4 /24 or IPv6 /48. In IPv4 most of them are others.
func Net(ip netip.Addr) netip.Addr { return first(ip, 24, 48) }

// Text is Addr for people: an IPv4 address, or an IPv6 prefix. It is empty for
// the zero Addr.
func Text(ip netip.Addr) string {
	switch a := Addr(ip); {
	case !a.IsValid():
		return ""
	case a.Is6():
		return netip.PrefixFrom(a, 64).String()
	default:
		return a.String()
	}
}

// plain returns an address without what does not count: see the package.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

func first(ip netip.Addr, bits4, bits6 int) netip.Addr {
	ip = plain(ip)
	bits := bits4
	if ip.Is6() {
		bits = bits6
	}
	p, _ := ip.Prefix(bits) // fails for none, and for more bits than there are
	return p.Addr()
}

// In reports whether an address is in one of several networks, as ParseNetwork returns
// them.
func In(ip netip.Addr, networks []netip.Prefix) bool {
	ip = plain(ip)
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// ParseNetwork reads a network such as 10.0.0.0/8, or a single address. Its error is
// one line that says what is wanted.
func ParseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		ip, ipErr := netip.ParseAddr(s)
		if ipErr != nil {
			return netip.Prefix{}, fmt.Errorf("%.60q is not a network: give one such as 10.0.0.0/8, or an address", s)
		}
		p = netip.PrefixFrom(ip.WithZone(""), ip.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}
