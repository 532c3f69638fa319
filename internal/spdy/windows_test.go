package spdy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// What is buffered of a response counts against Config.MaxBuffer until it was
// read, also when the response is complete and its stream has ended.
func TestMaxBufferCountsUnreadBodies(t *testing.T) {
	const start = 64 << 10
	const given = start / 2 // so much is read before credit is given
	// The session window is so wide that it needs no credit here.
	s := setup{config: spdy.Config{MaxStreamWindow: 1 << 20, MaxBuffer: 4 * start, SessionWindow: 8 << 20}}
	onClient(t, s, func(h *clientTest) {
		go func() {
			f := h.p.Next("a PING")
			time.Sleep(10 * time.Second) // a peer that makes the round trip look long
			h.p.Send(f)
		}()
		if !h.s.Ping(time.Minute) {
			h.Fatal("no answer to PING")
		}
		h.p.Answer = func(f frame) bool { return f.Type == spdytest.TypePing } // none is answered any more
		// grow sends and reads n bytes, and returns the credit that came for them.
		grow := func(id uint32, body io.Reader, n int) int {
			h.Helper()
			h.p.Send(data(id, string(bytesOf(n))))
			if _, err := io.CopyN(io.Discard, body, int64(n)); err != nil {
				h.Fatal(err)
			}
			return h.drain(newCollector()).credit[id]
		}
		var bodies [3]io.ReadCloser
		open := func(i int) uint32 {
			c, id := h.open("/")
			h.p.Send(rep(id))
			resp, err := c.wait()
			if err != nil {
				h.Fatal(err)
			}
			bodies[i] = resp.Body
			return id
		}
		id := open(0)
		if got := grow(id, bodies[0], given); got != given+start {
			h.Errorf("the first stream: got credit of %d bytes, want %d: its window grows by a quarter of MaxBuffer", got, given+start)
		}
		h.p.Send(data(id, string(bytesOf(2*start)), fin)) // complete, and not read
		id = open(1)
		if got := grow(id, bodies[1], given); got != given {
			h.Errorf("while the first body is not read: got credit of %d bytes, want %d: no window grows", got, given)
		}
		if n, err := io.Copy(io.Discard, bodies[0]); n != 2*start || err != nil {
			h.Errorf("the first body: got %d bytes, %v, want %d", n, err, 2*start)
		}
		id = open(2)
		if got := grow(id, bodies[2], given); got != given+start {
			h.Errorf("after the first body was read: got credit of %d bytes, want %d", got, given+start)
		}
		bodies[1].Close()
		bodies[2].Close()
	})
}

// How long the first response took says little of the line when its handler had
// to think: a window does not grow for a reader that is slow.
func TestSlowFirstResponseGrowsNoWindow(t *testing.T) {
	onClient(t, setup{}, func(h *clientTest) {
		c, id := h.open("/slow")
		time.Sleep(5 * time.Second) // its handler's
		h.p.Send(rep(id), data(id, string(bytesOf(60000))))
		resp, err := c.wait()
		if err != nil {
			h.Fatal(err)
		}
		defer resp.Body.Close()
		for range 4 {
			if _, err := io.ReadFull(resp.Body, make([]byte, 10000)); err != nil {
				h.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		credit := uint32(0)
		for f, ok := h.p.Poll(spdytest.Idle); ok; f, ok = h.p.Poll(spdytest.Idle) {
			if f.Type == spdytest.TypeWindowUpdate && f.ID == id {
				credit += f.Value
			}
		}
		if credit > 40000 {
			h.Errorf("after 40000 bytes were read at 10 kB/s: got credit of %d bytes, want no more", credit)
		}
	})
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
	const limit = 16 << 20
	for _, test := range []struct {
		what string
		key  func(*http.Request) string
		held int64 // windows of one key's streams beyond what was read, at most
		took time.Duration
	}{
		{"by visitor", func(r *http.Request) string { return r.Header.Get("Visitor") }, limit * 3 / 8, 2 * time.Second},
		{"without a key", nil, limit, time.Minute},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := new(windows)
				l := link(t, longLine, spdy.Config{MaxBuffer: limit, Trace: seen.trace, FairKey: test.key}, spdy.Config{}, sendZeros)
				fetch := func(who string) io.ReadCloser {
					r := request(t, "GET", "/", nil)
					r.Header.Set("Visitor", who)
					resp, err := l.client.RoundTrip(r)
					if err != nil {
						t.Fatal(err)
					}
					return resp.Body
				}
				const greedy, taken = 30, 2 << 20
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
					if n, err := io.CopyN(io.Discard, body, 8<<20); n != 8<<20 || err != nil {
						t.Errorf("%s: got %d bytes, %v, want 8 MiB", who, n, err)
					}
					if took := time.Since(start); took > test.took || test.key == nil && took < 3*time.Second {
						t.Errorf("%s: 8 MiB took %v, want %v at most, and without a key most of 6 s", who, took, test.took)
					}
				}
			})
		})
	}
}

// However many streams keep up, their windows together stay within MaxBuffer.
func TestWindowsStayWithinMaxBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, limit = 10, 1 << 20
		seen := new(windows)
		l := link(t, longLine, spdy.Config{MaxBuffer: limit, Trace: seen.trace}, spdy.Config{}, sendZeros)
		var bodies []io.ReadCloser
		for range streams {
			bodies = append(bodies, l.fetch("GET", "/", nil).Body)
		}
		const each = 4 << 20
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
