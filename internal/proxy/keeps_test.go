package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/http1"
	"github.com/amahi/spdy-proxy/internal/inspect"
	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/policy"
)

// What is remembered of requests by the parts behind the front port holds nothing of
// their heads, of which every string of an HTTP/1 request is a piece.
func TestNoHeadIsKept(t *testing.T) {
	domains, err := originname.ParseDomains([]string{"example.org"})
	if err != nil {
		t.Fatal(err)
	}
	policies := policy.New(front.NewChecks(), domains)
	if err := policies.Set([]policy.Table{{Name: "*", VisitorRequestsPerSecond: 1}}); err != nil {
		t.Fatal(err)
	}
	table := origin.NewTable(origin.Config{Expect: func(n origin.Name) bool { return strings.HasPrefix(string(n), "soon") }, ExpectFor: time.Hour})
	board := inspect.New(inspect.Config{})
	handler, err := front.New(front.Config{
		Origins: table, Domains: domains, Policy: policies.For, MaxHeaderBytes: 64 << 10, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Meter: func(n origin.Name) front.Meter { return board.Tally(n.String(), true) },
		OnDone: func(r *front.Record) {
			q := requestOf(r)
			board.Ended(&q)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	near, far := spdytest.Pipe(spdytest.PipeConfig{Buffer: 256 << 10})
	p := new(spdy.Config).NewClientSession(near)
	c := new(spdy.Config).NewServerSession(far, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})})
	server := http1.New(&http.Server{Handler: handler, MaxHeaderBytes: slackHeaderBytes(64 << 10)})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// All end with what is closed below, and are waited for.
	open.Go(func() { p.Serve() })
	open.Go(func() { c.Serve() })
	open.Go(func() { server.Serve(ln) })
	if _, err := table.Register(origin.Registration{Name: "photos", Session: p}); err != nil {
		t.Fatal(err)
	}
	ask := func(host string, from, pad int) int {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 2001:db8:%x::1\r\nX-Pad: %s\r\n\r\n", host, from, strings.Repeat("x", pad))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools have goes with the second
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	ask("photos.example.org", 0, 1) // what is made once
	before := heap()
	codes := map[int]int{}
	const n, pad = 300, 60_000
	for i := range n {
		codes[ask("photos.example.org", i+1, pad)]++
		codes[ask("photos.example.org", 1, pad)]++                     // too early, but for a few
		codes[ask(fmt.Sprintf("soon%d.example.org", i), i+1, pad)]++   // may be there soon
		codes[ask(fmt.Sprintf("nobody%d.example.org", i), i+1, pad)]++ // not
	}
	if codes[200] < n || codes[429] == 0 || codes[503] != 2*n {
		t.Errorf("the answers were %v", codes)
	}
	if more := heap() - before; more > n*pad/4 {
		t.Errorf("%d KiB are kept of %d requests, whose heads have %d KiB each", more>>10, 4*n, pad>>10)
	}
	runtime.KeepAlive(policies)
	runtime.KeepAlive(board)
	server.Close()
	p.Close()
	c.Close()
	open.Wait()
}
