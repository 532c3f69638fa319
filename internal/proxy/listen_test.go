package proxy

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func TestBindErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, c := range []struct {
		addr, want string
		config     bool
	}{
		{ln.Addr().String(), "another program listens there: stop it, or give another address with --front", false},
		{"192.0.2.1:0", "this machine has no such address: give another address with --front", false},
		{"no-such-host.invalid:1443", "give another address with --front", true},
	} {
		_, err := bind("front", c.addr)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", c.addr, err, c.want)
		}
		if _, ok := errors.AsType[*ConfigError](err); ok != c.config {
			t.Errorf("%s: a ConfigError: %v, want %v", c.addr, ok, c.config)
		}
	}
	const want = "for the http port: address already in use; another program listens there: stop it, or give another address with --http"
	if _, err := bind("http", ln.Addr().String()); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("port 80 taken: got %v, want %q", err, want)
	}
}
