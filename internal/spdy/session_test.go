package spdy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/amahi/spdy"
)

// pair returns a client session whose peer runs h, over a loopback TCP
// connection: real buffers, real half-closes.
func pair(t testing.TB, cc, sc *spdy.Config, h http.Handler) (client, server *spdy.Session) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled := make(chan net.Conn, 1)
	go func() {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Error(err)
		}
		dialled <- c
	}()
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// As the pair does it: who dialled is the server.
	client = cc.NewClientSession(a)
	server = sc.NewServerSession(<-dialled, &http.Server{Handler: h})
	var wg sync.WaitGroup
	for _, s := range []*spdy.Session{client, server} {
		wg.Go(func() { s.Serve() })
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		wg.Wait()
	})
	return client, server
}

func request(t testing.TB, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, "http://origin.test"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// pattern is n bytes that repeat with no power of two.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 % 251)
	}
	return b
}

func TestGet(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Host, r.Header.Get("X-Test"))
	}))
	req := request(t, "GET", "/a%20b?q=1&r", nil)
	req.Header.Set("X-Test", "yes")
	req.Header.Set("Connection", "x-private")
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(body), "GET /a%20b?q=1&r origin.test yes"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	if got := resp.Header["Set-Cookie"]; len(got) != 2 || got[0] != "a=1" || got[1] != "b=2" {
		t.Errorf("Set-Cookie %q, want two values in order", got)
	}
	if got, want := resp.ContentLength, int64(len(body)); got != want {
		t.Errorf("ContentLength %d, want %d", got, want)
	}
	if got, want := resp.Header.Get("Content-Type"), "text/plain; charset=utf-8"; got != want {
		t.Errorf("Content-Type %q, want %q", got, want)
	}
	if resp.Status != "200 OK" || resp.Header.Get("Date") == "" {
		t.Errorf("status %q, date %q", resp.Status, resp.Header.Get("Date"))
	}
}

// Two hundred streams at once, 256 KiB each way on every one.
func TestManyStreams(t *testing.T) {
	client, server := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	body := pattern(256 << 10)
	want := sha256.Sum256(body)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			resp, err := client.RoundTrip(request(t, "POST", fmt.Sprint("/", i), bytes.NewReader(body)))
			if err != nil {
				t.Error(err)
				return
			}
			h := sha256.New()
			if n, err := io.Copy(h, resp.Body); err != nil || n != int64(len(body)) {
				t.Errorf("stream %d: %d bytes, %v", i, n, err)
			}
			if [32]byte(h.Sum(nil)) != want {
				t.Errorf("stream %d: another body came back", i)
			}
		})
	}
	wg.Wait()
	if got := client.InFlight(); got != 0 {
		t.Errorf("%d streams in flight on the client after all ended", got)
	}
	if got := server.Stats().StreamsOpened; got != 200 {
		t.Errorf("the server saw %d streams, want 200", got)
	}
}

func TestTrailers(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "of "+r.Trailer.Get("X-Up"))
		w.Header().Set(http.TrailerPrefix+"X-More", "2")
	}))
	req := request(t, "POST", "/", strings.NewReader("hello"))
	req.ContentLength = -1
	req.Trailer = http.Header{"X-Up": {"load"}}
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello" {
		t.Fatalf("body %q, %v", body, err)
	}
	if got := resp.Trailer; got.Get("X-Sum") != "of load" || got.Get("X-More") != "2" {
		t.Errorf("trailers %v", got)
	}
}

// A request's body comes whole, beyond every window, or ends in an error.
func TestRequestBody(t *testing.T) {
	body := pattern(3 << 20)
	want := sha256.Sum256(body)
	sum := sha256.New()
	var n int64
	copied := make(chan error, 1)
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		n, err = io.Copy(sum, r.Body)
		copied <- err
	}))
	resp, err := client.RoundTrip(request(t, "POST", "/", bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-copied; err != nil || n != int64(len(body)) || [32]byte(sum.Sum(nil)) != want {
		t.Errorf("got %d bytes, %v, want %d and no other", n, err, len(body))
	}

	broken := errors.New("broken")
	cut := io.MultiReader(bytes.NewReader(body[:1<<20]), iotest.ErrReader(broken))
	if _, err := client.RoundTrip(request(t, "POST", "/", cut)); err == nil {
		t.Error("got a response to a request whose body broke, want an error")
	}
	if err := <-copied; err == nil {
		t.Errorf("got %d bytes of a body that was cut short, and no error", n)
	}
}

// An echo sends its headers before the first bytes of the body come, for a peer
// that waits for them.
func TestEchoBeginsWithHeaders(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.Copy(w, r.Body)
	}))
	body, send := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	resp, err := client.RoundTrip(request(t, "POST", "/", body).WithContext(ctx))
	if err != nil {
		t.Fatalf("no headers without a body: %v", err)
	}
	go func() { // ends when the body is read, or with its reader
		io.WriteString(send, "hello")
		send.Close()
	}()
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestUpgrade(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			http.Error(w, "no upgrade", http.StatusBadRequest)
			return
		}
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		buf := make([]byte, 5)
		for {
			n, err := io.ReadFull(r.Body, buf)
			w.Write(bytes.ToUpper(buf[:n]))
			if err != nil {
				io.WriteString(w, "bye")
				return
			}
		}
	}))
	req := request(t, "GET", "/ws", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Connection") != "Upgrade" {
		t.Fatalf("status %d, headers %v", resp.StatusCode, resp.Header)
	}
	rw := resp.Body.(io.ReadWriteCloser)
	buf := make([]byte, 5)
	for range 3 {
		if _, err := rw.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(rw, buf); err != nil || string(buf) != "HELLO" {
			t.Fatalf("read %q, %v", buf, err)
		}
	}
	rw.(interface{ CloseWrite() error }).CloseWrite()
	if rest, err := io.ReadAll(rw); err != nil || string(rest) != "bye" {
		t.Errorf("after CloseWrite: %q, %v", rest, err)
	}
	rw.Close()
}

// A refused upgrade is a plain response, and its stream ends.
func TestUpgradeRefused(t *testing.T) {
	client, _ := pair(t, nil, nil, http.NotFoundHandler())
	req := request(t, "GET", "/ws", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	resp, err := client.RoundTrip(req)
	if err != nil || resp.StatusCode != 404 {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Error(err)
	}
}

func TestCutBody(t *testing.T) {
	for _, length := range []string{"", "1000"} {
		client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			io.WriteString(w, "beginning")
			if length == "" {
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
		}))
		resp, err := client.RoundTrip(request(t, "GET", "/", nil))
		if err != nil {
			// The reset may overtake the held reply.
			if _, ok := errors.AsType[*spdy.StreamError](err); !ok {
				t.Errorf("length %q: %v", length, err)
			}
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err == nil {
			t.Errorf("length %q: a cut body looks whole: %q", length, body)
		}
	}
}

func TestContextEndsRequest(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/headers" {
			w.(http.Flusher).Flush()
		} else {
			close(begun)
		}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	for _, path := range []string{"/none", "/headers"} {
		ctx, cancel := context.WithCancel(context.Background())
		if path == "/none" {
			// Ends when the request is there: one that is not would have no handler to end.
			go func() { <-begun; cancel() }()
		}
		resp, err := client.RoundTrip(request(t, "GET", path, nil).WithContext(ctx))
		if path == "/headers" {
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			_, err = resp.Body.Read(make([]byte, 1))
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", path, err)
		}
		<-ended
		cancel()
	}
}

func TestShutdownLetsStreamsFinish(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	client, server := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-finish
		io.WriteString(w, "done")
	}))
	got := make(chan error, 1)
	go func() {
		resp, err := client.RoundTrip(request(t, "GET", "/", nil))
		if err == nil {
			var b []byte
			b, err = io.ReadAll(resp.Body)
			if err == nil && string(b) != "done" {
				err = fmt.Errorf("body %q", b)
			}
		}
		got <- err
	}()
	<-started
	down := make(chan error, 1)
	go func() { down <- server.Shutdown(context.Background()) }()
	<-client.GoingAway()
	if _, err := client.RoundTrip(request(t, "GET", "/", nil)); !spdy.Retryable(err) {
		t.Errorf("a request after the GOAWAY: %v, want a retryable error", err)
	}
	close(finish)
	if err := <-got; err != nil {
		t.Errorf("the open request: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-client.Done()
}

func TestPing(t *testing.T) {
	client, server := pair(t, nil, nil, http.NotFoundHandler())
	for _, s := range []*spdy.Session{client, server} {
		if rtt, err := s.PingContext(t.Context()); err != nil || rtt <= 0 {
			t.Errorf("PingContext: %v, %v", rtt, err)
		}
		if !s.Ping(5 * time.Second) {
			t.Error("Ping: false")
		}
	}
}

// A reader that does not read holds up its own stream alone.
func TestSlowReader(t *testing.T) {
	body := pattern(4 << 20)
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(body) }))
	slow, err := client.RoundTrip(request(t, "GET", "/slow", nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fast, err := client.RoundTrip(request(t, "GET", "/fast", nil))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(fast.Body)
		if err != nil || !bytes.Equal(b, body) {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	}
	if got := client.Stats().Buffered; got > 64<<10 {
		t.Errorf("%d bytes buffered for a reader that does not read, want at most its window", got)
	}
	b, err := io.ReadAll(slow.Body)
	if err != nil || !bytes.Equal(b, body) {
		t.Errorf("the slow one: %d bytes, %v", len(b), err)
	}
}
