package interop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/amahi/spdy"
	"github.com/moby/spdystream"
)

// forMoby is the configuration for a peer that knows no windows: the comment of
// this package says why.
var forMoby = &spdy.Config{Version: spdy.SPDY3, StreamWindow: 16 << 20}

// mobyOrigin answers as goOrigin does. A body that comes before SYN_REPLY is
// dropped by spdystream, so that each answer begins before its goroutine.
type mobyOrigin struct {
	waiting chan struct{} // a stream of /wait began
	closed  chan struct{} // it ended
}

func newMobyOrigin() *mobyOrigin {
	return &mobyOrigin{make(chan struct{}, 10), make(chan struct{}, 10)}
}

func (o *mobyOrigin) handle(st *spdystream.Stream) {
	_, name, _ := strings.Cut(st.Headers().Get(":path"), "/")
	name, arg, _ := strings.Cut(name, "/")
	reply := http.Header{":status": {"200 OK"}, ":version": {"HTTP/1.1"}}
	switch name {
	case "ok":
		reply["Set-Cookie"] = []string{"a=1", "b=2"}
	case "headers":
		reply["X-Big"] = st.Headers()["X-Big"]
		reply["X-Many"] = st.Headers()["X-Many"]
	}
	st.SendReply(reply, false)
	// Ends with the stream; the connection's end ends that.
	go func() {
		switch name {
		case "ok":
			io.WriteString(st, "ok")
		case "echo":
			io.Copy(st, st)
		case "size":
			n, _ := strconv.Atoi(arg)
			for b := pattern(n); len(b) > 0; b = b[min(len(b), 32<<10):] {
				st.Write(b[:min(len(b), 32<<10)])
			}
		case "trailers":
			// A HEADERS frame holds everything up until it is taken.
			trailer := make(chan string, 1)
			go func() {
				h, _ := st.ReceiveHeader()
				trailer <- h.Get("X-Trailer")
			}()
			io.Copy(io.Discard, st)
			io.WriteString(st, <-trailer)
			st.SendHeader(http.Header{"X-Trailer": {"from the server"}}, false)
		case "abort":
			io.WriteString(st, "x")
			st.Reset()
			return
		case "wait":
			o.waiting <- struct{}{}
			io.Copy(io.Discard, st)
			o.closed <- struct{}{}
			return
		}
		st.Close()
	}()
}

// mobyConn is a connection of spdystream on c.
func mobyConn(t *testing.T, c net.Conn, server bool, handle spdystream.StreamHandler) (conn *spdystream.Connection, served <-chan struct{}) {
	t.Helper()
	conn, err := spdystream.NewConnection(c, server)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	// Ends with the connection, which the cleanup closes.
	go func() {
		defer close(done)
		conn.Serve(handle)
	}()
	t.Cleanup(func() {
		c.Close()
		wait(t, "spdystream's end", done)
	})
	return conn, done
}

// startMobyServer returns our session as client of a spdystream server.
func startMobyServer(t *testing.T, config *spdy.Config) (*spdy.Session, <-chan error, *spdystream.Connection, *mobyOrigin) {
	t.Helper()
	a, b := pipe(t)
	origin := newMobyOrigin()
	conn, _ := mobyConn(t, b, true, origin.handle)
	s := config.NewClientSession(a)
	return s, run(t, s), conn, origin
}

// Our client and spdystream as server.
func TestMobyServer(t *testing.T) {
	s, served, conn, origin := startMobyServer(t, forMoby)
	asClient(t, s, true)
	t.Run("GET 5 MB", func(t *testing.T) {
		_, body, err := fetch(s, request(t, "GET", fmt.Sprint("/size/", large), nil))
		if err != nil || sum(body) != sum(pattern(large)) {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	})
	t.Run("trailers", func(t *testing.T) {
		r := request(t, "POST", "/trailers", struct{ io.Reader }{strings.NewReader("body")})
		r.Trailer = http.Header{"X-Trailer": {"from the client"}}
		resp, body, err := fetch(s, r)
		if err != nil || string(body) != "from the client" {
			t.Errorf("the server saw the trailer %q, %v", body, err)
		}
		if resp != nil && resp.Trailer.Get("X-Trailer") != "from the server" {
			t.Errorf("the server's trailer is %v", resp.Trailer)
		}
	})
	t.Run("RST of ours", func(t *testing.T) {
		r, cancel := withCancel(request(t, "POST", "/wait", struct{ io.Reader }{strings.NewReader("x")}))
		resp, err := s.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, "the request", origin.waiting)
		cancel()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("the body ended well after the context's end")
		}
		wait(t, "the end of its stream", origin.closed)
	})
	t.Run("RST of theirs", func(t *testing.T) {
		_, body, err := fetch(s, request(t, "GET", "/abort", nil))
		if err := isReset(err, spdy.Cancel, true); err != nil || len(body) > 1 {
			t.Errorf("body %q: %v", body, err)
		}
	})
	t.Run("PING of theirs", func(t *testing.T) {
		if _, err := conn.Ping(); err != nil {
			t.Error(err)
		}
	})
	t.Run("POST 5 MB, no flow control", func(t *testing.T) {
		// Never given credit, what keeps to the protocol stops at 64 KiB.
		before := s.Stats().BytesSent
		r, cancel := withCancel(request(t, "POST", "/echo", strings.NewReader(string(pattern(large)))))
		resp, err := s.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(resp.Body, make([]byte, 64<<10)); err != nil {
			t.Errorf("of the window of 65536 bytes %d came back, %v", n, err)
		}
		for range 2 { // and nothing is under way
			if !pinged(s) {
				t.Error("no echo")
			}
		}
		if got := s.Stats().BytesSent - before; got != 64<<10 {
			t.Errorf("%d bytes were sent, want 65536", got)
		}
		cancel()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("the body ended well after the context's end")
		}
		if _, body, err := fetch(s, request(t, "GET", "/ok", nil)); err != nil || string(body) != "ok" {
			t.Errorf("afterwards: %q, %v", body, err)
		}
	})
	t.Run("GOAWAY", func(t *testing.T) {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		wait(t, "GOAWAY", s.GoingAway())
		if _, err := s.RoundTrip(request(t, "GET", "/ok", nil)); !spdy.Retryable(err) {
			t.Errorf("after GOAWAY: %v, want an error that allows another try", err)
		}
		if err := wait(t, "the session's end", served); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// A stream's window that the peer does not look at: with ours at 64 KiB, a body
// that is not read as fast as it comes is reset. It must not look whole.
func TestMobyServerOverrunsWindow(t *testing.T) {
	s, _, _, _ := startMobyServer(t, nil)
	resp, err := s.RoundTrip(request(t, "GET", fmt.Sprint("/size/", large), nil))
	if err != nil {
		t.Fatal(err)
	}
	for s.Stats().ResetsSent[spdy.FlowControlError] == 0 { // nobody reads meanwhile
		if !pinged(s) {
			t.Fatal("no echo")
		}
	}
	body, err := io.ReadAll(resp.Body)
	if err := isReset(err, spdy.FlowControlError, false); err != nil {
		t.Errorf("%d bytes: %v", len(body), err)
	}
	resp.Body.Close()
	if _, body, err := fetch(s, request(t, "GET", "/ok", nil)); err != nil || string(body) != "ok" {
		t.Errorf("another stream: %q, %v", body, err)
	}
}

// spdystream reads nothing more after a GOAWAY: what is open breaks off.
func TestMobyServerShutdown(t *testing.T) {
	s, served, _, origin := startMobyServer(t, forMoby)
	resp, err := s.RoundTrip(request(t, "GET", "/wait", nil))
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the request", origin.waiting)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the open stream ended well")
	}
	resp.Body.Close()
	wait(t, "the session's end", served)
}

// mobyRequest sends a request from spdystream's side.
func mobyRequest(t *testing.T, conn *spdystream.Connection, method, path string, fin bool, more http.Header) *spdystream.Stream {
	t.Helper()
	h := http.Header{":method": {method}, ":path": {path}, ":version": {"HTTP/1.1"}, ":host": {"a.test"}, ":scheme": {"http"}}
	for k, v := range more {
		h[k] = v
	}
	st, err := conn.CreateStream(h, nil, fin)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// send writes a body, in pieces, with FIN.
func send(t *testing.T, st *spdystream.Stream, b []byte) {
	t.Helper()
	for ; len(b) > 0; b = b[min(len(b), 32<<10):] {
		if _, err := st.Write(b[:min(len(b), 32<<10)]); err != nil {
			t.Errorf("spdystream: %v", err)
			return
		}
	}
	if err := st.Close(); err != nil {
		t.Errorf("spdystream: %v", err)
	}
}

// receive waits for the reply and reads the body.
func receive(t *testing.T, st *spdystream.Stream) string {
	t.Helper()
	if err := st.WaitTimeout(limit); err != nil {
		t.Errorf("spdystream: the reply: %v", err)
		return ""
	}
	body, err := io.ReadAll(st)
	if err != nil {
		t.Errorf("spdystream: the body: %v", err)
	}
	return string(body)
}

// startMobyClient returns spdystream's connection as client of our session.
func startMobyClient(t *testing.T, config *spdy.Config) (*spdystream.Connection, <-chan struct{}, *spdy.Session, <-chan error, *goOrigin) {
	t.Helper()
	a, b := pipe(t)
	origin := newGoOrigin()
	s := config.NewServerSession(b, &http.Server{Handler: origin})
	conn, done := mobyConn(t, a, false, spdystream.NoOpStreamHandler)
	return conn, done, s, run(t, s), origin
}

// spdystream as client and our server. It shows no header of a reply.
func TestMobyClient(t *testing.T) {
	conn, done, s, served, origin := startMobyClient(t, forMoby)
	t.Run("GET", func(t *testing.T) {
		if got := receive(t, mobyRequest(t, conn, "GET", "/ok", true, nil)); got != "ok" {
			t.Errorf("got %q, want ok", got)
		}
	})
	t.Run("POST 5 MB", func(t *testing.T) {
		st := mobyRequest(t, conn, "POST", "/sum", false, nil)
		send(t, st, pattern(large))
		if got := receive(t, st); got != sum(pattern(large)) {
			t.Errorf("the server got a body with the sum %s", got)
		}
	})
	t.Run("100 streams at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 100 {
			st := mobyRequest(t, conn, "POST", "/echo", false, nil)
			wg.Go(func() { send(t, st, pattern(100*i)) })
			wg.Go(func() {
				if got := receive(t, st); got != string(pattern(100*i)) {
					t.Errorf("echo of %d bytes: %d", 100*i, len(got))
				}
			})
		}
		wg.Wait()
	})
	t.Run("big headers", func(t *testing.T) {
		value := strings.Repeat("value ", big/6) + "."
		if got := receive(t, mobyRequest(t, conn, "GET", "/headers", true, http.Header{"X-Big": {value}})); got != "" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("trailers", func(t *testing.T) {
		st := mobyRequest(t, conn, "POST", "/trailers", false, nil)
		trailer := make(chan http.Header, 1)
		go func() {
			h, _ := st.ReceiveHeader()
			trailer <- h
		}()
		if err := st.SendHeader(http.Header{"X-Trailer": {"from the client"}}, true); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, st); got != "from the client" {
			t.Errorf("the server saw the trailer %q", got)
		}
		if h := wait(t, "the trailer", trailer); h.Get("X-Trailer") != "from the server" {
			t.Errorf("the server's trailer is %v", h)
		}
	})
	t.Run("RST of ours", func(t *testing.T) {
		st := mobyRequest(t, conn, "GET", "/abort", true, nil)
		if err := st.WaitTimeout(limit); err != nil {
			t.Fatal(err)
		}
		origin.failed <- nil
		// spdystream does not tell a reset from an end.
		if body, err := io.ReadAll(st); err != nil || len(body) > 1 {
			t.Errorf("got %q, %v", body, err)
		}
	})
	t.Run("RST of theirs", func(t *testing.T) {
		st := mobyRequest(t, conn, "POST", "/wait", false, nil)
		wait(t, "the request", origin.waiting)
		if err := st.Reset(); err != nil {
			t.Error(err)
		}
		wait(t, "the end of its context", origin.closed)
	})
	t.Run("PING", func(t *testing.T) {
		if !pinged(s) {
			t.Error("no echo")
		}
		if _, err := conn.Ping(); err != nil {
			t.Error(err)
		}
	})
	t.Run("GET 5 MB, no flow control", func(t *testing.T) {
		before := s.Stats().BytesSent
		st := mobyRequest(t, conn, "GET", fmt.Sprint("/size/", large), true, nil)
		if err := st.WaitTimeout(limit); err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(st, make([]byte, 64<<10)); err != nil {
			t.Errorf("%d bytes came, %v, want 65536", n, err)
		}
		for range 2 {
			if _, err := conn.Ping(); err != nil {
				t.Error(err)
			}
		}
		if got := s.Stats().BytesSent - before; got != 64<<10 {
			t.Errorf("%d bytes were sent, want 65536", got)
		}
		if err := st.Cancel(); err != nil { // Reset sends nothing when the request is whole
			t.Error(err)
		}
		if err := wait(t, "the end of Write", origin.failed); err == nil {
			t.Error("Write: no error")
		}
		if got := receive(t, mobyRequest(t, conn, "GET", "/ok", true, nil)); got != "ok" {
			t.Errorf("afterwards: %q, want ok", got)
		}
	})
	t.Run("GOAWAY", func(t *testing.T) {
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(t.Context()) }()
		wait(t, "spdystream's end", done)
		if err := wait(t, "Shutdown", down); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := wait(t, "the session's end", served); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// As SPDY/3.1, 64 KiB are all that a session can send to who gives no credit.
func TestMobyClientSessionWindow(t *testing.T) {
	conn, _, s, _, _ := startMobyClient(t, nil)
	if got := receive(t, mobyRequest(t, conn, "GET", "/size/65536", true, nil)); len(got) != 65536 {
		t.Errorf("%d bytes, want 65536", len(got))
	}
	st := mobyRequest(t, conn, "GET", "/ok", true, nil)
	if err := st.WaitTimeout(limit); err != nil { // the reply needs no window
		t.Fatal(err)
	}
	for range 2 {
		if _, err := conn.Ping(); err != nil {
			t.Error(err)
		}
	}
	if got := s.Stats().BytesSent; got != 65536 {
		t.Errorf("%d bytes were sent, want 65536", got)
	}
}

// What they send without credit is held up to the window and no further.
func TestMobyClientOverrunsWindow(t *testing.T) {
	conn, _, s, _, origin := startMobyClient(t, nil)
	st := mobyRequest(t, conn, "POST", "/wait", false, nil)
	wait(t, "the request", origin.waiting)
	send(t, st, pattern(large))
	if err := st.WaitTimeout(limit); !errors.Is(err, spdystream.ErrReset) {
		t.Errorf("the stream: %v, want %v", err, spdystream.ErrReset)
	}
	wait(t, "the end of its context", origin.closed)
	if got := s.Stats().ResetsSent[spdy.FlowControlError]; got != 1 {
		t.Errorf("%d resets with FLOW_CONTROL_ERROR, want 1", got)
	}
	if got := receive(t, mobyRequest(t, conn, "GET", "/ok", true, nil)); got != "ok" {
		t.Errorf("another stream: %q, want ok", got)
	}
}

// spdystream as client that leaves: GOAWAY, then the end.
func TestMobyClientLeaves(t *testing.T) {
	conn, done, _, served, _ := startMobyClient(t, forMoby)
	if got := receive(t, mobyRequest(t, conn, "GET", "/ok", true, nil)); got != "ok" {
		t.Errorf("got %q, want ok", got)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, "the session's end", served); err != nil {
		t.Errorf("Serve: %v", err)
	}
	wait(t, "spdystream's end", done)
}
