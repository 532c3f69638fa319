package front

import (
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/origin"
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

func TestRoute(t *testing.T) {
	for _, test := range []struct {
		host, domain string
		want         origin.Name
		ok           bool
	}{
		{"anything.at.all", "", "", true},
		{"films.example.org", "example.org", "films", true},
		{"example.org", "example.org", "", true},
		{"other.net", "example.org", "", true},
		{"filmsexample.org", "example.org", "", true},
		{"127.0.0.1", "example.org", "", true},
		{"a.films.example.org", "example.org", "", false},
		{"-a.example.org", "example.org", "", false},
		{"a_b.example.org", "example.org", "", false},
		{"*.example.org", "example.org", "", false},
		{".example.org", "example.org", "", false},
	} {
		got, ok := route(test.host, test.domain)
		if got != test.want || ok != test.ok {
			t.Errorf("route(%q, %q) = %q, %v; want %q, %v", test.host, test.domain, got, ok, test.want, test.ok)
		}
	}
}

func TestParseDomain(t *testing.T) {
	for in, want := range map[string]string{"example.org": "example.org", "Example.Org.": "example.org", ".example.org": "example.org", "localhost": "localhost"} {
		if got, err := parseDomain(in); err != nil || got != want {
			t.Errorf("parseDomain(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{".", "example.org:80", "[::1]", "a b", "http://example.org"} {
		if got, err := parseDomain(in); err == nil {
			t.Errorf("parseDomain(%q) = %q, want an error", in, got)
		}
	}
	if _, err := New(Config{Domain: "a b"}); err == nil {
		t.Error("New took a domain that is none")
	}
}

func TestDomain(t *testing.T) {
	s := newStage(t, func(c *Config) { c.Domain = "Example.Org" })
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
		domain, err := parseDomain(domainText)
		if err != nil {
			return
		}
		name, ok := route(host, domain)
		below := strings.HasSuffix(host, "."+domain)
		switch {
		case name != "" && (!ok || string(name)+"."+domain != host):
			t.Errorf("host %q of the domain %q is origin %q, %v", host, domain, name, ok)
		case name == "" && ok == below:
			t.Errorf("host %q of the domain %q: default origin %v", host, domain, ok)
		}
		if name != "" {
			if parsed, err := origin.ParseName(string(name)); err != nil || parsed != name || strings.ContainsAny(string(name), ".:[]_") {
				t.Errorf("host %q is origin %q, which is no name", host, name)
			}
		}
	})
}
