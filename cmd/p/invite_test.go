package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/invitation"
	"github.com/amahi/spdy-proxy/internal/tokenfile"
)

func TestInvite(t *testing.T) {
	dir := t.TempDir()
	ca := controltest.NewCA(t)
	cert, _ := controltest.Write(t, ca.Issue(t, "example.test", "localhost", "xn--mnchen-3ya.example"), dir, "p")
	second, _ := controltest.Write(t, ca.Issue(t, "second.test"), dir, "second")
	caFile := ca.WriteCA(t, dir, "my-ca.pem")
	token := filepath.Join(dir, "token")
	const before = "# mine\nsesame *\nother wiki\n"
	good := []string{"invite", "--token-file", token, "--cert", cert, "--ca", caFile, "--expires", "0"}
	for _, tt := range []struct {
		what string
		args []string
		want *invitation.Invitation // less token and CA; nil: it is refused
		says string                 // on standard error
	}{
		{"a name", []string{"photos", "--address", "example.test:1444"}, &invitation.Invitation{Address: "example.test:1444", Name: "photos"}, "a running p takes it when it is first used"},
		{"the control port's address", []string{"photos", "--control", "example.test:99"}, &invitation.Invitation{Address: "example.test:99", Name: "photos"}, "c --join"},
		{"this machine's", []string{"photos"}, &invitation.Invitation{Address: "localhost:1444", Name: "photos"}, "only reached from this machine"},
		{"the domain's", []string{"photos", "--control", ":99", "--domain", "*.example.test,example.org"}, &invitation.Invitation{Address: "example.test:99", Name: "photos"}, ""},
		{"the domain's, as it is and not as it is typed", []string{"photos", "--control", ":99", "--domain", " .Example.TEST."}, &invitation.Invitation{Address: "example.test:99", Name: "photos"}, "leads to example.test:99"},
		{"the domain's, of any letters", []string{"photos", "--control", ":99", "--domain", "münchen.example"}, &invitation.Invitation{Address: "xn--mnchen-3ya.example:99", Name: "photos"}, ""},
		{"the default origin", []string{"@", "--control", "example.test:99"}, &invitation.Invitation{Address: "example.test:99"}, ""},
		{"any name, though another token has it", []string{"*", "--control", "example.test:99", "--also"}, &invitation.Invitation{Address: "example.test:99"}, ""},
		{"any host below one", []string{"*.example.net", "--address", "example.test:1444"}, &invitation.Invitation{Address: "example.test:1444"}, "below example.net: say with c --name"},
		{"the front port's", []string{"photos", "--front", ":443", "-t", "--domain", "example.test"}, &invitation.Invitation{Address: "example.test:443", Name: "photos"}, ""},
		{"the front port has no TLS", []string{"photos", "--front", ":80", "--domain", "example.test"}, &invitation.Invitation{Address: "localhost:1444", Name: "photos"}, "only reached from this machine"},
		{"another name in the certificate", []string{"photos", "--address", "192.0.2.1:1444", "--server-name", "example.test"},
			&invitation.Invitation{Address: "192.0.2.1:1444", ServerName: "example.test", Name: "photos"}, ""},
		{"with a CA of c's", []string{"photos", "--address", "example.test:1444", "--client-ca", caFile}, &invitation.Invitation{Address: "example.test:1444", Name: "photos"}, "--client-cert"},
		{"another of several certificates", []string{"photos", "--address", "second.test:1444", "--cert", second, "--key", "a", "--key", "b"},
			&invitation.Invitation{Address: "second.test:1444", Name: "photos"}, ""},
		{"a certificate that is yet to come", []string{"photos", "--address", "acme.test:1444", "--acme-email", "a@acme.test"},
			&invitation.Invitation{Address: "acme.test:1444", Name: "photos"}, ""},

		{"an address as it is and not as it is typed", []string{"photos", "--address", "Example.TEST.:1444"}, &invitation.Invitation{Address: "example.test:1444", Name: "photos"}, "leads to example.test:1444"},
		{"an address of any letters", []string{"photos", "--address", "München.example:1444"}, &invitation.Invitation{Address: "xn--mnchen-3ya.example:1444", Name: "photos"}, ""},
		{"a port by its name", []string{"photos", "--address", "example.test:https"}, &invitation.Invitation{Address: "example.test:443", Name: "photos"}, ""},
		{"an address of IPv6", []string{"photos", "--address", "[2001:db8::1]:1444", "--server-name", "Example.test."},
			&invitation.Invitation{Address: "[2001:db8::1]:1444", ServerName: "example.test", Name: "photos"}, ""},
		{"an address of a container", []string{"photos", "--address", "My_p:1444", "--server-name", "example.test"},
			&invitation.Invitation{Address: "my_p:1444", ServerName: "example.test", Name: "photos"}, ""},

		{"a name that is taken", []string{"WIKI"}, nil, "is for the name"},
		{"a name that is taken, below the domain", []string{"wiki.example.test", "--address", "example.test:1444", "--domain", "example.test"}, nil, "is for the name"},
		{"a bad domain", []string{"photos", "--domain", "a_b"}, nil, "--domain"},
		{"a time that is over", []string{"photos", "--address", "example.test:1444", "--expires", "-1s"}, nil, "--expires"},
		{"no name", nil, nil, "one name"},
		{"a bad name", []string{"a_b"}, nil, "a_b"},
		{"more than a name", []string{"blog *"}, nil, `"blog *" is not a name`},
		{"a name before a comment", []string{"blog #", "--expires", "1h"}, nil, `"blog #" is not a name`},
		{"no host", []string{"photos", "--control", ":1444"}, nil, "--address"},
		{"every address", []string{"photos", "--control", "0.0.0.0:1444"}, nil, "--address"},
		{"a domain that is not in the certificate", []string{"photos", "--control", ":99", "--domain", "example.org"}, nil, "example.org"},
		{"no port", []string{"photos", "--address", "example.test"}, nil, "HOST:PORT"},
		{"no such port", []string{"photos", "--address", "example.test:99999"}, nil, "HOST:PORT"},
		{"any port", []string{"photos", "--address", "example.test:0"}, nil, "HOST:PORT"},
		{"a URL", []string{"photos", "--address", "https://example.test"}, nil, "HOST:PORT"},
		{"a URL with a port", []string{"photos", "--address", "https://example.test:1444"}, nil, "HOST:PORT"},
		{"no host's name", []string{"photos", "--address", "a b.test:1444", "--server-name", "example.test"}, nil, "--address"},
		{"no host's name with _", []string{"photos", "--address", "a_/b:1444", "--server-name", "example.test"}, nil, "--address"},
		{"no host's name, and no certificate to tell", []string{"photos", "--address", "a b.test:1444", "--acme-email", "a@acme.test"}, nil, "--address"},
		{"no host's name at the control port", []string{"photos", "--control", "a b.test:1444", "--server-name", "example.test"}, nil, "--control"},
		{"no name that a certificate bears", []string{"photos", "--address", "example.test:1444", "--server-name", "example.test:1444"}, nil, "--server-name"},
		{"a URL that a certificate is to bear", []string{"photos", "--address", "acme.test:1444", "--server-name", "https://acme.test", "--acme-email", "a@acme.test"}, nil, "--server-name"},
		{"a host that is not in the certificate", []string{"photos", "--address", "example.org:1444"}, nil, "example.org"},
		{"a CA that is not there", []string{"photos", "--ca", "none.pem"}, nil, "certificate none.pem is missing: name yours with --ca"},
		{"another CA", []string{"photos", "--ca", "system"}, nil, "--ca"},
		{"a CA that C does not know", []string{"photos", "--address", "acme.test:1444", "--acme-email", "a@acme.test", "--acme-ca-root", caFile, "--ca", ""}, nil, "--ca"},
		{"no tokens", []string{"photos", "--no-auth"}, nil, "--no-auth"},
	} {
		if err := os.WriteFile(token, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append(slices.Clone(good), tt.args...), &stdout, &stderr)
		text, err := os.ReadFile(token)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(stderr.String(), tt.says) {
			t.Errorf("%s: standard error %q, want %q", tt.what, stderr.String(), tt.says)
		}
		if tt.want == nil {
			if status != 2 || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || string(text) != before {
				t.Errorf("%s: status %d, %q, %q, tokens\n%s", tt.what, status, &stdout, &stderr, text)
			}
			continue
		}
		got, err := invitation.Parse(stdout.String())
		if status != 0 || err != nil {
			t.Errorf("%s: status %d, %v, %q", tt.what, status, err, &stderr)
			continue
		}
		if len(got.CA) != 1 || !bytes.Equal(got.CA[0], ca.Cert.Raw) || got.Address != tt.want.Address || got.ServerName != tt.want.ServerName || got.Name != tt.want.Name {
			t.Errorf("%s: got %+v, want %+v", tt.what, got, tt.want)
		}
		if added, ok := strings.CutPrefix(string(text), before+got.Token+" "+tt.args[0]+"  # invited on 2"); !ok || strings.Count(added, "\n") != 1 {
			t.Errorf("%s: tokens\n%s", tt.what, text)
		}
		if strings.Contains(stderr.String(), got.Token) {
			t.Errorf("%s: the token is in %q", tt.what, &stderr)
		}
	}
	t.Setenv("SPDY_PROXY_TOKEN", "sesame")
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"invite", "photos", "--cert", cert, "--ca", caFile}, &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), "SPDY_PROXY_TOKEN") {
		t.Errorf("with a token in the environment: status %d, %q", status, &stderr)
	}
}

// An invitation is to be used within a week, or what is said. One that was not is in the
// way of no other of its name, and stays: p may know that it was used, and be unable to
// write that down.
func TestInviteExpires(t *testing.T) {
	dir := t.TempDir()
	ca := controltest.NewCA(t)
	cert, _ := controltest.Write(t, ca.Issue(t, "example.test"), dir, "p")
	file := filepath.Join(dir, "token")
	invite := func(says string, status int, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		got := run(t.Context(), append([]string{"invite", "--token-file", file, "--cert", cert, "--ca", ca.WriteCA(t, dir, "ca.pem"), "--address", "example.test:1444"}, args...), &stdout, &stderr)
		if got != status || !strings.Contains(stderr.String(), says) {
			t.Fatalf("%q: status %d, %q; want %d and %q", args, got, &stderr, status, says)
		}
	}
	joinBy := func() time.Time {
		t.Helper()
		f, err := tokenfile.Read(file)
		if err != nil || len(f.Entries()) == 0 {
			t.Fatalf("%v, %v", f.Entries(), err)
		}
		return f.Entries()[len(f.Entries())-1].JoinBy
	}
	near := func(want time.Duration) {
		t.Helper()
		if left := time.Until(joinBy()); left > want || left < want-time.Minute {
			t.Errorf("it is good for %v, want %v", left, want)
		}
	}
	invite("it must be used by "+time.Now().Add(7*24*time.Hour).Format("2006-01-02"), 0, "photos")
	near(7 * 24 * time.Hour)
	if _, list, _ := tokens(t, file, "list"); !strings.Contains(list, "photos, an invitation to be used by 2") {
		t.Errorf("the list is %q", list)
	}
	invite("is for the name", 2, "photos")
	if err := os.WriteFile(file, []byte("sesame photos join-by=2026-01-01T00:00:00Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, list, _ := tokens(t, file, "list"); !strings.Contains(list, "photos, an invitation that was not used by 2026-01-01") {
		t.Errorf("the list is %q", list)
	}
	invite(fmt.Sprintf("p token remove %s takes it away", tokenfile.Fingerprint("sesame")), 0, "photos", "--expires", "24h")
	near(24 * time.Hour)
	if text, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(text), "sesame photos join-by=2026-01-01T00:00:00Z\n") {
		t.Errorf("the file is %q, %v; want the old line in it", text, err)
	}
	invite("is for the name", 2, "photos")
	os.Remove(file)
	invite("", 0, "photos", "--peer", "127.0.0.1:1447")
	if by := joinBy(); !by.IsZero() {
		t.Errorf("one of several p: it is good until %v, want without end", by)
	}
}
