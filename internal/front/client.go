package front

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// peerOf returns the address that a request came from.
func peerOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// peerText returns peer as text, the part of remote that it was read from if it
// stands there like that, as an IPv4 address does.
func peerText(remote string, peer netip.Addr) string {
	if host, port, _ := strings.Cut(remote, ":"); peer.Is4() && strings.IndexByte(port, ':') < 0 {
		return host
	}
	return peer.String()
}

// trusts reports whether what addr claims is believed.
func (h *Handler) trusts(addr netip.Addr) bool {
	return addrkey.In(addr, h.cfg.TrustedProxies)
}

// clientOf follows X-Forwarded-For back from the peer as far as it is believed.
func (h *Handler) clientOf(r *http.Request, peer netip.Addr) netip.Addr {
	addr := peer
	chain := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(chain) - 1; i >= 0 && h.trusts(addr); i-- {
		next, err := addrkey.ParseForwarded(chain[i])
		if err != nil {
			break
		}
		addr = next
	}
	return addr
}
