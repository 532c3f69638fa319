package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// byFront has C dial the front port.
func byFront(x *p) func(*agent.Config) {
	return func(c *agent.Config) { c.Proxies = []string{x.FrontAddr().String()} }
}

// A C reaches P by the front port, too, which serves visitors as ever.
func TestOnePort(t *testing.T) {
	everyClient(t, func(c *proxy.Config) { c.TLS, c.Hold = true, 0 }, func(t *testing.T, x *p, rt http.RoundTripper) {
		if _, plain := rt.(*http.Transport); plain {
			rt = x.transport(&tls.Config{RootCAs: x.files.roots()}, false)
		}
		y := startC(t, x, hello("c"), byFront(x))
		for range 3 {
			want(t, "a visitor", fetch(deadline(t), rt, "POST", x.url("/a"), bytes.NewReader(pattern(100_000)), nil), 200, "c POST /a 100000")
		}
		// It is no visitor any more.
		if n := x.metric("spdy_proxy_front_connections"); n != "1" {
			t.Errorf("%s connections of visitors, want one", n)
		}
		y.stop()
		want(t, "without C", fetch(deadline(t), rt, "GET", x.url("/a"), nil, nil), 503, "default origin")
	})
}

// What the front port asks of a C is what the control port asks.
func TestOnePortRefuses(t *testing.T) {
	f := newFiles(t)
	f.leaf("c", f.ca, "c")
	x := startP(t, f, func(c *proxy.Config) { c.TLS, c.ClientCAFile = true, f.path("ca.pem") })
	dial := func(token string, cert bool) error {
		files := control.ClientTLS{CAFile: f.path("ca.pem"), ServerName: "localhost"}
		if cert {
			files.CertFile, files.KeyFile = f.path("c.pem"), f.path("c.key")
		}
		conf, err := files.Load()
		if err != nil {
			t.Fatal(err)
		}
		d := dialer(t, x, "", "x.0", token)
		d.Addr, d.TLS = x.FrontAddr().String(), conf
		conn, err := d.Dial(deadline(t))
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial("good-token", true); err != nil {
		t.Errorf("a C with a certificate: %v", err)
	}
	if err := dial("good-token", false); err == nil {
		t.Error("a C without a certificate is let in")
	}
	// Visitors need none.
	startC(t, x, hello("c"), func(c *agent.Config) {
		c.Load = func() (agent.Identity, error) {
			conf, err := control.ClientTLS{CAFile: f.path("ca.pem"), ServerName: "localhost", CertFile: f.path("c.pem"), KeyFile: f.path("c.key")}.Load()
			return agent.Identity{Token: "good-token", TLS: conf}, err
		}
	})
	want(t, "a visitor", x.get("/a"), 200, "c GET /a")
	// Wrong tokens are counted together, wherever they are shown.
	statuses := map[int]int{}
	for n := range 40 {
		var err error
		if n%2 == 0 {
			err = dial("bad-token", true)
		} else {
			d := dialer(t, x, "", "x.0", "bad-token")
			d.TLS, _ = control.ClientTLS{CAFile: f.path("ca.pem"), ServerName: "localhost", CertFile: f.path("c.pem"), KeyFile: f.path("c.key")}.Load()
			_, err = d.Dial(deadline(t))
		}
		refused, ok := errors.AsType[*control.RefusedError](err)
		if !ok {
			t.Fatalf("got %v, want a refusal", err)
		}
		statuses[refused.Status]++
	}
	if statuses[401] < 20 || statuses[401] > 22 || statuses[429] != 40-statuses[401] {
		t.Errorf("answers %v, want some 20 times 401, and 429", statuses)
	}
	// None of them has a visitor's place any more; the visitor has.
	waitFor(t, "one visitor", func() bool { return x.metric("spdy_proxy_front_connections") == "1" })
}

// A load balancer may stand between: P knows C's address by its header.
func TestOnePortBehindBalancer(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS, c.ProxyProtocol = true, []string{"127.0.0.1"} })
	startC(t, x, hello("c"), func(c *agent.Config) {
		byFront(x)(c)
		dial := c.DialContext
		c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err == nil {
				_, err = io.WriteString(conn, "PROXY TCP4 192.0.2.7 192.0.2.1 51234 443\r\n")
			}
			return conn, err
		}
	})
	if !strings.Contains(x.log.String(), "remote=192.0.2.7:51234") {
		t.Error("P does not know C's address")
	}
}

// Whoever asks for nothing has a visitor's place, and does not hold up P's end.
func TestOnePortSilent(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = true })
	conn, err := tls.Dial("tcp", x.FrontAddr().String(), &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{control.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().NegotiatedProtocol; got != control.Protocol {
		t.Fatalf("ALPN gives %q", got)
	}
	if n := x.metric("spdy_proxy_front_connections"); n != "1" {
		t.Errorf("%s connections, want one", n)
	}
	x.cancel()
	x.wait()
	conn.SetDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v; want that it is closed", n, err)
	}
}

// With --no-auth the control port is on a loopback address, and the front port may
// be on any: no C comes by that.
func TestOnePortNoAuth(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS, c.NoAuth, c.Hold = true, true, 0 })
	d := dialer(t, x, "", "", "")
	d.Addr = x.FrontAddr().String()
	if conn, err := d.Dial(deadline(t)); err == nil {
		conn.Close()
		t.Error("a C is let in")
	}
	conn, err := tls.Dial("tcp", x.FrontAddr().String(), &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{control.Protocol}})
	if err == nil {
		conn.Close()
		t.Error("its protocol is agreed on")
	}
}

// A C that has come by the front port comes to the other P when that has visitors,
// who wait for it.
func TestHandOverOnePort(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = true })
	y := startC(t, x, hello("c"), byFront(x))
	rt := x.transport(&tls.Config{RootCAs: x.files.roots()}, true)
	asked, leave := askOnAndOn(t, x, rt)
	waitFor(t, "requests", func() bool { return asked.Load() > 20 })
	var next *successor
	if err := x.HandOver(t.Context(), func(ports map[string]net.Listener) (proxy.Successor, error) {
		next = inherit(x, ports)
		return next, nil
	}); err != nil {
		t.Fatal(err)
	}
	x.wait()
	waitFor(t, "C", func() bool { return next.Connected("@") })
	before := asked.Load()
	waitFor(t, "more requests", func() bool { return asked.Load() > before+20 })
	leave()
	if n := y.log.count("asks for another connection"); n != 1 || y.wire.dials() != 2 {
		t.Errorf("C was asked %d times and dialled %d times, want once and twice", n, y.wire.dials())
	}
	for _, log := range []*journal{x.log, next.log, y.log} {
		if n := log.count("level=WARN") + log.count("level=ERROR"); n != 0 {
			t.Errorf("%s has %d warnings", log.who, n)
		}
	}
}
