package proxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

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
