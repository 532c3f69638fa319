package http1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/amahi/spdy/spdytest"
)

func TestAllocs(t *testing.T) {
	spdytest.Allocs(t, map[string]func(*testing.B){"request": BenchmarkServer})
}

// A small request over one connection that is kept, and its answer of 1 KiB:
// loopback, for the system calls are a part of it.
func BenchmarkServer(b *testing.B) {
	benchmark(b, func(hs *http.Server) server { return New(hs) })
}

// The same on net/http's server.
func BenchmarkNetHTTP(b *testing.B) {
	benchmark(b, func(hs *http.Server) server { return hs })
}

type server interface {
	Serve(net.Listener) error
	Close() error
}

func benchmark(b *testing.B, make func(*http.Server) server) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(strings.Repeat("x", 1<<10))
	s := make(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Content-Length"] = []string{"1024"}
		h["Content-Type"] = []string{"text/plain"}
		h["Date"] = []string{"Thu, 26 Nov 2026 04:00:00 GMT"}
		w.Write(body)
		if x, ok := w.(interface{ Reuse() }); ok {
			x.Reuse()
		}
	})})
	ended := newChan()
	// Ends when the server is closed, and is waited for.
	go func() { ended <- s.Serve(ln) }()
	defer func() {
		s.Close()
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

func newChan() chan error { return make(chan error, 1) }
