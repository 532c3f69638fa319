package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"golang.org/x/crypto/bcrypt"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// The front port's table: what A sees, and when.
func TestFrontPort(t *testing.T) {
	everyClientInBubble(t, func(c *proxy.Config) {
		c.ResponseTimeout = 200 * time.Millisecond
		c.MaxHeaderBytes = 8192
	}, func(t *testing.T, x *p, rt http.RoundTripper) {
		seen := make(chan struct{}, 1) // a value: A has what came so far
		var y *c
		y = startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/never":
				<-r.Context().Done()
			case "/abort":
				panic(http.ErrAbortHandler)
			case "/break":
				w.Header().Set("Content-Length", "1000")
				w.Write(pattern(500))
				http.NewResponseController(w).Flush()
				<-seen
				panic(http.ErrAbortHandler)
			case "/break-without-length":
				w.Write(pattern(500))
				http.NewResponseController(w).Flush()
				<-seen
				panic(http.ErrAbortHandler)
			case "/short":
				w.Header().Set("Content-Length", "1000")
				w.Write(pattern(500))
				http.NewResponseController(w).Flush()
				<-seen
			case "/cut":
				io.Copy(io.Discard, r.Body)
				y.wire.cut()
				<-r.Context().Done()
			default:
				hello("c").ServeHTTP(w, r)
			}
		}), nil)
		for _, c := range []struct {
			name, method, path string
			edit               func(*http.Request)
			status             int  // 0: the connection is broken
			ours               bool // with Proxy-Status, and one line of text
		}{
			{"200", "GET", "/", nil, 200, false},
			{"a path that could be cleaned", "GET", "//a/../b/./c%2Fd?x=1;y=%zz", nil, 200, false},
			{"502 the session ended before the headers", "POST", "/cut", nil, 502, true},
			{"504 no headers within --response-timeout", "GET", "/never", nil, 504, true},
			{"504 for POST", "POST", "/never", nil, 504, true},
			{"broken: it ended after the headers", "GET", "/break", nil, 0, false},
			{"broken: without a length too", "GET", "/break-without-length", nil, 0, false},
			{"broken: the length is not the announced one", "GET", "/short", nil, 0, false},
			{"405 TRACE", "TRACE", "/", nil, 405, true},
			{"431", "GET", "/", func(r *http.Request) { r.Header.Set("X-Long", strings.Repeat("x", 9000)) }, 431, true},
		} {
			func() { // a bubble has no subtests
				if c.status == 0 {
					res, _ := begin(t, rt, x.url(c.path), "", 500)
					seen <- struct{}{}
					if rest, err := io.ReadAll(res.Body); err == nil {
						t.Errorf("%s: the body ended as if whole, after %d more bytes", c.name, len(rest))
					}
					return
				}
				a := fetch(deadline(t), rt, c.method, x.url("/"), nil, func(r *http.Request) {
					r.URL.Opaque = ""
					path, query, _ := strings.Cut(c.path, "?")
					r.URL.Path, r.URL.RawQuery = path, query
					if strings.Contains(path, "%2F") {
						r.URL.Path, r.URL.RawPath = strings.ReplaceAll(path, "%2F", "/"), path
					}
					if c.edit != nil {
						c.edit(r)
					}
				})
				if a.err != nil || a.status != c.status {
					t.Fatalf("%s: got %v, want %d", c.name, a, c.status)
				}
				if c.status == 200 && !strings.Contains(string(a.body), c.method+" "+c.path) {
					t.Errorf("%s: got %q, want it with %q", c.name, a.body, c.path)
				}
				if c.ours && (a.header.Get("Proxy-Status") == "" || strings.Count(string(a.body), "\n") != 1) {
					t.Errorf("%s: got Proxy-Status %q, body %q; want one, and one line", c.name, a.header.Get("Proxy-Status"), a.body)
				}
			}()
		}
	})
}

// raw sends bytes to the front port and returns all that comes back.
func raw(t *testing.T, x *p, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", x.FrontAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	// What is long may be answered, and the connection closed, before its end.
	go func() { // ends when all is written, or with the connection
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite()
	}()
	b, err := io.ReadAll(conn)
	if err != nil && len(b) == 0 {
		t.Fatal(err)
	}
	return string(b)
}

// What a client library would not send.
func TestFrontPortRaw(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	startC(t, x, hello("c"), nil)
	for _, c := range []struct{ name, request, want string }{
		{"400 no Host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"400 two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "},
		{"400 two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "HTTP/1.1 400 "},
		{"400 no HTTP", "\x16\x03\x01\r\n\r\n", "HTTP/1.1 400 "},
		{"400 a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", "HTTP/1.1 400 "},
		{"400 a length beside chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
		{"400 chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
		{"400 a line that ends in LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", "HTTP/1.1 400 "},
		{"400 half a head", "GET / HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1 400 "},
		{"413 no number holds it", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 413 "},
		{"414", "GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 414 "},
		{"417", "POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 417 "},
		{"431", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: b\r\n", 10_000) + "\r\n", "HTTP/1.1 431 "},
		{"501 a method that nobody has", strings.Repeat("M", 100) + " / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 501 "},
		{"505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 "},
		{"501 an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501 "},
		{"405 CONNECT", "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n", "HTTP/1.1 405 "},
		{"405 TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 405 "},
		{"OPTIONS * is C's to answer", "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "c OPTIONS * 0"},
		{"HTTP/1.0", "GET /old HTTP/1.0\r\n\r\n", "c GET /old 0"},
	} {
		got := raw(t, x, c.request)
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %.200q, want %q", c.name, got, c.want)
		}
		// An answer of P's own says so.
		if own := strings.HasPrefix(c.want, "HTTP/1.1 "); own != strings.Contains(got, "\r\nProxy-Status: spdy-proxy; error=http_request_error; details=\"") {
			t.Errorf("%s: got %.200q, its Proxy-Status is not as it should be", c.name, got)
		}
	}
}

// HTTP/1.0 has no chunks, so that the end of the connection is the end of a body
// without a length. One that was cut short ends in a reset.
func TestHTTP10CutShort(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS = secure })
			seen := make(chan struct{}, 1) // a value: A has what came so far
			startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Write(pattern(500))
				http.NewResponseController(w).Flush()
				<-seen
				if r.URL.Path == "/cut" {
					panic(http.ErrAbortHandler)
				}
			}), nil)
			for _, path := range []string{"/cut", "/whole"} {
				tcp, err := net.Dial("tcp", x.FrontAddr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer tcp.Close()
				tcp.SetDeadline(time.Now().Add(patience))
				conn := tcp
				if secure {
					conn = tls.Client(tcp, &tls.Config{RootCAs: x.files.roots(), ServerName: "localhost", NextProtos: []string{"http/1.1"}})
				}
				io.WriteString(conn, "GET "+path+" HTTP/1.0\r\n\r\n")
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 500)
				if _, err := io.ReadFull(res.Body, b); err != nil {
					t.Fatal(err)
				}
				seen <- struct{}{}
				rest, err := io.ReadAll(res.Body)
				if path == "/cut" && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%s: got %d more bytes, then %v; want a reset", path, len(rest), err)
				}
				if path == "/whole" && (err != nil || len(rest) > 0) {
					t.Errorf("%s: got %d more bytes, then %v; want the end", path, len(rest), err)
				}
			}
		})
	}
}

// A request's body is read, and 100 Continue sent, only once its stream is
// open.
func TestExpectContinue(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	startC(t, x, hello("first"), nil).stop()
	conn, err := net.Dial("tcp", x.FrontAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	waitFor(t, "a held request", held(x, 1))
	startC(t, x, hello("second"), nil)
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("got %q, %v, want 100 Continue", line, err)
	}
	io.WriteString(conn, "body")
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), "second POST /late 4") {
		t.Errorf("got %q, %v, want C's answer", rest, err)
	}
}

// The request reaches C with its end-to-end headers, Via, and P's own
// X-Forwarded-*; what A claimed in those is dropped unless A is trusted.
func TestForwarded(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		everyClient(t, func(c *proxy.Config) {
			if trusted {
				c.TrustedProxies = []string{"127.0.0.0/8"}
			}
		}, func(t *testing.T, x *p, rt http.RoundTripper) {
			startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for _, name := range []string{"Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Connection", "Keep-Alive", "Te", "X-Hop", "Forwarded", "User-Agent", "X-End"} {
					fmt.Fprintf(w, "%s=%q\n", name, r.Header.Values(name))
				}
				fmt.Fprintf(w, "id=%v host=%s", r.Header.Get("X-Request-Id") != "" && r.Header.Get("X-Request-Id") != "claimed", r.Host)
			}), nil)
			proto := "http"
			if x.cfg.TLS {
				proto = "https"
			}
			a := fetch(deadline(t), rt, "GET", x.url("/"), nil, func(r *http.Request) {
				r.Host = "film.example"
				r.Header = http.Header{
					"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example"},
					"Forwarded": {"for=192.0.2.9"}, "X-Request-Id": {"claimed"}, "X-End": {"to end"}, "User-Agent": {""},
				}
				if _, ok := rt.(*spdy.Session); ok {
					delete(r.Header, "User-Agent") // it adds none
				}
				if proto == "http" {
					r.Header.Set("Connection", "X-Hop")
					r.Header.Set("X-Hop", "hop")
					r.Header.Set("Keep-Alive", "timeout=5")
				}
			})
			got := string(a.body)
			lines := []string{
				`Via=["1.1 spdy-proxy"]`, `Connection=[]`, `Keep-Alive=[]`, `X-Hop=[]`, `X-End=["to end"]`, `User-Agent=[]`, `host=film.example`,
			}
			if trusted {
				lines = append(lines, `X-Forwarded-For=["192.0.2.1, 127.0.0.1"]`, `X-Forwarded-Proto=["https"]`, `X-Forwarded-Host=["evil.example"]`, "id=false")
			} else {
				lines = append(lines, `X-Forwarded-For=["127.0.0.1"]`, fmt.Sprintf(`X-Forwarded-Proto=[%q]`, proto), `X-Forwarded-Host=["film.example"]`, "id=true")
			}
			for _, l := range lines {
				if !strings.Contains(got, l) {
					t.Errorf("trusted %v: no %s in\n%s", trusted, l, got)
				}
			}
		})
	}
}

// Bodies and responses stream both ways, flushed as they come, and trailers
// pass both ways.
func TestStreaming(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			http.NewResponseController(w).EnableFullDuplex()
			b := make([]byte, 100)
			for {
				n, err := r.Body.Read(b)
				fmt.Fprintf(w, "%s!", b[:n])
				http.NewResponseController(w).Flush()
				if err != nil {
					break
				}
			}
			w.Header().Set("X-Sum", "got "+r.Trailer.Get("X-Asked"))
		}), nil)
		pr, pw := io.Pipe()
		req, err := http.NewRequestWithContext(deadline(t), "POST", x.url("/"), pr)
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Asked": nil}
		go func() { // ends when the first byte was taken
			pw.Write([]byte("0"))
		}()
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b := make([]byte, 2)
		if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "0!" {
			t.Fatalf("got %q, %v, want what was sent, at once", b, err)
		}
		if req.Proto != "HTTP/1.1" || x.cfg.TLS && !isHTTP1(rt) {
			// The other protocols can ask on while they are answered.
			pw.Write([]byte("1"))
			if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "1!" {
				t.Fatalf("got %q, %v, want what was sent, at once", b, err)
			}
		}
		req.Trailer.Set("X-Asked", "asked")
		pw.Close()
		rest, err := io.ReadAll(res.Body)
		if err != nil || string(rest) != "!" && string(rest) != "" {
			t.Errorf("got %q, %v, want the end", rest, err)
		}
		if got := res.Trailer.Get("X-Sum"); got != "got asked" {
			t.Errorf("trailer X-Sum: got %q, want %q", got, "got asked")
		}
	})
}

func isHTTP1(rt http.RoundTripper) bool {
	tr, ok := rt.(*http.Transport)
	return ok && !tr.ForceAttemptHTTP2
}

// A big upload arrives whole.
func TestUpload(t *testing.T) {
	t.Parallel()
	content := pattern(8 << 20)
	sum := sha256.Sum256(content)
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		h := folder(t, []byte("x"))
		startC(t, x, h, nil)
		a := fetch(deadline(t), rt, "POST", x.url("/film.mp4"), bytes.NewReader(content), nil)
		want(t, "POST", a, 200, "x")
		if got, want := a.header.Get("X-Received-Digest"), "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":"; got != want {
			t.Errorf("X-Received-Digest: got %q, want %q", got, want)
		}
	})
}

// --alpn: one port, as many protocols as are listed, and no other.
func TestALPN(t *testing.T) {
	for _, c := range []struct {
		list  []string
		offer []string
		want  string // "-": no connection
	}{
		{nil, []string{"h2", "http/1.1"}, "h2"},
		{nil, []string{"http/1.1"}, "http/1.1"},
		{nil, []string{"spdy/3.1"}, "spdy/3.1"},
		{nil, []string{"spdy/3.1", "http/1.1"}, "http/1.1"},
		{nil, []string{"spdy/3"}, "-"},
		{nil, nil, ""},
		{[]string{"spdy/3.1", "spdy/3", "http/1.1"}, []string{"h2", "spdy/3.1", "http/1.1"}, "spdy/3.1"},
		{[]string{"spdy/3.1", "spdy/3", "http/1.1"}, []string{"spdy/3", "http/1.1"}, "spdy/3"},
		{[]string{"spdy/3.1", "spdy/3", "http/1.1"}, []string{"h2"}, "-"},
		{[]string{"http/1.1"}, []string{"h2", "http/1.1"}, "http/1.1"},
		{[]string{"h2"}, []string{"h2", "http/1.1"}, "h2"},
	} {
		t.Run(fmt.Sprint(c.list, c.offer), func(t *testing.T) {
			f := newFiles(t)
			x := startP(t, f, func(cfg *proxy.Config) { cfg.TLS, cfg.ALPN = true, c.list })
			conn, err := tls.Dial("tcp", x.FrontAddr().String(), &tls.Config{RootCAs: f.roots(), ServerName: "localhost", NextProtos: c.offer})
			if err != nil {
				if c.want != "-" {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			defer conn.Close()
			if got := conn.ConnectionState().NegotiatedProtocol; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// SPDY/3, without session windows.
func TestSPDY3Front(t *testing.T) {
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.TLS, c.ALPN = true, []string{"spdy/3"} })
	content := pattern(1 << 20)
	h := folder(t, content)
	startC(t, x, h, nil)
	a := fetch(deadline(t), dialSPDY(t, x, "spdy/3"), "GET", x.url("/film.mp4"), nil, nil)
	if a.err != nil {
		t.Fatal(a.err)
	}
	same(t, "body", a.body, content)
}

// hash is of a password, at the least cost.
func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// --htpasswd: Basic authentication of A (bcrypt).
func TestHtpasswd(t *testing.T) {
	f := newFiles(t)
	f.write("users", "ann:"+hash(t, "secret")+"\n")
	everyClient(t, func(c *proxy.Config) { c.Htpasswd = f.path("users") }, func(t *testing.T, x *p, rt http.RoundTripper) {
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "Authorization=%q", r.Header.Get("Authorization"))
		}), nil)
		a := fetch(deadline(t), rt, "GET", x.url("/"), nil, nil)
		want(t, "no password", a, 401, "")
		if !strings.HasPrefix(a.header.Get("Www-Authenticate"), "Basic ") {
			t.Errorf("WWW-Authenticate: got %q, want Basic", a.header.Get("Www-Authenticate"))
		}
		want(t, "a wrong one", fetch(deadline(t), rt, "GET", x.url("/"), nil, func(r *http.Request) { r.SetBasicAuth("ann", "guess") }), 401, "")
		want(t, "nobody's", fetch(deadline(t), rt, "GET", x.url("/"), nil, func(r *http.Request) { r.SetBasicAuth("bob", "secret") }), 401, "")
		want(t, "the right one", fetch(deadline(t), rt, "GET", x.url("/"), nil, func(r *http.Request) { r.SetBasicAuth("ann", "secret") }), 200, "Authorization=")
	})
}

// -s: one line a SPDY frame, and no secret in it.
func TestTrace(t *testing.T) {
	lines := newJournal(t, "the trace")
	x := startP(t, newFiles(t), func(c *proxy.Config) {
		c.TLS = true
		c.Trace = func(line string) { fmt.Fprintln(lines, line) }
	})
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "id=secret-of-c")
	}), nil)
	rt := dialSPDY(t, x, "spdy/3.1")
	for range 3 {
		fetch(deadline(t), rt, "GET", x.url("/"), nil, func(r *http.Request) {
			r.Header.Set("Cookie", "id=secret-of-a")
			r.Header.Set("Authorization", "Bearer secret-of-a")
		})
	}
	got := lines.String()
	for _, want := range []string{"SYN_STREAM", "SYN_REPLY", "SETTINGS", "spdy @ ", "spdy visitor: "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in the trace", want)
		}
	}
	if strings.Contains(got, "secret-of") {
		t.Error("a secret is in the trace")
	}
}

// Nothing of a request whose client leaves stays, though its handler read none of
// its body. (What fits the stream's window is taken from A all the same.)
func TestNothingStays(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		x := startP(t, f, nil)
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), func(c *agent.Config) { c.Connections = 2 })
		before := goroutines(x)
		ctx, cancel := context.WithCancel(deadline(t))
		var open []<-chan answer
		for range 50 {
			open = append(open, async(ctx, x.transport(nil, false), "POST", x.url("/"), bytes.NewReader(pattern(50_000))))
		}
		waitFor(t, "50 under way", func() bool { return x.metric("spdy_proxy_requests_in_flight") == "50" })
		cancel()
		for _, o := range open {
			<-o
		}
		waitFor(t, "as many goroutines as before, or nearly", func() bool { return goroutines(x) <= before+10 })
	})
}

func goroutines(x *p) int {
	x.t.Helper()
	var n int
	_, text := x.adminGet("/debug")
	if _, err := fmt.Sscanf(text, "goroutines:  %d", &n); err != nil {
		x.t.Fatalf("/debug does not begin with the goroutines: %v\n%s", err, text)
	}
	return n
}
