package spdy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// A message with a name among its headers and its trailers arrives whole, both
// ways, and each value where it was (RFC 9110, 6.5).
func TestTrailersNamedLikeHeaders(t *testing.T) {
	// A service whose answer has both, and a proxy that is not ours in front of it.
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Sum: in front\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"+
			"4\r\nbody\r\n0\r\nX-Sum: behind\r\n\r\n")
	}))
	defer service.Close()
	to, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	reverse := httputil.NewSingleHostReverseProxy(to)
	client, _ := pair(t, nil, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch h := w.Header(); r.URL.Path {
		case "/reverse":
			reverse.ServeHTTP(w, r)
		case "/request":
			b, err := io.ReadAll(r.Body)
			h["X-Got"] = []string{string(b), r.Header.Get("X-Sum"), r.Trailer.Get("X-Sum")}
			if err != nil {
				h.Set("X-Failed", err.Error())
			}
			io.WriteString(w, "body")
		case "/added":
			h.Set("Trailer", "X-Sum")
			h.Set("X-Sum", "in front")
			io.WriteString(w, "body")
			h.Add("X-Sum", "behind")
		case "/replaced":
			h.Set("Trailer", "X-Sum")
			h.Set("X-Sum", "in front")
			io.WriteString(w, "body")
			h.Set("X-Sum", "behind")
		case "/prefixed":
			h.Set("X-Sum", "in front")
			io.WriteString(w, "body")
			h.Set(http.TrailerPrefix+"X-Sum", "behind")
		}
	}))
	for _, path := range []string{"/reverse", "/request", "/added", "/replaced", "/prefixed"} {
		req := request(t, "GET", path, nil)
		if path == "/request" {
			req = request(t, "POST", path, unsized{strings.NewReader("upload")})
			req.Header.Set("X-Sum", "in front")
			req.Trailer = http.Header{"X-Sum": {"behind"}}
		}
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != "body" || err != nil {
			t.Errorf("%s: got body %q, %v, want it whole", path, body, err)
		}
		if path == "/request" {
			if got, want := resp.Header["X-Got"], []string{"upload", "in front", "behind"}; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: the handler got %q, want %q", path, got, want)
			}
			continue
		}
		if got := resp.Header["X-Sum"]; !reflect.DeepEqual(got, []string{"in front"}) {
			t.Errorf("%s: header: got %q, want %q", path, got, "in front")
		}
		if got := resp.Trailer["X-Sum"]; !reflect.DeepEqual(got, []string{"behind"}) {
			t.Errorf("%s: trailer: got %q, want %q", path, got, "behind")
		}
	}
}
