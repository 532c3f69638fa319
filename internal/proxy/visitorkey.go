package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// visitorKey returns whom a request to an origin is for, as X-Forwarded-For says,
// whose last element the front has put there itself: the last address that is not
// a trusted proxy's, of IPv6 its /64, which is what one visitor has. Whatever else
// stands there is a visitor of its own. It is the same text that a C goes by, where
// there is no proxy in front and no IPv6.
func (p *Proxy) visitorKey(r *http.Request) string {
	values := r.Header["X-Forwarded-For"]
	if len(values) == 0 {
		return ""
	}
	chain := values[len(values)-1]
	for {
		i := strings.LastIndexByte(chain, ',')
		last := strings.TrimSpace(chain[i+1:])
		if len(p.trusted) == 0 && strings.IndexByte(last, ':') < 0 {
			return last // most often, and no allocation
		}
		addr, err := netip.ParseAddr(last)
		if err != nil {
			return last
		}
		addr = addr.Unmap().WithZone("")
		if i >= 0 && slices.ContainsFunc(p.trusted, func(t netip.Prefix) bool { return t.Contains(addr) }) {
			chain = chain[:i]
			continue
		}
		return addrkey.Addr(addr).String()
	}
}
