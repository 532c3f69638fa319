package proxy_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// blocking answers "/open" only when it is let go, and "/stream" with a first
// part before that.
func blocking() (h http.Handler, arrived chan struct{}, release chan struct{}) {
	arrived, release = make(chan struct{}, 16), make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			w.Write([]byte("first "))
			http.NewResponseController(w).Flush()
			fallthrough
		case "/open":
			arrived <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
				return
			}
		}
		hello("c").ServeHTTP(w, r)
	}), arrived, release
}

// SIGTERM: /readyz 503 first, no new connections, open requests finish within
// --drain, GOAWAY to the origins, and the admin port is the last.
func TestStop(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, release := blocking()
		startC(t, x, h, nil)
		want(t, "before", fetch(deadline(t), rt, "GET", x.url("/"), nil, nil), 200, "c GET /")
		if status, _ := x.adminGet("/readyz"); status != 200 {
			t.Errorf("/readyz before: got %d, want 200", status)
		}
		open := async(deadline(t), rt, "GET", x.url("/open"), nil)
		stream := async(deadline(t), rt, "GET", x.url("/stream"), nil)
		<-arrived
		<-arrived

		x.cancel()
		waitFor(t, "/readyz 503", func() bool { s, _ := x.adminGet("/readyz"); return s == 503 })
		if s, _ := x.adminGet("/healthz"); s != 200 {
			t.Errorf("/healthz while stopping: got %d, want 200", s)
		}
		waitFor(t, "the front port refuses connections", func() bool {
			conn, err := net.Dial("tcp", x.FrontAddr().String())
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		// 503 at the control port: P is stopping.
		_, err := dialer(t, x, "", "other.0", "good-token").Dial(deadline(t))
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("a C that registers while P stops: got %v, want 503", err)
		}
		if x.log.count("origin disconnected") != 0 {
			t.Error("C's session ended before its requests did")
		}
		close(release)
		want(t, "an open request", <-open, 200, "c GET /open")
		want(t, "an open response", <-stream, 200, "first c GET /stream")
		x.wait()
		if x.err != nil {
			t.Errorf("Run: got %v, want nil", x.err)
		}
		if strings.Count(x.log.String(), "origin disconnected") != 1 || strings.Contains(x.log.String(), "reason=") {
			t.Error("C's session did not end in good order")
		}
		if _, err := net.Dial("tcp", x.AdminAddr().String()); err == nil {
			t.Error("the admin port still answers")
		}
	})
}

// 503, Retry-After: P is stopping, for who asks on a connection that is open,
// and for who waits for an origin.
func TestStopping503(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = true })
	startC(t, x, hello("gone"), nil).stop()
	rt := clients[2].make(t, x) // h2: one connection for all
	heldGet := async(deadline(t), rt, "GET", x.url("/held"), nil)
	waitFor(t, "a held request", held(x, 1))
	x.cancel()
	a := <-heldGet
	want(t, "a held request", a, 503, "")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	x.wait()
}

// What has not finished within --drain is cut off, and looks it.
func TestDrainEnds(t *testing.T) {
	everyClientInBubble(t, func(c *proxy.Config) { c.Drain = 300 * time.Millisecond }, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, _ := blocking()
		startC(t, x, h, func(c *agent.Config) { c.Drain = 0 })
		stream := async(deadline(t), rt, "GET", x.url("/stream"), nil)
		<-arrived
		start := time.Now()
		x.cancel()
		if a := <-stream; a.err == nil {
			t.Errorf("got %v, want a broken answer", a)
		}
		x.wait()
		if d := time.Since(start); d < 300*time.Millisecond || d > 5*time.Second {
			t.Errorf("P took %v to stop, want its drain of 300ms, and some", d)
		}
	})
}

// A second signal stops at once.
func TestSecondSignal(t *testing.T) {
	everyClient(t, func(c *proxy.Config) { c.Drain = time.Hour }, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, _ := blocking()
		startC(t, x, h, nil)
		open := async(deadline(t), rt, "POST", x.url("/open"), strings.NewReader("body"))
		<-arrived
		x.cancel()
		x.log.wait("p is stopping, open requests finish", 1)
		start := time.Now()
		x.cancelNow()
		if a := <-open; a.err == nil && a.status < 500 {
			t.Errorf("got %v, want a failure", a)
		}
		x.wait()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("P took %v after the second signal", d)
		}
	})
}

// A port that fails ends P, with an error.
func TestPortFails(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	x.log.wait("p listens", 1)
	x.CloseFront()
	x.wait()
	if x.err == nil || !strings.Contains(x.err.Error(), "front port failed") {
		t.Errorf("Run: got %v, want the front port's failure", x.err)
	}
}
