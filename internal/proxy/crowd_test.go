package proxy_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// caller is a connection to the front port.
type caller struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// call connects. With a protocol, TLS is done and it is negotiated, and what comes
// before any request has been exchanged.
func call(t *testing.T, x *p, protocol string) caller {
	t.Helper()
	conn, err := net.DialTimeout("tcp", x.FrontAddr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	if protocol != "" {
		tc := tls.Client(conn, &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{protocol}})
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		conn = tc
	}
	c := caller{conn, t, bufio.NewReader(conn)}
	switch protocol {
	case "h2":
		frames := http2.NewFramer(conn, c.r)
		io.WriteString(conn, http2.ClientPreface)
		frames.WriteSettings()
		for acked := false; !acked; {
			f, err := frames.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			settings, ok := f.(*http2.SettingsFrame)
			acked = ok && settings.IsAck()
		}
	case "spdy/3.1":
		if _, err := c.r.Peek(1); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// asks sends a request and reads the answer, after which so many connections are
// idle.
func (c caller) asks(x *p, idle int) caller {
	c.t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
		c.t.Fatalf("got %s, %v", res.Status, err)
	}
	waitFor(c.t, fmt.Sprintf("%d connections are idle", idle), func() bool { return x.IdleVisitors() == idle })
	return c
}

// gone waits for the end of the connection.
func (c caller) gone(what string) {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.r)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		c.t.Errorf("%s was not closed", what)
	}
}

// A full front port takes newcomers: over every protocol, those go for them that
// have asked for nothing, then those that wait for a request, and never one whose
// request is in flight.
func TestCrowdedFrontPort(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, release := blocking()
		startC(t, x, h, nil)
		open := async(deadline(t), rt, "GET", x.url("/open"), nil)
		<-arrived
		secure, silent := "", []string{"", ""}
		if x.cfg.TLS {
			secure, silent = "http/1.1", []string{"", "h2", "spdy/3.1", "http/1.1"}
		}
		idle := call(t, x, secure).asks(x, 1)
		var quiet []caller
		for _, protocol := range silent {
			quiet = append(quiet, call(t, x, protocol))
		}
		full := 2 + len(silent) // with the one that asks, and the one that is idle
		waitFor(t, "all are there", func() bool { return x.metric("spdy_proxy_front_connections") == fmt.Sprint(full) })
		x.LimitVisitors(full)
		for i, c := range quiet {
			call(t, x, secure).asks(x, 2+i)
			c.gone(fmt.Sprintf("silent connection %d, %q", i, silent[i]))
		}
		for range 2 * full {
			call(t, x, secure).asks(x, full-1)
		}
		idle.gone("the one that was idle longest")
		close(release)
		want(t, "the request that was in flight", <-open, 200, "c GET /open")
		for reason, n := range map[string]int{"address": 0, "total": 0, "silent": len(silent), "idle": 2 * full} {
			if got := x.metric(`spdy_proxy_front_connections_refused_total{reason="` + reason + `"}`); got != fmt.Sprint(n) {
				t.Errorf("%s connections were closed because of %s, want %d", got, reason, n)
			}
		}
	})
}
