package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// Heads above a limit, by bytes or by lines, are P's to refuse with 431, and what
// is below arrives, whatever --max-header-bytes says.
func TestHeadLimits(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1024, 65536, 1 << 20} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			everyClient(t, func(c *proxy.Config) { c.MaxHeaderBytes = limit }, func(t *testing.T, x *p, rt http.RoundTripper) {
				startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n, lines := 0, 0
					for name, values := range r.Header {
						if strings.HasPrefix(name, "Mine-") {
							lines += len(values)
							n += len(strings.Join(values, ""))
						}
					}
					fmt.Fprintf(w, "%d lines, %d bytes", lines, n)
				}), nil)
				cases := []struct{ lines, each int }{{1, limit - 236}, {1, limit + 8000}, {10, limit / 10}}
				if limit < 1<<20 { // each of them is a MiB and more there
					cases = append(cases, []struct{ lines, each int }{
						{1, limit / 2}, {1, limit}, {1, limit + limit/2}, {10, limit / 20},
						{400, limit / 600}, {505, 10}, {505, 100}, {980, 10}, {1000, 10}, {1005, 10}, {3000, 1},
					}...)
				}
				for _, c := range cases {
					name := fmt.Sprintf("%d lines of %d bytes", c.lines, c.each)
					// A line is counted as the value, "Mine-0000" and 8 bytes.
					size := c.lines * (c.each + 17)
					a := fetch(deadline(t), rt, "GET", x.url("/"), nil, func(r *http.Request) {
						for i := range c.lines {
							r.Header[fmt.Sprintf("Mine-%04d", i)] = []string{strings.Repeat("x", c.each)}
						}
					})
					switch {
					case size <= limit-700 && c.lines <= 980:
						want(t, name, a, 200, fmt.Sprintf("%d lines, %d bytes", c.lines, c.lines*c.each))
					case a.err != nil && !isHTTP1(rt) && c.lines*(c.each+9+32) > 2*limit+16<<10:
						// Far above it; h2's client knows, and does not even ask.
					case size > limit || c.lines > 1000:
						want(t, name, a, 431, "431")
					case a.err != nil || a.status != 200 && a.status != 431:
						t.Errorf("%s: got %v, want 200 or 431", name, a)
					}
				}
			})
		})
	}
}

// wants431 sends a head that P does not read to its end, and checks the answer.
func wants431(t *testing.T, x *p, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", x.FrontAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	// Ends when it is written, or with the connection.
	go io.WriteString(conn, text)
	got := make([]byte, 13)
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != "HTTP/1.1 431 " {
		t.Errorf("%d bytes: got %q, %v; want 431", len(text), got[:n], err)
	}
}

// Far above the limits HTTP/1 still has an answer.
func TestHeadsFarAboveTheLimits(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	startC(t, x, hello("c"), nil)
	for _, head := range []string{
		"X-Big: " + strings.Repeat("x", 1<<20) + "\r\n",
		strings.Repeat("X-A: b\r\n", 100_000),
		strings.Repeat("X-A: b\r\n", 5000),
	} {
		wants431(t, x, "GET / HTTP/1.1\r\nHost: a\r\n"+head+"\r\n")
	}
	wants431(t, x, "GET / HTTP/1.1\r\nHost: a\r\nX-Big: "+strings.Repeat("x", 4<<20)) // it does not end
	want(t, "after them", x.get("/"), 200, "c GET /")
}

// An answer whose head is too large is 502 that says so, and the session goes on.
func TestAnswerHeadLimits(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1024, 65536, 1 << 20} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			x := startP(t, newFiles(t), func(c *proxy.Config) { c.MaxHeaderBytes = limit })
			y := startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var lines, each int
				fmt.Sscanf(r.URL.Path, "/%d/%d", &lines, &each)
				for i := range lines {
					w.Header()[fmt.Sprintf("Mine-%04d", i)] = []string{strings.Repeat("x", each)}
				}
			}), nil)
			tr := transport(t, nil, false).(*http.Transport)
			tr.MaxResponseHeaderBytes = 4 << 20
			for _, c := range []struct{ lines, each int }{
				{1, limit / 2}, {1, limit}, {1, 1_100_000}, {300, 1}, {1001, 1}, {5000, 1}, {10, limit / 10},
			} {
				name := fmt.Sprintf("%d lines of %d bytes", c.lines, c.each)
				a := fetch(deadline(t), tr, "GET", x.url(fmt.Sprintf("/%d/%d", c.lines, c.each)), nil, nil)
				if c.lines*(c.each+17)+200 <= limit && c.lines <= 1000 {
					want(t, name, a, 200, "")
				} else {
					want(t, name, a, 502, "the head of the origin's answer is too large")
				}
			}
			if n := y.wire.dials(); n != 1 {
				t.Errorf("C has connected %d times, want once", n)
			}
		})
	}
}
