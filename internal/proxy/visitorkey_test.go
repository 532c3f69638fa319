package proxy

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestVisitorKey(t *testing.T) {
	for _, test := range []struct{ what, trusted, forwarded, want string }{
		{"a visitor", "", "192.0.2.1", "192.0.2.1"},
		{"this machine", "", "127.0.0.1", "127.0.0.1"},
		{"nobody knows", "", "unknown", "unknown"},
		{"one address of a /64", "", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"a link-local one", "", "fe80::1%eth0", "fe80::"},
		{"IPv4 in IPv6", "", "::ffff:192.0.2.1", "192.0.2.1"},
		{"what a visitor claims is not there", "10.0.0.0/8", "192.0.2.1", "192.0.2.1"},
		{"a trusted proxy's visitor", "10.0.0.0/8", "192.0.2.1, 10.0.0.1", "192.0.2.1"},
		{"through two of them", "10.0.0.0/8", "203.0.113.9, 192.0.2.1,10.1.1.1 , 10.0.0.1", "192.0.2.1"},
		{"its own request", "10.0.0.0/8", "10.0.0.1", "10.0.0.1"},
		{"it does not know either", "10.0.0.0/8", "unknown, 10.0.0.1", "unknown"},
	} {
		p := new(Proxy)
		if test.trusted != "" {
			p.trusted = []netip.Prefix{netip.MustParsePrefix(test.trusted)}
		}
		r := &http.Request{Header: http.Header{"X-Forwarded-For": {test.forwarded}}}
		if got := p.visitorKey(r); got != test.want {
			t.Errorf("%s: %q: got %q, want %q", test.what, test.forwarded, got, test.want)
		}
	}
	if got := new(Proxy).visitorKey(&http.Request{}); got != "" {
		t.Errorf("without the header: got %q, want none", got)
	}
}
