package front

import (
	"net/netip"

	"github.com/amahi/spdy-proxy/internal/addrkey"
)

// loads is what each address has, by addrkey.Addr, and each IPv6 site. The zero
// value is empty.
type loads struct{ one, wide map[netip.Addr]load }

// load is what the requests of an address hold.
type load struct {
	requests int
	bytes    int64 // of their heads
}

// add returns what who has now, and what its IPv6 site has; nothing for the latter
// if it has none.
func (l *loads) add(who netip.Addr, requests, bytes int) (one, wide load) {
	if l.one == nil {
		*l = loads{make(map[netip.Addr]load), make(map[netip.Addr]load)}
	}
	one = count(l.one, who, requests, bytes)
	if who.Is6() {
		wide = count(l.wide, addrkey.Site(who), requests, bytes)
	}
	return one, wide
}

func count(loads map[netip.Addr]load, key netip.Addr, requests, bytes int) load {
	l := loads[key]
	l.requests += requests
	l.bytes += int64(bytes)
	if l.requests == 0 {
		delete(loads, key)
	} else {
		loads[key] = l
	}
	return l
}
