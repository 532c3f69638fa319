package addrkey

import (
	"net/netip"
	"strings"
)

// ParseForwarded reads an address in a list of X-Forwarded-For. Some proxies write the
// port behind it, which is another with each connection.
func ParseForwarded(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	ip, err := netip.ParseAddr(s)
	if err != nil {
		ap, notEither := netip.ParseAddrPort(s)
		if notEither != nil {
			return netip.Addr{}, err
		}
		ip = ap.Addr()
	}
	return plain(ip), nil
}

// Forwarded returns in whose name a request is counted that came with these values
// of X-Forwarded-For: the last address of the list that pass does not pass over, or
// the first one, as Addr has it. What is no address stands for itself, and a request
// without the header is nobody's: "".
//
// pass is told how far from the end of the list an address stands. An address that
// it passes over must be that of a proxy who is believed to have told the truth
// about the one before it.
func Forwarded(values []string, pass func(hop int, ip netip.Addr) bool) string {
	if len(values) == 0 {
		return ""
	}
	chain := values[len(values)-1]
	for hop := 0; ; hop++ {
		i := strings.LastIndexByte(chain, ',')
		last := strings.TrimSpace(chain[i+1:])
		if i < 0 && strings.IndexByte(last, ':') < 0 {
			return last // most often, and no allocation
		}
		ip, err := ParseForwarded(last)
		if err != nil {
			return last
		}
		if i < 0 || !pass(hop, ip) {
			return Addr(ip).String()
		}
		chain = chain[:i]
	}
}
