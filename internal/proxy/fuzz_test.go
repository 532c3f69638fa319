package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/admin"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/inspect"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// gotten is a request as a C got it.
type gotten struct {
	*http.Request
	body    string
	trailer http.Header
}

// catcher is a C that keeps its requests, and answers each with its number.
type catcher struct {
	mu  sync.Mutex
	got []gotten // guarded by mu
}

func (c *catcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Header.Get("Upgrade") == "" { // or the bytes are the other protocol's
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	c.mu.Lock()
	w.Header().Set("X-Number", strconv.Itoa(len(c.got)))
	c.got = append(c.got, gotten{r, string(body), r.Trailer})
	c.mu.Unlock()
	io.WriteString(w, "ok")
}

func (c *catcher) take() []gotten {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// newCatchingProxy returns a front port without sockets before a catcher.
func newCatchingProxy(f *testing.F) (*catcher, chan any) {
	p := &Proxy{log: slog.New(slog.DiscardHandler), auth: control.NoAuth(), origins: origin.NewTable(origin.Config{})}
	var err error
	if p.cfg, err = (Config{Front: "localhost:1", Control: "localhost:2", MaxHeaderBytes: 8192}).withDefaults(); err != nil {
		f.Fatal(err)
	}
	p.board = inspect.New(inspect.Config{})
	p.metrics = admin.NewMetrics(source{p}, p.board, "test")
	if err := p.newFront(); err != nil {
		f.Fatal(err)
	}
	c := &catcher{}
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	ours, theirs := new(spdy.Config).NewClientSession(a), new(spdy.Config).NewServerSession(b, &http.Server{Handler: c})
	next := make(chan any)
	ln := newVisitors("front", fakeListener{next: next}, p.log, []netip.Prefix{}, time.Hour, time.Hour)
	var running sync.WaitGroup
	// These end with their connections and the listener, below.
	running.Go(func() { ours.Serve() })
	running.Go(func() { theirs.Serve() })
	running.Go(func() { p.front.Serve(ln) })
	f.Cleanup(func() {
		close(next)
		p.front.Close()
		ours.Close()
		theirs.Close()
		running.Wait()
		ln.Close()
		ln.unwatch()
	})
	if _, err := p.origins.Register(origin.Registration{Session: ours}); err != nil {
		f.Fatal(err)
	}
	return c, next
}

// Any bytes at the front port: nothing panics, no answer blames the origin for
// them, and what C gets is what net/http reads in them.
func FuzzFrontBytes(f *testing.F) {
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\n", "POST /p HTTP/1.1\r\nHost: a\r\n"
	for _, seed := range []string{
		get + "\r\n",
		get + "\r\n" + get + "X-A: 2\r\n\r\n",
		"GET /old HTTP/1.0\r\n\r\n",
		"HEAD //a/../b?c=%zz&&d#e HTTP/1.1\r\nHost: A.B:80\r\nCookie: a=b\r\nCookie: c\r\nX-A:\r\nX-A: 1\r\nX-A:\t2 \r\n\r\n",
		post + "Content-Length: 4\r\n\r\nbody" + get + "\r\n",
		post + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2;x=y\r\nbo\r\n2\r\ndy\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n",
		post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n" + get + "\r\n",
		post + "Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi" + get + "\r\n",
		post + "Content-Length: 100\r\n\r\nshort",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n",
		"OPTIONS http://b HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
		"GET http://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
		"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		get + "Connection: X-A, Upgrade, Host\r\nUpgrade: websocket\r\nX-A: 1\r\nSec-WebSocket-Key: k\r\n\r\nraw",
		get + "Connection: upgrade\r\nUpgrade: \xff\r\n\r\n",
		get + "X-A: a\r\n b\r\nX-B : c\r\n\r\n",
		get + "Host: b\r\n\r\n",
		get + "X-\xff: \x00\r\n\r\n",
		get + "TE: trailers, gzip\r\nKeep-Alive: 1\r\nPriority: u=1, i\r\nVia: 1.1 x, 1.1 spdy-proxy\r\n\r\n",
		get + "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 7\r\nForwarded: for=a\r\nX-Request-Id: b\r\n\r\n",
		get + strings.Repeat("A: b\r\n", 1001) + "\r\n",
		get + "X-A: " + strings.Repeat("x", 9000) + "\r\n\r\n",
		get + strings.Repeat("n", 1025) + ": 1\r\n\r\n",
		"\r\n\r\n" + get + "\r\n",
		"GET /\xff\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
		"G\xc3\xa4T / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01",
		"HEAD * HTTP/0.0\r\n\r\n",
		"HEAD / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	c, next := newCatchingProxy(f)
	f.Fuzz(func(t *testing.T, sent []byte) {
		a, b := spdytest.Pipe(spdytest.PipeConfig{})
		next <- b
		a.SetDeadline(time.Now().Add(20 * time.Second))
		// Its end is not waited for: P need not read all of it.
		a.Write(sent)
		a.CloseWrite()
		answers, err := io.ReadAll(a)
		if ne, ok := err.(interface{ Timeout() bool }); ok && ne.Timeout() {
			t.Fatalf("no end of the answer: %q", answers)
		}
		a.Close()
		check(t, sent, answers, c.take())
	})
}

// check compares what was sent, answered, and gotten by C.
func check(t *testing.T, sent, answers []byte, got []gotten) {
	in, out := bufio.NewReader(bytes.NewReader(sent)), bufio.NewReader(bytes.NewReader(answers))
	for n := 0; ; n++ {
		// Empty lines before a request are ignored (RFC 9112, 2.2).
		for peek, _ := in.Peek(2); string(peek) == "\r\n"; peek, _ = in.Peek(2) {
			in.Discard(2)
		}
		req, reqErr := http.ReadRequest(in)
		var body []byte
		if reqErr == nil {
			body, reqErr = io.ReadAll(req.Body)
		}
		resp, err := http.ReadResponse(out, req)
		for err == nil && resp.StatusCode < 200 {
			resp, err = http.ReadResponse(out, req)
		}
		if err != nil {
			if out.Buffered() > 0 || err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Fatalf("answer %d is none: %v", n, err)
			}
			return
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("answer %d is cut short: %v", n, err)
		}
		if resp.StatusCode >= 500 && resp.StatusCode != 501 && resp.StatusCode != 505 && !strings.Contains(resp.Header.Get("Proxy-Status"), "proxy_loop_detected") {
			t.Fatalf("answer %d is %d %q", n, resp.StatusCode, text)
		}
		number := resp.Header.Get("X-Number")
		if number == "" {
			continue // P's own
		}
		i, err := strconv.Atoi(number)
		if err != nil || i >= len(got) || reqErr != nil {
			t.Fatalf("answer %d is C's number %q of %d, to what is no request: %v", n, number, len(got), reqErr)
		}
		if why := differ(req, string(body), got[i]); why != "" {
			t.Fatalf("request %d: %s", n, why)
		}
	}
}

// differ says in what C's request is another than A's, "" if in nothing that it
// may not be.
func differ(a *http.Request, body string, c gotten) string {
	host, target := a.Host, a.RequestURI
	if a.Host == "" {
		host = "localhost"
	}
	if a.URL.Host != "" {
		_, rest, _ := strings.Cut(target, "://")
		target = "/"
		if a.Method == "OPTIONS" {
			target = "*"
		}
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			target = "/" + strings.TrimPrefix(rest[i:], "/")
		}
	}
	if c.Method != a.Method || c.RequestURI != target || c.Host != host || c.body != body {
		return fmt.Sprintf("C got %s %q of %q with %q, want %s %q of %q with %q", c.Method, c.RequestURI, c.Host, c.body, a.Method, target, host, body)
	}
	named := map[string]bool{"Content-Length": true, "Te": true, "Via": true, "Expect": true, "Max-Forwards": a.Method == "OPTIONS"}
	for _, l := range a.Header["Connection"] {
		for _, name := range strings.FieldsFunc(l, func(r rune) bool { return strings.ContainsRune(", \t", r) }) {
			named[http.CanonicalHeaderKey(name)] = true
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authenticate", "Proxy-Authorization",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id"} {
		named[name] = true
	}
	want, have := http.Header{}, http.Header{}
	for name, values := range a.Header {
		low := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if named[name] || strings.HasPrefix(low, "x-forwarded-") || low == "forwarded" || low == "x-request-id" {
			continue
		}
		// SPDY has no empty value beside others, and h2's way with cookies.
		if some := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" }); len(some) > 0 {
			values = some
		} else {
			values = values[:1]
		}
		if name == "Cookie" {
			values = []string{strings.Join(values, "; ")}
		}
		want[name] = values
	}
	for name, values := range c.Header {
		if !named[name] {
			have[name] = values
		}
	}
	if !maps.EqualFunc(want, have, slices.Equal) {
		return fmt.Sprintf("C got the headers %q, want %q", have, want)
	}
	if one := c.Header["X-Forwarded-For"]; len(one) != 1 || one[0] != "unknown" {
		return fmt.Sprintf("X-Forwarded-For is %q", one)
	}
	for name := range c.trailer {
		if _, sent := a.Trailer[name]; !sent || front.MaxHeaderLines < len(c.trailer) {
			return fmt.Sprintf("C got the trailer %s, which nobody sent", name)
		}
	}
	return ""
}
