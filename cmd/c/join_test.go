//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/invitation"
	"github.com/amahi/spdy-proxy/internal/originserver/proxytest"
	"github.com/amahi/spdy-proxy/internal/upgrade/upgradetest"
)

// invite returns an invitation of p's.
func invite(t *testing.T, p *proxytest.Proxy, change func(*invitation.Invitation)) string {
	t.Helper()
	text, err := os.ReadFile(p.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	in := &invitation.Invitation{Address: p.Addr, Name: "films", Token: proxytest.Token, CA: [][]byte{block.Bytes}}
	if change != nil {
		change(in)
	}
	return in.Code()
}

// registers has c come to p, and returns how.
func registers(t *testing.T, p *proxytest.Proxy, args ...string) *control.Registration {
	t.Helper()
	stderr, stop := start(t, args...)
	r := p.Next(t)
	if status, body := proxytest.Get(t, r, "/hello.txt"); status != 200 || body != "hello\n" {
		t.Errorf("%q: got %d %q, want 200 and the file", args, status, body)
	}
	if status := stop(); status != 0 {
		t.Errorf("%q: exit status %d, %s", args, status, stderr)
	}
	if text := stderr.String(); strings.Contains(text, proxytest.Token) || strings.Contains(text, "spdy1.") {
		t.Errorf("%q: a secret is said:\n%s", args, text)
	}
	return r
}

// What is pasted once will do from then on.
func TestJoin(t *testing.T) {
	p := proxytest.Start(t)
	code, state := invite(t, p, nil), filepath.Join(t.TempDir(), "a", "state")
	file := filepath.Join(state, "invitation")
	alone := []string{"--state", state, "-r", p.Dir}
	if r := registers(t, p, append(alone, "--join", code)...); r.Name != "films" {
		t.Errorf("registered as %q, want films", r.Name)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("kept with mode %v, %v", info, err)
	}
	if r := registers(t, p, alone...); r.Name != "films" {
		t.Errorf("alone, registered as %q, want films", r.Name)
	}
	stderr, stop := start(t, alone...)
	p.Next(t)
	stop()
	if text := stderr.String(); !strings.Contains(text, `msg="an invitation is in effect in place of the defaults" file=`+file+"\n") {
		t.Errorf("alone, c says\n%s\nwant the invitation's file", text)
	}
	if r := registers(t, p, append(alone, "--name", "other")...); r.Name != "other" {
		t.Errorf("with --name, registered as %q, want other", r.Name)
	}
	// The same once more, as the arguments of a unit have it, asks nobody.
	if r := registers(t, p, append(alone, "--join", code)...); r.Name != "films" {
		t.Errorf("again, registered as %q, want films", r.Name)
	}
	var stdout, faults bytes.Buffer
	run(t.Context(), append([]string{"config"}, alone...), &stdout, &faults)
	if text := stdout.String(); !strings.Contains(text, "# an invitation is in effect") || !strings.Contains(text, p.Addr) || strings.Contains(text, proxytest.Token) {
		t.Errorf("c config says\n%s%s", text, &faults)
	}
}

// Where an invitation is read from; none of these but a flag's is kept.
func TestJoinFrom(t *testing.T) {
	p := proxytest.Start(t)
	dir := t.TempDir()
	code, file := invite(t, p, nil), filepath.Join(dir, "code")
	if err := os.WriteFile(file, []byte("\n  "+code+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	from := func(name string, kept bool, args ...string) {
		t.Helper()
		state := filepath.Join(dir, name)
		if r := registers(t, p, append([]string{"--state", state, "-r", p.Dir}, args...)...); r.Name != "films" {
			t.Errorf("%s: registered as %q, want films", name, r.Name)
		}
		if _, err := os.Stat(filepath.Join(state, "invitation")); err == nil != kept {
			t.Errorf("%s: kept: %v, want %v", name, err == nil, kept)
		}
	}
	from("file", true, "--join", "@"+file)
	mailed := filepath.Join(dir, "mailed")
	if err := os.WriteFile(mailed, []byte(code[:76]+"\r\n"+code[76:]+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	from("file with the line broken", true, "--join", "@"+mailed)
	second := invite(t, p, func(in *invitation.Invitation) { in.Name = "other" })
	for name, after := range map[string]string{"a second invitation": second, "a signature": "-- \nJane"} {
		longer := filepath.Join(dir, "longer")
		if err := os.WriteFile(longer, []byte(code+"\n"+after+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		from("file with "+name+" behind it", true, "--join", "@"+longer)
	}
	credentials := filepath.Join(dir, "credentials")
	if err := os.MkdirAll(credentials, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(credentials, "invitation"), []byte(code+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	from("credential", false)
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Setenv("SPDY_PROXY_JOIN", code)
	from("environment", false)
	t.Setenv("SPDY_PROXY_JOIN", "@"+file)
	from("environment and file", false)
	t.Setenv("SPDY_PROXY_JOIN", "")

	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	was := os.Stdin
	defer func() { os.Stdin = was }()
	os.Stdin = in
	from("standard input", true, "--join", "-")
}

// An invitation in a file that others may read is warned of, wherever it is, but for
// the one that systemd has made.
func TestJoinReadableByOthers(t *testing.T) {
	p := proxytest.Start(t)
	dir := t.TempDir()
	code, in, toml, state := invite(t, p, nil), filepath.Join(dir, "in"), filepath.Join(dir, "c.toml"), filepath.Join(dir, "state")
	for _, err := range []error{
		os.WriteFile(in, []byte(code), 0o600), os.WriteFile(toml, []byte("join = '"+code+"'\n"), 0o600), os.MkdirAll(state, 0o700),
		os.WriteFile(filepath.Join(state, "invitation"), []byte(code+"\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		file string
		args []string
	}{
		{in, []string{"--join", "@" + in, "--state", filepath.Join(dir, "none")}},
		{toml, []string{"--config", toml, "--state", filepath.Join(dir, "none")}},
		{filepath.Join(state, "invitation"), []string{"--state", state}},
	} {
		for want, mode := range []os.FileMode{0o600, 0o644} { // the last stays
			if err := os.Chmod(tt.file, mode); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), append([]string{"check", "--offline", "-r", p.Dir}, tt.args...), &stdout, &stderr)
			if n := strings.Count(stderr.String(), "is open to others: chmod 600 "+tt.file); status != 0 || n != want {
				t.Errorf("%s of mode %o: status %d, warned of %d times, want %d\n%s", tt.file, mode, status, n, want, &stderr)
			}
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", state)
	var stdout, faults bytes.Buffer
	if status := run(t.Context(), []string{"check", "--offline", "-r", p.Dir, "--state", filepath.Join(dir, "none")}, &stdout, &faults); status != 0 || faults.Len() > 0 {
		t.Errorf("a credential of systemd's: status %d, %s", status, &faults)
	}
	stderr, stop := start(t, "--config", toml, "-r", p.Dir)
	p.Next(t)
	stop()
	if text := stderr.String(); strings.Count(text, "is open to others") != 1 {
		t.Errorf("c says\n%s\nwant one warning", text)
	}
}

// Each reason why one does not do is a line of its own, and nothing is kept.
func TestJoinRefused(t *testing.T) {
	p, other := proxytest.Start(t), proxytest.Start(t)
	code := invite(t, p, nil)
	state := filepath.Join(t.TempDir(), "state")
	for _, tt := range []struct {
		what string
		args []string
		says string
	}{
		{"mistyped", []string{"--join", code[:30] + code[31:]}, "mistyped"},
		{"none", []string{"--join", "photos"}, "begins with spdy1."},
		{"a folder", []string{"--join", "@" + filepath.Dir(state)}, "the file cannot be read: is a directory"},
		{"no file", []string{"--join", "@" + state}, "no such file"},
		{"of another proxy", []string{"--join", invite(t, p, func(in *invitation.Invitation) { in.Address = other.Addr })}, "--join: the invitation is of another proxy than the one that answers there"},
		{"expired", []string{"--join", invite(t, p, func(in *invitation.Invitation) { in.Token = proxytest.Expired })}, "not good any more: proxy " + p.Addr + " answered 401 Unauthorized (the invitation has expired: it had to be used by 2026-01-02 03:04 UTC; ask for a new one)\n"},
		{"for another name", []string{"--join", invite(t, p, func(in *invitation.Invitation) { in.Token = proxytest.Named })}, "the invitation is not for this name"},
		{"of another name", []string{"--join", invite(t, p, func(in *invitation.Invitation) { in.ServerName = "elsewhere.test" })}, "elsewhere.test"},
		{"taken back", []string{"--join", invite(t, p, func(in *invitation.Invitation) { in.Token = "other" })}, "taken back"},
		{"not to be kept", []string{"--join", code, "--state", p.CAFile}, "--state"},
		{"empty", []string{"--join", ""}, "--join is empty"},
		{"empty beside a proxy", []string{"--join=", "--proxy", p.Addr}, "--join is empty"},
		{"beside a proxy", []string{"--join", code, "--proxy", p.Addr}, "--proxy"},
	} {
		var stderr bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		status := run(ctx, append([]string{"--state", state, "-r", p.Dir}, tt.args...), &stderr, &stderr)
		cancel()
		text := stderr.String()
		if status != 2 || strings.Count(text, "\n") != 1 || !strings.Contains(text, tt.says) || strings.Contains(text, proxytest.Token) {
			t.Errorf("%s: status %d, %q; want 2 and %q", tt.what, status, text, tt.says)
		}
		if _, err := os.Stat(state); err == nil {
			t.Errorf("%s: it was kept", tt.what)
		}
	}
	if n := len(p.Registrations) + len(other.Registrations); n > 0 {
		t.Errorf("%d came in", n)
	}
}

// An invitation does not take the place of one for another name, whose c would come back
// under this name at its next start; one for the same name does.
func TestJoinBesideAnother(t *testing.T) {
	p := proxytest.Start(t)
	state := t.TempDir()
	in, err := invitation.Parse(invite(t, p, func(in *invitation.Invitation) { in.Token = "before" }))
	if err == nil {
		err = in.Save(state)
	}
	if err != nil {
		t.Fatal(err)
	}
	other := invite(t, p, func(in *invitation.Invitation) { in.Name = "wiki" })
	for _, command := range [][]string{nil, {"check"}} {
		var stdout, stderr bytes.Buffer
		// A start that is not refused ends with the context, with status 0.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		status := run(ctx, append(command, "--state", state, "-r", p.Dir, "--join", other), &stdout, &stderr)
		text := stderr.String()
		if status != 2 || strings.Count(text, "\n") != 1 || !strings.Contains(text, `an invitation for the name "films" is kept in `+invitation.File(state)) || !strings.Contains(text, "--state") {
			t.Errorf("%q: status %d, %q; want 2, and where the other one is", command, status, text)
		}
	}
	if kept, err := invitation.Load(state); err != nil || kept.Code() != in.Code() {
		t.Errorf("the one before was replaced: %v, %v", kept, err)
	}
	if r := registers(t, p, "--state", state, "-r", p.Dir, "--join", invite(t, p, nil)); r.Name != "films" {
		t.Errorf("a new one of the same name: registered as %q, want films", r.Name)
	}
	if kept, err := invitation.Load(state); err != nil || kept.Token != proxytest.Token {
		t.Errorf("a new one of the same name was not kept: %v, %v", kept, err)
	}
}

// A proxy that is away does not keep one from joining.
func TestJoinWithTheProxyAway(t *testing.T) {
	p := proxytest.Start(t)
	state := filepath.Join(t.TempDir(), "state")
	stderr, stop := start(t, "--state", state, "-r", p.Dir, "--join", invite(t, p, func(in *invitation.Invitation) { in.Address = "127.0.0.1:1" }))
	upgradetest.WaitFor(t, "the line about it", func() bool {
		return stderr.Count("nobody could say yet") == 1 && stderr.Count("not connected, trying on") == 1
	})
	if status := stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if in, err := invitation.Load(state); in == nil || err != nil {
		t.Errorf("it was not kept: %v", err)
	}
}

// Who names a proxy does not show it the token of another.
func TestInvitationAndAnotherProxy(t *testing.T) {
	p := proxytest.Start(t)
	state := filepath.Join(t.TempDir(), "state")
	in, err := invitation.Parse(invite(t, p, func(in *invitation.Invitation) { in.Token, in.Address = "secret", "127.0.0.1:1" }))
	if err == nil {
		err = in.Save(state)
	}
	if err != nil {
		t.Fatal(err)
	}
	asked := []string{"--state", state, "-r", p.Dir, "--proxy", p.Addr, "--ca", p.CAFile}
	if r := registers(t, p, append(asked, "--token-file", p.TokenFile)...); r.Name != "" {
		t.Errorf("registered as %q, want the default origin", r.Name)
	}
	// Whose token is missing then hears why the one of the invitation is not taken.
	for _, args := range [][]string{asked, append([]string{"check"}, asked...)} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append(args, "--token-file", filepath.Join(state, "none")), &stdout, &stderr)
		if text := stderr.String(); status != 2 || !strings.Contains(text, `msg="the invitation is left aside: --proxy is given" file=`+invitation.File(state)+"\n") {
			t.Errorf("%q: status %d, %q; want 2 and that the invitation is left aside", args, status, text)
		}
	}
}
