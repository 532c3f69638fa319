package proxy

import (
	"net/http"
	"net/netip"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// visitorKey returns whom a request to an origin is for, as X-Forwarded-For says,
// whose last element the front has put there itself: the last address that is not
// a trusted proxy's, of IPv6 its /64, which is what one visitor has. Whatever else
// stands there is a visitor of its own. A C has the same rule, but does not know
// which proxies are trusted: see agent.Visitor.
func (p *Proxy) visitorKey(r *http.Request) string {
	return addrkey.Forwarded(r.Header["X-Forwarded-For"], func(_ int, ip netip.Addr) bool {
		return addrkey.In(ip, p.trusted)
	})
}
