package benchmark

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/hashicorp/yamux"
	"golang.org/x/net/http2"
)

// bulk is the size in bytes of one bulk response: far more than any window.
const bulk = 64 << 20

// roundTripper is what each HTTP peer gives: requests on one connection.
type roundTripper interface {
	RoundTrip(*http.Request) (*http.Response, error)
}

// peer opens a connection whose far end runs h; wrap is put around both ends of
// the TCP connection, below TLS.
type peer struct {
	name string
	open func(tb testing.TB, h http.Handler, wrap func(net.Conn) net.Conn) roundTripper
}

var peers = []peer{{"spdy", openSPDY}, {"http2", openHTTP2}}

func openSPDY(tb testing.TB, h http.Handler, wrap func(net.Conn) net.Conn) roundTripper {
	p, c := connect(tb, wrap)
	// The handlers that wait are more than the default allows.
	cfg := &spdy.Config{MaxConcurrentStreams: 20000}
	server := cfg.NewServerSession(c, &http.Server{Handler: h})
	client := cfg.NewClientSession(p)
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve() })
	wg.Go(func() { client.Serve() })
	tb.Cleanup(func() {
		client.Close()
		server.Close()
		wg.Wait()
	})
	// Until the peer's settings are here there is nothing to compare.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := client.PingContext(ctx); err != nil {
		tb.Fatal(err)
	}
	return client
}

func openHTTP2(tb testing.TB, h http.Handler, wrap func(net.Conn) net.Conn) roundTripper {
	p, c := connect(tb, wrap)
	var wg sync.WaitGroup
	wg.Go(func() {
		//lint:ignore SA1019 net/http has no way to serve h2 on a connection of ours
		(&http2.Server{MaxConcurrentStreams: 20000}).ServeConn(c, &http2.ServeConnOpts{Handler: h})
	})
	//lint:ignore SA1019 net/http has no way to use h2 on a connection of ours
	client, err := (&http2.Transport{StrictMaxConcurrentStreams: true}).NewClientConn(p)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		client.Close()
		c.Close()
		wg.Wait()
	})
	if err := client.Ping(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return client
}

// connect returns the two ends of a TLS connection: p accepted it, c dialled.
func connect(tb testing.TB, wrap func(net.Conn) net.Conn) (p, c net.Conn) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"p.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	dialled := make(chan net.Conn, 1)
	go func() {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			tb.Error(err)
		}
		dialled <- conn
	}()
	a, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	d := <-dialled
	if wrap != nil {
		a, d = wrap(a), wrap(d)
	}
	a, d = spdy.Corkable(a), spdy.Corkable(d)
	server := tls.Server(a, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, DynamicRecordSizingDisabled: true,
	})
	client := tls.Client(d, &tls.Config{RootCAs: roots, ServerName: "p.test", DynamicRecordSizingDisabled: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		tb.Fatal(err)
	}
	if err := <-shaken; err != nil {
		tb.Fatal(err)
	}
	return server, client
}

// handler answers /bulk/N with N bytes, /small with a page of 512, and /wait
// when release is closed.
func handler(release <-chan struct{}) http.Handler {
	page := make([]byte, 512)
	piece := make([]byte, 64<<10)
	mux := http.NewServeMux()
	mux.HandleFunc("/bulk/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		for n > 0 {
			m, err := w.Write(piece[:min(n, len(piece))])
			if err != nil {
				return
			}
			n -= m
		}
	})
	mux.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Length", "512")
		w.Write(page)
	})
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	return mux
}

func newRequest(tb testing.TB, path string) *http.Request {
	req, err := http.NewRequest("GET", "https://origin.test"+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) benchmark")
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	req.Header.Set("Accept-Language", "en")
	req.Header.Set("Cookie", "session=0123456789abcdef")
	return req
}

// fetch reads one response to its end and returns its size.
func fetch(tb testing.TB, rt roundTripper, path string, buf []byte) int64 {
	resp, err := rt.RoundTrip(newRequest(tb, path))
	if err != nil {
		tb.Error(err)
		return 0
	}
	defer resp.Body.Close()
	n := int64(0)
	for {
		m, err := resp.Body.Read(buf)
		n += int64(m)
		if err == io.EOF {
			return n
		}
		if err != nil {
			tb.Error(err)
			return n
		}
	}
}

// (a) One bulk stream.
func BenchmarkBulk1(b *testing.B) {
	for _, p := range peers {
		b.Run(p.name, func(b *testing.B) { benchBulk(b, p.open(b, handler(nil), nil), bulk, 1) })
	}
	b.Run("yamux", func(b *testing.B) { benchYamux(b, 1) })
}

// (b) 64 bulk streams at once.
func BenchmarkBulk64(b *testing.B) {
	for _, p := range peers {
		b.Run(p.name, func(b *testing.B) { benchBulk(b, p.open(b, handler(nil), nil), bulk, 64) })
	}
	b.Run("yamux", func(b *testing.B) { benchYamux(b, 64) })
}

func benchBulk(b *testing.B, rt roundTripper, size, streams int) {
	b.ReportAllocs()
	b.SetBytes(int64(size))
	path := fmt.Sprint("/bulk/", size/streams)
	bufs := make([][]byte, streams)
	for i := range bufs {
		bufs[i] = make([]byte, 64<<10)
	}
	for b.Loop() {
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				if n := fetch(b, rt, path, bufs[i]); n != int64(size/streams) {
					b.Errorf("%d bytes", n)
				}
			})
		}
		wg.Wait()
	}
}

func benchYamux(b *testing.B, streams int) {
	p, c := connect(b, nil)
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	server, err := yamux.Server(c, cfg)
	if err != nil {
		b.Fatal(err)
	}
	client, err := yamux.Client(p, cfg)
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		piece := make([]byte, 64<<10)
		for {
			st, err := server.AcceptStream()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer st.Close()
				st.Read(make([]byte, 1))
				for n := bulk / streams; n > 0; {
					m, err := st.Write(piece[:min(n, len(piece))])
					if err != nil {
						return
					}
					n -= m
				}
			})
		}
	})
	b.Cleanup(func() {
		client.Close()
		server.Close()
		serving.Wait()
	})
	b.ReportAllocs()
	b.SetBytes(bulk)
	bufs := make([][]byte, streams)
	for i := range bufs {
		bufs[i] = make([]byte, 64<<10)
	}
	for b.Loop() {
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				st, err := client.OpenStream()
				if err != nil {
					b.Error(err)
					return
				}
				defer st.Close()
				st.Write([]byte{1})
				for n := 0; n < bulk/streams; {
					m, err := st.Read(bufs[i])
					n += m
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

// (c) Small requests at 1, 64 and 1024 in flight.
func BenchmarkSmall(b *testing.B) {
	for _, inFlight := range []int{1, 64, 1024} {
		for _, p := range peers {
			b.Run(fmt.Sprint(inFlight, "/", p.name), func(b *testing.B) {
				rt := p.open(b, handler(nil), nil)
				b.ReportAllocs()
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range inFlight {
					wg.Go(func() {
						buf := make([]byte, 1024)
						for next.Add(1) <= int64(b.N) {
							if n := fetch(b, rt, "/small", buf); n != 512 {
								b.Errorf("%d bytes", n)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
			})
		}
	}
}

// (d) The memory of 10 000 idle streams: both ends together, a handler waiting
// for each, and the client's end alone, whose peer keeps nothing.
func BenchmarkIdle(b *testing.B) {
	for _, p := range append(slices.Clone(peers), peer{"spdy-client-only", openReplier}) {
		b.Run(p.name, func(b *testing.B) {
			const streams = 10000
			for b.Loop() {
				b.StopTimer()
				release := make(chan struct{})
				rt := p.open(b, handler(release), nil)
				resps := make([]*http.Response, streams)
				reqs := make([]*http.Request, streams)
				for i := range reqs {
					reqs[i] = newRequest(b, "/wait")
				}
				heap, stack, routines := usage()
				b.StartTimer()
				for i := range resps {
					resp, err := rt.RoundTrip(reqs[i])
					if err != nil {
						b.Fatal(err)
					}
					resps[i] = resp
				}
				b.StopTimer()
				heap2, stack2, routines2 := usage()
				b.ReportMetric(float64(heap2-heap)/streams, "heap-B/stream")
				b.ReportMetric(float64(stack2-stack)/streams, "stack-B/stream")
				b.ReportMetric(float64(routines2-routines)/streams, "goroutines/stream")
				close(release)
				for _, resp := range resps {
					resp.Body.Close()
				}
				b.StartTimer()
			}
		})
	}
}

// openReplier is a SPDY client whose peer answers each SYN_STREAM with the same
// SYN_REPLY and keeps nothing of it.
func openReplier(tb testing.TB, _ http.Handler, wrap func(net.Conn) net.Conn) roundTripper {
	p, c := connect(tb, wrap)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer c.Close()
		r := bufio.NewReader(c)
		var block []byte
		for _, f := range []string{":status", "200 OK", ":version", "HTTP/1.1", "content-type", "text/html", "cache-control", "no-cache"} {
			block = binary.BigEndian.AppendUint32(block, uint32(len(f)))
			block = append(block, f...)
		}
		block = append([]byte{0, 0, 0, 4}, block...)
		// Stored blocks (RFC 1951, 3.2.4); the zlib header only once.
		stored := binary.LittleEndian.AppendUint16([]byte{0}, uint16(len(block)))
		stored = binary.LittleEndian.AppendUint16(stored, ^uint16(len(block)))
		stored = append(append(stored, block...), 0, 0, 0, 0xff, 0xff)
		prefix := []byte{0x78, 0x3f, 0xe3, 0xc6, 0xa7, 0xc2}
		for {
			h := make([]byte, 8)
			if _, err := io.ReadFull(r, h); err != nil {
				return
			}
			payload := make([]byte, binary.BigEndian.Uint32(h[4:])&0xffffff)
			if _, err := io.ReadFull(r, payload); err != nil {
				return
			}
			switch binary.BigEndian.Uint32(h) {
			case 0x80030006: // PING
				c.Write(append(h, payload...))
			case 0x80030001: // SYN_STREAM
				f := binary.BigEndian.AppendUint32(nil, 0x80030002)
				f = binary.BigEndian.AppendUint32(f, uint32(4+len(prefix)+len(stored)))
				f = append(f, payload[:4]...)
				c.Write(append(append(f, prefix...), stored...))
				prefix = nil
			}
		}
	})
	client := (*spdy.Config)(nil).NewClientSession(p)
	wg.Go(func() { client.Serve() })
	tb.Cleanup(func() {
		client.Close()
		wg.Wait()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := client.PingContext(ctx); err != nil {
		tb.Fatal(err)
	}
	return client
}

func usage() (heap, stack int64, goroutines int) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse), runtime.NumGoroutine()
}

// (e) One bulk stream over a round trip of 50 ms.
func BenchmarkLong(b *testing.B) {
	for _, p := range peers {
		b.Run(p.name, func(b *testing.B) {
			var delayed []*delayConn
			// Registered first, it runs last: when the connections are closed.
			b.Cleanup(func() {
				for _, d := range delayed {
					d.wg.Wait()
				}
			})
			rt := p.open(b, handler(nil), func(c net.Conn) net.Conn {
				d := newDelayConn(c, 25*time.Millisecond)
				delayed = append(delayed, d)
				return d
			})
			benchBulk(b, rt, 4*bulk, 1)
		})
	}
}

// delayConn delays what is written to it, as a long line does: any number of
// bytes may be under way.
type delayConn struct {
	net.Conn
	delay time.Duration
	line  chan delayed
	wg    sync.WaitGroup
	mu    sync.Mutex
	// Guarded by mu.
	closed bool
}

type delayed struct {
	at time.Time
	b  []byte
}

func newDelayConn(c net.Conn, delay time.Duration) *delayConn {
	d := &delayConn{Conn: c, delay: delay, line: make(chan delayed, 1<<16)}
	// Ends when Close has closed line; waited for by wg.
	d.wg.Go(func() {
		for x := range d.line {
			time.Sleep(time.Until(x.at))
			d.Conn.Write(x.b)
		}
		d.Conn.Close()
	})
	return d
}

func (d *delayConn) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, net.ErrClosed
	}
	d.line <- delayed{time.Now().Add(d.delay), slices.Clone(b)}
	return len(b), nil
}

func (d *delayConn) CloseWrite() error { return d.Close() }

func (d *delayConn) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		close(d.line)
	}
	return nil
}

// (f) The 50th and 99th percentile of a small request while 8 bulk streams run.
func BenchmarkSmallBesideBulk(b *testing.B) {
	for _, p := range peers {
		b.Run(p.name, func(b *testing.B) {
			rt := p.open(b, handler(nil), nil)
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			var moved atomic.Int64
			for range 8 {
				wg.Go(func() {
					buf := make([]byte, 64<<10)
					for ctx.Err() == nil {
						resp, err := rt.RoundTrip(newRequest(b, fmt.Sprint("/bulk/", bulk)))
						if err != nil {
							b.Error(err)
							return
						}
						for ctx.Err() == nil {
							n, err := resp.Body.Read(buf)
							moved.Add(int64(n))
							if err != nil {
								break
							}
						}
						resp.Body.Close()
					}
				})
			}
			buf := make([]byte, 1024)
			var took []time.Duration
			before, start := moved.Load(), time.Now()
			for b.Loop() {
				begin := time.Now()
				fetch(b, rt, "/small", buf)
				took = append(took, time.Since(begin))
			}
			b.ReportMetric(float64(moved.Load()-before)/1e6/time.Since(start).Seconds(), "bulk-MB/s")
			cancel()
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
