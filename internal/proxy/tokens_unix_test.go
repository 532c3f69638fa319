//go:build unix

package proxy_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// A file that a guess would have to wait for is not read for it.
func TestTokensInAPipe(t *testing.T) {
	f := newFiles(t)
	f.write("token", "good-token film\n")
	x := startP(t, f, nil)
	if err := os.Remove(f.path("token")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(f.path("token"), 0o600); err != nil {
		t.Skip("there are no pipes with names here:", err)
	}
	if _, err := dialer(t, x, "film", "a.0", "a-guess").Dial(deadline(t)); err == nil || !strings.Contains(err.Error(), "answered 401 ") {
		t.Errorf("a guess: got %v, want 401", err)
	}
	conn, err := dialer(t, x, "film", "b.0", "good-token").Dial(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
