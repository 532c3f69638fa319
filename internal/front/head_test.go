package front

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// What the front takes fits into what an engine with the same limits takes:
// nothing in between is refused by C.
func TestHeadFitsC(t *testing.T) {
	const limit = 8 << 10
	s := newStage(t, func(c *Config) {
		c.MaxHeaderBytes = limit
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	p := new(spdy.Config).NewClientSession(a)
	c := (&spdy.Config{MaxHeaderBytes: limit, MaxHeaderPairs: MaxHeaderLines + 13}).NewServerSession(b, &http.Server{Handler: http.HandlerFunc(echo)})
	for _, session := range []*spdy.Session{p, c} {
		// Ends with its connection, below.
		go session.Serve()
	}
	t.Cleanup(func() {
		p.Close()
		c.Close()
		<-p.Done()
		<-c.Done()
	})
	if _, err := s.table.Register(origin.Registration{Session: p}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		fill func(r *http.Request, n int) // some n bytes as the limit counts
	}{
		{"one line", func(r *http.Request, n int) { r.Header.Set("X-Big", strings.Repeat("x", n)) }},
		{"short lines", func(r *http.Request, n int) {
			for i := range n / 14 {
				r.Header.Set(fmt.Sprintf("X%04d", i), "v")
			}
		}},
		{"one name", func(r *http.Request, n int) {
			for range n / 12 {
				r.Header.Add("X-A", "v")
			}
		}},
		{"empty values", func(r *http.Request, n int) {
			for range n / 11 {
				r.Header.Add("X-A", "")
			}
		}},
		{"cookies", func(r *http.Request, n int) {
			for range n / 17 {
				r.Header.Add("Cookie", "a=b")
			}
		}},
		{"the target", func(r *http.Request, n int) { r.URL.Opaque = "/" + strings.Repeat("x", n) }},
		{"the host", func(r *http.Request, n int) { r.Host = strings.Repeat("x", n/2) }},
		{"a chain of proxies", func(r *http.Request, n int) {
			for range n / 32 {
				r.Header.Add("X-Forwarded-For", "1.2.3.4")
			}
		}},
		{"trailers", func(r *http.Request, n int) {
			r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader("x")), -1
			r.Trailer = http.Header{}
			for i := range n / 16 {
				r.Trailer[fmt.Sprintf("X-Trailer-%04d", i)] = nil
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.each(t, func(t *testing.T, v *visitor) {
				taken, refused := 0, 0
				for n := limit - 1200; n < limit+200; n += 47 {
					r := v.request(t, "GET", "/", nil)
					test.fill(r, n)
					got := v.do(t, r)
					switch got.StatusCode {
					case 200:
						taken++
					case 431:
						refused++
						if !strings.Contains(got.body, "is larger than 8192 bytes") {
							t.Fatalf("%d bytes: got %q, want the front's own refusal", n, got.body)
						}
					default:
						t.Fatalf("%d bytes: got %d %q", n, got.StatusCode, got.body)
					}
				}
				// The others' clients leave empty values out, and join cookies.
				if taken == 0 || refused == 0 && v.proto == "http/1.1" {
					t.Errorf("%d were taken and %d refused, want some of each", taken, refused)
				}
			})
		})
	}
}

// A C that takes less than the front does: that is the request's head's fault
// as well, and not the origin's.
func TestHeadTooLargeForC(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	s.each(t, func(t *testing.T, v *visitor) {
		r := v.request(t, "GET", "/", nil)
		r.Header["X-A"] = strings.Split(strings.Repeat("v", 600), "")
		v.do(t, r).wantRefusal(t, 431, reasonRequest)
	})
}

// Names that are longer than any, and as long as the engine takes.
func TestLongName(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	for n, want := range map[int]string{maxHeaderName: "HTTP/1.1 200 ", maxHeaderName + 1: "HTTP/1.1 431 "} {
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+strings.Repeat("n", n)+": 1\r\n\r\n")
		if !strings.HasPrefix(got, want) {
			t.Errorf("a name of %d bytes: %.100q, want %s", n, got, want)
		}
	}
}

// An answer's head is bounded as a request's is.
func TestAnswerHead(t *testing.T) {
	s := newStage(t, func(c *Config) { c.MaxHeaderBytes = 4096 })
	header := make(http.Header)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
	})
	s.each(t, func(t *testing.T, v *visitor) {
		for _, test := range []struct {
			name   string
			header http.Header
			status int
		}{
			{"a large one", http.Header{"X-Big": {strings.Repeat("x", 3900)}}, 200},
			{"one that is too large", http.Header{"X-Big": {strings.Repeat("x", 4100)}}, 502},
			{"one of many lines", http.Header{"X": strings.Split(strings.Repeat("x", 400), "")}, 200},
			{"one of too many lines", http.Header{"X": strings.Split(strings.Repeat("x", 450), "")}, 502},
		} {
			header = test.header
			got := v.get(t, "/")
			if got.StatusCode != test.status {
				t.Errorf("%s: %d, want %d", test.name, got.StatusCode, test.status)
			}
			if test.status == 502 {
				got.wantRefusal(t, 502, reasonTooLarge)
			}
		}
	})
}
