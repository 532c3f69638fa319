package admin

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const secret = "0123456789abcdef"

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Who may ask, and who may change something.
func TestToken(t *testing.T) {
	token, err := LoadToken(tokenFile(t, secret+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := busy()
	with := Handler(Config{Source: f, Board: f.board, Addr: "localhost:1445", Hosts: []string{"Admin.Example.org."}, Token: token})
	without := Handler(Config{Source: f, Board: f.board, Addr: "localhost:1445"})
	bearer := map[string]string{"Authorization": "Bearer " + secret}
	add := func(more ...string) map[string]string {
		h := map[string]string{"Authorization": "bearer " + secret}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	const disconnect = "/api/v1/origins/film/disconnect"
	for _, c := range []struct {
		name         string
		h            http.Handler
		method, path string
		header       map[string]string
		status       int
	}{
		{"no token", with, "GET", "/", nil, 401},
		{"a wrong one", with, "GET", "/api/v1/status", map[string]string{"Authorization": "Bearer " + secret + "x"}, 401},
		{"an empty one", with, "GET", "/metrics", map[string]string{"Authorization": "Bearer "}, 401},
		{"another scheme", with, "GET", "/", map[string]string{"Authorization": "Digest " + secret}, 401},
		{"the token", with, "GET", "/", bearer, 200},
		{"as a password", with, "GET", "/", map[string]string{"Authorization": "Basic YW55Ym9keTowMTIzNDU2Nzg5YWJjZGVm"}, 200},
		{"health needs none", with, "GET", "/healthz", nil, 200},
		{"nor readiness", with, "GET", "/readyz", nil, 200},
		{"a further name", with, "GET", "/", add("Host", "admin.example.org:1445"), 200},
		{"a name of somebody else", with, "GET", "/", add("Host", "evil.example"), 403},
		{"a change without a token", without, "POST", disconnect, bearer, 403},
		{"a change without showing it", with, "POST", disconnect, nil, 401},
		{"of a page of another site", with, "POST", disconnect, add("Sec-Fetch-Site", "cross-site"), 403},
		{"of such a page, in an old browser", with, "POST", disconnect, add("Origin", "https://evil.example"), 403},
		{"under another name", with, "POST", disconnect, add("Host", "evil.example"), 403},
		{"by GET", with, "GET", disconnect, bearer, 405},
		{"elsewhere", with, "POST", "/", bearer, 405},
		{"a change", with, "POST", disconnect, bearer, 200},
		{"of our own page", with, "POST", disconnect, add("Sec-Fetch-Site", "same-origin", "Accept", "text/html"), 303},
		{"of our own page, to an address that no browser trusts", with, "POST", disconnect, add("Origin", "http://localhost:1445", "Accept", "text/html"), 303},
		{"of our own page, without the token's file", without, "POST", disconnect, add("Accept", "text/html"), 403},
		{"of a page that hides where it is", with, "POST", disconnect, add("Origin", "null"), 403},
		{"of nobody", with, "POST", "/api/v1/origins/nobody/disconnect", bearer, 404},
	} {
		r := httptest.NewRequest(c.method, "http://localhost:1445"+c.path, nil)
		for k, v := range c.header {
			if k == "Host" {
				r.Host = v
			}
			r.Header.Set(k, v)
		}
		f.disconnected = nil
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: %s %s: got %d %s, want %d", c.name, c.method, c.path, w.Code, w.Body, c.status)
		}
		if changed := len(f.disconnected) > 0; changed != (c.method == "POST" && (c.status == 200 || c.status == 303 || c.status == 404)) {
			t.Errorf("%s: something was changed: %v", c.name, changed)
		}
		if json := strings.HasPrefix(w.Body.String(), "{"); json && r.Header.Get("Accept") == "text/html" {
			t.Errorf("%s: a person is shown %s", c.name, w.Body)
		}
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s: the answer has the token", c.name)
		}
	}
}

func TestLoadToken(t *testing.T) {
	for text, ok := range map[string]bool{secret: true, "\n " + secret + " \n": true, "": false, "short": false, secret + " " + secret: false} {
		_, err := LoadToken(tokenFile(t, text))
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), secret)) {
			t.Errorf("%q: the error is %q", text, err)
		}
	}
	file := tokenFile(t, secret)
	token, err := LoadToken(file)
	if err != nil {
		t.Fatal(err)
	}
	shows := func(s string) bool {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+s)
		return token.admits(r)
	}
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := token.Reload(); err == nil || !shows(secret) {
		t.Errorf("a bad file: %v, and the old token lets in: %v", err, shows(secret))
	}
	if err := os.WriteFile(file, []byte("another-0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := token.Reload(); err != nil || shows(secret) || !shows("another-0123456789") {
		t.Errorf("another token: %v", err)
	}
}
