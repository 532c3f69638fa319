package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/policy"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// What P asks itself is no visitor's: it is in no log and no count, whatever visitors may.
// The same request of a visitor is.
func TestAnswersIsNotCounted(t *testing.T) {
	f := newFiles(t)
	held := new(tables)
	held.set(nil, policy.Table{Name: "*", RequestsPerSecond: .001, Burst: 1, VisitorRequestsPerSecond: .001, VisitorBurst: 1})
	x := startP(t, f, func(c *proxy.Config) { c.AccessLog, c.Policies = f.path("access"), held.read })
	startC(t, x, hello("c"), nil)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := x.Answers(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	conn, err := net.Dial("tcp", x.FrontAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\nSpdy-Proxy-Probe: guessed\r\nConnection: close\r\n\r\n")
	if b, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200") {
		t.Errorf("a visitor's: %q, %v", b, err)
	}
	waitFor(t, "the visitor's alone", func() bool { return x.metric(`spdy_proxy_responses_total{code="200"}`) == "1" })
	if n := x.metric(`spdy_proxy_responses_total{code="429"}`); n != "0" {
		t.Errorf("%s requests were above a rate, want none", n)
	}
	if _, text := x.adminGet("/api/v1/requests"); strings.Count(text, `"method":"OPTIONS"`) != 1 {
		t.Errorf("the last requests: %s", text)
	}
	x.cancel()
	x.wait()
	if b, err := os.ReadFile(f.path("access")); err != nil || strings.Count(string(b), "\n") != 1 {
		t.Errorf("the access log has %q, %v; want one line", b, err)
	}
}

// The front port is found to answer, over TLS, too, without an origin, and when it
// is full; and not to answer when nobody looks after it.
func TestAnswers(t *testing.T) {
	within := func(d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		t.Cleanup(cancel)
		return ctx
	}
	for _, tls := range []bool{false, true} {
		x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS, c.Front = tls, ":0" })
		if err := x.Answers(within(patience)); err != nil {
			t.Errorf("TLS %v: %v", tls, err)
		}
		x.LimitVisitors(0)
		if err := x.Answers(within(patience)); err != nil {
			t.Errorf("TLS %v, the port is full: %v", tls, err)
		}
	}
	f := newFiles(t)
	px, err := proxy.New(proxy.Config{
		Front: "127.0.0.1:0", Control: "127.0.0.1:0", CertFiles: []string{f.path("p.pem")}, KeyFiles: []string{f.path("p.key")}, NoAuth: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := px.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := px.Answers(within(50 * time.Millisecond)); err == nil {
		t.Error("nobody looks after the port, and it is found to answer")
	}
	px.CloseFront()
}
