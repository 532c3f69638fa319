package proxy_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/policy"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// A bad flag, file or address is said in one line that says what would mend it.
func TestConfigErrors(t *testing.T) {
	f := newFiles(t)
	f.write("bad-token", "token-without-a-name\n")
	f.write("bad.pem", "no certificate\n")
	good := proxy.Config{
		Front: "127.0.0.1:0", Control: "127.0.0.1:0", CertFiles: []string{f.path("p.pem")}, KeyFiles: []string{f.path("p.key")},
		Tokens: control.TokenSource{File: f.path("token")},
	}
	acme := func(c *proxy.Config) {
		c.TLS, c.ACMEEmail, c.Domains, c.State = true, "a@example.test", []string{"example.test"}, f.path("state")
	}
	badTable := func() ([]policy.Table, error) { return []policy.Table{{Name: "a_b"}}, nil }
	twoTables := func() ([]policy.Table, error) { return []policy.Table{{Name: "film"}, {Name: "film.example.org"}}, nil }
	for _, c := range []struct {
		name string
		edit func(*proxy.Config)
		want string
	}{
		{"front without a port", func(c *proxy.Config) { c.Front = "localhost" }, `--front "localhost"`},
		{"front with a bad port", func(c *proxy.Config) { c.Front = "localhost:99999" }, `--front "localhost:99999"`},
		{"no control", func(c *proxy.Config) { c.Control = "" }, `--control ""`},
		{"bad admin", func(c *proxy.Config) { c.Admin = "::1:80" }, `--admin "::1:80"`},
		{"negative hold", func(c *proxy.Config) { c.Hold = -1 }, "--hold"},
		{"negative drain", func(c *proxy.Config) { c.Drain = -1 }, "--drain"},
		{"no header bytes", func(c *proxy.Config) { c.MaxHeaderBytes = 10 }, "--max-header-bytes 10"},
		{"more header bytes than a C takes", func(c *proxy.Config) { c.MaxHeaderBytes = 1<<20 + 1 }, "--max-header-bytes 1048577"},
		{"an ALPN that is not spoken", func(c *proxy.Config) { c.ALPN = []string{"h3"} }, `--alpn: "h3"`},
		{"an ALPN twice", func(c *proxy.Config) { c.ALPN = []string{"h2", "h2"} }, "--alpn"},
		{"an empty ALPN", func(c *proxy.Config) { c.ALPN = []string{} }, "--alpn"},
		{"--no-auth on every address", func(c *proxy.Config) { c.NoAuth, c.Control = true, ":1444" }, "--no-auth"},
		{"--no-auth on a name", func(c *proxy.Config) { c.NoAuth, c.Control = true, "example.org:1444" }, "--no-auth"},
		{"a missing certificate", func(c *proxy.Config) { c.CertFiles = []string{f.path("missing.pem")} }, "missing"},
		{"a bad certificate", func(c *proxy.Config) { c.CertFiles = []string{f.path("bad.pem")} }, f.path("bad.pem")},
		{"a bad client CA", func(c *proxy.Config) { c.ClientCAFile = f.path("bad.pem") }, f.path("bad.pem")},
		{"a missing token file", func(c *proxy.Config) { c.Tokens.File = f.path("missing") }, "p invite"},
		{"a token without a name", func(c *proxy.Config) { c.Tokens.File = f.path("bad-token") }, "line 1"},
		{"a missing htpasswd", func(c *proxy.Config) { c.Htpasswd = f.path("missing") }, "htpasswd file " + f.path("missing") + " is missing: "},
		{"a bad domain", func(c *proxy.Config) { c.Domains = []string{"ok.test", "a b"} }, "--domain"},
		{"a domain like another", func(c *proxy.Config) { c.Domains = []string{"pаypal.test"} }, "--domain"},
		{"a public URL with a path", func(c *proxy.Config) { c.PublicURL = "https://example.org/x" }, "--public-url"},
		{"a public URL without a scheme", func(c *proxy.Config) { c.PublicURL = "example.org:443" }, "--public-url"},
		{"a public URL of no host", func(c *proxy.Config) { c.PublicURL = "https://:443" }, "--public-url"},
		{"a public URL of no port", func(c *proxy.Config) { c.PublicURL = "https://a.test:99999" }, "--public-url"},
		{"a certificate without a key", func(c *proxy.Config) { c.KeyFiles = nil }, "--key 0 times"},
		{"--http without TLS", func(c *proxy.Config) { c.HTTP = "127.0.0.1:0" }, "give -t"},
		{"--hsts without TLS", func(c *proxy.Config) { c.HSTS = time.Hour }, "give -t"},
		{"ACME and no way to answer", func(c *proxy.Config) { acme(c); c.TLS = false }, "--acme-dns-exec"},
		{"ACME without a domain", func(c *proxy.Config) { acme(c); c.Domains = nil }, "--domain"},
		{"ACME without a folder", func(c *proxy.Config) { acme(c); c.State = "" }, "--state"},
		{"ACME in a folder below a file", func(c *proxy.Config) { acme(c); c.State = f.path("p.pem") + "/x" }, "--state"},
		{"ACME and a public URL with a path", func(c *proxy.Config) { acme(c); c.PublicURL = "https://example.org/x" }, "--public-url"},
		{"ACME in a folder that is a file", func(c *proxy.Config) { acme(c); c.State = f.path("p.pem") }, "--state"},
		{"ACME by nobody", func(c *proxy.Config) { acme(c); c.ACMEEmail = "me" }, "--acme-email"},
		{"ACME at no CA", func(c *proxy.Config) { acme(c); c.ACMECA = "pebble" }, "--acme-ca"},
		{"ACME without the CA's root", func(c *proxy.Config) { acme(c); c.ACMERootFile = f.path("missing") }, f.path("missing")},
		{"ACME by a program that is not there", func(c *proxy.Config) { acme(c); c.ACMEDNSProgram = f.path("missing") }, "--acme-dns-exec"},
		{"a bad table", func(c *proxy.Config) { c.Policies = badTable }, "[[origin]] 1"},
		{"a bad table beside ACME", func(c *proxy.Config) { acme(c); c.Policies = badTable }, "[[origin]] 1"},
		{"two tables of one origin", func(c *proxy.Config) { c.Policies, c.Domains = twoTables, []string{"example.org"} }, "two tables of this origin"},
		{"a bad network", func(c *proxy.Config) { c.TrustedProxies = []string{"10.0.0.0/33"} }, "--trusted-proxy"},
		{"an access log in no folder", func(c *proxy.Config) { c.AccessLog = f.path("missing/log") }, "--access-log"},
	} {
		cfg := good
		c.edit(&cfg)
		_, err := proxy.New(cfg)
		if _, ok := errors.AsType[*proxy.ConfigError](err); !ok || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want a *ConfigError of one line with %q", c.name, err, c.want)
		} else if strings.Contains(err.Error(), "token-without-a-name") {
			t.Errorf("%s: the token is in the error: %v", c.name, err)
		}
		if _, faults := proxy.Check(cfg); len(faults) != 1 || !strings.Contains(faults[0].Error(), c.want) {
			t.Errorf("%s: Check finds %v, want the same", c.name, faults)
		}
	}
	if _, err := proxy.New(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	cfg := good
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg.Front = ln.Addr().String()
	x, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Listen(); err == nil || !strings.Contains(err.Error(), "another program listens there") {
		t.Errorf("a port in use: got %v", err)
	}
}

// A check asks no CA and makes no folder.
func TestCheckOfACMEChangesNothing(t *testing.T) {
	f := newFiles(t)
	found, faults := proxy.Check(proxy.Config{
		Front: "127.0.0.1:0", Control: "127.0.0.1:0", Tokens: control.TokenSource{File: f.path("token")}, TLS: true,
		Domains: []string{"example.test"}, ACMEEmail: "a@example.test", State: f.path("state"),
	})
	if len(faults) > 0 || !strings.Contains(strings.Join(found, "\n"), "certificates by ACME") {
		t.Errorf("got %q, %v", found, faults)
	}
	if _, err := os.Stat(f.path("state")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v, want none", err)
	}
}
