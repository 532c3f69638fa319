package serve

import (
	"context"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	asked := httptest.NewUnstartedServer(nil)
	asked.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	asked.StartTLS()
	t.Cleanup(asked.Close)
	plain := httptest.NewServer(nil)
	t.Cleanup(plain.Close)
	ended, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ended.Addr().String()
	ended.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: asked.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	for _, tt := range []struct {
		what string
		cfg  Config
		want string // a part of the error, "": none
	}{
		{"a folder", Config{Root: dir}, ""},
		{"http", Config{To: plain.URL}, ""},
		{"a socket", Config{To: "unix:" + filepath.Join(dir, "s")}, ""},
		{"https of a CA that is named", Config{To: asked.URL, ToCA: ca}, ""},
		{"nobody listens", Config{To: "http://" + nobody}, "nobody listens there"},
		{"no socket", Config{To: "unix:" + filepath.Join(dir, "none")}, "nobody listens there"},
		{"https of a CA that is unknown", Config{To: asked.URL}, "--to-ca"},
		{"a certificate for another name", Config{To: asked.URL, ToCA: ca, ToHost: "elsewhere.test"}, "--to-host"},
		{"no TLS", Config{To: strings.Replace(plain.URL, "http:", "https:", 1)}, "give " + plain.URL},
	} {
		h := newHandler(t, tt.cfg)
		err := h.Probe(t.Context())
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.cfg.To)) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newHandler(t, Config{To: plain.URL}).Probe(ctx); err == nil {
		t.Error("it succeeds after its context ended")
	}
}
