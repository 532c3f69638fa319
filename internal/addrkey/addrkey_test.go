package addrkey

import (
	"net/netip"
	"testing"
)

func TestKeys(t *testing.T) {
	for _, test := range []struct{ ip, addr, site, net, text string }{
		{"192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.0", "192.0.2.7"},
		{"::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.0", "192.0.2.7"},
		{"2001:db8:1:2:3::4", "2001:db8:1:2::", "2001:db8:1::", "2001:db8:1::", "2001:db8:1:2::/64"},
		{"2001:db8:1:ffff:ffff:ffff:ffff:ffff", "2001:db8:1:ffff::", "2001:db8:1::", "2001:db8:1::", "2001:db8:1:ffff::/64"},
		{"fe80::1%lo", "fe80::", "fe80::", "fe80::", "fe80::/64"},
		{"::1", "::", "::", "::", "::/64"},
	} {
		ip := netip.MustParseAddr(test.ip)
		addr, site, net := Addr(ip), Site(ip), Net(ip)
		if addr.String() != test.addr || site.String() != test.site || net.String() != test.net || Text(ip) != test.text {
			t.Errorf("%s: got %v, %v, %v and %q; want %v, %v, %v and %q", ip, addr, site, net, Text(ip), test.addr, test.site, test.net, test.text)
		}
		if Addr(addr) != addr || Site(addr) != site || Net(addr) != net || Net(site) != net || Text(addr) != test.text {
			t.Errorf("%s: what was returned counts elsewhere", ip)
		}
	}
	var none netip.Addr
	if Addr(none) != none || Site(none) != none || Net(none) != none || Text(none) != "" {
		t.Error("no address stands for one")
	}
}

func TestKeysAllocateNothing(t *testing.T) {
	ip := netip.MustParseAddr("2001:db8:1:2:3::4")
	if n := testing.AllocsPerRun(100, func() { Addr(ip); Site(ip); Net(ip) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
