package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

// What was looked at is said, all that is wrong in a line each, and nothing is
// started or changed.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	cert, key := controltest.Write(t, controltest.NewCA(t).Issue(t, "example.test"), dir, "p")
	token, access, none := filepath.Join(dir, "token"), filepath.Join(dir, "access.log"), filepath.Join(dir, "none")
	if err := os.WriteFile(token, []byte("sesame *\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good, bad, worse := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "worse")
	for file, line := range map[string]string{good: "requests-per-second = 5", bad: "requests-per-second = -1", worse: "alow = []"} {
		if err := os.WriteFile(file, []byte("[[origin]]\nname = \"films\"\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		what   string
		args   []string
		env    string // SPDY_PROXY_HOLD
		status int
		says   []string // a part of each line
	}{
		{"all is right", []string{"--cert", cert, "--key", key, "--token-file", token, "--access-log", access}, "", 0, []string{
			"ok: ports: front localhost:1443", "ok: certificate " + cert + ": for example.test, until 2", "ok: token file " + token, "ok: access log " + access}},
		{"much is wrong", []string{"--cert", none, "--token-file", none, "--front", "x", "--drain", "-1s", "--trusted-proxy", "y", "--htpasswd", none,
			"--access-log", none + "/x", "--pid-file", none + "/x"}, "soon", 2, []string{
			"SPDY_PROXY_HOLD", "--front", "--drain", "--trusted-proxy", "certificate", "token file", none, "access log", "--pid-file"}},
		{"nobody named a certificate", []string{"--token-file", token}, "", 2, []string{
			"certificate certs/p.pem is missing: name yours with --cert and --key, or by --config the file that does, or give --acme-email, or in a checkout run make"}},
		{"files beside ACME are not there", []string{"--cert", none, "--key", none, "--token-file", token, "-t", "--domain", "example.test", "--acme-email", "a@example.test"}, "", 2, []string{
			"certificate " + none + " is missing: name yours; or leave cert and key out"}},
		{"all is right with a file", []string{"--cert", cert, "--key", key, "--token-file", token, "--config", good}, "", 0, []string{
			"ok: ports: ", "ok: certificate", "ok: token file"}},
		{"a table is wrong", []string{"--cert", cert, "--key", key, "--token-file", token, "--config", bad}, "", 2, []string{
			`[[origin]] "films": requests-per-second: -1`}},
		{"a table's key is wrong", []string{"--cert", cert, "--key", key, "--token-file", token, "--config", worse}, "", 2, []string{
			worse + `:3: unknown key "origin.alow"; did you mean "allow"`}},
		{"no admin port to ask", []string{"--live", "--admin", ""}, "", 2, []string{"--admin"}},
		{"a bad admin port to ask", []string{"--live", "--admin", "x"}, "", 2, []string{"--admin"}},
		{"nobody to ask", []string{"--live", "--admin", "127.0.0.1:1"}, "", 1, []string{"does it run, and has it this --admin?"}},
	} {
		t.Setenv("SPDY_PROXY_HOLD", tt.env)
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append([]string{"check"}, tt.args...), &stdout, &stderr)
		text := stderr.String()
		if tt.status == 0 {
			text = stdout.String()
		} else if stdout.Len() > 0 {
			t.Errorf("%s: standard output %q", tt.what, stdout.String())
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if status != tt.status || len(lines) != len(tt.says) {
			t.Errorf("%s: status %d and %d lines, want %d and %d:\n%s%s", tt.what, status, len(lines), tt.status, len(tt.says), &stdout, &stderr)
			continue
		}
		for i, want := range tt.says {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: got %q, want %q in it", tt.what, lines[i], want)
			}
		}
	}
	if _, err := os.Stat(access); err == nil {
		t.Error("the access log was made")
	}
}

// A password of the bus in a configuration file that others may read is warned of.
func TestPasswordOfBusReadable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this system has no such modes")
	}
	for _, tt := range []struct {
		url  string
		mode os.FileMode
		want int
	}{{"nats://me:sesame@localhost:1", 0o644, 1}, {"nats://me:sesame@localhost:1", 0o600, 0}, {"nats://localhost:1", 0o644, 0}} {
		file := filepath.Join(t.TempDir(), "p.toml")
		if err := os.WriteFile(file, []byte("cluster-url = '"+tt.url+"'\n"), tt.mode); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		run(t.Context(), []string{"check", "--config", file}, &stdout, &stderr)
		if n := strings.Count(stderr.String(), "is open to others: chmod 600 "+file); n != tt.want {
			t.Errorf("%s in a file of mode %o: warned of %d times, want %d\n%s", tt.url, tt.mode, n, tt.want, &stderr)
		}
	}
}

func TestCheckLive(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("it asks for %s", r.URL)
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	for _, tt := range []struct{ answer, want int }{{200, 0}, {503, 1}} {
		status = tt.answer
		for _, addr := range []string{"127.0.0.1:" + port, "0.0.0.0:" + port, ":" + port} {
			var stdout, stderr bytes.Buffer
			if got := run(t.Context(), []string{"check", "--live", "--admin", addr}, &stdout, &stderr); got != tt.want {
				t.Errorf("%s answers %d: exit status %d, want %d: %s%s", addr, tt.answer, got, tt.want, &stdout, &stderr)
			}
		}
	}
}
