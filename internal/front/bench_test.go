package front

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct{ h http.Header }

func (w nowhere) Header() http.Header         { return w.h }
func (w nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w nowhere) WriteHeader(int)             {}
func (w nowhere) FlushError() error           { return nil }

// there is a body that has come whole, as the engine gives one.
type there struct{ bytes.Reader }

func (*there) Ready() bool  { return true }
func (*there) Close() error { return nil }

// canned is an origin that gives every request the same answer, so that what is
// measured is the front's alone.
type canned struct {
	header  http.Header
	content []byte
}

func (c *canned) Expected(origin.Name) bool  { return false }
func (c *canned) MaxStreams(origin.Name) int { return 1 << 20 }
func (c *canned) ID() uint64                 { return 1 }
func (c *canned) GoingAway() <-chan struct{} { return nil }
func (c *canned) Leaves() bool               { return false }

func (c *canned) Find(n origin.Name) (origin.Name, bool) { return n, true }

func (c *canned) Acquire(context.Context, origin.Query) (origin.Upstream, time.Duration, error) {
	return c, 0, nil
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	body := new(there)
	body.Reset(c.content)
	return &http.Response{
		StatusCode: 200, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.header, ContentLength: int64(len(c.content)), Body: body, Request: r,
	}, nil
}

// benchHandler returns a handler before an origin that answers each request
// with 1 KiB at once.
func benchHandler(b *testing.B) *Handler {
	h, err := New(Config{
		Origins: &canned{
			header: http.Header{
				"Accept-Ranges": {"bytes"}, "Content-Length": {"1024"}, "Content-Type": {"text/plain; charset=utf-8"},
				"Date": {"Thu, 01 Jan 1970 00:00:00 GMT"}, "Etag": {`"x"`}, "Last-Modified": {"Thu, 01 Jan 1970 00:00:00 GMT"},
			},
			content: bytes.Repeat([]byte("x"), 1<<10),
		},
		Hold: patience, ResponseTimeout: patience,
	})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// What a small request costs at the front, sessions and sockets apart.
func BenchmarkHandler(b *testing.B) {
	h := benchHandler(b)
	r, err := http.NewRequestWithContext(b.Context(), "GET", "/", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.RequestURI, r.RemoteAddr = "/", "192.0.2.1:1"
	r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}, "Cookie": {"a=b"}}
	b.ReportAllocs()
	for b.Loop() {
		w := nowhere{make(http.Header)}
		h.ServeHTTP(w, r)
	}
}

// The same behind http.Server, over one connection that is kept: loopback, for
// the system calls are a part of it.
func BenchmarkServer(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: benchHandler(b)}
	ended := make(chan error)
	// Ends when the server is closed, and is waited for.
	go func() { ended <- server.Serve(ln) }()
	defer func() {
		server.Close()
		<-ended
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	answer := bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: bench\r\nCookie: a=b\r\n\r\n")
		for first := true; ; first = false {
			line, err := answer.ReadSlice('\n')
			if err != nil || first && !strings.HasPrefix(string(line), "HTTP/1.1 200 ") {
				b.Fatalf("%q, %v", line, err)
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := answer.Discard(1 << 10); err != nil {
			b.Fatal(err)
		}
	}
}
