package spdy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// Defects that were found by reading the engine, each as the peer or the
// program saw it.

func onServer(t *testing.T, s setup, run func(h *serverTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { serve(t, s, run) })
}

func onClient(t *testing.T, s setup, run func(h *clientTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { dial(t, s, run) })
}

// unsized hides the length and the type of a body.
type unsized struct{ io.Reader }

// A request that is given up before its SYN_STREAM went out leaves nothing on
// the wire: its FIN would be a frame for a stream that was never opened.
func TestUnsentRequestSendsNothing(t *testing.T) {
	onClient(t, setup{pipe: spdytest.PipeConfig{Buffer: 16}}, func(h *clientTest) {
		first := h.get("/first") // its SYN_STREAM fills the connection
		synctest.Wait()
		ctx, cancel := context.WithCancel(h.Context())
		second := h.start(h.request("POST", "/second", unsized{strings.NewReader("")}).WithContext(ctx))
		synctest.Wait()
		cancel()
		if _, err := second.wait(); !errors.Is(err, context.Canceled) {
			h.Errorf("the request that was given up: got %v, want context.Canceled", err)
		}
		h.wantSyn("the first request")
		h.p.WantIdle("nothing of the second request")
		h.answer(first, 1)
	})
}

// Bytes that arrive while the handler returns are given back like all others
// that nobody reads, or the peer's upload stops for ever.
func TestCreditForFrameThatCameDuringHandlersEnd(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		wire := h.p.Encode(data(1, string(bytesOf(60000))))
		h.p.Conn.Write(wire[:20000])
		synctest.Wait()
		close(h.release)
		h.collect("the response", 1)
		h.p.Conn.Write(wire[20000:])
		c := h.drain(newCollector())
		if got := c.credit[1]; got < 60000-32768 {
			h.Errorf("stream 1: got credit of %d bytes for the 60000 that were dropped, want all but half a window", got)
		}
	})
}

// A handler that closes the request's body early still gets its response out
// whole, whatever the peer sends meanwhile.
func TestResponseOutlivesClosedBody(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			h.hold(w, r)
		})
		h.p.Send(post(1, "/early"))
		<-h.arrived
		credit, sent := h.pre.StreamWindow, 0
		for ; sent < 1<<20; sent += 16000 {
			for credit < 16000 {
				f, ok := h.p.Poll(spdytest.Idle)
				if !ok {
					break
				}
				if f.Type == spdytest.TypeRstStream {
					h.Fatalf("after %d bytes: got %v, want the response first", sent, f)
				}
				if f.Type == spdytest.TypeWindowUpdate && f.ID == 1 {
					credit += int(f.Value)
				}
			}
			if credit < 16000 {
				break
			}
			h.p.Send(data(1, string(bytesOf(16000))))
			credit -= 16000
		}
		if sent < 256<<10 || sent > 512<<10 {
			h.Errorf("the peer could send %d bytes, want some 256 KiB", sent)
		}
		close(h.release)
		m := h.collect("the response", 1).streams[1]
		h.checkResponse("the response", m, "200", "ok")
		if !m.fin {
			h.Errorf("the response: got no FIN")
		}
		h.p.Want("then the body is refused", rst(1, spdy.Cancel))
		h.alive(3)
	})
}

// What HEADERS frames bring to one stream is bounded as one block is.
func TestHeadersAreBounded(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		for i := range 8 {
			h.p.Send(headers(1, 0, nv(fmt.Sprint("x-", i), strings.Repeat("v", 10000))))
		}
		h.wantSE("80 kB of HEADERS", 1, spdy.FrameTooLarge)
		h.alive(3)
	})
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		parts := strings.TrimSuffix(strings.Repeat("v\x00", 300), "\x00")
		h.p.Send(headers(1, 0, nv("x-a", parts)), headers(1, 0, nv("x-a", parts)))
		h.wantSE("600 parts of a name in two HEADERS", 1, spdy.FrameTooLarge)
		h.alive(3)
	})
}

// A value's parts become lines of their own: they count as names do.
func TestPartsAreBounded(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		parts := strings.TrimSuffix(strings.Repeat("v\x00", 600), "\x00")
		h.p.Send(req(1, "/ok", nv("x-a", parts)))
		h.wantSE("600 parts", 1, spdy.FrameTooLarge)
		h.alive(3)
	})
}

// The names that a Trailer header announces are bounded too.
func TestAnnouncedTrailersAreBounded(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		got := make(chan int, 1)
		h.mux.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) { got <- len(r.Trailer) })
		var names []string
		for i := range 5000 {
			names = append(names, fmt.Sprint("x", i))
		}
		h.p.Send(req(1, "/trailer", nv("trailer", strings.Join(names, ","))))
		if n := <-got; n > 512 {
			h.Errorf("got %d announced trailers, want 512 at most", n)
		}
		h.wantResponse("the response", 1, "200", "")
	})
}

// A peer that does not read cannot make the session hold frames without end.
func TestPeerThatDoesNotReadIsBounded(t *testing.T) {
	s := setup{config: spdy.Config{MaxConcurrentStreams: 10, WriteTimeout: -1}, pipe: spdytest.PipeConfig{Buffer: 64 << 10}}
	const rounds = 10000 // the connection itself takes 4096 frames of 16 bytes
	t.Run("resets", func(t *testing.T) {
		onServer(t, s, func(h *serverTest) {
			h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			for i := range rounds {
				id := uint32(2*i + 1)
				if h.p.TrySend(post(id, "/wait"), withFlags(data(id, "x"), 2)) != nil || h.s.Err() != nil {
					break
				}
				synctest.Wait()
			}
			if err := h.s.Err(); err == nil {
				h.Errorf("the session holds %d resets for a peer that does not read", rounds)
			}
		})
	})
	t.Run("credit", func(t *testing.T) {
		onServer(t, s, func(h *serverTest) {
			h.p.Send(post(1, "/count"))
			synctest.Wait()
			f := data(1, string(bytesOf(32<<10)))
			for range rounds {
				if h.p.TrySend(f) != nil || h.s.Err() != nil {
					break
				}
				synctest.Wait()
			}
			if err := h.s.Err(); err == nil {
				h.Errorf("the session holds the credit for %d frames for a peer that does not read", rounds)
			}
		})
	})
}

// lines counts log records.
type lines struct {
	slog.Handler
	n *atomic.Int32
}

func (l lines) Enabled(context.Context, slog.Level) bool { return true }

func (l lines) Handle(context.Context, slog.Record) error {
	l.n.Add(1)
	return nil
}

// A peer cannot fill the log with GOAWAYs, nor send them without end.
func TestGoAwayFlood(t *testing.T) {
	var n atomic.Int32
	s := setup{config: spdy.Config{Logger: slog.New(lines{slog.DiscardHandler, &n})}}
	onClient(t, s, func(h *clientTest) {
		c, id := h.open("/")
		for range 50 {
			h.p.Send(goAway(1, 2), goAway(1, 0))
		}
		synctest.Wait()
		h.p.Send(rep(id), data(id, "ok", fin))
		c.wantBody("the open stream goes on", 200, "ok")
		h.wantServedStatus(spdy.GoAwayInternalError)
		if got := n.Load(); got != 0 {
			h.Errorf("100 GOAWAYs: got %d lines in the log, want none beside what Serve returns", got)
		}
	})
	onClient(t, setup{}, func(h *clientTest) {
		_, _ = h.open("/")
		for range 30000 {
			if h.p.TrySend(goAway(1, 0)) != nil {
				break
			}
		}
		h.p.Want("a flood", goAway(0, 1))
	})
}

// A level that zlib does not have is brought to the nearest that it has.
func TestCompressionLevelOutOfRange(t *testing.T) {
	for _, level := range []int{-5, 10} {
		c := &spdy.Config{CompressionLevel: level}
		client, _ := pair(t, c, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
		resp, err := client.RoundTrip(request(t, "GET", "/", nil))
		if err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "ok" || err != nil {
			t.Errorf("level %d: got %q, %v, want ok", level, b, err)
		}
	}
}

// What is written while the response's FIN goes out is not sent after it.
func TestNoDataAfterFin(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		r, w := io.Pipe()
		copied := make(chan error, 1)
		h.mux.HandleFunc("/late", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/plain")
			rw.WriteHeader(200)
			// Outlives the handler, as it must not.
			go func() {
				_, err := io.Copy(rw, r)
				copied <- err
			}()
			synctest.Wait()
		})
		h.p.Send(post(1, "/late"))
		h.collect("the response", 1)
		io.WriteString(w, "late")
		w.Close()
		if err := <-copied; err == nil {
			h.Errorf("a write after the end: got no error")
		}
		h.p.WantIdle("nothing after FIN")
		h.alive(3)
	})
}

// A request with a body that asks for an upgrade as well, as a client of HTTP/2
// without TLS does, is a request with a body.
func TestUpgradeWithBody(t *testing.T) {
	for _, length := range []int64{5, -1} {
		client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d %s %v", r.ContentLength, b, err)
		}))
		req := request(t, "POST", "/", unsized{strings.NewReader("hello")})
		req.ContentLength = length
		req.Header.Set("Connection", "Upgrade, HTTP2-Settings")
		req.Header.Set("Upgrade", "h2c")
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("%d hello <nil>", length); string(b) != want || err != nil {
			t.Errorf("length %d: the handler saw %q, %v, want %q", length, b, err, want)
		}
	}
	// Another client may send it: then the length says what the body is.
	onServer(t, setup{}, func(h *serverTest) {
		got := make(chan int64, 1)
		h.mux.HandleFunc("/length", func(w http.ResponseWriter, r *http.Request) {
			got <- r.ContentLength
			io.Copy(io.Discard, r.Body)
		})
		h.p.Send(post(1, "/length", nv("upgrade", "h2c"), nv("content-length", "5")), data(1, "hello", fin))
		if n := <-got; n != 5 {
			h.Errorf("ContentLength: got %d, want 5", n)
		}
		h.wantResponse("the response", 1, "200", "")
	})
}

// A body that is copied from a slow source goes out as it comes, with a
// Content-Type or without.
func TestReadFromSlowSource(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		r, w := io.Pipe()
		h.mux.HandleFunc("/slow", func(rw http.ResponseWriter, _ *http.Request) { io.Copy(rw, r) })
		h.p.Send(req(1, "/slow"))
		io.WriteString(w, "<html>")
		h.p.Want("the first bytes", spdytest.SynReply(1, 0, nv(":status", "200 OK"), nv("content-type", "text/html; charset=utf-8")), data(1, "<html>"))
		io.WriteString(w, "more")
		h.p.Want("the next bytes", data(1, "more"))
		w.Close()
		h.p.Want("the end", data(1, "", fin))
	})
}

// The peer is told that the rest of a body that is too long is not wanted, or
// it would wait for window.
func TestBodyTooLongIsStopped(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/read", nv("content-length", "5")), data(1, "abcdefghi"))
		f := h.p.Next("the answer")
		if got, _ := f.Get(":status"); f.Type != spdytest.TypeSynReply || f.Flags != fin || !strings.HasPrefix(got, "400") {
			h.Errorf("got %v, want SYN_REPLY 400 with FIN", f)
		}
		h.p.Want("the rest is not wanted", rst(1, spdy.Cancel))
		h.p.Send(data(1, "more"), data(1, "more", fin))
		h.p.WantIdle("nothing more")
		h.alive(3)
	})
}

// A name that is announced as a trailer is checked as a header's name is.
func TestTrailerNamesAreChecked(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		r := h.request("POST", "/", unsized{strings.NewReader("x")})
		r.Trailer = http.Header{"X\r\nEvil": nil, "A,b": nil, "": nil, "Content-Length": nil, "X-Good": {"1"}}
		c := h.start(r)
		f := h.wantSyn("the request")
		if got, _ := f.Get("trailer"); got != "X-Good" {
			h.Errorf("trailer: got %q, want X-Good", got)
		}
		h.p.Want("the body", data(1, "x"), headers(1, 0, nv("x-good", "1")), data(1, "", fin))
		h.answer(c, 1)
		h.alive()
	})
}

// An upgrade works with any method, also one that says that it has no body.
func TestUpgradeOfPost(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		io.Copy(w, r.Body)
	}))
	req := request(t, "POST", "/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	rw := resp.Body.(io.ReadWriteCloser)
	io.WriteString(rw, "hello")
	rw.(interface{ CloseWrite() error }).CloseWrite()
	if b, err := io.ReadAll(rw); string(b) != "hello" || err != nil {
		t.Errorf("echo: got %q, %v, want hello", b, err)
	}
}

// Names that a handler spells in its own way are sent once all the same.
func TestHandlersOwnSpelling(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/own", func(w http.ResponseWriter, r *http.Request) {
			for name, value := range map[string]string{"content-length": "2", "content-type": "text/x", "date": "today"} {
				w.Header()[name] = []string{value}
			}
			io.WriteString(w, "ok")
		})
		h.p.Send(req(1, "/own"))
		m := h.wantResponse("the response", 1, "200", "ok")
		seen := make(map[string]bool)
		for _, p := range m.head.Pairs {
			if seen[p.Name] {
				h.Errorf("%q was sent twice", p.Name)
			}
			seen[p.Name] = true
		}
		if got, _ := m.head.Get("content-type"); got != "text/x" {
			h.Errorf("content-type: got %q, want text/x", got)
		}
	})
}

// A deadline that a handler set does not keep its request in memory.
func TestDeadlinesEndWithTheHandler(t *testing.T) {
	requests := make(chan weak.Pointer[http.Request], 1)
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/deadline" {
			return
		}
		c := http.NewResponseController(w)
		c.SetReadDeadline(time.Now().Add(time.Hour))
		c.SetWriteDeadline(time.Now().Add(time.Hour))
		io.Copy(io.Discard, r.Body)
		requests <- weak.Make(r)
	}))
	for _, path := range []string{"/deadline", "/other", "/other"} {
		resp, err := client.RoundTrip(request(t, "POST", path, strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	p := <-requests
	for end := time.Now().Add(5 * time.Second); p.Value() != nil; {
		if time.Now().After(end) {
			t.Fatal("a request is still in memory after its response, because of its deadlines")
		}
		runtime.GC()
		runtime.Gosched()
	}
}

// A header block that a peer's default limits would end the session for is not
// sent: one request's headers must not cost the others their session.
func TestHeaderBlockTooLargeToSend(t *testing.T) {
	large := strings.Repeat("v", 200<<10)
	client, server := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/reply":
			w.Header().Set("X-Large", large)
			io.WriteString(w, "ok")
		case "/trailer":
			w.Header().Set(http.TrailerPrefix+"X-Large", large)
			io.WriteString(w, "ok")
		case "/read":
			io.Copy(io.Discard, r.Body)
		}
	}))
	do := func(req *http.Request) error {
		resp, err := client.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	inHeader := request(t, "GET", "/", nil)
	inHeader.Header.Set("X-Large", large)
	inTrailer := request(t, "POST", "/read", unsized{strings.NewReader("x")})
	inTrailer.Trailer = http.Header{"X-Large": {large}}
	for name, req := range map[string]*http.Request{
		"request": inHeader, "request's trailer": inTrailer,
		"reply": request(t, "GET", "/reply", nil), "reply's trailer": request(t, "GET", "/trailer", nil),
	} {
		if err := do(req); err == nil || spdy.Retryable(err) {
			t.Errorf("%s: got %v, want an error that is not retryable", name, err)
		}
	}
	if err := errors.Join(client.Err(), server.Err()); err != nil {
		t.Errorf("the session: got %v, want it to go on", err)
	}
	if err := do(request(t, "GET", "/", nil)); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

// What is buffered of a response counts against Config.MaxBuffer until it was
// read, also when the response is complete and its stream has ended.
func TestMaxBufferCountsUnreadBodies(t *testing.T) {
	const start = 64 << 10
	const given = start / 2 // so much is read before credit is given
	// The session window is so wide that it needs no credit here.
	s := setup{config: spdy.Config{MaxStreamWindow: 1 << 20, MaxBuffer: 4 * start, SessionWindow: 8 << 20}}
	onClient(t, s, func(h *clientTest) {
		go func() {
			f := h.p.Next("a PING")
			time.Sleep(10 * time.Second) // a peer that makes the round trip look long
			h.p.Send(f)
		}()
		if !h.s.Ping(time.Minute) {
			h.Fatal("no answer to PING")
		}
		h.p.Answer = func(f frame) bool { return f.Type == spdytest.TypePing } // none is answered any more
		// grow sends and reads n bytes, and returns the credit that came for them.
		grow := func(id uint32, body io.Reader, n int) int {
			h.Helper()
			h.p.Send(data(id, string(bytesOf(n))))
			if _, err := io.CopyN(io.Discard, body, int64(n)); err != nil {
				h.Fatal(err)
			}
			return h.drain(newCollector()).credit[id]
		}
		var bodies [3]io.ReadCloser
		open := func(i int) uint32 {
			c, id := h.open("/")
			h.p.Send(rep(id))
			resp, err := c.wait()
			if err != nil {
				h.Fatal(err)
			}
			bodies[i] = resp.Body
			return id
		}
		id := open(0)
		if got := grow(id, bodies[0], given); got != given+start {
			h.Errorf("the first stream: got credit of %d bytes, want %d: its window grows by a quarter of MaxBuffer", got, given+start)
		}
		h.p.Send(data(id, string(bytesOf(2*start)), fin)) // complete, and not read
		id = open(1)
		if got := grow(id, bodies[1], given); got != given {
			h.Errorf("while the first body is not read: got credit of %d bytes, want %d: no window grows", got, given)
		}
		if n, err := io.Copy(io.Discard, bodies[0]); n != 2*start || err != nil {
			h.Errorf("the first body: got %d bytes, %v, want %d", n, err, 2*start)
		}
		id = open(2)
		if got := grow(id, bodies[2], given); got != given+start {
			h.Errorf("after the first body was read: got credit of %d bytes, want %d", got, given+start)
		}
		bodies[1].Close()
		bodies[2].Close()
	})
}

// Costs of a frame that a peer may send often: SETTINGS that close and open the
// windows of 1000 streams with DATA to send.
func BenchmarkSettings(b *testing.B) {
	near, far := spdytest.Pipe(spdytest.PipeConfig{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 70000)) })
	s := (*spdy.Config)(nil).NewServerSession(far, &http.Server{Handler: handler})
	served := make(chan struct{})
	// Ends with the session, which is closed below; waited for there.
	go func() {
		defer close(served)
		s.Serve()
	}()
	defer func() {
		near.Close()
		s.Close()
		<-served
	}()
	p := spdytest.NewPeer(b, near)
	p.NoSecond = true
	for i := range 1000 {
		p.Send(req(uint32(2*i+1), "/"))
	}
	for { // until the session's window is used up
		if _, err := p.TryNext(spdytest.Idle); err != nil {
			break
		}
	}
	for b.Loop() {
		p.Send(set(7, 0), set(7, 65536), ping(1))
		p.Want("the echo", ping(1))
	}
}

// A graceful end waits until the peer has closed: a connection that is closed
// while the last response is on a slow line is reset, and cuts it.
func TestGracefulEndWaitsForPeer(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.p.Send(post(1, "/noread"))
		<-h.arrived
		start := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- h.s.Shutdown(h.Context()) }()
		h.p.Want("the end is announced", goAway(1, 0))
		close(h.release)
		h.wantResponse("the response", 1, "200", "ok")
		h.p.Send(data(1, "", fin))
		h.p.WantEOF("all was sent")
		time.Sleep(5 * time.Second) // what a slow line takes
		if err := h.p.TrySend(ping(1)); err != nil {
			h.Errorf("after %v the connection is closed: %v", time.Since(start), err)
		}
		h.p.Close()
		if err := <-stopped; err != nil {
			h.Errorf("Shutdown: got %v", err)
		}
	})
	// Not for ever, and not when Close says otherwise.
	for _, hurry := range []bool{false, true} {
		onServer(t, setup{}, func(h *serverTest) {
			start := time.Now()
			stopped := make(chan error, 1)
			go func() { stopped <- h.s.Shutdown(h.Context()) }()
			h.p.Want("the end is announced", goAway(0, 0))
			h.p.WantEOF("all was sent")
			limit := 15 * time.Second
			if hurry {
				limit = 2 * time.Second
				h.s.Close()
			}
			<-stopped
			if d := time.Since(start); d > limit {
				h.Errorf("with a peer that does not close, hurry %v: got %v, want %v at most", hurry, d, limit)
			}
		})
	}
}

// nextWithin returns the next frame, which has to come within d.
func nextWithin(h *serverTest, d time.Duration) frame {
	h.Helper()
	f, ok := h.p.Poll(d)
	if !ok {
		h.Fatalf("no frame came within %v", d)
	}
	return f
}

// PINGs of the keep-alive do not add up when the peer shows by other frames that
// it lives.
func TestKeepAlivePingsDoNotAddUp(t *testing.T) {
	onServer(t, setup{config: spdy.Config{KeepAlive: 10 * time.Second}}, func(h *serverTest) {
		for range 20 {
			if f := nextWithin(h, 30*time.Second); f.Type != spdytest.TypePing {
				h.Fatalf("got %v, want PING", f)
			}
			h.p.Send(rst(99, spdy.Cancel)) // a sign of life, and no echo
		}
		if n := h.s.OpenPings(); n > 1 {
			h.Errorf("%d PINGs wait for their echo, want 1", n)
		}
	})
}

// A handler whose source panics ends its stream, not the process.
func TestPanicInCopiedSource(t *testing.T) {
	onServer(t, setup{}, func(h *serverTest) {
		h.mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.Copy(w, panics{})
		})
		h.p.Send(req(1, "/panic"))
		h.wantStatusFin("nothing was sent yet", 1, "500")
		h.alive(3)
	})
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic(http.ErrNotSupported) }

// Seek makes it a file, which is read before anything is sent.
func (panics) Seek(int64, int) (int64, error) { return 0, nil }

// The two directions of an upgraded stream are a connection: any number of
// goroutines may write to it.
func TestConcurrentWrites(t *testing.T) {
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "count")
		w.WriteHeader(http.StatusSwitchingProtocols)
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", err)
	}))
	req := request(t, "GET", "/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "count")
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	rw := resp.Body.(io.ReadWriteCloser)
	defer rw.Close()
	const writers, size = 8, 1 << 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			if n, err := rw.Write(make([]byte, size)); n != size || err != nil {
				t.Errorf("Write: got %d, %v, want %d", n, err, size)
			}
		})
	}
	wg.Wait()
	rw.(interface{ CloseWrite() error }).CloseWrite()
	if b, err := io.ReadAll(rw); string(b) != fmt.Sprint(writers*size, " ", nil) || err != nil {
		t.Errorf("got %q, %v, want %d bytes to have come", b, err, writers*size)
	}
}

// How long the first response took says little of the line when its handler had
// to think: a window does not grow for a reader that is slow.
func TestSlowFirstResponseGrowsNoWindow(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		c, id := h.open("/slow")
		time.Sleep(5 * time.Second) // its handler's
		h.p.Send(rep(id), data(id, string(bytesOf(60000))))
		resp, err := c.wait()
		if err != nil {
			h.Fatal(err)
		}
		defer resp.Body.Close()
		for range 4 {
			io.ReadFull(resp.Body, make([]byte, 10000))
			time.Sleep(time.Second)
		}
		credit := uint32(0)
		for f, ok := h.p.Poll(spdytest.Idle); ok; f, ok = h.p.Poll(spdytest.Idle) {
			if f.Type == spdytest.TypeWindowUpdate && f.ID == id {
				credit += f.Value
			}
		}
		if credit > 40000 {
			h.Errorf("after 40000 bytes were read at 10 kB/s: got credit of %d bytes, want no more", credit)
		}
	})
}
