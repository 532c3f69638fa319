package proxy_test

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// A full host name is routed by exactly that host, there or not; below a domain it
// is one origin with its label.
func TestHostNames(t *testing.T) {
	f := newFiles(t)
	f.write("token", "good-token * photos.example.net *.example.com münchen.example.net\n")
	x := startP(t, f, func(c *proxy.Config) { c.Domains, c.Hold = []string{"*.example.test", "example.org"}, 0 })
	startC(t, x, hello("default"), nil)
	startC(t, x, hello("film"), func(c *agent.Config) { c.Name = "film.example.test" })
	photos := startC(t, x, hello("photos"), func(c *agent.Config) { c.Name = "Photos.example.net" })
	startC(t, x, hello("wiki"), func(c *agent.Config) { c.Name = "wiki.a.example.com" })
	startC(t, x, hello("münchen"), func(c *agent.Config) { c.Name = "münchen.example.net" })
	rt := transport(t, nil, false)
	ask := func(host string, status int, by string) {
		t.Helper()
		a := fetch(deadline(t), rt, "GET", x.url("/"), nil, asked(host))
		if status == 200 {
			want(t, host, a, 200, by+" GET")
		} else if a.err != nil || a.status != status {
			t.Errorf("%s: got %v, want %d", host, a, status)
		}
	}
	ask("photos.example.net", 200, "photos")
	ask("PHOTOS.Example.Net.:1443", 200, "photos")
	ask("a.photos.example.net", 200, "default")
	ask("example.net", 200, "default")
	ask("wiki.a.example.com", 200, "wiki")
	ask("film.example.test", 200, "film")
	ask("film.example.org", 200, "film")
	ask("xn--mnchen-3ya.example.net", 200, "münchen")
	for _, name := range []string{"film", "film.example.test", "FILM.example.org", "photos.example.net", "münchen.example.net"} {
		if !x.Connected(name) {
			t.Errorf("%s is not connected, by its name", name)
		}
	}
	// Named by a token, and not there: nobody's.
	ask("other.example.com", 503, "")
	photos.stop()
	x.log.wait("origin disconnected", 1)
	ask("photos.example.net", 503, "")
	// The operator reads it as it was written.
	if !strings.Contains(x.log.String(), "written=münchen.example.net") {
		t.Error("the log does not show the name as it was written")
	}
	if _, page := x.adminGet("/"); !strings.Contains(page, "xn--mnchen-3ya.example.net <small>münchen.example.net</small>") {
		t.Error("the page does not show the name as it was written")
	}
}

// C is told under which addresses visitors reach it, and says so; and where there
// is none, P, its page and C say it.
func TestReach(t *testing.T) {
	for _, test := range []struct {
		what    string
		edit    func(c *proxy.Config)
		name    string
		urls    []string // PORT is the front port's
		warning string
	}{
		{"no domain, default origin", nil, "", []string{"http://127.0.0.1:PORT/"}, ""},
		{"no domain, a label", nil, "film", nil, "film.example.org"},
		{"no domain, a host name", nil, "photos.example.net", []string{"http://photos.example.net:PORT/"}, ""},
		{"TLS", func(c *proxy.Config) { c.TLS = true }, "", []string{"https://127.0.0.1:PORT/"}, ""},
		{"every address", func(c *proxy.Config) { c.Front = ":0" }, "", []string{"http://127.0.0.1:PORT/"}, ""}, // as C has dialled
		{"two domains", func(c *proxy.Config) { c.Domains = []string{"a.test", "b.test"} }, "film", []string{"http://film.a.test:PORT/", "http://film.b.test:PORT/"}, ""},
		{"two domains, default origin", func(c *proxy.Config) { c.Domains = []string{"a.test", "b.test"} }, "", []string{"http://a.test:PORT/", "http://b.test:PORT/"}, ""},
		{"a host name below a domain", func(c *proxy.Config) { c.Domains = []string{"a.test"} }, "film.a.test", []string{"http://film.a.test:PORT/"}, ""},
		{"domains that are names", func(c *proxy.Config) { c.Domains = []string{"x.example.net"} }, "", nil, "default origin"},
		{"behind something", func(c *proxy.Config) { c.PublicURL, c.Domains = "https://p.test", []string{"a.test"} }, "film", []string{"https://film.a.test/"}, ""},
		{"behind something, default origin", func(c *proxy.Config) { c.PublicURL = "https://P.test:8443" }, "", []string{"https://p.test:8443/"}, ""},
		{"behind something by its port", func(c *proxy.Config) { c.PublicURL = "http://[2001:db8::1]:80" }, "", []string{"http://[2001:db8::1]/"}, ""},
	} {
		t.Run(test.what, func(t *testing.T) {
			f := newFiles(t)
			f.write("token", "good-token * photos.example.net x.example.net\n")
			x := startP(t, f, test.edit)
			_, port, _ := net.SplitHostPort(x.FrontAddr().String())
			var urls []string
			for _, u := range test.urls {
				urls = append(urls, strings.ReplaceAll(u, "PORT", port))
			}
			conn := register(t, x, test.name, "a.0")
			if !slices.Equal(conn.URLs, urls) || (test.warning == "") != (conn.Warning == "") || !strings.Contains(conn.Warning, test.warning) {
				t.Errorf("C is told %q and %q, want %q and %q", conn.URLs, conn.Warning, urls, test.warning)
			}
			_, page := x.adminGet("/")
			if got := strings.Contains(page, "unreachable"); got != (test.warning != "") {
				t.Errorf("the page says unreachable: %v, with %q", got, conn.Warning)
			}
			for _, u := range urls {
				if host := strings.TrimSuffix(u, "/"); !strings.HasPrefix(host, "http://127.") && !strings.Contains(page, fmt.Sprintf("href=%q", u)) {
					t.Errorf("the page has no link to %s", u)
				}
			}
			// Once, however often C comes.
			for range 5 {
				register(t, x, test.name, "a.0")
			}
			lines := 0
			if test.warning != "" {
				lines = 1
			}
			if got := x.log.count("level=WARN msg=\"an origin that no visitor reaches is connected\""); got != lines {
				t.Errorf("P says %d times that no visitor reaches it, want %d", got, lines)
			}
		})
	}
}

// A host for which there is no certificate is said when P starts or reads its files
// again, when the origin comes, on the page, and to C.
func TestCertificateLacks(t *testing.T) {
	const why = "browsers do not accept this proxy's certificate for "
	for _, test := range []struct {
		what   string
		certs  []string // what there is one for, beside localhost
		edit   func(c *proxy.Config)
		name   string
		start  string // the hosts that P names at its start
		told   string // those that C is told of
		page   bool   // says that nobody reaches it
		tokens string
	}{
		{what: "none", name: "film", start: "*.a.test, *.b.test, x.test", told: "film.a.test, film.b.test", page: true},
		{what: "one of two", certs: []string{"*.a.test"}, name: "film", start: "*.b.test, x.test", told: "film.b.test"},
		{what: "all", certs: []string{"*.a.test", "*.b.test", "x.test"}, name: "film"},
		{what: "a host of its own", certs: []string{"*.a.test", "*.b.test"}, name: "x.test", start: "x.test", told: "x.test", page: true},
		{what: "names alone", certs: []string{"film.a.test"}, name: "film", tokens: "good-token film\n", start: "film.b.test", told: "film.b.test"},
		{what: "no TLS", edit: func(c *proxy.Config) { c.TLS = false }, name: "film"},
		{what: "something stands before it", edit: func(c *proxy.Config) { c.PublicURL = "https://a.test" }, name: "film"},
	} {
		t.Run(test.what, func(t *testing.T) {
			f := newFiles(t)
			f.write("token", cmp.Or(test.tokens, "good-token * x.test\n"))
			x := startP(t, f, func(c *proxy.Config) {
				c.TLS, c.Domains = true, []string{"a.test", "b.test"}
				for i, host := range test.certs {
					name := fmt.Sprint("more", i)
					f.leaf(name, f.ca, host)
					c.CertFiles, c.KeyFiles = append(c.CertFiles, f.path(name+".pem")), append(c.KeyFiles, f.path(name+".key"))
				}
				if test.edit != nil {
					test.edit(c)
				}
			})
			said := func(hosts string, n int, log *journal) {
				t.Helper()
				if got := log.count(why); (hosts != "") != (got > 0) || hosts != "" && (got != n || log.count(why+hosts+": ") != n) {
					t.Errorf("%d lines about certificates, want %d for %q", got, n, hosts)
				}
			}
			x.log.wait("p listens", 1)
			said(test.start, 1, x.log)
			x.Reload()
			said(test.start, 2, x.log)
			conn := register(t, x, test.name, "a.0")
			if len(conn.URLs) == 0 || (test.told == "") != (conn.Warning == "") || test.told != "" && !strings.HasPrefix(conn.Warning, why+test.told+": give p one") {
				t.Errorf("C is told %q and %q", conn.URLs, conn.Warning)
			}
			if n := x.log.count("an origin that not every visitor reaches is connected"); (n == 1) != (test.told != "") {
				t.Errorf("%d lines about the origin", n)
			}
			if _, page := x.adminGet("/"); strings.Contains(page, "unreachable") != test.page {
				t.Errorf("the page says that nobody reaches it: %v", !test.page)
			}
		})
	}
}

// Without authentication a host name is its origin's while it is there.
func TestHostNamesNoAuth(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.NoAuth = true })
	startC(t, x, hello("default"), nil)
	startC(t, x, hello("photos"), func(c *agent.Config) { c.Name = "photos.example.net" })
	rt := transport(t, nil, false)
	want(t, "its host", fetch(deadline(t), rt, "GET", x.url("/"), nil, asked("photos.example.net")), 200, "photos GET")
	want(t, "another", fetch(deadline(t), rt, "GET", x.url("/"), nil, asked("wiki.example.net")), 200, "default GET")
}
