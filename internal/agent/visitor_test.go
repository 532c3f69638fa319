package agent

import (
	"net/http"
	"testing"
)

func TestVisitor(t *testing.T) {
	for _, test := range []struct{ what, forwarded, want string }{
		{"a visitor", "192.0.2.1", "192.0.2.1"},
		{"nobody knows", "unknown", "unknown"},
		{"one address of a /64", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"another of it", "2001:db8:1:2::7", "2001:db8:1:2::"},
		{"a visitor of a proxy that P trusts", "192.0.2.1, 10.0.0.1", "192.0.2.1"},
		{"one who claimed to be another", "203.0.113.9, 192.0.2.1, 10.0.0.1", "192.0.2.1"},
		{"one of a /64, of a proxy with IPv6", "2001:db8:1:2::8,2001:db8::1", "2001:db8:1:2::"},
		{"a proxy that does not know either", "unknown, 10.0.0.1", "unknown"},
	} {
		r := &http.Request{Header: http.Header{"X-Forwarded-For": {test.forwarded}}}
		if got := Visitor(r); got != test.want {
			t.Errorf("%s: %q: got %q, want %q", test.what, test.forwarded, got, test.want)
		}
	}
	if got := Visitor(&http.Request{}); got != "" {
		t.Errorf("without the header: got %q, want none", got)
	}
}
