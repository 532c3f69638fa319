package spdy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/amahi/spdy/spdytest"
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

func TestTrailersOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve(t, setup{}, func(h *serverTest) {
			h.mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "X-Sum, Content-Length")
				io.WriteString(w, "body")
				w.Header().Set("X-Sum", "1")
				w.Header().Set(http.TrailerPrefix+"X-Late", "2")
			})
			h.p.Send(req(1, "/trailers"))
			m := h.wantResponse("a response with trailers", 1, "200", "body")
			slices.SortFunc(m.trailers, func(a, b spdytest.Pair) int { return strings.Compare(a.Name, b.Name) })
			if want := []spdytest.Pair{nv("x-late", "2"), nv("x-sum", "1")}; !reflect.DeepEqual(m.trailers, want) {
				t.Errorf("trailers: got %q, want %q", m.trailers, want)
			}
			if _, ok := m.head.Get("x-sum"); ok {
				t.Error("a trailer is in SYN_REPLY too")
			}
			h.alive(3)
		})
	})
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			r := h.request("POST", "/", io.MultiReader(strings.NewReader("body")))
			r.Trailer = http.Header{"X-Sum": nil}
			r.Body = &trailing{r.Body, func() { r.Trailer.Set("X-Sum", "1") }}
			c := h.start(r)
			f := h.wantSyn("a request with trailers")
			col := newCollector()
			col.stream(f.ID).head = f
			h.collectInto(col, "a body and trailers", f.ID)
			m := col.stream(f.ID)
			if want := []spdytest.Pair{nv("x-sum", "1")}; string(m.body) != "body" || !reflect.DeepEqual(m.trailers, want) {
				t.Errorf("got body %q, trailers %q, want body and %q", m.body, m.trailers, want)
			}
			h.answer(c, f.ID)
			h.alive()
		})
	})
}

// trailing is a body that calls end at its end, as net/http sets trailers.
type trailing struct {
	io.ReadCloser
	end func()
}

func (t *trailing) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err == io.EOF {
		t.end()
	}
	return n, err
}
