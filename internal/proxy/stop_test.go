package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/front"
	"github.com/amahi/spdy-proxy/internal/http1"
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
		if err == nil || !strings.Contains(err.Error(), "answered 503 ") {
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

// What comes by a connection that P has taken is served for a moment after it was told to
// stop, and is the last there. Who has asked for nothing until then is not answered.
func TestStopServesWhatIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		x := startP(t, f, nil)
		startC(t, x, hello("c"), nil)
		dial := func() net.Conn {
			conn, err := f.dial(deadline(t), "tcp", x.FrontAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		ask := func(what string, conn net.Conn, last bool) {
			t.Helper()
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			if body, err := io.ReadAll(res.Body); res.StatusCode != 200 || res.Close != last {
				t.Errorf("%s: got %d %q, %v, the last: %v; want 200, the last: %v", what, res.StatusCode, body, err, res.Close, last)
			}
		}
		kept, fresh, silent := dial(), dial(), dial()
		ask("before", kept, false)
		synctest.Wait()
		x.cancel()
		synctest.Wait()
		if _, err := f.dial(deadline(t), "tcp", x.FrontAddr().String()); err == nil {
			t.Error("the front port takes another connection")
		}
		time.Sleep(http1.Grace / 2)
		ask("a connection that is kept", kept, true)
		ask("a connection that is fresh", fresh, true)
		start := time.Now()
		if n, err := silent.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("a visitor that asks for nothing is answered")
		}
		x.wait()
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("a visitor that asks for nothing holds P up for %v", d)
		}
	})
}

// A P that is started again behind sockets that somebody else keeps, as systemd does,
// refuses nobody, neither a visitor nor a C: who comes when it stops is the next one's.
func TestRestartBehindSockets(t *testing.T) {
	var sockets map[string]*net.TCPListener
	inherited := func(name string) (net.Listener, error) {
		if sockets[name] == nil {
			return nil, nil
		}
		f, err := sockets[name].File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return net.FileListener(f)
	}
	everyClient(t, func(c *proxy.Config) {
		sockets = map[string]*net.TCPListener{}
		for _, name := range []string{"front", "control"} {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			sockets[name] = ln.(*net.TCPListener)
		}
		c.Inherited, c.Kept = inherited, func(name string) bool { return sockets[name] != nil }
	}, func(t *testing.T, x *p, rt http.RoundTripper) {
		y := startC(t, x, hello("c"), nil)
		asked, leave := askOnAndOn(t, x, rt)
		waitFor(t, "requests", func() bool { return asked.Load() > 20 })
		x.cancel()
		x.log.wait("p is stopping", 1)
		other := launchC(t, x, hello("c"), nil)
		x.wait()
		next := startP(t, x.files, func(c *proxy.Config) {
			logger := c.Logger
			*c = x.cfg
			c.Logger = logger
		})
		y.log.wait("msg=connected", 2)
		other.log.wait("msg=connected", 1)
		for _, c := range []*c{y, other} {
			if n := c.log.count("answered 503 "); n != 0 {
				t.Errorf("a C was refused %d times", n)
			}
		}
		if _, session := rt.(*spdy.Session); !session {
			before := asked.Load()
			waitFor(t, "more requests", func() bool { return asked.Load() > before+20 })
		}
		leave()
		want(t, "a new connection", next.get("/b"), 200, "c GET /b")
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

// Who has no byte of an answer by then, for whatever reason, gets one that says why; and
// the same by a second signal.
func TestDrainAnswers(t *testing.T) {
	edit := func(c *proxy.Config) { c.Domains, c.Drain = []string{"example.test"}, time.Hour }
	everyClientInBubble(t, edit, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, _ := blocking()
		startC(t, x, h, func(c *agent.Config) { c.Drain = 0 })
		startC(t, x, h, func(c *agent.Config) { c.Name = "gone" }).stop()
		ask := func(method, path string, edit func(*http.Request)) <-chan answer {
			ch := make(chan answer, 1)
			// Ends with the answer.
			go func() { ch <- fetch(deadline(t), rt, method, x.url(path), nil, edit) }()
			return ch
		}
		body, more := io.Pipe()
		defer more.Close()
		time.AfterFunc(patience, func() { more.Close() }) // HTTP/1's client waits for it after a failure
		fresh := map[string]<-chan answer{
			"C is slow": ask("GET", "/open", nil),
			"its body comes, and C is slow": ask("POST", "/open", func(r *http.Request) {
				r.Body, r.ContentLength = body, 1<<30
			}),
			"C is absent": ask("GET", "/held", func(r *http.Request) { r.Host = "gone.example.test" }),
		}
		more.Write(make([]byte, 100<<10))
		stream := async(deadline(t), rt, "GET", x.url("/stream"), nil)
		for range 3 {
			<-arrived
		}
		waitFor(t, "a held request", held(x, 1))
		x.cancel()
		synctest.Wait()
		start := time.Now()
		x.cancelNow()
		for name, got := range fresh {
			a := <-got
			want(t, name, a, 503, "the proxy is stopping")
			if a.header.Get("Retry-After") == "" || !strings.HasPrefix(a.header.Get("Proxy-Status"), "spdy-proxy; error=") {
				t.Errorf("%s: got %v", name, a.header)
			}
		}
		if a := <-stream; a.err == nil {
			t.Errorf("begun: got %v, want a broken answer", a)
		}
		x.wait()
		if d := time.Since(start); d > front.LastAnswer {
			t.Errorf("P took %v to stop though everybody reads", d)
		}
	})
}

// Who does not read the answer that it then gets does not keep P.
func TestDrainAnswerIsNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		x := startP(t, f, func(c *proxy.Config) { c.Drain = time.Second })
		h, arrived, _ := blocking()
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/film" {
				w.Write(make([]byte, 256<<10))
				return
			}
			h.ServeHTTP(w, r)
		}), nil)
		conn, err := f.dial(deadline(t), "tcp", x.FrontAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET /film HTTP/1.1\r\nHost: a\r\n\r\nGET /open HTTP/1.1\r\nHost: a\r\n\r\n")
		for synctest.Wait(); len(arrived) == 0; synctest.Wait() {
			// Until the film's end is on the network, which is full then.
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		x.cancel()
		x.wait()
		if d := time.Since(start); d > time.Second+front.LastAnswer {
			t.Errorf("P took %v to stop, want its drain of a second, and some", d)
		}
	})
}

// Where P ends the session with an origin, its visitors are told, too.
func TestSessionEndedByP(t *testing.T) {
	for name, test := range map[string]struct {
		end       func(x *p)
		get, post int
		words     string // for the GET
	}{
		"its token is gone": {func(x *p) {
			x.files.write("token", "other-token film\n")
			x.Reload()
		}, 503, 502, "has not come back"},
		"it is disconnected, and takes too long": {func(x *p) {
			if n := x.Disconnect(); n != 1 {
				x.t.Errorf("%d sessions are disconnected, want 1", n)
			}
		}, 200, 502, "c GET /open"}, // which C gets again when it is back
	} {
		t.Run(name, func(t *testing.T) {
			edit := func(c *proxy.Config) { c.Drain = time.Second }
			everyClientInBubble(t, edit, func(t *testing.T, x *p, rt http.RoundTripper) {
				h, arrived, release := blocking()
				startC(t, x, h, nil)
				get := async(deadline(t), rt, "GET", x.url("/open"), nil)
				post := async(deadline(t), rt, "POST", x.url("/open"), strings.NewReader("body"))
				<-arrived
				<-arrived
				test.end(x)
				a := <-post
				want(t, "POST", a, test.post, "the connection to the origin ended")
				close(release)
				want(t, "GET", <-get, test.get, test.words)
			})
		})
	}
}

// The process before, whose time is over at a hand-over.
func TestHandOverAnswers(t *testing.T) {
	everyClient(t, func(c *proxy.Config) { c.Drain = 500 * time.Millisecond }, func(t *testing.T, x *p, rt http.RoundTripper) {
		h, arrived, release := blocking()
		defer close(release)
		startC(t, x, h, nil)
		open := async(deadline(t), rt, "POST", x.url("/open"), strings.NewReader("body"))
		<-arrived
		if err := x.HandOver(t.Context(), func(ports map[string]net.Listener) (proxy.Successor, error) {
			return inherit(x, ports), nil
		}); err != nil {
			t.Fatal(err)
		}
		want(t, "who is not answered", <-open, 503, "the proxy is stopping")
		x.wait()
	})
}

// A second signal stops at once.
func TestSecondSignal(t *testing.T) {
	everyClientInBubble(t, func(c *proxy.Config) { c.Drain = time.Hour }, func(t *testing.T, x *p, rt http.RoundTripper) {
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
