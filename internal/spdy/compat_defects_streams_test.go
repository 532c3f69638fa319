package spdy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

func defectReply(t *testing.T) {
	h := upstreamClient(t)
	pairs := func(nameValue ...string) (pairs []spdytest.Pair) {
		for i := 0; i < len(nameValue); i += 2 {
			pairs = append(pairs, spdytest.Pair{Name: nameValue[i], Value: nameValue[i+1]})
		}
		return pairs
	}
	for _, pairs := range [][]spdytest.Pair{
		nil,
		pairs(":version", "HTTP/1.1"),
		pairs(":status", "", ":version", "HTTP/1.1"),
		pairs(":status", "2", ":version", "HTTP/1.1"),
		pairs(":status", "abc", ":version", "HTTP/1.1"),
		pairs(":status", "200", ":version", "HTTP/1.1", "", "x"),
	} {
		p := h.proxy(h.request("GET", "/", nil))
		id := h.wantSyn("a request").ID
		h.p.Send(spdytest.SynReply(id, fin, pairs...))
		h.p.Want(fmt.Sprint(pairs), rst(id, spdy.ProtocolError))
		if err := <-p.done; err == nil || p.rec.Code != 404 {
			t.Errorf("%v: %d, %v, want 404 and an error", pairs, p.rec.Code, err)
		}
	}
	h.alive()
	h.finish()
}

func defectHandlerPanic(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/before", func(http.ResponseWriter, *http.Request) { panic("of a test") })
	h.mux.HandleFunc("/after", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		synctest.Wait()
		panic("of a test")
	})
	h.p.Send(req(1, "/before"))
	h.wantResponse("a panic before the headers", 1, "500", "")
	h.p.Send(req(3, "/after"))
	h.p.Want("a panic after the headers", rep200(3, 0), rst(3, spdy.InternalError))
	h.alive(5)
	h.finish()

	for _, server := range []*http.Server{nil, {}} { // http.DefaultServeMux has nothing here
		h := &serverTest{session: newTest(t, setup{}, func(_ *spdy.Config, conn *spdytest.Conn) *spdy.Session {
			return spdy.NewServerSession(conn, server)
		})}
		h.p.Send(req(1, "/nothing-here"))
		h.wantResponse("no handler", 1, "404", "404 page not found\n")
		h.finish()
	}
}

func defectRequestParts(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL == nil || r.Body == nil || r.Header == nil {
			t.Errorf("the request is %+v", r)
		}
		io.WriteString(w, "ok")
	})
	id := uint32(1)
	for _, path := range []string{"%zz", "x", "", "/%zz", "http://%zz/"} {
		h.p.Send(req(id, path))
		h.wantResponse(fmt.Sprintf("path %q", path), id, "400", "")
		id += 2
	}
	h.p.Send(req(id, "/"))
	h.wantResponse("no body", id, "200", "ok")
	h.finish()
}

func defectClose(t *testing.T) {
	c, s := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(bytesOf(10000)); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
			case <-time.After(time.Millisecond):
			}
		}
	}))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Do(request(t, "GET", "/", nil)); err == nil {
				t.Error("a response without end came to one")
			}
		})
	}
	<-time.After(50 * time.Millisecond) // of the bubble
	for range 10 {
		wg.Go(s.Close)
		wg.Go(func() { c.Close() })
		wg.Go(func() { c.Ping(time.Millisecond) })
		wg.Go(func() { c.Do(request(t, "GET", "/", nil)) })
	}
	wg.Wait()
}

func defectServerClose(t *testing.T) {
	for range 2 {
		if err := new(spdy.Server).Close(); err != nil {
			t.Errorf("Close before Serve: %v", err)
		}
	}
}

func defectSlowReader(t *testing.T) {
	h := upstreamServer(t)
	body := bytesOf(60000)
	h.mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 5000)
		var got []byte
		for {
			<-time.After(time.Second)
			n, err := r.Body.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				if string(got) != string(body) || err != io.EOF {
					t.Errorf("a body of %d bytes, %v, want %d that are equal", len(got), err, len(body))
				}
				return
			}
		}
	})
	h.p.Send(post(1, "/slow"))
	for at := 0; at < len(body); at += 6000 {
		h.p.Send(data(1, string(body[at:at+6000])))
	}
	h.p.Send(data(1, "", fin))
	<-time.After(time.Minute)
	h.p.Answer = func(f frame) bool { return f.Type == spdytest.TypeWindowUpdate }
	h.p.Want("the handler has read all", rep200(1, fin))
	h.finish()
}

func defectManyPieces(t *testing.T) {
	h := upstreamServer(t)
	release := make(chan struct{})
	h.mux.HandleFunc("/later", func(w http.ResponseWriter, r *http.Request) {
		<-release
		io.Copy(w, r.Body)
	})
	h.p.Send(post(1, "/later"))
	for range 100 {
		h.p.Send(data(1, "x"))
	}
	h.p.Send(data(1, "", fin))
	synctest.Wait()
	close(release)
	h.wantResponse("100 pieces", 1, "200", strings.Repeat("x", 100))
	h.finish()

	// The client's side, with a visitor who does not take it.
	c := upstreamClient(t)
	w := &blockedWriter{ResponseRecorder: spdy.NewRecorder(), release: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- c.s.NewStreamProxy(c.request("GET", "/", nil), w) }()
	id := c.wantSyn("a request").ID
	c.p.Send(rep(id))
	for range 100 {
		c.p.Send(data(id, "x"))
	}
	c.p.Send(data(id, "", fin))
	synctest.Wait()
	close(w.release)
	if err := <-done; err != nil || w.Body.String() != strings.Repeat("x", 100) {
		t.Errorf("100 pieces: %q, %v", w.Body, err)
	}
	c.finish()
}

// blockedWriter takes nothing until it is released.
type blockedWriter struct {
	*spdy.ResponseRecorder
	release chan struct{}
}

func (w *blockedWriter) Write(p []byte) (int, error) {
	<-w.release
	return w.ResponseRecorder.Write(p)
}

func defectValues(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, v := range r.Header["X-Many"] {
			w.Header().Add("Set-Cookie", v)
		}
	})
	r := request(t, "GET", "/", nil)
	want := []string{"a=1", "b=2", "c=3"}
	r.Header["X-Many"] = want
	c, _ := upstreamPair(t, h)
	resp, err := c.Do(r)
	if err != nil || !slices.Equal(resp.Header["Set-Cookie"], want) {
		t.Errorf("Do: Set-Cookie %q, %v, want %q", resp.Header["Set-Cookie"], err, want)
	}
	s, _ := pair2(t, h)
	rec := spdy.NewRecorder()
	if err := s.NewStreamProxy(r, rec); err != nil || !slices.Equal(rec.HeaderMap["Set-Cookie"], want) {
		t.Errorf("NewStreamProxy: Set-Cookie %q, %v, want %q", rec.HeaderMap["Set-Cookie"], err, want)
	}
}

func defectRequestHangs(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(h *clientTest, id uint32)
		code int
		err  bool
	}{
		{"RST_STREAM before the reply", func(h *clientTest, id uint32) { h.p.Send(rst(id, spdy.Cancel)) }, 404, true},
		{"RST_STREAM after it", func(h *clientTest, id uint32) { h.p.Send(rep(id), data(id, "x"), rst(id, spdy.Cancel)) }, 200, true},
		{"loss before the reply", func(h *clientTest, id uint32) { h.p.Close() }, 404, true},
		{"loss after it", func(h *clientTest, id uint32) { h.p.Send(rep(id), data(id, "x")); h.p.Close() }, 200, true},
		{"an hour of silence", func(h *clientTest, id uint32) {
			<-time.After(time.Hour)
			h.p.Send(rep(id))
			<-time.After(time.Hour)
			h.p.Send(data(id, "x", fin))
		}, 200, false},
	} {
		h := upstreamClient(t)
		rec, done := spdy.NewRecorder(), make(chan error, 1)
		go func() { done <- h.s.NewStreamProxy(h.request("GET", "/", nil), rec) }()
		test.end(h, h.wantSyn(test.name).ID)
		if err := <-done; (err != nil) != test.err || rec.Code != test.code {
			t.Errorf("%s: %d, %v, want %d, an error: %t", test.name, rec.Code, err, test.code, test.err)
		}
		h.finish()
	}
}

func defectSlowBody(t *testing.T) {
	h := upstreamServer(t)
	began := make(chan struct{})
	h.mux.HandleFunc("/body", func(w http.ResponseWriter, r *http.Request) {
		close(began)
		io.Copy(w, r.Body)
	})
	h.p.Send(post(1, "/body"))
	<-began // at once
	for _, piece := range []string{"a", "b", "c"} {
		<-time.After(time.Hour)
		h.p.Send(data(1, piece))
	}
	h.p.Send(data(1, "", fin))
	h.wantResponse("a body that takes hours", 1, "200", "abc")
	h.finish()
}

func defectReplyFin(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	h.p.Send(req(1, "/empty"))
	h.p.Want("nothing follows", rep200(1, fin))
	h.p.WantIdle("nothing follows")
	h.finish()

	c := upstreamClient(t)
	p := c.proxy(c.request("GET", "/", nil))
	f := rep(c.wantSyn("a request").ID)
	f.Flags = fin
	c.p.Send(f)
	if err := <-p.done; err != nil || p.rec.Body.Len() != 0 {
		t.Errorf("FIN on SYN_REPLY: %q, %v, want the end", p.rec.Body, err)
	}
	c.finish()
}

func defectNoReply(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	h.p.Send(req(1, "/empty"))
	h.p.Want("a handler that wrote nothing", rep200(1, fin))
	h.p.Send(spdytest.SynStream(3, fin, spdytest.Request("HEAD", "/ok")...))
	h.p.Want("HEAD", rep200(3, fin))
	h.p.WantIdle("no body")
	h.finish()
}

func defectLargeWrite(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		if n, err := w.Write(bytesOf(1 << 20)); n != 1<<20 || err != nil {
			t.Errorf("Write: %d, %v", n, err)
		}
	})
	h.p.Send(req(1, "/large"))
	h.wantBytes("what the window allows starts at once", map[uint32]int{1: 65536})
	<-time.After(time.Hour)
	h.p.Send(wu(1, 1<<20), wu(0, 1<<20))
	h.wantBytes("the rest with the credit", map[uint32]int{1: 1<<20 - 65536})
	h.finish()
}

func defectSilence(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(time.Hour)
		io.WriteString(w, "at last")
	}))
	resp, err := c.Do(request(t, "GET", "/", nil))
	if err != nil || resp.ContentLength != int64(len("at last")) {
		t.Errorf("a long poll: %+v, %v", resp, err)
	}
}

func defectBodyStops(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/body", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	h.p.Send(post(1, "/body"))
	h.alive(3)
	h.p.Send(data(1, "x", fin))
	h.wantResponse("the request with the body", 1, "200", "x")
	h.finish()
}

func defectStuckStream(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/stuck", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	h.p.Send(post(1, "/stuck"))
	for range 4 {
		h.p.Send(data(1, strings.Repeat("x", 16384)))
	}
	h.alive(3)
	h.finish()

	// A visitor who takes nothing, and one who does.
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(1 << 20)) }))
	stuck := request(t, "GET", "/", nil)
	resp, err := c.RoundTrip(stuck)
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := c.Do(request(t, "GET", "/", nil)); err != nil || whole.ContentLength != 1<<20 {
		t.Errorf("beside a stuck stream: %v", err)
	}
	resp.Body.Close()
}

func defectSlowPeer(t *testing.T) {
	// The peer reads nothing for 20 s.
	a, b := spdytest.Pipe(spdytest.PipeConfig{Buffer: 1000})
	s := spdy.NewServerSession(b, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(50000)) })})
	go s.Serve()
	p := spdytest.NewPeer(t, a)
	p.WantPreface()
	p.Send(req(1, "/"))
	<-time.After(20 * time.Second)
	for got := 0; got < 50000; {
		got += len(p.Next("the response goes on").Data)
	}
	p.Close()
	s.Close()

	// What is more urgent goes first.
	h := upstreamServer(t)
	h.mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(100000)) })
	h.mux.HandleFunc("/window", func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(65536)) })
	h.p.Send(req(1, "/window"))
	h.collect("the session's window is used up", 1)
	low, high := req(3, "/large"), req(5, "/large")
	low.Priority, high.Priority = 7, 0
	h.p.Send(low, high, wu(3, 1<<20), wu(5, 1<<20))
	synctest.Wait()
	h.p.Send(wu(0, 65536))
	c := h.drain(newCollector())
	if got3, got5 := len(c.stream(3).body), len(c.stream(5).body); got3 != 0 || got5 != 65536 {
		t.Errorf("priority 7 got %d bytes, priority 0 %d, want 0 and 65536", got3, got5)
	}
	h.finish()
}

func defectNoRoom(t *testing.T) {
	h := upstreamClient(t)
	h.p.Send(set(4, 1))
	h.p.Send(ping(2))
	h.p.Want("the settings were read", ping(2))
	p := h.proxy(h.request("GET", "/", nil))
	id := h.wantSyn("the only one").ID
	start := time.Now()
	if st := h.s.NewClientStream(); st != nil || time.Since(start) != 1500*time.Millisecond {
		t.Errorf("NewClientStream: %v after %v, want nil after 1.5 s", st, time.Since(start))
	}
	h.p.Send(rep(id), data(id, "ok", fin))
	if err := <-p.done; err != nil {
		t.Errorf("the open stream: %v", err)
	}
	// Streams that are never used take no room.
	for range 10 {
		if h.s.NewClientStream() == nil {
			t.Fatal("NewClientStream: nil with room for one")
		}
	}
	h.alive()
	h.finish()

	s := upstreamServer(t)
	release := make(chan struct{})
	s.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-release })
	s.p.Send(req(1, "/wait"))
	synctest.Wait()
	s.s.SendGoaway(spdy.FLAG_NONE, []byte{0, 0, 0, 1, 0, 0, 0, 0})
	s.p.Want("GOAWAY", goAway(1, 0))
	s.p.Send(req(3, "/ok"), ping(1))
	s.p.Want("SYN_STREAM after GOAWAY is ignored, the session goes on", ping(1))
	close(release)
	s.p.Want("what is open ends", rep200(1, fin))
	s.p.WantEOF("and is the last")
	s.finish()
}

func defectRequestBody(t *testing.T) {
	h := upstreamClient(t)
	body, feed := io.Pipe()
	p := h.proxy(h.request("POST", "/", body))
	feed.Write([]byte("first"))
	id := h.wantSyn("SYN_STREAM comes before the body's end").ID
	var first string
	for len(first) < 5 {
		first += string(h.p.Next("so does DATA").Data)
	}
	if first != "first" {
		t.Errorf("DATA %q, want first", first)
	}
	fed := make(chan struct{})
	// Ends when the body is taken or given up.
	go func() {
		defer close(fed)
		feed.Write(bytesOf(200000))
		feed.Close()
	}()
	h.wantBytes("no more than the window", map[uint32]int{id: 65536 - 5})
	h.p.Send(wu(id, 1<<20), wu(0, 1<<20))
	h.wantBytes("the rest with the credit", map[uint32]int{id: 200000 - 65536 + 5})
	h.p.Send(rep(id), data(id, "", fin))
	if err := <-p.done; err != nil {
		t.Error(err)
	}
	<-fed
	h.finish()
}

func defectPriority(t *testing.T) {
	c := upstreamClient(t)
	for pri := range uint8(8) {
		r := c.request("GET", "/", nil)
		p := c.proxy(r.WithContext(spdy.WithPriority(r.Context(), pri)))
		f := c.wantSyn("a request")
		if f.Priority != pri || f.Assoc != 0 {
			t.Errorf("got %v, want priority %d", f, pri)
		}
		c.p.Send(rep(f.ID), data(f.ID, "", fin))
		<-p.done
	}
	c.finish()

	h := upstreamServer(t)
	h.mux.HandleFunc("/priority", func(w http.ResponseWriter, r *http.Request) {
		pri, ok := spdy.PriorityFrom(r.Context())
		fmt.Fprint(w, pri, ok)
	})
	f := req(1, "/priority")
	f.Priority, f.Assoc = 6, 99
	h.p.Send(f)
	h.wantResponse("the handler is told", 1, "200", "6 true")
	h.finish()
}

func defectHeaderMap(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/map", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Early", "1")
		w.WriteHeader(200)
		if len(w.Header()) != 1 {
			t.Errorf("after WriteHeader the handler's map is %v, want its own entry", w.Header())
		}
		// Meanwhile the session sends what the map was: the race detector watches.
		w.(http.Flusher).Flush()
		for i := range 100 {
			w.Header().Set("X-Early", fmt.Sprint(i))
			w.Header().Set(fmt.Sprint("X-Late-", i), "1")
		}
		io.WriteString(w, "ok")
	})
	h.p.Send(req(1, "/map"))
	m := h.wantResponse("the map as it was", 1, "200", "ok")
	if got, _ := m.head.Get("x-early"); got != "1" || len(m.head.Pairs) != 5 {
		t.Errorf("got %v, want x-early=1 and nothing later", m.head)
	}
	h.finish()
}

func defectDo(t *testing.T) {
	release := make(chan struct{})
	ended := make(chan error, 1)
	c, s := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			const size = 64 << 20
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.(http.Flusher).Flush()
			<-release
			piece := make([]byte, 1<<20)
			for range size / len(piece) {
				w.Write(piece)
			}
		case "/wait":
			<-r.Context().Done()
			ended <- r.Context().Err()
		}
	}))
	resp, err := c.Do(request(t, "GET", "/large", nil)) // returns before there is a body
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	buf := make([]byte, 1<<20)
	total := 0
	for err == nil {
		var n int
		n, err = resp.Body.Read(buf)
		total += n
		if total == 8<<20 {
			// What Do's caller has not read is not here.
			synctest.Wait()
			if held := s.Stats().BytesSent; held > 48<<20 {
				t.Errorf("%d bytes were sent when 8 MiB were read", held)
			}
		}
	}
	if total != 64<<20 || err != io.EOF {
		t.Errorf("a body of %d bytes, %v", total, err)
	}
	// Another that nobody reads: its Close stops it.
	resp, err = c.Do(request(t, "GET", "/large", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	if _, err := c.Do(request(t, "GET", "/wait", nil).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
		t.Errorf("Do: %v after %v, want the context's end", err, time.Since(start))
	}
	if err := <-ended; err == nil {
		t.Error("the handler was not told")
	}

	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	p := spdytest.NewPeer(t, a)
	c, err = spdy.NewClientConn(b)
	if err != nil {
		t.Fatal(err)
	}
	p.WantPreface()
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	p.Want("GOAWAY before the end", goAway(0, 0))
	p.WantEOF("GOAWAY before the end")
	p.Close()
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}
