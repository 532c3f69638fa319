package spdy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/amahi/spdy"
)

func upstreamNotFound(t *testing.T) {
	h := upstreamClient(t)
	check := func(why string, rec *spdy.ResponseRecorder) {
		t.Helper()
		if rec.Code != 404 || rec.Body.String() != "404 page not found\n" {
			t.Errorf("%s: got %d %q, want 404 page not found", why, rec.Code, rec.Body)
		}
	}

	// Failed.
	p := h.proxy(h.request("GET", "/", nil))
	f := h.wantSyn("a request")
	h.p.Send(rst(f.ID, spdy.InternalError))
	err := <-p.done
	if se, ok := errors.AsType[*spdy.StreamError](err); !ok || se.Status != spdy.InternalError {
		t.Errorf("after RST_STREAM: %v, want a *StreamError", err)
	}
	check("after RST_STREAM", p.rec)

	// Not sent at all: the URL is not whole.
	rec := spdy.NewRecorder()
	if err := h.s.NewStreamProxy(httptest.NewRequest("GET", "/", nil), rec); err == nil {
		t.Error("a request without scheme and host: no error")
	}
	check("not sent", rec)

	// Above last-good: opened, so it failed.
	p = h.proxy(h.request("GET", "/", nil))
	first := h.wantSyn("a request").ID
	q := h.proxy(h.request("GET", "/", nil))
	h.wantSyn("another")
	h.p.Send(goAway(first, 0))
	if err := <-q.done; !spdy.Retryable(err) {
		t.Errorf("above last-good: %v, want one that may be sent again", err)
	}
	check("above last-good", q.rec)

	// After GOAWAY, with a stream still open.
	client := spdy.NewRecorder()
	if err := h.s.NewStreamProxy(h.request("GET", "/", nil), client); err != nil {
		t.Errorf("after GOAWAY: %v, want no error", err)
	}
	check("after GOAWAY", client)
	if st := h.s.NewClientStream(); st != nil {
		t.Errorf("NewClientStream after GOAWAY: stream %v, want nil", st)
	}
	h.p.Send(rep(first), data(first, "ok", fin))
	if err := <-p.done; err != nil || p.rec.Body.String() != "ok" {
		t.Errorf("at last-good: %q, %v, want ok", p.rec.Body, err)
	}
	h.finish()

	// Ended.
	rec = spdy.NewRecorder()
	if err := h.s.NewStreamProxy(h.request("GET", "/", nil), rec); err != nil {
		t.Errorf("after the end: %v, want no error", err)
	}
	check("after the end", rec)
	c, _ := upstreamPair(t, http.NotFoundHandler())
	c.Close()
	resp, err := c.Do(h.request("GET", "/", nil))
	if err != nil || resp.StatusCode != 404 || resp.ContentLength != int64(len("404 page not found\n")) {
		t.Errorf("Do after Close: %+v, %v, want 404 and no error", resp, err)
	}
}

func upstreamDo(t *testing.T) {
	givenUp := make(chan bool, 1)
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flushed": // of unknown length
			for _, piece := range []string{"one ", "two ", "three"} {
				io.WriteString(w, piece)
				w.(http.Flusher).Flush()
			}
		case "/known":
			w.Header().Set("Content-Length", "13")
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "b=2")
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "one two three")
		case "/large":
			w.Header().Set("Content-Length", fmt.Sprint(3<<20))
			w.Write(bytesOf(3 << 20))
		case "/huge": // so it says
			w.Header().Set("Content-Length", fmt.Sprint(int64(math.MaxInt64)))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			givenUp <- true
		case "/cut":
			io.WriteString(w, "one")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	for _, test := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/flushed", 200, "one two three"},
		{"GET", "/known", 418, "one two three"},
		{"HEAD", "/known", 418, ""},
		{"GET", "/large", 200, string(bytesOf(3 << 20))},
		{"HEAD", "/large", 200, ""},
		{"GET", "/empty", 200, ""},
	} {
		resp, err := c.Do(request(t, test.method, test.path, nil))
		if err != nil {
			t.Errorf("%s: %v", test.path, err)
			continue
		}
		if resp.StatusCode != test.status || resp.Status != "" || resp.Proto != "HTTP/1.1" || resp.ProtoMajor != 1 || resp.ProtoMinor != 1 ||
			resp.Request != nil || resp.TLS != nil {
			t.Errorf("%s %s: got %+v, want %d, HTTP/1.1 and no more", test.method, test.path, resp, test.status)
		}
		if resp.ContentLength != int64(len(test.body)) {
			t.Errorf("%s %s: ContentLength %d, want %d", test.method, test.path, resp.ContentLength, len(test.body))
		}
		// As the callers do it: one Read.
		body := make([]byte, resp.ContentLength)
		if n, err := resp.Body.Read(body); n != len(body) || err != nil && err != io.EOF || string(body) != test.body {
			t.Errorf("%s %s: one Read: %d bytes, %v, want %d", test.method, test.path, n, err, len(body))
		}
		if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s %s: Read at the end: %d, %v, want EOF", test.method, test.path, n, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Errorf("%s %s: Close: %v", test.method, test.path, err)
		}
		if test.path == "/known" {
			if got := resp.Header["Set-Cookie"]; !slices.Equal(got, []string{"a=1", "b=2"}) {
				t.Errorf("Set-Cookie: %q, want both", got)
			}
		}
	}
	for _, path := range []string{"/cut", "/huge"} {
		resp, err := c.Do(request(t, "GET", path, nil))
		if err == nil || resp == nil || resp.StatusCode != 0 || resp.Body != nil || resp.Header != nil || resp.ContentLength != 0 {
			t.Fatalf("%s: %+v, %v, want an empty response and an error", path, resp, err)
		}
	}
	<-givenUp
}

// upstreamNoConnection needs a real port that nobody listens on.
func upstreamNoConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	c, err := spdy.NewClient(ln.Addr().String())
	if c == nil || err == nil {
		t.Fatalf("NewClient: %v, %v, want a Client and an error", c, err)
	}
	if err := c.Close(); err == nil {
		t.Error("Close: no error")
	}
	if pinged, err := c.Ping(time.Second); pinged || err == nil {
		t.Errorf("Ping: %t, %v, want false and an error", pinged, err)
	}
	if resp, err := c.Do(request(t, "GET", "/", nil)); resp == nil || err == nil {
		t.Errorf("Do: %v, %v, want an empty response and an error", resp, err)
	}
	if resp, err := c.RoundTrip(request(t, "GET", "/", nil)); resp != nil || err == nil {
		t.Errorf("RoundTrip: %v, %v, want an error", resp, err)
	}
	if c, err := spdy.NewClientConn(nil); c == nil || err == nil {
		t.Errorf("NewClientConn(nil): %v, %v, want a Client and an error", c, err)
	}
}

func TestClientIsATransport(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/next", http.StatusFound)
			return
		}
		io.WriteString(w, r.URL.Path)
	}))
	resp, err := (&http.Client{Transport: c}).Get("http://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "/next" {
		t.Errorf("got %q, %v, want /next", body, err)
	}
}

// Bodies of Do need not be closed: one that nobody can read any more does not
// hold its stream.
func TestDoBodyIsDropped(t *testing.T) {
	const size = 8 << 20
	failed := make(chan error, 1)
	session, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, err := w.Write(bytesOf(size))
		failed <- err
	}))
	if resp, err := session.Do(request(t, "GET", "/", nil)); err != nil || resp.ContentLength != size {
		t.Fatalf("Do: %+v, %v", resp, err)
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	deadline := time.After(limit)
	for {
		runtime.GC()
		select {
		case err := <-failed:
			if err == nil {
				t.Error("the server wrote all of a body that nobody read")
			}
			return
		case <-deadline:
			t.Fatal("the stream is still open")
		case <-again.C:
		}
	}
}

// Do keeps no body without end in memory, whether its length was announced or not.
func TestDoReadsSoMuch(t *testing.T) {
	const most = 1000
	for _, test := range []struct {
		announced int64
		size      int
		whole     bool
	}{{-1, 0, true}, {0, 0, true}, {-1, most, true}, {most, most, true}, {-1, most + 1, false}, {most + 1, 0, false}} {
		from := bytes.NewReader(make([]byte, test.size))
		body, err := spdy.ReadWhole(from, test.announced, most)
		if test.whole != (err == nil) || err == nil && len(body) != test.size {
			t.Errorf("%d bytes, announced %d: got %d, %v, want whole: %t", test.size, test.announced, len(body), err, test.whole)
		}
	}
	if _, err := spdy.ReadWhole(zeros{}, -1, most); err == nil {
		t.Error("a body without end: got no error")
	}
}
