//go:build unix

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The running p is steered by its admin port, by who has its token.
func TestCtl(t *testing.T) {
	token := filepath.Join(t.TempDir(), "admin-token")
	if err := os.WriteFile(token, []byte("a-word-that-is-long-enough\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := startWorld(t, &origin{}, nil, "--admin", "127.0.0.1:0", "--admin-token-file", token)
	w.wait(`msg="origin connected"`, 1)
	admin := regexp.MustCompile(`admin=(\S+)`).FindStringSubmatch(w.Log())[1]
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"a list", []string{"ctl", "origins", "--admin", admin, "--admin-token-file", token}, 0, "@  connected  "},
		{"one that is there", []string{"ctl", "disconnect", "@", "--admin", admin, "--admin-token-file", token}, 0, "@: 1 session told"},
		{"one that is not", []string{"ctl", "disconnect", "wiki", "--admin", admin, "--admin-token-file", token}, 1, "404"},
		{"without a token", []string{"ctl", "disconnect", "@", "--admin", admin}, 1, "401"},
		{"no token file", []string{"ctl", "origins", "--admin", admin, "--admin-token-file", token + "x"}, 2, "--admin-token-file"},
		{"nobody there", []string{"ctl", "origins", "--admin", "127.0.0.1:1"}, 1, "does it run"},
		{"no admin port", []string{"ctl", "origins", "--admin", ""}, 2, "--admin"},
		{"no name", []string{"ctl", "disconnect", "--admin", admin}, 2, "the name of one origin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), tt.args, &stdout, &stderr)
			out := stdout.String() + stderr.String()
			if status != tt.status || !strings.Contains(out, tt.want) || strings.Count(out, "\n") != 1 {
				t.Errorf("exit status %d, want %d, and a line with %q:\n%s", status, tt.status, tt.want, out)
			}
		})
	}
	w.wait(`msg="origin connected"`, 2) // it has come back
}

// Of an origin that never came there is no time.
func TestCtlOriginsNeverHere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"matched":1,"per_page":50,"origins":[{"name":"film","state":"absent"}]}`)
	}))
	defer server.Close()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"ctl", "origins", "--admin", server.Listener.Addr().String()}, &stdout, &stderr)
	if got, want := stdout.String(), "film  absent  never here\n"; status != 0 || got != want {
		t.Errorf("exit status %d, %q, want %q; %s", status, got, want, &stderr)
	}
}
