package spdy_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// tooLarge is a row: a block beyond a limit, sound otherwise.
func tooLarge(what string, pairs ...spdytest.Pair) conformanceCase {
	return server(110, what, func(h *serverTest) {
		h.p.Send(req(1, "/ok", pairs...))
		h.wantSE(what, 1, spdy.FrameTooLarge)
		h.alive(3)
	})
}

func manyPairs(n int) (pairs []spdytest.Pair) {
	for i := range n {
		pairs = append(pairs, nv(fmt.Sprint("x-", i), "v"))
	}
	return pairs
}

var limitCases = []conformanceCase{
	tooLarge("a block of 80 KiB", nv("x-long", strings.Repeat("x", 80<<10))),
	tooLarge("a block of 600 pairs", manyPairs(595)...),
	tooLarge("a name of 2 KiB", nv(strings.Repeat("x", 2<<10), "v")),
	server(110, "a block of 60 KiB and 500 pairs", func(h *serverTest) {
		h.p.Send(req(1, "/ok", append(manyPairs(494), nv("x-long", strings.Repeat("x", 50<<10)))...))
		h.wantResponse("within the limits", 1, "200", "ok")
		h.alive(3)
	}),
	{111, "server", "a block that inflates to 50 MiB", func(t *testing.T) {
		h := newServerTest(t, setup{})
		f := req(1, "/ok")
		f.Plain = spdytest.AppendBlock(nil, append(f.Pairs, nv("x-bomb", ""))...)
		binary.BigEndian.PutUint32(f.Plain[len(f.Plain)-4:], 50<<20)
		d := spdytest.NewDeflater(9)
		f.Block = d.Deflate(f.Plain)
		zeros := make([]byte, 1<<20)
		f.Block = append(f.Block, d.Deflate(zeros)...)
		// What makes zeros of zeros does it again: deflating all 50 MiB is slow.
		f.Block = append(f.Block, bytes.Repeat(d.Deflate(zeros), 49)...)
		wire := spdytest.Raw(h.p.Encode(f))
		if n := len(wire.Wire); n > 128<<10 {
			t.Fatalf("the frame has %d bytes: it would be refused for its length", n)
		}
		allocated := allocation(func() {
			h.p.Send(wire)
			h.wantXE("a bomb", 0)
		})
		if allocated >= 4<<20 {
			t.Errorf("got %d bytes allocated, want less than 4 MiB", allocated)
		}
	}},
	server(112, "the header of a SYN_STREAM of 1 MiB", func(h *serverTest) {
		h.alive(1)
		h.p.Send(raw("80030001 01100000"))
		// There is no stream id yet: the one that the peer opens next is meant.
		h.p.Want("2.2.1: FRAME_TOO_LARGE", rst(3, spdy.FrameTooLarge))
		h.wantXE("unread compressed bytes end the session", 1)
	}),
	server(112, "a SYN_STREAM of 1 MiB with its stream id", func(h *serverTest) {
		h.p.Send(raw("80030001 01100000 00000007 00000000"))
		h.p.Want("2.2.1: FRAME_TOO_LARGE", rst(7, spdy.FrameTooLarge))
		h.wantXE("unread compressed bytes end the session", 0)
	}),
	{112, "server", "the header of a SYN_STREAM of 1 MiB, above TLS", func(t *testing.T) {
		cert, pool := newCertificate(t)
		near, far := spdytest.Pipe(spdytest.PipeConfig{})
		s := new(spdy.Config).NewServerSession(tls.Server(far, &tls.Config{Certificates: []tls.Certificate{cert}}), nil)
		served := make(chan error, 1)
		// Ends with the session; waited for below.
		go func() { served <- s.Serve() }()
		p := spdytest.NewPeer(t, tls.Client(near, &tls.Config{RootCAs: pool, ServerName: "localhost"}))
		t.Cleanup(func() {
			near.Close()
			s.Close()
		})
		p.WantPreface()
		p.Send(raw("80030001 01100000"))
		p.Want("2.2.1: FRAME_TOO_LARGE", rst(1, spdy.FrameTooLarge), goAway(0, 1))
		p.WantEOF("unread compressed bytes end the session")
		near.Close()
		if se, ok := errors.AsType[*spdy.SessionError](<-served); !ok || se.Status != spdy.GoAwayProtocolError || se.Remote {
			t.Errorf("Serve: got %v, want a *SessionError with PROTOCOL_ERROR, of this side", se)
		}
	}},
	server(112, "the header of SETTINGS of 1 MiB", func(h *serverTest) {
		h.p.Send(raw("80030004 00100000"))
		h.wantXE("beyond the cap", 0)
	}),
	server(113, "a control frame of 8192 bytes", func(h *serverTest) {
		h.p.Deflater = spdytest.NewDeflater(0)
		// 10 of the frame, 6 of zlib's header, 5 of each of two stored blocks.
		f := req(1, "/ok", nv("x-pad", ""))
		used := 10 + 6 + 5 + 5 + len(spdytest.AppendBlock(nil, f.Pairs...))
		f.Pairs[len(f.Pairs)-1].Value = strings.Repeat("x", 8192-used)
		wire := spdytest.Raw(h.p.Encode(f))
		if n := len(wire.Wire) - 8; n != 8192 {
			h.Fatalf("the frame has a payload of %d bytes, want 8192", n)
		}
		h.p.Send(wire)
		h.wantResponse("2.2.1: 8192 bytes must be taken", 1, "200", "ok")
		h.alive(3)
	}),
	server(114, "10000 streams reset by the peer", func(h *serverTest) {
		h.alive(1)
		before, goroutines := heap(), runtime.NumGoroutine()
		for i := range 10000 {
			id := uint32(3 + 2*i)
			h.p.Send(req(id, "/block"), rst(id, spdy.Cancel))
			if i%50 == 49 {
				for range 50 {
					<-h.arrived
					h.wantEnded("the stream was reset")
				}
			}
		}
		time.Sleep(3 * time.Second) // for two of them at most goroutines wait for another request
		h.wantBack(before, goroutines)
		h.alive(20003)
	}),
	client(114, "10000 streams reset by the peer", func(h *clientTest) {
		h.alive()
		before, goroutines := heap(), runtime.NumGoroutine()
		for range 10000 {
			c, id := h.open("/")
			h.p.Send(rst(id, spdy.RefusedStream))
			if _, err := c.wait(); !spdy.Retryable(err) {
				h.Fatalf("got %v, want an error that says it was not processed", err)
			}
		}
		synctest.Wait()
		h.wantBack(before, goroutines)
		h.alive()
	}),
	serverWith(115, "a peer that stops reading, then Close", fullPipe, func(h *serverTest) {
		h.p.Send(wu(0, 1<<30), wu(1, 1<<30), wu(3, 1<<30))
		h.p.Send(req(1, "/size/10000000"), req(3, "/block"), wu(1, 1<<30))
		<-h.arrived
		synctest.Wait()
		h.closeInTime()
		h.wantEnded("the session has ended")
		<-h.failed
	}),
	clientWith(115, "a peer that stops reading, then Close", fullPipe, func(h *clientTest) {
		up := h.start(h.request("POST", "/", bytes.NewReader(bytesOf(10000000))))
		h.wantSyn("the upload")
		h.p.Send(wu(0, 1<<30), wu(1, 1<<30))
		waiting := h.start(h.request("GET", "/", nil))
		synctest.Wait()
		h.closeInTime()
		for _, c := range []*call{up, waiting} {
			if err := c.failure(); err == nil {
				h.Error("a call on a closed session: got no error")
			}
		}
	}),
}

// fullPipe is a connection that takes 64 KiB until the peer reads.
var fullPipe = setup{pipe: spdytest.PipeConfig{Buffer: 64 << 10}}

// closeInTime closes a session whose peer does not read.
func (h *session) closeInTime() {
	h.Helper()
	start := time.Now()
	h.s.Close()
	if d := time.Since(start); d > 5*time.Second {
		h.Errorf("Close took %v, want 5s at most", d)
	}
}

// heap is how many bytes of it are in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one empties the pools, the second frees what was in them
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// wantBack fails unless memory and goroutines are back to what they were.
func (h *session) wantBack(before uint64, goroutines int) {
	h.Helper()
	if n := h.s.InFlight(); n != 0 {
		h.Errorf("got %d streams in flight, want 0", n)
	}
	// The process has some that come and go by themselves (a timer's, a
	// finalizer's); one that is left for good keeps the bubble from ending.
	if n := runtime.NumGoroutine(); n > goroutines+10 {
		h.Errorf("got %d goroutines, want %d as at the start", n, goroutines)
	}
	// What a map and a buffer keep of their largest size is no leak; 100 bytes
	// a stream would be.
	if after := heap(); after > before+100*10000 {
		h.Errorf("got %d bytes of heap, want %d as at the start", after, before)
	}
}
