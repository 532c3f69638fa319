package proxy_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// Who comes without TLS is sent to the front port.
func TestHTTPPort(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS, c.HTTP, c.HSTS = true, "127.0.0.1:0", time.Hour })
	rt := transport(t, nil, false)
	_, port, _ := net.SplitHostPort(x.FrontAddr().String())
	for _, c := range []struct {
		path, host, location string
		status               int
	}{
		{"/a%2Fb?c=d", "photos.example.test:80", "https://photos.example.test:" + port + "/a%2Fb?c=d", 308},
		{"/.well-known/acme-challenge/unknown", "example.test", "https://example.test:" + port + "/.well-known/acme-challenge/unknown", 308},
		{"/", "a@b", "", 400},
	} {
		a := fetch(deadline(t), rt, "GET", "http://"+x.HTTPAddr().String()+c.path, nil, asked(c.host))
		if got := a.header.Get("Location"); a.err != nil || a.status != c.status || got != c.location {
			t.Errorf("%s of %s: got %v to %q, want %d to %q", c.path, c.host, a, got, c.status, c.location)
		}
		if a.header.Get("Strict-Transport-Security") != "" {
			t.Error("HSTS is said without TLS (RFC 6797, 7.2)")
		}
	}
	a := fetch(deadline(t), rt, "POST", "http://"+x.HTTPAddr().String()+"/", strings.NewReader("body"), nil)
	if a.status != 308 {
		t.Errorf("POST: got %v, want 308", a)
	}
	// Nothing that a visitor does there counts at the front port.
	if x.metric("spdy_proxy_front_connections") != "0" {
		t.Errorf("the front port has %s connections", x.metric("spdy_proxy_front_connections"))
	}
}

// Visitors are sent to where they reach the front port, which may be behind another.
func TestHTTPPortBehindAnother(t *testing.T) {
	for public, want := range map[string]string{"https://example.test": "https://example.test/x", "https://example.test:8443": "https://example.test:8443/x"} {
		x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS, c.HTTP, c.PublicURL = true, "127.0.0.1:0", public })
		a := fetch(deadline(t), transport(t, nil, false), "GET", "http://"+x.HTTPAddr().String()+"/x", nil, asked("example.test"))
		if got := a.header.Get("Location"); a.status != 308 || got != want {
			t.Errorf("%s: got %v to %q, want 308 to %q", public, a, got, want)
		}
	}
}

// HSTS is in every answer by TLS, unless the origin has one of its own.
func TestHSTS(t *testing.T) {
	everyClient(t, func(c *proxy.Config) {
		c.Hold = 0 // nothing comes of waiting for an origin
		if c.TLS {
			c.HSTS = 90 * time.Minute
		}
	}, func(t *testing.T, x *p, rt http.RoundTripper) {
		want := map[bool]string{true: "max-age=5400"}[x.cfg.TLS]
		get := func(path, want string) {
			t.Helper()
			a := fetch(deadline(t), rt, "GET", x.url(path), nil, nil)
			if got := fmt.Sprint(a.header["Strict-Transport-Security"]); a.err != nil || got != fmt.Sprint([]string{want}) && (want != "" || got != "[]") {
				t.Errorf("%s: got %v with HSTS %s, want %q", path, a, got, want)
			}
		}
		get("/no-origin", want)
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/own" {
				w.Header().Set("Strict-Transport-Security", "max-age=7; preload")
			}
			fmt.Fprint(w, "c")
		}), nil)
		get("/", want)
		get("/own", "max-age=7; preload")
	})
}
