package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// The control port's table, from outside.
func TestControlPort(t *testing.T) {
	f := newFiles(t)
	f.write("token", "good-token *\nfilm-token film @\n")
	x := startP(t, f, nil)
	client := &http.Client{Transport: clients[1].make(t, x)}
	for _, c := range []struct {
		name, method, path, token, body string
		status                          int
		header, value                   string
	}{
		{"401 no token", "PUT", "/", "", "", 401, "WWW-Authenticate", "Bearer"},
		{"401 not one that P knows", "PUT", "/", "Bearer bad", "", 401, "WWW-Authenticate", "Bearer"},
		{"401 judged before the name", "PUT", "/-bad-", "Bearer bad", "", 401, "WWW-Authenticate", "Bearer"},
		{"403 may not register this name", "PUT", "/music", "Bearer film-token", "", 403, "", ""},
		{"400 not a valid name", "PUT", "/-bad-", "Bearer good-token", "", 400, "", ""},
		{"403 a host name that no token has", "PUT", "/photos.example.com", "Bearer good-token", "", 403, "", ""},
		{"400 a path of two names", "PUT", "/a/b", "Bearer good-token", "", 400, "", ""},
		{"405 another method", "GET", "/", "Bearer good-token", "", 405, "Allow", "PUT"},
		{"405 whatever the path", "POST", "/any/thing", "", "", 405, "Allow", "PUT"},
		{"200 who asks whether it would be taken", "OPTIONS", "/film", "Bearer good-token", "", 200, "Spdy-Proxy-Serving", "0"},
		{"413 a body over 4 KiB", "PUT", "/", "Bearer good-token", strings.Repeat("x", 4097), 413, "", ""},
	} {
		req, err := http.NewRequestWithContext(deadline(t), c.method, "https://"+x.ControlAddr().String()+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			req.Header.Set("Authorization", c.token)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != c.status || c.header != "" && res.Header.Get(c.header) != c.value {
			t.Errorf("%s: got %d %q, want %d %q", c.name, res.StatusCode, res.Header.Get(c.header), c.status, c.value)
		}
	}
	// None of them left anything behind, and the right one is let in.
	if n := x.log.count("origin connected"); n != 0 {
		t.Errorf("%d origins connected, want none", n)
	}
	if strings.Contains(x.log.String(), "good-token") || strings.Contains(x.log.String(), "film-token") {
		t.Error("a token is in the log")
	}
	if got := register(t, x, "film", "x.0").Server; got == "" {
		t.Error("no Spdy-Proxy-Server in the 200")
	}
	var said string
	if err := dialer(t, x, "film", "", "good-token").Probe(deadline(t), func(found string) { said += found + "\n" }); err != nil || !strings.Contains(said, "shared with the connection") {
		t.Errorf("who asks is told %q, %v", said, err)
	}
}

// 429 with Retry-After: too many refused attempts from that address.
func TestControlPort429(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	for n := range 200 {
		_, err := dialer(t, x, "", "x.0", "bad-token").Dial(deadline(t))
		refused, ok := errors.AsType[*control.RefusedError](err)
		if !ok {
			t.Fatalf("got %v, want a refusal", err)
		}
		if refused.Status == 429 {
			if refused.RetryAfter <= 0 {
				t.Error("no Retry-After")
			}
			return
		}
		if refused.Status != 401 {
			t.Fatalf("attempt %d: got %d, want 401 or 429", n, refused.Status)
		}
	}
	t.Error("200 attempts with a bad token, and no 429")
}

// --client-ca: a C must also show a certificate signed by this CA.
func TestClientCA(t *testing.T) {
	f := newFiles(t)
	f.leaf("c", f.ca, "c")
	f.leaf("foreign", f.authority("foreign-ca.pem"), "c")
	x := startP(t, f, func(c *proxy.Config) { c.ClientCAFile = f.path("ca.pem") })
	for _, c := range []struct {
		name string
		ok   bool
	}{{"", false}, {"foreign", false}, {"c", true}} {
		files := control.ClientTLS{CAFile: f.path("ca.pem"), ServerName: "localhost"}
		if c.name != "" {
			files.CertFile, files.KeyFile = f.path(c.name+".pem"), f.path(c.name+".key")
		}
		conf, err := files.Load()
		if err != nil {
			t.Fatal(err)
		}
		d := dialer(t, x, "", "x.0", "good-token")
		d.TLS = conf
		conn, err := d.Dial(deadline(t))
		if (err == nil) != c.ok {
			t.Errorf("certificate %q: got %v, want it to be let in: %v", c.name, err, c.ok)
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// --no-auth: take any PUT.
func TestNoAuth(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.NoAuth, c.Tokens = true, control.TokenSource{} })
	conn, err := dialer(t, x, "any", "", "").Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
