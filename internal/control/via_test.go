package control

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
)

// startVia starts what serve makes of each connection, and returns its address.
func startVia(t *testing.T, conf *tls.Config, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	// Ends when the listener is closed; the cleanup waits for it.
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(time.Minute))
			if conf != nil {
				conn = tls.Server(conn, conf)
			}
			// Ends with the connection, whose deadline comes at the latest.
			running.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return ln.Addr().String()
}

// relay joins conn, of which br has read, to addr, until either ends.
func relay(conn net.Conn, br io.Reader, addr, hello string) {
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	io.WriteString(conn, hello)
	// Ends with conn, and ends to.
	go func() { io.Copy(to, br); to.Close() }()
	io.Copy(conn, to)
}

// httpProxy takes CONNECT to any name and leads to port.
func httpProxy(port, auth string) func(net.Conn) {
	return func(conn net.Conn) {
		br := bufio.NewReader(conn)
		req, err := http.ReadRequest(br)
		switch {
		case err != nil || req.Method != http.MethodConnect || req.Host != "p.example:1444" || req.RequestURI != req.Host:
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		case req.Header.Get("Authorization") != "" || req.Header.Get("Proxy-Authorization") != auth:
			io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
		default:
			relay(conn, br, port, "HTTP/1.0 100 Wait\r\n\r\nHTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
		}
	}
}

// socksProxy is a proxy of RFC 1928, with RFC 1929 if user is not empty.
func socksProxy(port, user, password string) func(net.Conn) {
	return func(conn net.Conn) {
		br := bufio.NewReader(conn)
		read := func(n int) string {
			b := make([]byte, n)
			io.ReadFull(br, b)
			return string(b)
		}
		counted := func() string { return read(int((read(1) + "\x00")[0])) }
		if read(1) != "\x05" {
			return
		}
		methods := counted()
		if user != "" {
			if !strings.Contains(methods, "\x02") {
				conn.Write([]byte{5, 0xff})
				return
			}
			conn.Write([]byte{5, 2})
			read(1)
			if counted() != user || counted() != password {
				conn.Write([]byte{1, 1})
				return
			}
			conn.Write([]byte{1, 0})
		} else {
			conn.Write([]byte{5, 0})
		}
		if read(4) != "\x05\x01\x00\x03" {
			return // it is to look the name up
		}
		if name, to := counted(), binary.BigEndian.Uint16([]byte(read(2))); name != "p.example" || to != 1444 {
			conn.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		relay(conn, br, port, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	}
}

// The way to P by each kind of proxy, and what is said where there is none.
func TestVia(t *testing.T) {
	p := startPort(t, nil, nil)
	proxyCA := controltest.NewCA(t)
	conf := &tls.Config{Certificates: []tls.Certificate{proxyCA.Issue(t, "127.0.0.1")}}
	answer := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			br := bufio.NewReader(conn)
			http.ReadRequest(br)
			io.WriteString(conn, text)
		}
	}
	const basic = "Basic dXNlcjpwYXNzOndvcmQ="
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for _, tt := range []struct {
		what, scheme, user string
		tls                *tls.Config
		serve              func(net.Conn) // nil: nobody listens
		want               string         // part of the error, "" for none
	}{
		{"CONNECT", "http", "", nil, httpProxy(p.addr, ""), ""},
		{"CONNECT, name and password", "http", "user:pass%3Aword@", nil, httpProxy(p.addr, basic), ""},
		{"CONNECT over TLS", "https", "user:pass%3Aword@", conf, httpProxy(p.addr, basic), ""},
		{"SOCKS5", "socks5", "", nil, socksProxy(p.addr, "", ""), ""},
		{"SOCKS5, name and password", "socks5h", "user:pass%3Aword@", nil, socksProxy(p.addr, "user", "pass:word"), ""},
		{"no password", "http", "", nil, httpProxy(p.addr, basic), "asks for a name and password"},
		{"wrong password", "http", "user:sesame@", nil, httpProxy(p.addr, basic), "does not take this name and password"},
		{"wrong password, by another status", "http", "user:sesame@", nil, answer("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"), "does not take this name and password"},
		{"another proof", "http", "user:sesame@", nil, answer("HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n"), "another proof"},
		{"forbidden", "http", "", nil, answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), "port 443"},
		{"no way", "http", "", nil, answer("HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"), "502 Bad Gateway"},
		{"not HTTP", "http", "", nil, answer("SSH-2.0-x\r\n\r\n"), "not HTTP"},
		{"no end", "http", "", nil, answer("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20_000)), "more bytes"},
		{"no answer", "http", "", nil, answer(""), "without an answer"},
		{"it speaks first", "http", "", nil, answer("HTTP/1.1 200 OK\r\n\r\nhello"), "before it is P's turn"},
		{"nobody", "http", "", nil, nil, "refused"},
		{"no TLS", "https", "", nil, httpProxy(p.addr, ""), "TLS to it"},
		{"SOCKS5, no password", "socks5", "", nil, socksProxy(p.addr, "user", "word"), "no acceptable authentication methods"},
		{"SOCKS5, wrong password", "socks5", "user:sesame@", nil, socksProxy(p.addr, "user", "word"), "authentication failed"},
		{"SOCKS5, nobody", "socks5", "", nil, nil, "refused"},
		{"SOCKS5 where HTTP is", "socks5", "", nil, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "version"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			addr := nobody.Addr().String()
			if tt.serve != nil {
				addr = startVia(t, tt.tls, tt.serve)
			}
			via, err := url.Parse(tt.scheme + "://" + tt.user + addr)
			if err != nil {
				t.Fatal(err)
			}
			d := p.dialer()
			d.Addr, d.Via, d.ViaTLS = "p.example:1444", func(string) (*url.URL, error) { return via, nil }, &tls.Config{RootCAs: proxyCA.Pool()}
			conn, err := d.Dial(t.Context())
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if want := tt.scheme + "://" + addr; conn.Via != want {
					t.Errorf("by way of %q, want %q", conn.Via, want)
				}
				conn.NetConn().Close()
				return
			}
			ve, ok := errors.AsType[*ViaError](err)
			if !ok || ve.Via != tt.scheme+"://"+addr || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "sesame") {
				t.Errorf("got %v, want one line with %q and without a password", err, tt.want)
			}
		})
	}
}

// A proxy that says nothing, or too little, has the time of the TCP connection.
func TestViaSilent(t *testing.T) {
	for _, scheme := range []string{"http", "https", "socks5"} {
		begun := make(chan struct{}, 1)
		addr := startVia(t, nil, func(conn net.Conn) {
			begun <- struct{}{}
			io.Copy(io.Discard, conn)
		})
		d := &Dialer{Addr: "p.example:1444", TLS: &tls.Config{}, Via: func(string) (*url.URL, error) { return &url.URL{Scheme: scheme, Host: addr}, nil }}
		ctx, cancel := context.WithCancel(t.Context())
		// Ends when the proxy has the connection.
		go func() { <-begun; cancel() }()
		if _, err := d.Dial(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the end of ctx gives %v", scheme, err)
		}
		begun <- struct{}{}
		<-begun
		d.Timeout = 50 * time.Millisecond
		if _, err := d.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), scheme+"://"+addr) {
			t.Errorf("%s: silence gives %v", scheme, err)
		}
	}
}

func TestViaEnvironment(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		addr string
		want string // the proxy; "" for none
	}{
		{nil, "p.example:1444", ""},
		{map[string]string{"HTTP_PROXY": "http://a:1"}, "p.example:1444", ""},
		{map[string]string{"HTTPS_PROXY": "a:1"}, "p.example:1444", "http://a:1"},
		{map[string]string{"https_proxy": "https://a:1", "HTTPS_PROXY": "http://b:1"}, "p.example:1444", "https://a:1"},
		{map[string]string{"ALL_PROXY": "socks5://a"}, "p.example:1444", "socks5://a:1080"},
		{map[string]string{"all_proxy": "socks5h://u:p@a:1"}, "[2001:db8::1]:1444", "socks5h://a:1"},
		{map[string]string{"HTTPS_PROXY": "http://a", "ALL_PROXY": "socks5://b"}, "p.example:1444", "http://a:80"},
		{map[string]string{"ALL_PROXY": "http://a", "NO_PROXY": "other.example,.p.example"}, "p.example:1444", "http://a:80"},
		{map[string]string{"ALL_PROXY": "http://a", "no_proxy": "p.example"}, "x.p.example:1444", ""},
		{map[string]string{"ALL_PROXY": "http://a", "NO_PROXY": "10.0.0.0/8"}, "10.1.2.3:1444", ""},
		{map[string]string{"ALL_PROXY": "http://a", "NO_PROXY": "*"}, "p.example:1444", ""},
		{map[string]string{"ALL_PROXY": "http://a"}, "localhost:1444", ""},
		{map[string]string{"ALL_PROXY": "http://a"}, "127.0.0.1:1444", ""},
	} {
		via, err := ViaEnvironment(func(name string) string { return tt.env[name] })
		if err != nil {
			t.Errorf("%v: %v", tt.env, err)
			continue
		}
		got := ""
		if u, err := via(tt.addr); err != nil {
			t.Errorf("%v: %v", tt.env, err)
		} else if u != nil {
			got = viaText(u)
		}
		if got != tt.want {
			t.Errorf("%v: %s by way of %q, want %q", tt.env, tt.addr, got, tt.want)
		}
	}
	for _, text := range []string{"socks4://u:sesame@a:1", "ftp://a", "http://", "http://u:sesame@:1", "http://u:sesame@a:x", "://", "\x00", "socks5://" + strconv.Itoa(1) + "%"} {
		_, err := ViaEnvironment(func(name string) string {
			if name == "ALL_PROXY" {
				return text
			}
			return ""
		})
		if err == nil || !strings.HasPrefix(err.Error(), "ALL_PROXY ") || strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want one line that names the variable", text, err)
		}
	}
}
