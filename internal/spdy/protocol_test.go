package spdy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// What the conformance list does not have: the parts of the protocol that take
// time, several streams, or both sides at once. All in synctest bubbles, as
// there.

// linked is a client and a server session on one connection in memory.
type linked struct {
	*testing.T
	client, server *spdy.Session
	ends           [2]*spdytest.Conn // the client's and the server's
	serving        sync.WaitGroup
}

func link(t *testing.T, pipe spdytest.PipeConfig, cc, sc spdy.Config, h http.HandlerFunc) *linked {
	a, b := spdytest.Pipe(pipe)
	l := &linked{T: t, ends: [2]*spdytest.Conn{a, b},
		client: cc.NewClientSession(a), server: sc.NewServerSession(b, &http.Server{Handler: h})}
	for _, s := range []*spdy.Session{l.client, l.server} {
		l.serving.Go(func() { s.Serve() })
	}
	t.Cleanup(l.close)
	return l
}

func (l *linked) close() {
	l.client.Close()
	l.server.Close()
	l.serving.Wait()
}

// fetch sends a request and returns the response.
func (l *linked) fetch(method, path string, body io.Reader) *http.Response {
	l.Helper()
	r, err := http.NewRequest(method, "http://a.test"+path, body)
	if err != nil {
		l.Fatal(err)
	}
	resp, err := l.client.RoundTrip(r)
	if err != nil {
		l.Fatal(err)
	}
	return resp
}

// windows follows the receive windows of one session by its Trace.
type windows struct {
	mu     sync.Mutex
	credit map[uint32]int64 // WINDOW_UPDATE sent, in sum
	pings  int              // sent
}

func (w *windows) trace(f spdy.FrameInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.credit == nil {
		w.credit = make(map[uint32]int64)
	}
	var delta int64
	if !f.Sent {
		return
	}
	if n, _ := fmt.Sscanf(f.Detail, "delta=%d", &delta); n == 1 {
		w.credit[f.StreamID] += delta
	}
	if strings.HasPrefix(f.Detail, "id=") {
		w.pings++
	}
}

func (w *windows) of(id uint32) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.credit[id]
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func sendZeros(w http.ResponseWriter, r *http.Request) { io.Copy(w, io.LimitReader(zeros{}, 64<<20)) }

const roundTrip = 50 * time.Millisecond

var longLine = spdytest.PipeConfig{Delay: roundTrip / 2}

func TestWindowGrowsToTheLine(t *testing.T) {
	for name, way := range map[string]func(t *testing.T, seen *windows){
		"download": func(t *testing.T, seen *windows) {
			l := link(t, longLine, spdy.Config{Trace: seen.trace}, spdy.Config{}, sendZeros)
			if n, err := io.Copy(io.Discard, l.fetch("GET", "/", nil).Body); n != 64<<20 || err != nil {
				t.Errorf("got %d bytes, %v, want 64 MiB", n, err)
			}
		},
		"upload": func(t *testing.T, seen *windows) {
			l := link(t, longLine, spdy.Config{}, spdy.Config{Trace: seen.trace}, func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n, err)
			})
			b, _ := io.ReadAll(l.fetch("POST", "/", io.LimitReader(zeros{}, 64<<20)).Body)
			if string(b) != "67108864 <nil>" {
				t.Errorf("got %s, want 64 MiB", b)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := new(windows)
				start := time.Now()
				way(t, seen)
				// At 64 KiB a round trip it would take 51 s.
				if d := time.Since(start); d > 4*time.Second {
					t.Errorf("64 MiB took %v, want 4s at most", d)
				}
				if grown := seen.of(1) - 64<<20; grown < 2<<20 {
					t.Errorf("the stream's window grew by %d bytes, want several MiB", grown)
				}
			})
		})
	}
}

func TestWindowStays(t *testing.T) {
	for name, test := range map[string]struct {
		config spdy.Config
		pipe   spdytest.PipeConfig
		pause  time.Duration // between reads of 16 KiB
		total  int
	}{
		"a reader of 16 KiB/s":              {spdy.Config{}, longLine, time.Second, 1 << 20},
		"a reader of 160 KiB/s":             {spdy.Config{}, longLine, 100 * time.Millisecond, 4 << 20},
		"a Config that forbids it":          {spdy.Config{MaxStreamWindow: -1}, longLine, 0, 4 << 20},
		"a Config without a byte to buffer": {spdy.Config{MaxBuffer: -1}, longLine, 0, 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := new(windows)
				test.config.Trace = seen.trace
				l := link(t, test.pipe, test.config, spdy.Config{}, sendZeros)
				body := l.fetch("GET", "/", nil).Body
				buf := make([]byte, 16<<10)
				for read := 0; read < test.total; {
					n, err := io.ReadFull(body, buf)
					if read += n; err != nil {
						t.Fatal(err)
					}
					if grown := seen.of(1) - int64(read); grown > 0 {
						t.Fatalf("after %d bytes the window has grown by %d, want 64 KiB as at the start", read, grown)
					}
					time.Sleep(test.pause)
				}
				body.Close()
			})
		})
	}
}

// Readers that took no more than goes into the buffers of sockets leave three
// quarters of MaxBuffer to those that are proven fast.
func TestSlowReadersLeaveWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := new(windows)
		l := link(t, longLine, spdy.Config{Trace: seen.trace}, spdy.Config{}, sendZeros)
		const slow, taken = 100, 300 << 10
		for range slow {
			body := l.fetch("GET", "/", nil).Body
			defer body.Close()
			if _, err := io.CopyN(io.Discard, body, taken); err != nil {
				t.Fatal(err)
			}
		}
		held := int64(0)
		for i := range uint32(slow) {
			held += seen.of(1+2*i) - taken
		}
		if held > 20<<20 || held <= 0 {
			t.Errorf("%d slow readers: windows of %d bytes beyond the first 64 KiB, want some, and a quarter of 64 MiB at most", slow, held)
		}
		start := time.Now()
		if n, err := io.Copy(io.Discard, l.fetch("GET", "/", nil).Body); n != 64<<20 || err != nil {
			t.Errorf("got %d bytes, %v, want 64 MiB", n, err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("64 MiB beside them took %v, want 1s at most", d)
		}
	})
}

// The streams of one key that read fast for a while, and then not at all, leave
// windows to the other keys'; without Config.FairKey they do not.
func TestFairKeySharesMaxBuffer(t *testing.T) {
	for _, test := range []struct {
		what string
		key  func(*http.Request) string
		held int64 // windows of one key's streams beyond what was read, at most
		took time.Duration
	}{
		{"by visitor", func(r *http.Request) string { return r.Header.Get("Visitor") }, 24 << 20, 2 * time.Second},
		{"without a key", nil, 64 << 20, time.Minute},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := new(windows)
				l := link(t, longLine, spdy.Config{Trace: seen.trace, FairKey: test.key}, spdy.Config{}, sendZeros)
				fetch := func(who string) io.ReadCloser {
					r := request(t, "GET", "/", nil)
					r.Header.Set("Visitor", who)
					resp, err := l.client.RoundTrip(r)
					if err != nil {
						t.Fatal(err)
					}
					return resp.Body
				}
				const greedy, taken = 30, 8 << 20
				for range greedy {
					body := fetch("greedy")
					defer body.Close()
					if _, err := io.CopyN(io.Discard, body, taken); err != nil {
						t.Fatal(err)
					}
				}
				held := int64(0)
				for i := range uint32(greedy) {
					held += seen.of(1+2*i) - taken
				}
				if held > test.held || held < test.held*3/4 {
					t.Errorf("windows of %d bytes beyond the first are held, want %d, or a little less", held, test.held)
				}
				for _, who := range []string{"a", "b", "c"} {
					start := time.Now()
					body := fetch(who)
					defer body.Close()
					if n, err := io.CopyN(io.Discard, body, 32<<20); n != 32<<20 || err != nil {
						t.Errorf("%s: got %d bytes, %v, want 32 MiB", who, n, err)
					}
					if took := time.Since(start); took > test.took || test.key == nil && took < 10*time.Second {
						t.Errorf("%s: 32 MiB took %v, want %v at most, and without a key most of 25 s", who, took, test.took)
					}
				}
			})
		})
	}
}

// However many streams keep up, their windows together stay within MaxBuffer.
func TestWindowsStayWithinMaxBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, limit = 10, 4 << 20
		seen := new(windows)
		l := link(t, longLine, spdy.Config{MaxBuffer: limit, Trace: seen.trace}, spdy.Config{}, sendZeros)
		var bodies []io.ReadCloser
		for range streams {
			bodies = append(bodies, l.fetch("GET", "/", nil).Body)
		}
		const each = 16 << 20
		var wg sync.WaitGroup
		for _, b := range bodies {
			wg.Go(func() { io.CopyN(io.Discard, b, each) })
		}
		wg.Wait()
		grown := int64(0)
		for i := range uint32(streams) {
			grown += max(0, seen.of(1+2*i)-each)
		}
		if grown > limit || grown == 0 {
			t.Errorf("windows grew by %d bytes together, want some, and %d at most", grown, limit)
		}
		for _, b := range bodies {
			b.Close()
		}
	})
}

// A small exchange carries no frame that it did not ask for.
func TestSmallExchangesMeasureNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := new(windows)
		l := link(t, longLine, spdy.Config{Trace: seen.trace}, spdy.Config{}, func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, 10000))
		})
		for range 50 {
			io.Copy(io.Discard, l.fetch("GET", "/", nil).Body)
		}
		if seen.pings != 0 {
			t.Errorf("got %d PINGs, want none", seen.pings)
		}
	})
}

func TestStreamLimitIsAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			h.p.Send(set(4, 2))
			synctest.Wait()
			var calls []*call
			for i := range 6 {
				calls = append(calls, h.get(fmt.Sprint("/", i)))
				synctest.Wait() // the order of the calls is that of the queue
			}
			ctx, cancel := context.WithCancel(t.Context())
			leaves := h.start(h.request("GET", "/leaves", nil).WithContext(ctx))
			synctest.Wait()
			if n := h.s.InFlight(); n != 7 {
				t.Errorf("InFlight: got %d, want 7", n)
			}
			if n := h.s.Available(); n != 0 {
				t.Errorf("Available: got %d, want 0", n)
			}
			cancel()
			if _, err := leaves.wait(); !errors.Is(err, context.Canceled) {
				t.Errorf("a call that leaves the queue: got %v, want context.Canceled", err)
			}
			for i := range 2 {
				f := h.wantSyn("two at once")
				if path, _ := f.Get(":path"); path != fmt.Sprint("/", i) {
					t.Errorf("got %s, want the calls in their order", path)
				}
			}
			for i := range 6 {
				h.p.WantIdle("two at once")
				h.answer(calls[i], uint32(1+2*i))
				if i < 4 {
					f := h.wantSyn("a place became free")
					if path, _ := f.Get(":path"); path != fmt.Sprint("/", i+2) {
						t.Errorf("got %s, want the calls in their order", path)
					}
				}
			}
			if n := h.s.Available(); n != 2 {
				t.Errorf("Available: got %d, want 2", n)
			}

			// Lowered below what is open: existing streams go on, new ones wait.
			a, ida := h.open("/a")
			b, idb := h.open("/b")
			h.p.Send(set(4, 1))
			synctest.Wait()
			c := h.get("/c")
			h.p.WantIdle("two are open, one is allowed")
			h.answer(a, ida)
			h.p.WantIdle("one is open, one is allowed")
			h.answer(b, idb)
			h.answer(c, h.wantSyn("none is open").ID)
			h.alive()
		})
	})
}

// A GOAWAY finds calls in the queue: they were not processed.
func TestGoAwayFailsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			h.p.Send(set(4, 1))
			synctest.Wait()
			a, id := h.open("/a")
			waiting := h.get("/b")
			synctest.Wait()
			h.p.Send(goAway(id, 0))
			if _, err := waiting.wait(); !spdy.Retryable(err) {
				t.Errorf("a waiting call: got %v, want an error that says it was not processed", err)
			}
			h.p.WantIdle("no SYN_STREAM")
			h.answer(a, id)
		})
	})
}

// Requests that cross a GOAWAY are either answered or fail as not processed,
// and none runs twice or is lost.
func TestShutdownRace(t *testing.T) {
	for delay := time.Duration(0); delay < 40*time.Millisecond; delay += 3 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			ran := make(map[string]int)
			l := link(t, spdytest.PipeConfig{Delay: 5 * time.Millisecond}, spdy.Config{}, spdy.Config{MaxConcurrentStreams: 5},
				func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					ran[r.URL.Path]++
					mu.Unlock()
					time.Sleep(7 * time.Millisecond)
					io.WriteString(w, r.URL.Path)
				})
			errs := make(map[string]error)
			var wg sync.WaitGroup
			for i := range 30 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					path := fmt.Sprint("/", i)
					r, _ := http.NewRequest("POST", "http://a.test"+path, strings.NewReader("x"))
					resp, err := l.client.RoundTrip(r)
					if err == nil {
						var b []byte
						if b, err = io.ReadAll(resp.Body); err == nil && string(b) != path {
							err = fmt.Errorf("got body %q", b)
						}
					}
					mu.Lock()
					defer mu.Unlock()
					errs[path] = err
				})
			}
			synctest.Wait() // closed before Serve, a session says nothing
			time.Sleep(delay)
			if err := l.server.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			wg.Wait()
			for path, err := range errs {
				switch {
				case err == nil && ran[path] != 1:
					t.Errorf("delay %v: %s was answered and ran %d times, want once", delay, path, ran[path])
				case err != nil && (!spdy.Retryable(err) || ran[path] != 0):
					t.Errorf("delay %v: %s ran %d times and failed with %v, want an error that says it was not processed", delay, path, ran[path], err)
				}
			}
		})
	}
}

func TestSynStreamAfterThePeersGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve(t, setup{}, func(h *serverTest) {
			h.p.Send(req(1, "/hold"))
			<-h.arrived
			h.p.Send(goAway(0, 0), req(3, "/ok"))
			h.wantSE("2.6.6: the sender of a GOAWAY opens no stream", 3, spdy.RefusedStream)
			close(h.release)
			h.wantResponse("stream 1 completes", 1, "200", "ok")
			h.p.Want("GOAWAY before a close", goAway(1, 0))
			h.p.WantEOF("the last stream has ended")
		})
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

// HEADERS that are not trailers.
func TestHeadersFrames(t *testing.T) {
	for name, run := range map[string]func(h *clientTest, c *call, id uint32){
		"a name that was sent before": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id, nv("x-a", "1")), headers(id, 0, nv("x-a", "2")), data(id, "ok"), headers(id, fin, nv("x-a", "3"), nv("x-b", "4")))
			c.wantBody("RFC 9110, 6.5: trailers are fields of their own", 200, "ok")
			if got := c.resp.Header["X-A"]; !reflect.DeepEqual(got, []string{"1"}) {
				h.Errorf("header: got %q, want 1", got)
			}
			if want := (http.Header{"X-A": {"2", "3"}, "X-B": {"4"}}); !reflect.DeepEqual(c.resp.Trailer, want) {
				h.Errorf("trailer: got %q, want %q", c.resp.Trailer, want)
			}
		},
		"a pseudo header": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), headers(id, 0, nv(":status", "200")))
			h.wantSE("no pseudo headers", id, spdy.ProtocolError)
			c.wantReset("the call", spdy.ProtocolError, false)
		},
		"an empty block": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), raw("80030008 00000004 00000001"), data(id, "ok", fin))
			c.wantBody("2.6.7: a block of length 0", 200, "ok")
		},
		"more headers before the body": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), headers(id, 0, nv("x-more", "1")), data(id, "ok", fin))
			c.wantBody("more headers", 200, "ok")
		},
		"after FIN": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), data(id, "ok", fin), headers(id, 0, nv("x-a", "1")))
			c.wantBody("what was whole", 200, "ok")
			h.wantSE("a stream that both sides ended", id, spdy.ProtocolError)
		},
		"with undefined flags": func(h *clientTest, c *call, id uint32) {
			h.p.Send(rep(id), headers(id, 4, nv("x-a", "1")))
			h.wantSE("flags", id, spdy.ProtocolError)
			c.wantReset("the call", spdy.ProtocolError, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial(t, setup{}, func(h *clientTest) {
					c, id := h.open("/")
					run(h, c, id)
					h.alive()
				})
			})
		})
	}
}

// A 101: both directions are raw DATA, each ended by its own FIN.
func TestDuplexOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			r := h.request("GET", "/ws", nil)
			r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}}
			c := h.start(r)
			f := h.wantSyn("an upgrade")
			if _, ok := f.Get("connection"); ok || f.Flags != 0 {
				t.Errorf("got %v, want neither FIN nor connection", f)
			}
			if v, _ := f.Get("upgrade"); v != "websocket" {
				t.Errorf("upgrade: got %q, want websocket", v)
			}
			h.p.Send(spdytest.SynReply(f.ID, 0, append(spdytest.Response("101 Switching Protocols"), nv("upgrade", "websocket"))...))
			resp, err := c.wait()
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 101 || resp.Header.Get("Connection") != "Upgrade" || resp.Header.Get("Upgrade") != "websocket" {
				t.Errorf("got %d, %v, want 101 and both headers", resp.StatusCode, resp.Header)
			}
			rw := resp.Body.(io.ReadWriteCloser)
			rw.Write([]byte("ping"))
			h.p.Want("one direction", data(f.ID, "ping"))
			h.p.Send(data(f.ID, "pong"))
			b := make([]byte, 4)
			if _, err := io.ReadFull(rw, b); err != nil || string(b) != "pong" {
				t.Errorf("the other direction: got %q, %v", b, err)
			}
			h.p.Send(data(f.ID, "last", fin))
			if b, err := io.ReadAll(rw); err != nil || string(b) != "last" {
				t.Errorf("after the peer's FIN: got %q, %v", b, err)
			}
			rw.Write([]byte("still open"))
			h.p.Want("this side is still open", data(f.ID, "still open"))
			rw.(interface{ CloseWrite() error }).CloseWrite()
			h.p.Want("FIN", data(f.ID, "", fin))
			rw.Close()
			h.p.WantIdle("both have ended")
			h.alive()
		})
	})
	synctest.Test(t, func(t *testing.T) {
		serve(t, setup{}, func(h *serverTest) {
			h.mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Upgrade", "websocket")
				w.WriteHeader(http.StatusSwitchingProtocols)
				io.Copy(w, r.Body)
				io.WriteString(w, "bye")
			})
			h.p.Send(spdytest.SynStream(1, 0, append(spdytest.Request("GET", "/ws"), nv("upgrade", "websocket"))...))
			h.p.Want("at once", spdytest.SynReply(1, 0, nv(":status", "101 Switching Protocols"), nv("upgrade", "websocket")))
			for range 3 {
				h.p.Send(data(1, "echo"))
				h.p.Want("raw bytes", data(1, "echo"))
			}
			h.p.Send(data(1, "", fin))
			col := newCollector()
			col.stream(1).head = frame{Wire: []byte{}}
			h.collectInto(col, "the end", 1)
			if string(col.stream(1).body) != "bye" {
				t.Errorf("got %q, want bye", col.stream(1).body)
			}
			h.alive(3)
		})
	})
}

// SPDY/3 between two sessions: no session window, either way.
func TestSPDY3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := spdy.Config{Version: spdy.SPDY3}
		l := link(t, longLine, c, c, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
		body := bytesOf(1 << 20)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				got, err := io.ReadAll(l.fetch("POST", "/", bytes.NewReader(body)).Body)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("got %d bytes, %v, want the 1 MiB that was sent", len(got), err)
				}
			})
		}
		wg.Wait()
	})
}

func TestKeepAlive(t *testing.T) {
	const interval = 15 * time.Second
	silent := setup{config: spdy.Config{KeepAlive: interval}}
	synctest.Test(t, func(t *testing.T) {
		dial(t, silent, func(h *clientTest) {
			c, _ := h.open("/")
			start := time.Now()
			f, err := h.p.TryNext(2 * interval)
			if err != nil || f.Type != spdytest.TypePing || f.ID%2 != 1 {
				t.Fatalf("a silent peer: got %v, %v, want PING", f, err)
			}
			if d := time.Since(start); d > interval {
				t.Errorf("got the PING after %v, want %v at most", d, interval)
			}
			// No echo: the peer is dead.
			err = h.afterwards(c)
			if d := time.Since(start); d > 2*interval || !errors.Is(err, spdy.ErrDead) {
				t.Errorf("the call: got %v after %v, want ErrDead after two intervals at most", err, d)
			}
			if spdy.Retryable(err) {
				t.Error("the call may have been processed, and says it was not")
			}
			if err := h.wantServed(); !errors.Is(err, spdy.ErrDead) {
				t.Errorf("Serve: got %v, want ErrDead", err)
			}
		})
	})
	synctest.Test(t, func(t *testing.T) {
		serve(t, silent, func(h *serverTest) {
			for range 10 { // echoes keep it alive
				f, err := h.p.TryNext(2 * interval)
				if err != nil || f.Type != spdytest.TypePing {
					t.Fatalf("a silent peer: got %v, %v, want PING", f, err)
				}
				h.p.Send(ping(f.ID))
			}
			for i := range 10 { // and so does anything else, unasked
				time.Sleep(interval * 9 / 10)
				h.p.Send(wu(0, 1))
				if f, ok := h.p.Poll(time.Second); ok && i > 0 {
					t.Fatalf("a peer that is not silent: got %v, want nothing", f)
				}
			}
			h.alive(1)
		})
	})
	synctest.Test(t, func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			if f, err := h.p.TryNext(time.Hour); err != spdytest.ErrTimeout {
				t.Errorf("without KeepAlive: got %v, %v, want nothing", f, err)
			}
			h.alive()
		})
	})
}

// A peer that reads nothing while something is to be written is given up.
func TestWriteStall(t *testing.T) {
	const limit = 20 * time.Second
	for name, config := range map[string]spdy.Config{
		"WriteTimeout": {WriteTimeout: limit},
		"default":      {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial(t, setup{config: config, pipe: spdytest.PipeConfig{Buffer: 64 << 10}}, func(h *clientTest) {
					h.p.Send(wu(0, 1<<30), set(7, 1<<30))
					synctest.Wait()
					start := time.Now()
					up := h.start(h.request("POST", "/", bytes.NewReader(make([]byte, 1<<20))))
					err := h.afterwards(up)
					want := limit
					if name == "default" {
						want = 30 * time.Second
					}
					if d := time.Since(start); d < want || d > want+5*time.Second || !errors.Is(err, spdy.ErrDead) {
						t.Errorf("the call: got %v after %v, want ErrDead after %v", err, d, want)
					}
				})
			})
		})
	}
}

// afterwards is call.failure without its limit of 5 s.
func (h *clientTest) afterwards(c *call) error {
	h.Helper()
	select {
	case <-c.done:
	case <-time.After(time.Hour):
		h.Fatal("RoundTrip did not return within an hour")
	}
	return c.err
}

// Equal streams of a session get equal shares, and more urgent ones nearly all,
// whatever their handlers do in between.
func TestShares(t *testing.T) {
	for name, test := range map[string]struct {
		priorities []uint8
		want       []float64 // of the bytes
	}{
		"four equals":          {[]uint8{3, 3, 3, 3}, []float64{0.25, 0.25, 0.25, 0.25}},
		"a more urgent one":    {[]uint8{3, 0, 3}, []float64{0, 1, 0}},
		"two of one of three":  {[]uint8{5, 2, 2}, []float64{0, 0.5, 0.5}},
		"all eight priorities": {[]uint8{7, 6, 5, 4, 3, 2, 1, 0}, []float64{0, 0, 0, 0, 0, 0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve(t, setup{}, func(h *serverTest) {
					h.mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
						p := make([]byte, 100000)
						for {
							if _, err := w.Write(p); err != nil {
								return
							}
						}
					})
					h.p.Send(set(7, 1<<30))
					for i, pri := range test.priorities {
						f := req(uint32(1+2*i), "/endless")
						f.Priority = pri
						h.p.Send(f)
					}
					h.drain(newCollector()) // the session's first window
					const total = 16 << 20
					got := make(map[uint32]int)
					for sum := 0; sum < total; {
						// A line slower than the handlers: they have refilled their
						// streams before more can be sent.
						synctest.Wait()
						h.p.Send(wu(0, 32<<10))
						for left := 32 << 10; left > 0; {
							f := h.p.Next("DATA")
							if f.Type != spdytest.TypeData {
								continue
							}
							got[f.ID] += len(f.Data)
							left -= len(f.Data)
							sum += len(f.Data)
						}
					}
					for i, want := range test.want {
						share := float64(got[uint32(1+2*i)]) / total
						// A tenth of the share, or what keeps a less urgent one from starving.
						if d := share - want; d > max(want/10, 0.02) || d < min(-want/10, -0.02) {
							t.Errorf("stream %d of priority %d: got a share of %.3f, want %.3f", 1+2*i, test.priorities[i], share, want)
						}
					}
				})
			})
		})
	}
}

func TestFloods(t *testing.T) {
	for name, run := range map[string]func(h *serverTest){
		"100 frames for streams that were never opened": func(h *serverTest) {
			for i := range uint32(100) {
				h.p.Send(data(1001+2*i, "x"))
				h.p.Want("INVALID_STREAM", rst(1001+2*i, spdy.InvalidStream))
			}
			h.alive(1)
			h.p.Send(data(2001, "x"))
			h.wantXE("the 101st", 1)
		},
		"PINGs that a peer does not read the echoes of": func(h *serverTest) {
			h.p.Send(req(1, "/size/1000000"), set(7, 1<<30), wu(0, 1<<30))
			synctest.Wait() // the pipe is full
			sent := 0
			for ; sent < 1000; sent++ {
				if h.p.TrySend(ping(uint32(2*sent+1))) != nil {
					break
				}
				synctest.Wait()
				if h.s.Err() != nil {
					break
				}
			}
			if sent < 64 || sent > 200 {
				h.Errorf("the session ended after %d PINGs, want some more than 64", sent)
			}
			h.wantServedStatus(spdy.GoAwayProtocolError)
		},
		"streams that are reset while their handlers run": func(h *serverTest) {
			// They do not look at their context.
			const limit = 20 // the setup's
			for i := range uint32(limit + 10) {
				h.p.Send(req(1+2*i, "/stubborn"))
				synctest.Wait() // or what answers it is dropped with it
				h.p.Send(rst(1+2*i, spdy.Cancel))
			}
			for i := range uint32(10) {
				h.p.Want("handlers count, not open streams", rst(1+2*(limit+i), spdy.RefusedStream))
			}
			h.p.WantIdle("nothing for the others")
			if n := h.s.Stats().Handlers; n != limit {
				h.Errorf("got %d handlers running, want %d", n, limit)
			}
			close(h.release)
			synctest.Wait()
			h.alive(1 + 2*(limit+10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := setup{config: spdy.Config{MaxConcurrentStreams: 20}}
				if strings.HasPrefix(name, "PINGs") {
					s.pipe.Buffer = 64 << 10
				}
				serve(t, s, func(h *serverTest) {
					h.mux.HandleFunc("/stubborn", func(w http.ResponseWriter, r *http.Request) { <-h.release })
					run(h)
				})
			})
		})
	}
}

// wantServedStatus waits for Serve's return, which must name that status.
func (h *session) wantServedStatus(status spdy.GoAwayStatus) {
	h.Helper()
	err := h.wantServed()
	if se, ok := errors.AsType[*spdy.SessionError](err); !ok || se.Status != status {
		h.Errorf("Serve: got %v, want a *SessionError with %v", err, status)
	}
}

// A peer that asks for much, gives all the window there is, and reads nothing:
// what is held for it is bounded.
func TestUnreadResponsesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve(t, setup{pipe: spdytest.PipeConfig{Buffer: 64 << 10}}, func(h *serverTest) {
			// One body for all: only what the session holds is to be seen.
			body := make([]byte, 1<<20)
			h.mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { w.Write(body) })
			before := heap()
			h.p.Send(set(7, 1<<31-1), wu(0, 1<<31-1-65536))
			for i := range uint32(1000) {
				h.p.Send(req(1+2*i, "/big"))
			}
			synctest.Wait()
			if n := h.s.Stats().Handlers; n != 1000 {
				t.Fatalf("got %d handlers running, want 1000", n)
			}
			// At most 4 MiB for all, 16 KiB and one chunk for each, and its handler.
			if held := int64(heap()) - int64(before); held > 48<<20 {
				t.Errorf("got %d bytes held for 1000 responses of 1 MiB that nobody reads, want 48 MiB at most", held)
			}
		})
	})
}

// A body tells whether Read would wait.
func TestBodyReady(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		c, id := h.open("/")
		h.p.Send(rep(id))
		resp, err := c.wait()
		if err != nil {
			h.Fatal(err)
		}
		body := resp.Body.(interface {
			io.ReadCloser
			Ready() bool
		})
		want := func(what string, want bool) {
			h.Helper()
			synctest.Wait()
			if got := body.Ready(); got != want {
				h.Errorf("%s: got %t, want %t", what, got, want)
			}
		}
		want("nothing has come", false)
		h.p.Send(data(id, "ab"))
		want("two bytes have come", true)
		one := make([]byte, 1)
		body.Read(one)
		want("one was read", true)
		body.Read(one)
		want("both were read", false)
		h.p.Send(data(id, "", fin))
		want("the end has come", true)
		if n, err := body.Read(one); n != 0 || err != io.EOF {
			h.Errorf("Read at the end: got %d, %v", n, err)
		}
		want("the end was read", true)
		body.Close()
	})
}
