package spdy_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// Neither a request nor a DATA frame may come to cost more allocations than it
// does; both ends are counted, on TCP without TLS.
func TestAllocs(t *testing.T) {
	spdytest.Allocs(t, map[string]func(*testing.B){
		"request with a response of 512 bytes": func(b *testing.B) { benchGet(b, 512) },
		"request with a response of 16 MiB":    func(b *testing.B) { benchGet(b, 16<<20) },
		"request with a body of 16 MiB":        func(b *testing.B) { benchPost(b, 16<<20) },
		"request with a body of 512 bytes":     func(b *testing.B) { benchPost(b, 512) },
	})
}

// benchPair returns a client session whose server answers "/N" with N bytes.
func benchPair(b *testing.B) *spdy.Session {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	piece := make([]byte, 64<<10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		n, _ := strconv.Atoi(r.URL.Path[1:])
		h := w.Header()
		h["Content-Type"] = []string{"text/plain"}
		h["Content-Length"] = []string{r.URL.Path[1:]}
		for n > 0 {
			m, err := w.Write(piece[:min(n, len(piece))])
			if err != nil {
				return
			}
			n -= m
		}
	})
	client := (*spdy.Config)(nil).NewClientSession(near)
	server := (*spdy.Config)(nil).NewServerSession(far, &http.Server{Handler: handler})
	var wg sync.WaitGroup
	wg.Go(func() { client.Serve() })
	wg.Go(func() { server.Serve() })
	b.Cleanup(func() {
		client.Close()
		wg.Wait()
	})
	if !client.Ping(10 * time.Second) {
		b.Fatal("no PING")
	}
	return client
}

func benchGet(b *testing.B, n int) {
	s := benchPair(b)
	req, err := http.NewRequest("GET", "http://origin.test/"+strconv.Itoa(n), nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("User-Agent", "benchmark")
	buf := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		benchRead(b, s, req, int64(n), buf)
	}
}

func benchPost(b *testing.B, n int) {
	s := benchPair(b)
	body := &io.LimitedReader{R: zeros{}}
	req, err := http.NewRequest("POST", "http://origin.test/0", io.NopCloser(body))
	if err != nil {
		b.Fatal(err)
	}
	req.ContentLength = int64(n)
	buf := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		body.N = int64(n)
		benchRead(b, s, req, 0, buf)
	}
}

func benchRead(b *testing.B, s *spdy.Session, req *http.Request, want int64, buf []byte) {
	resp, err := s.RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	got := int64(0)
	for {
		n, err := resp.Body.Read(buf)
		got += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if got != want {
		b.Fatalf("got %d bytes, want %d", got, want)
	}
}
