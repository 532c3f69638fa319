package front

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/originname"
)

func TestParseHost(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"Example.ORG", "example.org"},
		{"example.org.", "example.org"},
		{"example.org:1443", "example.org"},
		{"example.org.:1443", "example.org"},
		{"example.org:", "example.org"},
		{"127.0.0.1:80", "127.0.0.1"},
		{"[::1]", "[::1]"},
		{"[::1]:80", "[::1]"},
		{"[2001:DB8::1]:80", "[2001:db8::1]"},
		{"a_b.example.org", "a_b.example.org"},
	} {
		if got, err := parseHost(test.in); err != nil || got != test.want {
			t.Errorf("parseHost(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{
		".", "..", ".example.org", "example..org", "example.org..", "exa mple.org", "a@example.org", "example.org:80:80",
		"example.org:port", "example.org:123456", "ex%61mple.org", "[::1", "[::1]x", "[::1%25eth0]", "exämple.org", "a/b", "a\x00b", ":80",
		"a\\b", "a#b", "a?b",
	} {
		if got, err := parseHost(in); err == nil {
			t.Errorf("parseHost(%q) = %q, want an error", in, got)
		}
	}
}

func domains(t testing.TB, list ...string) originname.Domains {
	t.Helper()
	d, err := originname.ParseDomains(list)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRoute(t *testing.T) {
	both := domains(t, "example.org", "*.sub.example.org")
	own := func(hosts ...string) func(string) bool {
		return func(host string) bool { return slices.Contains(hosts, host) }
	}
	for _, test := range []struct {
		host    string
		domains originname.Domains
		own     func(string) bool
		want    origin.Name
		ok      bool
	}{
		{"anything.at.all", nil, nil, "", true},
		{"films.example.org", both, nil, "films", true},
		{"films.sub.example.org", both, nil, "films", true},
		{"sub.example.org", both, nil, "sub", true}, // NAME.D before the default origin
		{"example.org", both, nil, "", true},
		{"other.net", both, nil, "", true},
		{"filmsexample.org", both, nil, "", true},
		{"127.0.0.1", both, nil, "", true},
		{"a.films.example.org", both, nil, "", false},
		{"-a.example.org", both, nil, "", false},
		{"a_b.example.org", both, nil, "", false},
		{"*.example.org", both, nil, "", false},
		{".example.org", both, nil, "", false},
		// Names of their own.
		{"photos.example.net", both, own("photos.example.net"), "photos.example.net", true},
		{"photos.example.net", nil, own("photos.example.net"), "photos.example.net", true},
		{"a.photos.example.net", nil, own("photos.example.net"), "", true},
		{"a.films.example.org", both, own("a.films.example.org"), "a.films.example.org", true},
		{"films.example.org", both, own("films.example.org"), "films", true}, // it is one origin with the label
		{"example.org", both, own("example.org"), "example.org", true},
	} {
		h, err := New(Config{Origins: origin.NewTable(origin.Config{}), Domains: test.domains, Own: test.own})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := h.Route(test.host)
		if got != test.want || ok != test.ok {
			t.Errorf("%q is %q, %v; want %q, %v", test.host, got, ok, test.want, test.ok)
		}
	}
}

func TestDomain(t *testing.T) {
	s := newStage(t, func(c *Config) { c.Domains = domains(t, "Example.Org") })
	answer := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(text)) }
	}
	s.connect(t, "", "", answer("default"))
	s.connect(t, "films", "", answer("films"))
	s.each(t, func(t *testing.T, v *visitor) {
		for _, test := range []struct {
			host   string
			status int
			body   string
		}{
			{"films.example.org", 200, "films"},
			{"FILMS.example.org", 200, "films"},
			{"films.EXAMPLE.org:1443", 200, "films"},
			{"films.example.org.", 200, "films"},
			{"films.example.org.:1443", 200, "films"},
			{"example.org", 200, "default"},
			{"localhost:1443", 200, "default"},
			{"films.example.net", 200, "default"},
			// Below the domain, never the default origin.
			{"books.example.org", 503, ""},
			{"a.films.example.org", 503, ""},
			{"films_.example.org", 503, ""},
			{"-.example.org", 503, ""},
			{"films.example.org:x", 400, ""},
			{".example.org", 400, ""},
			{"films..example.org", 400, ""},
			{"films.example.org..", 400, ""},
			{"%66ilms.example.org", 400, ""},
		} {
			r := v.request(t, "GET", "/", nil)
			r.Host = test.host
			resp, err := v.rt.RoundTrip(r)
			if err != nil && test.status == 400 {
				continue // this client does not even send it
			}
			if err != nil {
				t.Errorf("%s: %v", test.host, err)
				continue
			}
			got := make([]byte, 100)
			n, _ := resp.Body.Read(got)
			resp.Body.Close()
			if resp.StatusCode != test.status || test.body != "" && string(got[:n]) != test.body {
				t.Errorf("Host %q: %d %q, want %d %q", test.host, resp.StatusCode, got[:n], test.status, test.body)
			}
		}
	})
}

// Whatever a Host header says, a host below the domain is one origin or nobody,
// and any other is the default origin.
func FuzzHost(f *testing.F) {
	for _, host := range []string{
		"", "example.org", "films.example.org", "FILMS.Example.Org.:1443", "a.films.example.org", ".example.org", "films..example.org",
		"films.example.org..", "[::1]:80", "[::1", "[fe80::1%25eth0]", "127.0.0.1", "a@films.example.org", "films.example.org:80:80", "%66ilms.example.org",
		"films.example.org/", "films_.example.org", "-.example.org", "xn--bcher-kva.example.org", "@.example.org", "*.example.org", "filmsexample.org",
		"films.example.org\x00", "films.example.org:99999", "films.example.org:", "exämple.org", strings.Repeat("a", 64) + ".example.org",
	} {
		f.Add(host, "example.org")
	}
	f.Add("a.b", "")
	f.Add("a.b", ".B.")
	f.Add("a.[::1]", "[::1]")
	f.Fuzz(func(t *testing.T, text, domainText string) {
		host, err := parseHost(text)
		if err != nil {
			return
		}
		if again, err := parseHost(host); err != nil || again != host {
			t.Fatalf("parseHost(%q) = %q, of which it makes %q, %v", text, host, again, err)
		}
		if host != strings.ToLower(host) || strings.HasSuffix(host, ".") || strings.ContainsAny(host, " \t\r\n\x00/?#@\\%") {
			t.Fatalf("parseHost(%q) = %q", text, host)
		}
		if len(text) >= len(host) && !strings.HasPrefix(strings.ToLower(text), host) {
			t.Fatalf("parseHost(%q) = %q, which is not its beginning", text, host)
		}
		list, err := originname.ParseDomains([]string{domainText})
		if err != nil || len(list) != 1 {
			return
		}
		domain := list[0]
		name, ok := (&Handler{cfg: Config{Domains: list}}).Route(host)
		below := strings.HasSuffix(host, "."+domain)
		switch {
		case name != "" && (!ok || string(name)+"."+domain != host):
			t.Errorf("host %q of the domain %q is origin %q, %v", host, domain, name, ok)
		case name == "" && ok == below:
			t.Errorf("host %q of the domain %q: default origin %v", host, domain, ok)
		}
		if name != "" {
			if !originname.IsLabel(string(name)) {
				t.Errorf("host %q is origin %q, which is no name", host, name)
			}
		}
	})
}
