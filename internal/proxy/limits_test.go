package proxy_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// endless sends to each request as much as is taken, and says when one is gone;
// /small is answered at once.
func endless(gone chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			io.WriteString(w, "small")
			return
		}
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				gone <- struct{}{}
				return
			}
		}
	})
}

// A response that a visitor does not read at all for --stall is ended, over every
// protocol, and its stream to C with it.
func TestStall(t *testing.T) {
	t.Parallel()
	stall := func(c *proxy.Config) { c.Stall = time.Second }
	body := func(t *testing.T, x *p, rt http.RoundTripper) {
		gone := make(chan struct{}, 1)
		startC(t, x, endless(gone), nil)
		res, _ := begin(t, rt, x.url("/"), "", 1)
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatal("C still sends to a visitor that does not read")
		}
		waitFor(t, "it is counted", func() bool { return x.metric("spdy_proxy_stalled_total") == "1" })
		if _, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Error("what was broken off looks whole")
		}
	}
	everyClientInBubble(t, stall, body)
	// What TCP has acknowledged is asked of a socket alone.
	t.Run("over a socket", func(t *testing.T) {
		x := startP(t, newFiles(t), stall)
		body(t, x, clients[0].make(t, x))
	})
}

// unread opens n streams of one h2 connection whose responses have no window.
func unread(t *testing.T, x *p, from string, n int) {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := tls.DialWithDialer(&d, "tcp", x.FrontAddr().String(), &tls.Config{
		RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{"h2"},
	})
	if err != nil {
		t.Skipf("from %s: %v", from, err)
	}
	t.Cleanup(func() { conn.Close() })
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	frames := http2.NewFramer(&out, nil)
	frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for i := range n {
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		enc.SetMaxDynamicTableSizeLimit(0)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/"}} {
			enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		frames.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, conn) // ends with the connection
}

// One address that reads nothing does not take an origin away from others.
func TestShareOfOrigin(t *testing.T) {
	const streams = 80
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS, c.Stall = true, time.Minute })
	gone := make(chan struct{}, 1000)
	startC(t, x, endless(gone), func(c *agent.Config) { c.Session.MaxConcurrentStreams = streams })
	// C's SETTINGS come before its first answer. What comes before them has no share.
	want(t, "C's limit is known", x.get("/small"), 200, "small")
	for range 4 {
		unread(t, x, "127.0.0.2", streams)
	}
	waitFor(t, "all requests are there", func() bool { return x.metric("spdy_proxy_requests_in_flight") == "320" })
	// A request is counted before it asks for its stream, and C's /small may not have ended for P yet.
	open := func() string { return x.metric(`spdy_proxy_streams_in_flight{origin="@"}`) }
	waitFor(t, "one address has an eighth of the streams", func() bool { return open() == "10" })
	want(t, "another visitor", x.get("/small"), 200, "small")
	waitFor(t, "it has no more afterwards", func() bool { return open() == "10" })
}

// An origin that takes nothing of a request's body does not have the visitor wait for ever,
// nor for nothing.
func TestBodyThatNobodyTakes(t *testing.T) {
	for _, cl := range clients[:2] {
		t.Run(cl.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *files) {
				x := startP(t, f, func(c *proxy.Config) { c.TLS = cl.tls })
				startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil)
				start := time.Now()
				a := fetch(t.Context(), cl.make(t, x), "PUT", x.url("/film"), bytes.NewReader(make([]byte, 8<<20)), nil)
				want(t, "the visitor", a, 504, "taken nothing")
				if d := time.Since(start); d < 10*time.Minute || d > 15*time.Minute {
					t.Errorf("it came after %v", d)
				}
			})
		})
	}
}
