package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// deadline returns a context that ends when nothing has moved for patience. How long
// a large body takes is the machine's affair: see moving.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	timer := time.AfterFunc(patience, func() { cancel(context.DeadlineExceeded) })
	t.Cleanup(func() {
		timer.Stop()
		cancel(nil)
	})
	return patient{ctx, timer}
}

// patient is what deadline returns.
type patient struct {
	context.Context
	timer *time.Timer
}

// moving returns body; what is read of it puts ctx's end off, if that is deadline's.
func moving(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	if p, ok := ctx.(patient); ok && body != nil && body != http.NoBody {
		return movingBody{body, p.timer}
	}
	return body
}

type movingBody struct {
	io.ReadCloser
	timer *time.Timer
}

func (m movingBody) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if n > 0 {
		m.timer.Reset(patience)
	}
	return n, err
}

// async fetches on a goroutine of its own, which ends with the answer.
func async(ctx context.Context, rt http.RoundTripper, method, url string, body io.Reader) <-chan answer {
	ch := make(chan answer, 1)
	go func() { ch <- fetch(ctx, rt, method, url, body, nil) }()
	return ch
}

func held(x *p, n int) func() bool {
	return func() bool { return x.metric("spdy_proxy_requests_held") == fmt.Sprint(n) }
}

// noDefault has no token for the default origin.
func noDefault(c *proxy.Config) { c.Tokens = control.TokenSource{Value: "good-token film"} }

// In its first seconds P waits for each name that a token may serve.
func TestFirstSeconds(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		get := async(deadline(t), rt, "GET", x.url("/a"), nil)
		post := async(deadline(t), rt, "POST", x.url("/b"), bytes.NewReader(pattern(300_000)))
		waitFor(t, "two held requests", held(x, 2))
		startC(t, x, hello("c"), nil)
		want(t, "held GET", <-get, 200, "c GET /a")
		want(t, "held POST", <-post, 200, "c POST /b 300000")
		waitFor(t, "the requests are counted for their origin", func() bool {
			return x.metric(`spdy_proxy_requests_total{class="2xx",origin="@"}`) == "2"
		})
	})
}

// The first seconds are the first in which visitors come: a P that takes over from
// another waits for that first.
func TestFirstSecondsOfASuccessor(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		x := startP(t, f, func(c *proxy.Config) {
			c.Started = func(context.Context) error { time.Sleep(c.Hold + time.Second); return nil }
		})
		get := async(deadline(t), x.transport(nil, false), "GET", x.url("/a"), nil)
		waitFor(t, "a held request", held(x, 1))
		startC(t, x, hello("c"), nil)
		want(t, "held GET", <-get, 200, "c GET /a")
	})
}

// A C that has its 200 is in the table.
func TestConnectedIsKnown(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	conf, err := control.ClientTLS{CAFile: x.files.path("ca.pem"), ServerName: "localhost"}.Load()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		d := &control.Dialer{Addr: x.ControlAddr().String(), Name: fmt.Sprint("c", i), Token: "good-token", TLS: conf}
		conn, err := d.Dial(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if !x.Connected(d.Name) {
			t.Errorf("%s has its 200, and P does not know it", d.Name)
		}
	}
}

// 503, Retry-After, one line of text: that origin is not connected.
func TestNeverConnected503(t *testing.T) {
	everyClientInBubble(t, noDefault, func(t *testing.T, x *p, rt http.RoundTripper) {
		start := time.Now()
		a := fetch(deadline(t), rt, "GET", x.url("/"), nil, nil)
		want(t, "GET with no origin", a, 503, "\n")
		if a.header.Get("Retry-After") == "" || strings.Count(string(a.body), "\n") != 1 || !strings.Contains(a.header.Get("Proxy-Status"), "spdy-proxy") {
			t.Errorf("got Retry-After %q, Proxy-Status %q, body %q; want both, and one line", a.header.Get("Retry-After"), a.header.Get("Proxy-Status"), a.body)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("it took %v: who was never there is not waited for", d)
		}
	})
}

// A request waits for an origin that was connected in the last minute.
func TestHold(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		first := startC(t, x, hello("first"), nil)
		want(t, "before", fetch(deadline(t), rt, "GET", x.url("/a"), nil, nil), 200, "first GET /a")
		first.stop()
		get := async(deadline(t), rt, "GET", x.url("/b?c=%20d"), nil)
		post := async(deadline(t), rt, "POST", x.url("/e"), bytes.NewReader(pattern(300_000)))
		waitFor(t, "two held requests", held(x, 2))
		startC(t, x, hello("second"), nil)
		want(t, "held GET", <-get, 200, "second GET /b?c=%20d 0")
		want(t, "held POST", <-post, 200, "second POST /e 300000")
		waitFor(t, "no held request", held(x, 0))
		// A request is counted when it is over for P, a little after A has its answer.
		waitFor(t, "two holds counted", func() bool { return x.metric("spdy_proxy_hold_duration_seconds_count") == "2" })
	})
}

// 503 after the hold.
func TestHoldExpired503(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		x := startP(t, f, func(c *proxy.Config) { c.Hold = 150 * time.Millisecond })
		startC(t, x, hello("c"), nil).stop()
		start := time.Now()
		a := x.get("/")
		want(t, "GET after the hold", a, 503, "")
		if a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if d := time.Since(start); d < 150*time.Millisecond {
			t.Errorf("it took %v, want at least the hold, 150ms", d)
		}
	})
}

// Held requests leave when A leaves.
func TestHeldRequestLeaves(t *testing.T) {
	everyClientInBubble(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		startC(t, x, hello("c"), nil).stop()
		ctx, cancel := context.WithCancel(deadline(t))
		get := async(ctx, rt, "GET", x.url("/"), nil)
		waitFor(t, "a held request", held(x, 1))
		cancel()
		<-get
		waitFor(t, "no held request", held(x, 0))
	})
}

// A request is sent again: GET, HEAD and OPTIONS without a body also when the
// session ended before the response's headers; else 502.
func TestReplay(t *testing.T) {
	for _, c := range []struct {
		method, body string
		status       int
	}{
		{"GET", "", 200}, {"HEAD", "", 200}, {"OPTIONS", "", 200},
		{"POST", "", 502}, {"POST", "some", 502}, {"PUT", "some", 502}, {"DELETE", "", 502}, {"PATCH", "some", 502},
	} {
		t.Run(fmt.Sprintf("%s %q", c.method, c.body), func(t *testing.T) {
			x := startP(t, newFiles(t), nil)
			arrived := make(chan struct{}, 2)
			var calls atomic.Int32
			startedC := startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if calls.Add(1) == 1 {
					arrived <- struct{}{}
					<-r.Context().Done()
					return
				}
				io.WriteString(w, "again")
			}), nil)
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			got := async(deadline(t), transport(t, nil, false), c.method, x.url("/"), body)
			<-arrived
			startedC.wire.cut()
			a := <-got
			if a.err != nil || a.status != c.status {
				t.Fatalf("got %v, want %d", a, c.status)
			}
			wantCalls, wantReplayed := int32(1), "0"
			if c.status == 200 {
				wantCalls, wantReplayed = 2, "1"
			} else if !strings.Contains(a.header.Get("Proxy-Status"), "error=") {
				t.Errorf("Proxy-Status: got %q, want an error", a.header.Get("Proxy-Status"))
			}
			if got := calls.Load(); got != wantCalls {
				t.Errorf("the handler ran %d times, want %d", got, wantCalls)
			}
			waitFor(t, "one request counted", func() bool { return x.metric("spdy_proxy_requests_in_flight") == "0" })
			replayed := func() string { return x.metric(`spdy_proxy_replayed_total{origin="@"}`) }
			waitFor(t, fmt.Sprintf("%q replayed", wantReplayed), func() bool { return replayed() == wantReplayed })
		})
	}
}

// C is stopped by SIGTERM and another takes its place: what is open finishes
// there, what comes goes here, whatever the method.
func TestGracefulRestart(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		arrived, release := make(chan struct{}), make(chan struct{})
		first := startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-release
			hello("first").ServeHTTP(w, r)
		}), nil)
		open := async(deadline(t), rt, "POST", x.url("/open"), strings.NewReader("body"))
		<-arrived
		first.cancel()
		x.log.wait("origin is leaving", 1)
		came := async(deadline(t), rt, "POST", x.url("/came"), strings.NewReader("other body"))
		waitFor(t, "a held request", held(x, 1))
		startC(t, x, hello("second"), nil)
		want(t, "POST that came meanwhile", <-came, 200, "second POST /came 10")
		close(release)
		want(t, "POST that was open", <-open, 200, "first POST /open 4")
		first.wait()
		x.log.wait("origin disconnected", 1)
	})
}

// Requests go on all the while, and C comes and goes: nobody notices.
func TestRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*c)
	}{
		{"SIGTERM", (*c).stop},
		{"kill -9", (*c).crash},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := startP(t, newFiles(t), nil)
			content := pattern(40_000)
			// A strong validator, so that an answer cut in its middle goes on.
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Etag", `"v1"`)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			})
			current := startC(t, x, handler, nil)
			rt := transport(t, nil, false)
			var stop atomic.Bool
			var fine atomic.Int32
			var working sync.WaitGroup
			for range 8 {
				working.Go(func() { // ends soon after stop, waited for below
					for !stop.Load() {
						a := fetch(deadline(t), rt, "GET", x.url("/"), nil, nil)
						if a.err != nil || a.status != 200 || !bytes.Equal(a.body, content) {
							t.Errorf("got %v, want 200 with %d bytes", a, len(content))
							return
						}
						fine.Add(1)
					}
				})
			}
			for range 4 {
				before := fine.Load()
				waitFor(t, "more answers", func() bool { return fine.Load() >= before+20 || t.Failed() })
				c.end(current)
				current = startC(t, x, handler, nil)
			}
			before := fine.Load()
			waitFor(t, "answers after the last restart", func() bool { return fine.Load() >= before+20 || t.Failed() })
			stop.Store(true)
			working.Wait()
			t.Logf("%d answers, %s replayed, %s resumed", fine.Load(), x.metric(`spdy_proxy_replayed_total{origin="@"}`), x.metric(`spdy_proxy_resumed_total{origin="@"}`))
		})
	}
}
