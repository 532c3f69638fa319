package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// v2 is a PROXY header of version 2: its command, and a family with its addresses.
func v2(command, family byte, body []byte) string {
	h := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, family, byte(len(body)>>8), byte(len(body)))
	return string(append(h, body...))
}

var v2tcp4 = []byte{192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 1, 0xbb}

// shows answers with whom a request is from.
func shows(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, r.Header.Get("X-Forwarded-For"))
}

// send writes text to the front port, and reads the answer, "" if there is none.
func send(t *testing.T, x *p, text ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", x.FrontAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	for _, part := range text {
		if _, err := io.WriteString(conn, part); err != nil {
			return ""
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, body)
}

const plainGet = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// A load balancer's header tells whose a connection is.
func TestProxyProtocol(t *testing.T) {
	access := new(bytes.Buffer)
	f := newFiles(t)
	x := startP(t, f, func(c *proxy.Config) { c.ProxyProtocol, c.AccessLog, c.Stdout = []string{"127.0.0.0/8"}, "-", access })
	startC(t, x, http.HandlerFunc(shows), nil)
	v2tcp6 := append(net.ParseIP("2001:db8::7"), net.ParseIP("2001:db8::1")...)
	for _, c := range []struct{ name, header, want string }{
		{"v1", "PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n", "200 192.0.2.7"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n", "200 2001:db8::7"},
		{"v1, it does not know", "PROXY UNKNOWN\r\n", "200 127.0.0.1"},
		{"v2", v2(1, 0x11, v2tcp4), "200 192.0.2.7"},
		{"v2, IPv6", v2(1, 0x21, append(v2tcp6, 0x30, 0x39, 1, 0xbb)), "200 2001:db8::7"},
		{"v2 with more in it", v2(1, 0x11, append(v2tcp4[:len(v2tcp4):len(v2tcp4)], append([]byte{4, 3, 232}, make([]byte, 1000)...)...)), "200 192.0.2.7"},
		{"v2, the balancer's own", v2(0, 0, nil), "200 127.0.0.1"},
		{"none", "", ""},
		{"v1, not whole", "PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n", ""},
		{"v1, too long", "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		{"v1, no addresses", "PROXY TCP4 x y 1 2\r\n", ""},
		{"v2 of UDP", v2(1, 0x12, v2tcp4), ""},
		{"v2 of an unknown kind", v2(7, 0x11, v2tcp4), ""},
		{"v2, too long", v2(1, 0x11, make([]byte, 60000)), ""},
		{"two", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nPROXY TCP4 192.0.2.8 198.51.100.1 1 2\r\n", "400"},
	} {
		if got := send(t, x, c.header+plainGet); got != c.want && (c.want != "400" || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	// The header alone, and then what the visitor says.
	if got := send(t, x, "PROXY TCP4 192.0.2.9 198.51.100.1 12345 443\r\n", plainGet); got != "200 192.0.2.9" {
		t.Errorf("in two parts: got %q", got)
	}
	if n := x.log.count("level=WARN msg=\"front port: connection of a load balancer closed, it has no good PROXY header"); n != 1 {
		t.Errorf("%d lines about what has no header, want one a minute", n)
	}
	if err := x.Answers(deadline(t)); err != nil {
		t.Error(err)
	}
	x.cancel()
	x.wait()
	if !strings.Contains(access.String(), "192.0.2.9 ") || !strings.Contains(access.String(), "2001:db8::7 ") {
		t.Errorf("the access log is:\n%s", access)
	}
}

// Of others nothing is read as a header, and what they say of themselves is not
// believed.
func TestProxyProtocolOfOthers(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.ProxyProtocol = []string{"192.0.2.0/24", "2001:db8::1"} })
	startC(t, x, http.HandlerFunc(shows), nil)
	if got := send(t, x, plainGet); got != "200 127.0.0.1" {
		t.Errorf("got %q", got)
	}
	if got := send(t, x, "PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n"+plainGet); !strings.HasPrefix(got, "400") {
		t.Errorf("with a header: got %q, want 400", got)
	}
}

// A balancer's connection without its header, or with a part of it, is closed after
// some time, and holds up nobody.
func TestProxyProtocolSlow(t *testing.T) {
	t.Parallel()
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.ProxyProtocol = []string{"127.0.0.1"} })
	startC(t, x, http.HandlerFunc(shows), nil)
	var slow []net.Conn
	for _, part := range []string{"", "\r\n\r\n\x00\r\nQUIT\n"} {
		conn, err := net.Dial("tcp", x.FrontAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, part)
		slow = append(slow, conn)
	}
	if got := send(t, x, "PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n"+plainGet); got != "200 192.0.2.7" {
		t.Errorf("beside one that is slow: got %q", got)
	}
	for _, conn := range slow {
		conn.SetDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || os.IsTimeout(err) {
			t.Errorf("got %d bytes, %v, want the connection closed", n, err)
		}
	}
}

// What an address may have is counted by the address that is told.
func TestProxyProtocolShares(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.ProxyProtocol = []string{"127.0.0.1"} })
	startC(t, x, http.HandlerFunc(shows), nil)
	for range 256 {
		conn, err := net.Dial("tcp", x.FrontAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\nGET ")
	}
	waitFor(t, "256 connections", func() bool { return x.metric("spdy_proxy_front_connections") == "256" })
	if got := send(t, x, "PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n"+plainGet); got != "" {
		t.Errorf("above its address's cap: got %q", got)
	}
	if got := send(t, x, "PROXY TCP4 192.0.2.8 198.51.100.1 12345 443\r\n"+plainGet); got != "200 192.0.2.8" {
		t.Errorf("of another address: got %q", got)
	}
}

// The real one: haproxy, with both versions, in front of TLS that P ends.
func TestHAProxy(t *testing.T) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not here: install Debian's package haproxy")
	}
	f := newFiles(t)
	x := startP(t, f, func(c *proxy.Config) { c.TLS, c.ProxyProtocol = true, []string{"127.0.0.1"} })
	startC(t, x, http.HandlerFunc(shows), nil)
	for _, version := range []string{"send-proxy", "send-proxy-v2"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		socket, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		config := f.write(version+".cfg", fmt.Sprintf(`defaults
  mode tcp
  timeout connect 10s
  timeout client 30s
  timeout server 30s
listen front
  bind fd@3
  server p %s %s check-send-proxy check inter 100ms
`, x.FrontAddr(), version))
		cmd := exec.Command(program, "-db", "-f", config)
		cmd.ExtraFiles = []*os.File{socket}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		socket.Close()
		ln.Close()
		rt := transport(t, &tls.Config{RootCAs: f.roots(), ServerName: "localhost"}, true)
		// From another address of this machine, so that it is not the balancer's.
		rt.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}).DialContext
		a := fetch(deadline(t), rt, "GET", "https://"+ln.Addr().String()+"/", nil, nil)
		cmd.Process.Kill()
		cmd.Wait()
		want(t, version, a, 200, "127.0.0.9")
		if t.Failed() {
			t.Logf("%s", said.String())
		}
	}
	if n := x.log.count("no good PROXY header"); n != 0 {
		t.Errorf("haproxy's checks are refused:\n%s", x.log.String())
	}
}
