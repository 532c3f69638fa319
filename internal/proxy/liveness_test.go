package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// A half-open peer is found by both sides in two intervals, and C is back.
func TestHalfOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		const interval = 500 * time.Millisecond
		x := startP(t, f, func(c *proxy.Config) { c.KeepAlive = interval })
		y := startC(t, x, hello("c"), func(c *agent.Config) { c.Session.KeepAlive = interval })
		want(t, "before", x.get("/"), 200, "c GET /")
		frozen := time.Now()
		y.wire.fail(errNoNetwork) // or C would be back before P has noticed, and replace
		y.wire.freeze()

		x.log.wait(`msg="origin disconnected"`, 1)
		atP := time.Since(frozen)
		y.log.wait(`msg="connection lost"`, 1)
		atC := time.Since(frozen)
		// Closing a connection on which nothing goes through takes some 2 s more.
		for who, took := range map[string]time.Duration{"P": atP, "C": atC} {
			if took < interval || took > 2*interval+3*time.Second {
				t.Errorf("%s: gone after %v, want one to two intervals of %v, and 3 s to close", who, took, interval)
			}
		}
		t.Logf("gone after %v at P, %v at C", atP, atC)
		y.wire.fail(nil)
		want(t, "after", x.get("/"), 200, "c GET /")
	})
}

// What was in flight on a half-open session goes on elsewhere or fails; nobody
// waits for ever.
func TestHalfOpenInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		const interval = 300 * time.Millisecond
		x := startP(t, f, func(c *proxy.Config) { c.KeepAlive = interval })
		arrived := make(chan string, 8)
		gone := make(chan struct{})
		t.Cleanup(func() { close(gone) })
		var y *c
		y = startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if y.wire.dials() > 1 {
				hello("c").ServeHTTP(w, r)
				return
			}
			arrived <- r.Method
			select {
			case <-gone:
			case <-r.Context().Done():
			}
		}), func(c *agent.Config) { c.Session.KeepAlive = interval })
		rt := x.transport(nil, false)
		get := async(deadline(t), rt, "GET", x.url("/"), nil)
		<-arrived
		post := async(deadline(t), rt, "POST", x.url("/"), strings.NewReader("x"))
		<-arrived
		y.wire.freeze()
		want(t, "GET", <-get, 200, "c GET /")
		want(t, "POST", <-post, 502, "")
	})
}

// A slow link, on which every write arrives late, is not a dead one.
func TestSlowLinkIsAlive(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		const interval = 200 * time.Millisecond
		x := startP(t, f, func(c *proxy.Config) { c.KeepAlive = interval })
		y := startC(t, x, hello("c"), func(c *agent.Config) { c.Session.KeepAlive = interval })
		y.wire.delay(interval / 2)
		for i := range 8 {
			want(t, "GET over a slow link", x.get(fmt.Sprint("/", i)), 200, "c GET")
		}
		if n := x.log.count("origin disconnected"); n != 0 {
			t.Errorf("the session ended %d times, want never", n)
		}
	})
}

// Garbage on the connection ends the session, and the next one serves.
func TestGarbage(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	y := startC(t, x, hello("c"), nil)
	y.wire.garble()
	want(t, "GET while C's bytes are garbled", x.get("/"), 200, "c GET /")
	x.log.wait("origin disconnected", 1)
	if n := y.wire.dials(); n != 2 {
		t.Errorf("C dialled %d times, want 2", n)
	}
}

// Garbage inside TLS: a C whose token is good and whose frames are not.
func TestGarbageFrames(t *testing.T) {
	for _, c := range []struct{ name, bytes string }{
		{"HTTP", "HTTP/1.1 200 OK\r\n\r\n"},
		{"zeros", strings.Repeat("\x00", 4096)},
		{"another version", "\x80\x02\x00\x04\x00\x00\x00\x04\x00\x00\x00\x00"},
		{"a SYN_REPLY for nothing, whose block is no zlib", "\x80\x03\x00\x02\x00\x00\x00\x0c\x00\x00\x00\x01garbage!"},
		{"the largest length", "\x80\x03\x00\x04\x00\xff\xff\xff"},
		{"half a frame", "\x80\x03\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := startP(t, newFiles(t), nil)
			conn := register(t, x, "", "bad.0")
			if _, err := io.WriteString(conn, c.bytes); err != nil {
				t.Fatal(err)
			}
			conn.CloseWrite()
			x.log.wait("origin disconnected", 1)
			startC(t, x, hello("good"), nil)
			want(t, "GET from the next C", x.get("/"), 200, "good GET /")
		})
	}
}

// A reader who does not read stops nobody else, on the same connection or
// another.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	content := pattern(16 << 20)
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		h := folder(t, content)
		startC(t, x, h, nil)
		for range 2 {
			begin(t, rt, x.url("/film.mp4"), "", 1) // and reads no more
		}
		for _, who := range []struct {
			name string
			rt   http.RoundTripper
		}{{"the same client", rt}, {"another client", clientLike(t, x)}} {
			part := content[4<<20 : 8<<20]
			a := fetch(deadline(t), who.rt, "GET", x.url("/film.mp4"), nil, func(r *http.Request) {
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", 4<<20, 8<<20-1))
			})
			if a.err != nil || !bytes.Equal(a.body, part) {
				t.Errorf("%s: got %v, want all %d bytes", who.name, a, len(part))
			}
		}
	})
}

// clientLike is a plain client of x.
func clientLike(t *testing.T, x *p) http.RoundTripper {
	if x.cfg.TLS {
		return clients[1].make(t, x)
	}
	return clients[0].make(t, x)
}

// A request whose A leaves is reset (CANCEL), and C's handler is told.
func TestVisitorLeaves(t *testing.T) {
	everyClientInBubble(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		told := make(chan error, 2)
		arrived := make(chan struct{}, 2)
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/body" {
				w.Write(pattern(1000))
				http.NewResponseController(w).Flush()
			}
			arrived <- struct{}{}
			<-r.Context().Done()
			told <- r.Context().Err()
		}), nil)
		for _, path := range []string{"/headers", "/body"} {
			ctx, cancel := context.WithCancel(deadline(t))
			got := async(ctx, rt, "GET", x.url(path), nil)
			<-arrived
			cancel()
			<-got
			select {
			case <-told:
			case <-time.After(patience):
				t.Fatalf("%s: C's handler was not told", path)
			}
		}
		waitFor(t, "both counted as reset by P", func() bool {
			return x.metric(`spdy_proxy_stream_resets_total{by="proxy",status="CANCEL"}`) == "2"
		})
		waitFor(t, "nothing in flight", func() bool { return x.metric("spdy_proxy_requests_in_flight") == "0" })
	})
}

// A visitor whose head or TLS hello does not come is let go.
func TestSilentVisitor(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", tls), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *files) {
				x := startP(t, f, func(c *proxy.Config) { c.TLS = tls })
				conn, err := f.dial(deadline(t), "tcp", x.FrontAddr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, "\x16"); err != nil { // of either, a beginning
					t.Fatal(err)
				}
				conn.SetReadDeadline(time.Now().Add(patience))
				start := time.Now()
				if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
					t.Errorf("%v, want an end", err)
				}
				if d := time.Since(start); d > 15*time.Second {
					t.Errorf("let go after %v, want some 10 s", d)
				}
			})
		})
	}
}
