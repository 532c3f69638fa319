package spdy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy"
)

// proxied is one NewStreamProxy under way.
type proxied struct {
	rec  *spdy.ResponseRecorder
	done chan error
}

func (h *clientTest) proxy(r *http.Request) *proxied {
	p := &proxied{spdy.NewRecorder(), make(chan error, 1)}
	// Ends when NewStreamProxy does, at the latest with the session.
	go func() { p.done <- h.s.NewStreamProxy(r, p.rec) }()
	return p
}

func upstreamRequestURL(t *testing.T) {
	h := upstreamClient(t)
	for _, test := range []struct {
		url, host          string // of the request
		path, wire, scheme string
	}{
		{"http://a.test", "", "/", "a.test:80", "http"},
		{"https://a.test/x?y=1", "", "/x?y=1", "a.test:443", "https"},
		{"http://a.test:8080/x#part", "", "/x", "a.test:8080", "http"},
		{"https://[::1]/", "", "/", "[::1]:443", "https"},
		{"https://[::1]:8443/", "", "/", "[::1]:8443", "https"},
		{"http://a.test/a%2Fb%20c?q=%zz", "", "/a%2Fb%20c?q=%zz", "a.test:80", "http"},
		{"http://a.test/", "b.test", "/", "b.test:80", "http"},
	} {
		r, err := http.NewRequest("GET", test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = test.host
		p := h.proxy(r)
		f := h.wantSyn(test.url)
		for name, want := range map[string]string{":path": test.path, ":host": test.wire, ":scheme": test.scheme, ":method": "GET", ":version": "HTTP/1.1"} {
			if got, _ := f.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", test.url, name, got, want)
			}
		}
		h.p.Send(rep(f.ID), data(f.ID, "ok", fin))
		if err := <-p.done; err != nil {
			t.Errorf("%s: %v", test.url, err)
		}
	}
	for _, url := range []string{"/path", "//a.test/path", "mailto:x", "http:/path"} {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = h.s.NewClientStream().Request(r, spdy.NewRecorder())
		if err == nil || !strings.HasPrefix(err.Error(), "Incomplete path provided") {
			t.Errorf("%s: %v, want Incomplete path provided", url, err)
		}
	}
	if err := h.s.NewStreamProxy(&http.Request{}, spdy.NewRecorder()); err == nil {
		t.Error("a request without a URL: no error")
	}
	h.p.WantIdle("what is not whole is not sent")
	h.finish()
}

func upstreamRequestUnchanged(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
			if v := r.Header[name]; v != nil {
				t.Errorf("%s: %q was sent", name, v)
			}
		}
		if r.ContentLength != 4 || r.Header.Get(spdy.HEADER_CONTENT_LENGTH) != "4" {
			t.Errorf("Content-Length: %d, %q, want 4", r.ContentLength, r.Header.Get("Content-Length"))
		}
		io.Copy(w, r.Body)
	}))
	r := request(t, "POST", "/x#part", strings.NewReader("body"))
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "X-Test"} {
		r.Header.Set(name, "upgrade")
	}
	header, url, host := r.Header.Clone(), *r.URL, r.Host
	resp, err := c.Do(r)
	if err != nil || resp.ContentLength != 4 {
		t.Fatalf("Do: %+v, %v", resp, err)
	}
	if fmt.Sprint(r.Header) != fmt.Sprint(header) || *r.URL != url || r.Host != host || r.ContentLength != 4 {
		t.Errorf("after Do the request is %v, %v, %q, want it as it was", r.Header, r.URL, r.Host)
	}
}

func upstreamEmptyBody(t *testing.T) {
	h := upstreamClient(t)
	for _, test := range []struct {
		name string
		body io.Reader
		fin  bool
	}{
		{"nil", nil, true},
		{"NoBody", http.NoBody, true},
		{"empty, of known length", strings.NewReader(""), true},
		{"empty, of unknown length", io.MultiReader(), true},
		{"one byte, of unknown length", io.MultiReader(strings.NewReader("x")), false},
		{"three bytes", strings.NewReader("xyz"), false},
	} {
		p := h.proxy(h.request("POST", "/", test.body))
		f := h.wantSyn(test.name)
		if got := f.Flags == fin; got != test.fin {
			t.Errorf("%s: FIN on SYN_STREAM: %t, want %t", test.name, got, test.fin)
		}
		if !test.fin {
			c := newCollector()
			c.add(t, f)
			h.collectInto(c, test.name, f.ID)
			if got := string(c.streams[f.ID].body); got != "xyz"[:len(got)] || got == "" {
				t.Errorf("%s: body %q", test.name, got)
			}
		}
		h.p.Send(rep(f.ID), data(f.ID, "ok", fin))
		if err := <-p.done; err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	// A first byte that never comes holds nobody up whose context ends.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	body, never := io.Pipe()
	if err := <-h.proxy(h.request("POST", "/", body).WithContext(ctx)).done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a body that does not begin: %v, want %v", err, context.DeadlineExceeded)
	}
	never.Close()
	h.finish()
}

// A response that breaks off must look so to the visitor behind NewStreamProxy,
// whatever that one speaks.
func TestNewStreamProxyBreaksOff(t *testing.T) {
	quiet(t)
	begun := make(chan struct{})
	client, _ := pair2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the beginning")
		w.(http.Flusher).Flush()
		<-begun
		panic(http.ErrAbortHandler)
	}))
	failed := make(chan error, 1)
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "http", r.Host
		failed <- client.NewStreamProxy(r, w)
	})
	check := func(t *testing.T, rt http.RoundTripper, url string) {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rt.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		begun <- struct{}{}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("the cut body %q looks whole", body)
		}
		if err := <-failed; err == nil {
			t.Error("NewStreamProxy: no error")
		}
	}
	t.Run("HTTP/1.1", func(t *testing.T) {
		ts := httptest.NewServer(front)
		defer ts.Close()
		check(t, ts.Client().Transport, ts.URL)
	})
	t.Run("h2", func(t *testing.T) {
		ts := httptest.NewUnstartedServer(front)
		ts.EnableHTTP2 = true
		ts.StartTLS()
		defer ts.Close()
		check(t, ts.Client().Transport, ts.URL)
	})
	t.Run("SPDY", func(t *testing.T) {
		visitor, _ := pair2(t, front)
		check(t, visitor, "http://a.test/")
	})
}

func TestNewStreamProxyTrailers(t *testing.T) {
	c, _ := pair2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		io.WriteString(w, "body")
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Other", "2")
	}))
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "http", r.Host
		if err := c.NewStreamProxy(r, w); err != nil {
			t.Error(err)
		}
	}))
	defer ts.Close()
	resp, err := http.Get(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.Trailer.Get("X-Announced") != "1" || resp.Trailer.Get("X-Other") != "2" {
		t.Errorf("trailers %v, want both", resp.Trailer)
	}
}

// The stream of a handler is no stream to send a request on.
func TestRequestOnAHandlersStream(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := w.(*spdy.Stream).Request(request(t, "GET", "/", nil), spdy.NewRecorder()); err == nil {
			t.Error("Request: no error")
		}
		fmt.Fprint(w, "stream ", w.(*spdy.Stream))
	}))
	resp, err := c.Do(request(t, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "stream 1" {
		t.Errorf("got %q, want stream 1", body)
	}
}
