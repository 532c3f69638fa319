//go:build unix

package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/upgrade/upgradetest"
)

// The port without TLS is handed over, too, and so is the front port where a load
// balancer stands before it.
func TestHandOverOfOtherPorts(t *testing.T) {
	w := startWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("X-Forwarded-For")) }), nil,
		"-t", "--http", "127.0.0.1:0", "--proxy-protocol", "127.0.0.1", "--drain", "1s")
	other := regexp.MustCompile(`http=(\S+)`).FindStringSubmatch(w.Log())[1]
	ca, err := os.ReadFile(w.Path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	ask := func(addr, header string, secure bool) (int, string) {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(upgradetest.Patience))
		io.WriteString(conn, header)
		if secure {
			conn = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "localhost"})
		}
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	for n := range 3 {
		if n > 0 {
			w.handOver(n)
			w.wait("p has stopped", n)
		}
		if status, from := ask(w.front, "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n", true); status != 200 || from != "192.0.2.7" {
			t.Errorf("after %d hand-overs: got %d for %s, want 200 for 192.0.2.7", n, status, from)
		}
		if status, _ := ask(other, "", false); status != 308 {
			t.Errorf("after %d hand-overs: got %d without TLS, want 308", n, status)
		}
	}
}
