package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/serve"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// These tests send requests the way C gets them: over an SPDY session, whose
// client's side stands for P.

// visit serves h on an SPDY session until the test ends, and returns the other end.
func visit(t *testing.T, h http.Handler) *spdy.Session {
	t.Helper()
	return visitWith(t, new(spdy.Config), h)
}

// visitWith is visit with C's settings of the session.
func visitWith(t *testing.T, cfg *spdy.Config, h http.Handler) *spdy.Session {
	t.Helper()
	ours, theirs := net.Pipe()
	server := cfg.NewServerSession(theirs, &http.Server{Handler: h})
	client := new(spdy.Config).NewClientSession(ours)
	var sessions sync.WaitGroup
	// Both end with the connection below, which the cleanup waits for.
	sessions.Go(func() { server.Serve() })
	sessions.Go(func() { client.Serve() })
	t.Cleanup(func() {
		ours.Close()
		sessions.Wait()
	})
	return client
}

// open makes the handler of cfg. What it logs goes to the test's output.
func open(t *testing.T, cfg serve.Config) *serve.Handler {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	h, err := serve.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// toService serves service over HTTP/1.1, and returns a session to a C in front of it.
func toService(t *testing.T, service http.HandlerFunc) *spdy.Session {
	t.Helper()
	srv := httptest.NewUnstartedServer(service)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.Config.DisableGeneralOptionsHandler = true
	srv.Start()
	t.Cleanup(srv.Close)
	return visit(t, open(t, serve.Config{To: srv.URL}))
}

// request makes a request for target, exactly as it is written.
func request(ctx context.Context, method, target string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, "http://example.test/", body)
	if err != nil {
		panic(err)
	}
	path, query, asked := strings.Cut(target, "?")
	r.URL = &url.URL{Scheme: "http", Host: "example.test", Opaque: path, RawQuery: query, ForceQuery: asked && query == ""}
	return r
}

// do sends r and reads the whole answer. err is what ended the body early.
func do(t *testing.T, via http.RoundTripper, r *http.Request) (*http.Response, string, error) {
	t.Helper()
	resp, err := via.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: no answer: %v", r.Method, r.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestServiceGetsMethodPathAndQueryAsSent(t *testing.T) {
	got := make(chan string, 1)
	s := toService(t, func(w http.ResponseWriter, r *http.Request) { got <- r.Method + " " + r.RequestURI })
	for _, target := range []string{
		"/", "/a/b", "/a/", "/a//b", "/a/./b/../c", "/..", "/%2e%2e/x", "/a%2Fb", "/a%2fb", "/a%20b", "/a+b", "/%41", "/%zz1"[:1] + "a%25",
		"/?", "/?x", "/a?x=1&y=2", "/a?x=1;y=2", "/a?x=%zz", "/a?b?c", "/a?x=/../y", "/a?%", `/a"b`, "/{id}", "/a|b", "/a^b", "/caf\xc3\xa9", "/a'b(c)*!",
		"/a;b=c", "/a:b@c", "/a,b", "/~a", "/a?q={x}|y", "//", "//a", "//example.test/a",
	} {
		do(t, s, request(t.Context(), "GET", target, nil))
		if got, want := <-got, "GET "+target; got != want {
			t.Errorf("the service got %q, want %q", got, want)
		}
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"} {
		do(t, s, request(t.Context(), method, "/x", nil))
		if got, want := <-got, method+" /x"; got != want {
			t.Errorf("the service got %q, want %q", got, want)
		}
	}
	do(t, s, request(t.Context(), "OPTIONS", "*", nil))
	if got := <-got; got != "OPTIONS *" {
		t.Errorf("the service got %q, want OPTIONS *", got)
	}
}

func TestServiceGetsHeaders(t *testing.T) {
	got := make(chan *http.Request, 1)
	s := toService(t, func(w http.ResponseWriter, r *http.Request) { got <- r })
	send := request(t.Context(), "GET", "/", nil)
	send.Host = "films.example.test:8443"
	send.Header = http.Header{
		"X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"films.example.test"},
		"Forwarded": {"for=192.0.2.1"}, "X-Request-Id": {"abc"}, "Via": {"1.1 spdy-proxy"},
		"Cookie": {"a=1; b=2"}, "Authorization": {"Basic eDp5"}, "X-Two": {"1", "2"},
		"Te": {"trailers"}, "Proxy-Authorization": {"x"}, "Keep-Alive": {"x"}, "Proxy-Connection": {"x"}, "Upgrade": {"h2c"},
	}
	want := map[string]string{
		"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "films.example.test", "Forwarded": "for=192.0.2.1",
		"X-Request-Id": "abc", "Via": "1.1 spdy-proxy", "Cookie": "a=1; b=2", "Authorization": "Basic eDp5", "X-Two": "1,2", "Te": "trailers", "Connection": "TE",
	}
	do(t, s, send)
	r := <-got
	if r.Host != send.Host {
		t.Errorf("Host %q, want the visitor's %q", r.Host, send.Host)
	}
	for name, want := range want {
		if got := strings.Join(r.Header[name], ","); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		delete(r.Header, name)
	}
	if len(r.Header) != 0 {
		t.Errorf("headers that the visitor did not send, or that speak of one connection: %v", r.Header)
	}
}

func TestAnswerOfTheServiceIsPassedOn(t *testing.T) {
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.URL.Path {
		case "/gzip":
			h.Set("Content-Encoding", "gzip")
			io.WriteString(w, "not really gzip")
		case "/untyped":
			h["Content-Type"] = nil
			io.WriteString(w, "<html>")
		case "/cookies":
			h.Add("Set-Cookie", "a=1")
			h.Add("Set-Cookie", "b=2")
			h.Set("Connection", "X-Mine")
			h.Set("X-Mine", "x")
			h.Set("Keep-Alive", "timeout=5")
		case "/redirect":
			http.Redirect(w, r, "http://"+r.Host+"/there", http.StatusFound)
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/hints":
			h.Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			h.Del("Link")
			io.WriteString(w, "after hints")
		default:
			http.Error(w, "mine", http.StatusTeapot)
		}
	})
	for _, tc := range []struct {
		path   string
		status int
		body   string
		header map[string]string
	}{
		{"/gzip", 200, "not really gzip", map[string]string{"Content-Encoding": "gzip"}},
		{"/untyped", 200, "<html>", map[string]string{"Content-Type": ""}},
		{"/cookies", 200, "", map[string]string{"Set-Cookie": "a=1,b=2", "X-Mine": "", "Keep-Alive": "", "Connection": ""}},
		{"/redirect", 302, "<a href=\"http://example.test/there\">Found</a>.\n\n", map[string]string{"Location": "http://example.test/there"}},
		{"/nothing", 204, "", nil},
		{"/hints", 200, "after hints", map[string]string{"Link": ""}},
		{"/teapot", 418, "mine\n", map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
	} {
		resp, body, err := do(t, s, request(t.Context(), "GET", tc.path, nil))
		if resp.StatusCode != tc.status || body != tc.body || err != nil {
			t.Errorf("%s: %d %q %v, want %d %q", tc.path, resp.StatusCode, body, err, tc.status, tc.body)
		}
		for name, want := range tc.header {
			if got := strings.Join(resp.Header[name], ","); got != want {
				t.Errorf("%s: %s %q, want %q", tc.path, name, got, want)
			}
		}
	}
}

func TestServerSentEventsAreFlushedOneByOne(t *testing.T) {
	next := make(chan struct{})
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			rc.Flush()
			// The next event exists only when this one was seen.
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	resp, err := s.RoundTrip(request(t.Context(), "GET", "/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i := range 5 {
		got, err := lines.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); got != want || err != nil {
			t.Fatalf("event %q, %v, want %q", got, err, want)
		}
		lines.ReadString('\n')
		next <- struct{}{}
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Errorf("after the last event: %v, want EOF", err)
	}
}

func TestBodiesStreamBothWaysAtOnce(t *testing.T) {
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			w.Write(bytes.ToUpper(buf[:n]))
			rc.Flush()
			if err != nil {
				return
			}
		}
	})
	body, send := io.Pipe()
	resp, err := s.RoundTrip(request(t.Context(), "POST", "/", body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, word := range []string{"one", "two", "three"} {
		io.WriteString(send, word)
		got := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != strings.ToUpper(word) {
			t.Fatalf("the answer to %q is %q, %v", word, got, err)
		}
	}
	send.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end: %v, want EOF", err)
	}
}

func TestLongBodies(t *testing.T) {
	const size = 32 << 20
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %d %v", r.ContentLength, n, err)
	})
	for _, announced := range []int64{size, -1} {
		r := request(t.Context(), "PUT", "/", io.LimitReader(zeros{}, size))
		r.ContentLength = announced
		if _, got, err := do(t, s, r); got != fmt.Sprintf("%d %d <nil>", announced, size) || err != nil {
			t.Errorf("announced %d: the service got %q, %v", announced, got, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTrailersPassBothWays(t *testing.T) {
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("Grpc-Message", "got "+r.Trailer.Get("X-Sum")+r.Trailer.Get("Via"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
		w.Header().Set(http.TrailerPrefix+"Www-Authenticate", "Basic")
	})
	r := request(t.Context(), "POST", "/", io.NopCloser(strings.NewReader("hello")))
	r.ContentLength = -1
	r.Header.Set("Te", "trailers")
	r.Trailer = http.Header{"X-Sum": {"5"}, "Via": {"no trailer"}}
	resp, body, err := do(t, s, r)
	if body != "hello" || err != nil {
		t.Fatalf("body %q, %v", body, err)
	}
	for name, want := range map[string]string{"Grpc-Status": "0", "Grpc-Message": "got 5", "X-Late": "late", "Www-Authenticate": ""} {
		if got := resp.Trailer.Get(name); got != want {
			t.Errorf("trailer %s: %q, want %q", name, got, want)
		}
	}
}

func TestThousandLongPolls(t *testing.T) {
	const polls = 1000
	var waiting sync.WaitGroup
	waiting.Add(polls)
	news := make(chan struct{})
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		waiting.Done()
		select {
		case <-news:
			io.WriteString(w, "news for "+r.URL.Path)
		case <-r.Context().Done():
		}
	})
	var answered atomic.Int32
	var visitors sync.WaitGroup
	for i := range polls {
		// Each ends with its answer, which the test waits for.
		visitors.Go(func() {
			path := fmt.Sprintf("/%d", i)
			resp, err := s.RoundTrip(request(t.Context(), "GET", path, nil))
			if err != nil {
				waiting.Done()
				t.Errorf("poll %d: %v", i, err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != 200 {
				waiting.Done() // the service has not seen it, and the test must not wait for ever
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "news for "+path {
				t.Errorf("poll %d: %q, %v", i, body, err)
				return
			}
			answered.Add(1)
		})
	}
	waiting.Wait() // all of them are at the service at once
	close(news)
	visitors.Wait()
	if got := answered.Load(); got != polls {
		t.Errorf("%d polls answered, want %d", got, polls)
	}
}

func TestServiceRestarts(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			addr := "127.0.0.1:0"
			if network == "unix" {
				// A short name: that of a socket has 103 bytes at most.
				dir, err := os.MkdirTemp("", "serve")
				if err != nil {
					t.Fatal(err)
				}
				defer os.RemoveAll(dir)
				addr = filepath.Join(dir, "app.sock")
			}
			var stop func()
			begin := func() {
				l, err := net.Listen(network, addr)
				if err != nil {
					t.Fatal(err)
				}
				addr = l.Addr().String()
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })}
				served := make(chan struct{})
				// Ends when srv is closed; stop waits for it.
				go func() { srv.Serve(l); close(served) }()
				stop = func() { srv.Close(); <-served }
			}
			begin()
			to := "http://" + addr
			if network == "unix" {
				to = "unix:" + addr
			}
			var log testlog.Buffer
			s := visit(t, open(t, serve.Config{To: to, Logger: slog.New(slog.NewTextHandler(&log, nil))}))
			check := func(when string, status int, want string) {
				t.Helper()
				resp, body, err := do(t, s, request(t.Context(), "GET", "/", nil))
				if resp.StatusCode != status || body != want || err != nil {
					t.Errorf("%s: %d %q %v, want %d %q", when, resp.StatusCode, body, err, status, want)
				}
			}
			check("at first", 200, "example.test")
			for range 2 {
				stop()
				for range 3 {
					check("while it is away", 502, "502: the service behind this address is not running\n")
				}
				begin()
				for range 3 {
					check("when it is back", 200, "example.test")
				}
			}
			stop()
			// The second time comes too soon after the first for a line of its own, but on a slow machine.
			if away, back := log.Count("takes no connections"), log.Count("takes connections again"); away < 1 || away > 2 || back != away {
				t.Errorf("logged %d times that it is away, %d that it is back, want 1 and 1:\n%s", away, back, log.String())
			}
		})
	}
}

// rawService answers each connection with the bytes of answer after it has read a request, and closes it.
func rawService(t *testing.T, answer string) string {
	t.Helper()
	return rawServer(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			// To its end: who closes with something unread resets the connection,
			// and takes back what the other side has not read yet.
			io.Copy(io.Discard, r.Body)
		}
		if err == nil || answer != "" {
			io.WriteString(c, answer)
		}
	})
}

// rawServer serves each connection with a function that has it to itself, and closes it. It returns its address.
func rawServer(t *testing.T, serveConn func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() { l.Close(); conns.Wait() })
	// Ends when the listener is closed; the cleanup waits for it.
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// Ends when it has answered, or the other side closes.
			conns.Go(func() {
				defer c.Close()
				serveConn(c)
			})
		}
	})
	return l.Addr().String()
}

func TestServiceFails(t *testing.T) {
	tlsService := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsService.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	tlsService.StartTLS()
	t.Cleanup(tlsService.Close)
	for _, tc := range []struct{ name, to, want string }{
		{"no socket there", "unix:/nowhere/at/all.sock", "not running"},
		{"closes without an answer", "http://" + rawService(t, ""), "closed the connection without an answer"},
		{"cuts its answer's head", "http://" + rawService(t, "HTTP/1.1 200 OK\r\nContent-"), "no valid answer"},
		{"cuts its answer's head after a line", "http://" + rawService(t, "HTTP/1.1 200 OK\r\nX: x\r\n"), "closed the connection without an answer"},
		{"speaks no HTTP", "http://" + rawService(t, "SSH-2.0-x\r\n\r\n"), "no valid answer"},
		{"too much of a head", "http://" + rawService(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 130<<10)+"\r\n\r\n"), "too large"},
		{"switches unasked", "http://" + rawService(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), "no valid answer"},
		{"speaks no TLS", "https://" + rawService(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak TLS"},
		{"has a certificate of nobody", tlsService.URL, "not trusted"},
		{"has no address", "http://does-not-exist.invalid", "cannot be reached"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := visit(t, open(t, serve.Config{To: tc.to}))
			resp, body, err := do(t, s, request(t.Context(), "GET", "/", nil))
			if resp.StatusCode != 502 || !strings.Contains(body, tc.want) || strings.Count(body, "\n") != 1 || err != nil {
				t.Errorf("%d %q %v, want 502 and one line with %q", resp.StatusCode, body, err, tc.want)
			}
			if strings.Contains(body, "127.0.0.1") || strings.Contains(body, "nowhere") || strings.Contains(body, "invalid.") {
				t.Errorf("the answer tells where the service is: %q", body)
			}
		})
	}
}

func TestBodyCutShortByTheServiceIsCutShortForTheVisitor(t *testing.T) {
	for name, answer := range map[string]string{
		"of a known length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"in chunks":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"inside a chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
	} {
		s := visit(t, open(t, serve.Config{To: "http://" + rawService(t, answer)}))
		resp, err := s.RoundTrip(request(t.Context(), "GET", "/", nil))
		if err != nil {
			// The reset may overtake the headers: that is a visible failure too.
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("a body %s, cut, looks whole: %q", name, body)
		}
	}
}

func TestServiceIsToldThatTheVisitorLeft(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	// Ends with the request, which cancel ends; the test waits for its error.
	go func() {
		_, err := s.RoundTrip(request(ctx, "GET", "/", nil))
		done <- err
	}()
	<-arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
	<-left
}

// A request's body that breaks off must not look whole to the service.
func TestRequestBodyCutShort(t *testing.T) {
	begun, got := make(chan struct{}), make(chan error, 1)
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		r.Body.Read(make([]byte, 1))
		close(begun)
		_, err := io.Copy(io.Discard, r.Body)
		got <- err
	})
	ctx, cancel := context.WithCancel(t.Context())
	body, send := io.Pipe()
	done := make(chan struct{})
	// Ends with the request, which cancel ends; the test waits for it.
	go func() {
		defer close(done)
		if resp, err := s.RoundTrip(request(ctx, "POST", "/", body)); err == nil {
			resp.Body.Close()
		}
	}()
	io.WriteString(send, "half of it")
	<-begun
	cancel()
	<-done
	if err := <-got; err == nil {
		t.Error("the service saw a whole body")
	}
}

// A body that is not what was announced is the visitor's fault, not the service's.
func TestRequestBodyShorterThanAnnounced(t *testing.T) {
	s := toService(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Errorf("the service saw a whole body of %d bytes", n)
		}
	})
	r := request(t.Context(), "POST", "/", io.NopCloser(strings.NewReader("short")))
	r.ContentLength = 100
	if resp, err := s.RoundTrip(r); err == nil {
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		t.Errorf("%d %q, want a reset", resp.StatusCode, body)
	}
}

func TestFilesOverSPDY(t *testing.T) {
	root := t.TempDir()
	content := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	name := filepath.Join(root, "film.mp4")
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	s := visit(t, open(t, serve.Config{Root: root}))
	resp, body, err := do(t, s, request(t.Context(), "GET", "/film.mp4", nil))
	if resp.StatusCode != 200 || body != content || err != nil || resp.ContentLength != int64(len(content)) {
		t.Errorf("%d, %d bytes of %d, %v", resp.StatusCode, len(body), resp.ContentLength, err)
	}
	r := request(t.Context(), "GET", "/film.mp4", nil)
	r.Header.Set("Range", "bytes=1000000-2999999")
	if resp, body, err := do(t, s, r); resp.StatusCode != 206 || body != content[1000000:3000000] || err != nil {
		t.Errorf("a range: %d, %d bytes, %v", resp.StatusCode, len(body), err)
	}
	if resp, body, err := do(t, s, request(t.Context(), "HEAD", "/film.mp4", nil)); body != "" || err != nil || resp.Header.Get("Content-Length") != fmt.Sprint(len(content)) {
		t.Errorf("HEAD: %q, %v, length %s", body, err, resp.Header.Get("Content-Length"))
	}
	if resp, body, err := do(t, s, request(t.Context(), "GET", "/../film.mp4", nil)); resp.StatusCode != 404 {
		t.Errorf("/..: %d %q %v, want 404", resp.StatusCode, body, err)
	}
}

// The visitor has read a part when the file is cut: he must see a break.
func TestTruncatedFileOverSPDY(t *testing.T) {
	root := t.TempDir()
	const size = 64 << 20 // more than windows and buffers hold
	name := filepath.Join(root, "film.mp4")
	if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	s := visit(t, open(t, serve.Config{Root: root}))
	resp, err := s.RoundTrip(request(t.Context(), "GET", "/film.mp4", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 2<<20); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("the body ended without an error after %d of %d bytes", n+1<<20, size)
	}
}

func TestUploadOverSPDY(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	s := visit(t, open(t, serve.Config{Root: root, Upload: dir, UploadMax: 8 << 20}))
	for _, tc := range []struct {
		name            string
		size, announced int64
		want            int
	}{
		{"announced", 4 << 20, 4 << 20, 201}, {"not announced", 4 << 20, -1, 201},
		{"announced and too long", 9 << 20, 9 << 20, 413}, {"too long", 9 << 20, -1, 413},
	} {
		r := request(t.Context(), "PUT", "/film.mp4", io.LimitReader(zeros{}, tc.size))
		r.ContentLength = tc.announced
		resp, body, err := do(t, s, r)
		if resp.StatusCode != tc.want || err != nil {
			t.Errorf("%s: %d %q %v, want %d", tc.name, resp.StatusCode, body, err, tc.want)
		}
		if tc.want == 201 && resp.Header.Get("X-Received-Length") != fmt.Sprint(tc.size) {
			t.Errorf("%s: %s bytes received, want %d", tc.name, resp.Header.Get("X-Received-Length"), tc.size)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d files, %v, want the 2 that were kept", len(entries), err)
	}
}

// An upload that breaks off on its stream leaves nothing, not even its part.
func TestUploadBrokenOffOverSPDY(t *testing.T) {
	dir := t.TempDir()
	h := open(t, serve.Config{Root: t.TempDir(), Upload: dir})
	done := make(chan struct{})
	s := visit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		h.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	body, send := io.Pipe()
	answered := make(chan struct{})
	// Ends with the request, which cancel ends; the test waits for it.
	go func() {
		defer close(answered)
		if resp, err := s.RoundTrip(request(ctx, "PUT", "/film.mp4", body)); err == nil {
			t.Errorf("an upload that broke off: %d", resp.StatusCode)
			resp.Body.Close()
		}
	}()
	send.Write(make([]byte, 1<<20)) // more than any window: the handler reads
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 1 {
		t.Errorf("%d files, %v, want the part at most", len(entries), err)
	}
	cancel()
	<-answered
	<-done
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}
