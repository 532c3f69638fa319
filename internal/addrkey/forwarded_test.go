package addrkey

import (
	"net/netip"
	"testing"
)

func TestForwarded(t *testing.T) {
	private := func(_ int, ip netip.Addr) bool { return ip.IsPrivate() }
	for _, test := range []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"192.0.2.1"}, "192.0.2.1"},
		{[]string{"6.6.6.6", "192.0.2.1"}, "192.0.2.1"},
		{[]string{" 192.0.2.1 ,10.0.0.1"}, "192.0.2.1"},
		{[]string{"10.0.0.2, 10.0.0.1"}, "10.0.0.2"},
		{[]string{"::ffff:10.0.0.1"}, "10.0.0.1"},
		{[]string{"192.0.2.1, ::ffff:10.0.0.1"}, "192.0.2.1"},
		{[]string{"192.0.2.1, not an address, 10.0.0.1"}, "not an address"},
		{[]string{"192.0.2.1, 2001:db8:1:2::3%eth0"}, "2001:db8:1:2::"},
		{[]string{"192.0.2.1:4711"}, "192.0.2.1"},
		{[]string{"192.0.2.1:4711, 10.0.0.1:80"}, "192.0.2.1"},
		{[]string{"[2001:db8:1:2::3]:4711, 10.0.0.1"}, "2001:db8:1:2::"},
		{[]string{"192.0.2.1:port, 10.0.0.1"}, "192.0.2.1:port"},
		{[]string{","}, ""},
	} {
		if got := Forwarded(test.values, private); got != test.want {
			t.Errorf("%q: got %q, want %q", test.values, got, test.want)
		}
	}
	values := []string{"192.0.2.1"}
	if n := testing.AllocsPerRun(100, func() { Forwarded(values, private) }); n > 0 {
		t.Errorf("%v allocations for a visitor without a proxy", n)
	}
}

func TestForwardedTellsTheHop(t *testing.T) {
	var hops []int
	got := Forwarded([]string{"192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4"}, func(hop int, _ netip.Addr) bool {
		hops = append(hops, hop)
		return hop < 2
	})
	if got != "192.0.2.2" || len(hops) != 3 || hops[2] != 2 {
		t.Errorf("got %q after hops %v, want 192.0.2.2 after 0, 1 and 2", got, hops)
	}
}
