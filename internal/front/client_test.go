package front

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/addrkey"
	"github.com/amahi/spdy-proxy/internal/origin"
)

func TestPeerText(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":            "192.0.2.1",
		"[2001:db8::1]:80":        "2001:db8::1",
		"[2001:DB8:0:0::1]:80":    "2001:db8::1",
		"[::ffff:192.0.2.1]:80":   "192.0.2.1",
		"[fe80::1%eth0]:80":       "fe80::1",
		"[::ffff:192.0.2.1%x]:80": "192.0.2.1",
	} {
		peer := peerOf(&http.Request{RemoteAddr: remote})
		if got := peerText(remote, peer); got != want || netip.MustParseAddr(got) != peer {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
}

// Who a request is from is said by those alone who are trusted.
func FuzzForwardedFor(f *testing.F) {
	f.Add("192.0.2.1:80", "X-Forwarded-For", "6.6.6.6")
	f.Add("10.0.0.1:80", "X-Forwarded-For", "6.6.6.6, 192.0.2.7\n10.1.2.3")
	f.Add("[2001:db8::1]:80", "x_forwarded_for", "::1")
	f.Add("10.0.0.1:80", "Forwarded", `for="[2001:db8::17]:4711";proto=https`)
	f.Add("10.0.0.1:80", "X-Forwarded-For", " , ,10.0.0.2,,[::ffff:10.0.0.3]:80,unknown")
	f.Add("[::ffff:10.0.0.1]:80", "X-Forwarded-For", "fe80::1%eth0, ::ffff:10.0.0.9, 10.0.0.1")
	f.Add("10.0.0.1:80", "X-Forwarded-Proto", "HTTPS")
	f.Add("10.0.0.1:80", "X-Forwarded-Host", "a\"b")
	f.Add("10.0.0.1:80", "X-Request-Id", "abc")
	f.Add("pipe", "X-Real-Ip", "1.2.3.4")
	trusted := netip.MustParsePrefix("10.0.0.0/8")
	h, err := New(Config{Origins: origin.NewTable(origin.Config{}), TrustedProxies: []netip.Prefix{trusted}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, remote, name, values string) {
		r := httptest.NewRequest("GET", "/", nil)
		name = http.CanonicalHeaderKey(name)
		r.RemoteAddr, r.Header[name] = remote, strings.Split(values, "\n")
		e := h.begin(httptest.NewRecorder(), r)
		defer e.end()
		peer, client := e.rec.Peer, e.rec.Client
		believed := peer.IsValid() && trusted.Contains(peer)
		if !believed && client != peer {
			t.Fatalf("from %q: %s: %q makes the client %v of the peer %v", remote, name, values, client, peer)
		}
		if client.IsValid() && (client.Zone() != "" || client.Is4In6()) {
			t.Fatalf("the client is %v", client)
		}
		if client != peer {
			// It stands in the list, and all behind it are trusted.
			list := strings.Split(strings.ReplaceAll(values, "\n", ","), ",")
			i := slices.IndexFunc(list, func(s string) bool {
				a, err := addrkey.ParseForwarded(s)
				return err == nil && a == client
			})
			if name != "X-Forwarded-For" || i < 0 {
				t.Fatalf("%s: %q makes the client %v", name, values, client)
			}
		}
		out, failed := e.request()
		if failed != nil {
			return
		}
		last := "unknown"
		if peer.IsValid() {
			last = peer.String()
		}
		forwarded := out.Header["X-Forwarded-For"]
		if len(forwarded) != 1 || !strings.HasSuffix(forwarded[0], last) || !believed && forwarded[0] != last {
			t.Errorf("from %q: %s: %q becomes X-Forwarded-For: %q", remote, name, values, forwarded)
		}
		if proto := out.Header["X-Forwarded-Proto"]; len(proto) != 1 || proto[0] != "http" && (!believed || proto[0] != "https") {
			t.Errorf("from %q: %s: %q becomes X-Forwarded-Proto: %q", remote, name, values, proto)
		}
		if host := out.Header["X-Forwarded-Host"]; !believed && (len(host) != 1 || host[0] != r.Host) {
			t.Errorf("from %q: %s: %q becomes X-Forwarded-Host: %q", remote, name, values, host)
		}
		if id := out.Header["X-Request-Id"]; len(id) != 1 || !validRequestID(id[0]) || !believed && slices.Contains(r.Header[name], id[0]) {
			t.Errorf("from %q: %s: %q becomes X-Request-Id: %q", remote, name, values, id)
		}
		for key := range out.Header {
			own := []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id"}
			if claims(key) && !slices.Contains(own, key) && (!believed || strings.Contains(key, "_")) {
				t.Errorf("from %q: %s: %q was passed on as %s", remote, name, values, key)
			}
		}
	})
}
