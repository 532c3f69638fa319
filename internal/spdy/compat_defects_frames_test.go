package spdy_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// wantNoAlloc fails if f allocates more than a MiB: what a peer claims is not
// to be believed.
func wantNoAlloc(t *testing.T, what string, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%s: %d bytes allocated, want 1 MiB at most", what, n)
	}
}

func defectHeaders(t *testing.T) {
	h := upstreamServer(t)
	h.p.Send(headers(5, 0, spdytest.Pair{Name: "x", Value: "y"}))
	h.wantSE("HEADERS on a stream that was never opened", 5, spdy.InvalidStream)
	h.mux.HandleFunc("/body", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	h.p.Send(post(7, "/body"), headers(7, fin, spdytest.Pair{Name: "x", Value: "y"}))
	h.wantResponse("HEADERS ends a request", 7, "200", "")
	h.alive(9)
	h.finish()

	c := upstreamClient(t)
	p := c.proxy(c.request("GET", "/", nil))
	id := c.wantSyn("a request").ID
	c.p.Send(rep(id), data(id, "ok"), headers(id, fin, spdytest.Pair{Name: "x", Value: "y"}))
	if err := <-p.done; err != nil || p.rec.Body.String() != "ok" {
		t.Errorf("HEADERS ends a response: %q, %v, want ok", p.rec.Body, err)
	}
	c.finish()
}

func defectShortPayloads(t *testing.T) {
	for typ := spdytest.Type(1); typ <= 10; typ++ {
		for n := range 4 {
			for _, make := range []func() *session{
				func() *session { return upstreamServer(t).session },
				func() *session { return upstreamClient(t).session },
			} {
				h := make()
				h.p.TrySend(control(typ, 0, strings.Repeat("\x01", n)))
				f, err := h.p.TryNext(spdytest.Idle)
				skipped := typ == spdytest.TypeNoop || typ == spdytest.TypeCredential
				if ended := err == nil && f.Type == spdytest.TypeGoAway && f.Value == 1; ended == skipped {
					t.Errorf("%v with %d bytes: got %v, %v", typ, n, f, err)
				}
				h.finish()
			}
		}
	}
}

func defectBlockLengths(t *testing.T) {
	h := upstreamServer(t)
	id := uint32(1)
	for _, plain := range []string{
		"7fffffff 00000001 78 00000001 79", // pairs
		"00000001 7fffffff 78 00000001 79", // bytes of a name
		"00000001 00000001 78 7fffffff 79", // bytes of a value
		"ffffffff", "00000001 ffffffff", "",
	} {
		f := req(id, "/ok")
		f.Plain = unhex(plain)
		wire := spdytest.Raw(h.p.Encode(f)) // the peer's own compressor is not what is measured
		wantNoAlloc(t, plain, func() {
			h.p.Send(wire)
			if plain == "" {
				h.p.Send(ping(id))
				h.p.Next("an empty block")
				return
			}
			h.p.Want(plain, rst(id, spdy.ProtocolError))
		})
		id += 2
	}
	h.finish()
}

func defectSettingsCount(t *testing.T) {
	for _, count := range []string{"7fffffff", "ffffffff", "20000000", "00000001", "00000003"} {
		h := upstreamServer(t)
		wantNoAlloc(t, count, func() {
			h.p.Send(control(spdytest.TypeSettings, 0, string(unhex(count+"00000007 00001000 00000004 00000001"))))
			h.wantXE(count+" settings in 16 bytes", 0)
		})
	}
}

func defectSettings(t *testing.T) {
	h := upstreamServer(t) // reads the preface, whose entries have 8 bytes
	if h.pre.MaxStreams == 0 || h.pre.MaxStreams == math.MaxUint32 || h.pre.StreamWindow < 65536 {
		t.Errorf("the server's settings are %+v", h.pre)
	}
	h.mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(9000)) })
	h.p.Send(set(7, 1000), req(1, "/large"))
	h.wantBytes("a window of 1000", map[uint32]int{1: 1000})
	h.finish()

	c := upstreamClient(t)
	if c.pre.MaxStreams != 0 {
		t.Errorf("the client's settings are %+v, want no stream of the server's", c.pre)
	}
	c.p.Send(set(4, 1))
	c.p.Send(ping(2))
	c.p.Want("the settings were read", ping(2))
	first := c.proxy(c.request("GET", "/", nil))
	id := c.wantSyn("one").ID
	second := c.proxy(c.request("GET", "/", nil))
	c.p.WantIdle("one at a time")
	c.p.Send(rep(id), data(id, "", fin))
	<-first.done
	id = c.wantSyn("the next").ID
	c.p.Send(rep(id), data(id, "", fin))
	if err := <-second.done; err != nil || second.rec.Code != 200 {
		t.Errorf("the call that waited: %d, %v", second.rec.Code, err)
	}
	c.finish()
}

func defectPingSettings(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(9000)) })
	h.p.Send(set(7, 1000), ping(1))
	h.p.Want("the echo", ping(1))
	pinged := make(chan bool, 1)
	go func() { pinged <- h.s.Ping(time.Second) }()
	h.p.Want("a PING", ping(2))
	h.p.Send(ping(2))
	<-pinged
	h.p.Send(req(1, "/large"))
	h.wantBytes("the window is still 1000", map[uint32]int{1: 1000})
	h.finish()
}

func defectGoAway(t *testing.T) {
	h := upstreamServer(t)
	release := make(chan struct{})
	h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			io.WriteString(w, "ok")
		case <-r.Context().Done():
			t.Error("GOAWAY ended a stream that its sender opened")
		}
	})
	h.p.Send(req(1, "/wait"), goAway(0, 0))
	synctest.Wait()
	close(release)
	h.wantResponse("the sender's own stream", 1, "200", "ok")
	h.p.Want("idle: the session ends", goAway(1, 0))
	h.p.WantEOF("idle: the session ends")
	h.finish()

	c := upstreamClient(t)
	kept := c.proxy(c.request("GET", "/", nil))
	id := c.wantSyn("one").ID
	lost := c.proxy(c.request("POST", "/", nil))
	c.wantSyn("two")
	c.p.Send(goAway(id, 0))
	if err := <-lost.done; !spdy.Retryable(err) {
		t.Errorf("above last-good: %v, want one that may be repeated", err)
	}
	c.p.Send(rep(id), data(id, "ok", fin))
	if err := <-kept.done; err != nil || kept.rec.Body.String() != "ok" {
		t.Errorf("at last-good: %q, %v", kept.rec.Body, err)
	}
	c.p.Want("idle: the session ends", goAway(0, 0))
	c.p.WantEOF("idle: the session ends")
	c.finish()
}

func defectPings(t *testing.T) {
	h := upstreamClient(t)
	ping1, ping3 := make(chan bool, 1), make(chan bool, 1)
	go func() { ping1 <- h.s.Ping(time.Second) }()
	h.p.Want("the first", ping(1))
	go func() { ping3 <- h.s.Ping(time.Minute) }()
	h.p.Want("the second, beside it", ping(3))
	if <-ping1 {
		t.Error("the first: true without an echo")
	}
	h.p.Send(ping(1))
	synctest.Wait()
	select {
	case <-ping3:
		t.Error("the second took the first one's late echo")
	default:
	}
	h.p.Send(ping(3))
	if !<-ping3 {
		t.Error("the second: false after its echo")
	}
	h.finish()
}

func defectFrameHeader(t *testing.T) {
	for _, wire := range []string{
		"80020006 00000004 00000001", // PING of SPDY/2
		"80040006 00000004 00000001",
		"80030001 00ffffff", // SYN_STREAM of 16 MiB
		"80030008 00ffffff", // HEADERS
		"80030004 00ffffff", // SETTINGS
		"00000001 00ffffff", // DATA: more than any window
	} {
		h := upstreamServer(t)
		wantNoAlloc(t, wire, func() {
			h.p.Send(raw(wire))
			f := h.p.Next(wire)
			if f.Type == spdytest.TypeRstStream {
				f = h.p.Next(wire)
			}
			if f.Type != spdytest.TypeGoAway || f.Value != 1 {
				t.Errorf("%s: got %v, want GOAWAY with PROTOCOL_ERROR", wire, f)
			}
			h.p.WantEOF(wire)
		})
		h.finish()
	}
}

func defectWindows(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(100000)) })
	h.p.Send(req(1, "/large"), req(3, "/large"), wu(1, 1<<20), wu(3, 1<<20))
	c := h.drain(newCollector())
	if got := len(c.stream(1).body) + len(c.stream(3).body); got != 65536 {
		t.Errorf("two streams: %d bytes, want the session's window of 65536", got)
	}
	h.p.Send(wu(1, math.MaxInt32))
	h.wantSE("a window above 2^31-1", 1, spdy.FlowControlError)
	h.p.Send(wu(0, math.MaxInt32-1), wu(0, math.MaxInt32-1))
	for {
		f := h.p.Next("a session window above 2^31-1")
		if f.Type == spdytest.TypeGoAway {
			if f.Value != 1 {
				t.Errorf("got %v, want PROTOCOL_ERROR", f)
			}
			break
		}
	}
	h.p.WantEOF("a session window above 2^31-1")
	h.finish()
}

func defectUnknownStreams(t *testing.T) {
	h := upstreamServer(t)
	h.p.Send(data(9, "x"))
	h.wantSE("DATA on a stream never opened", 9, spdy.InvalidStream)
	h.alive(11)
	h.finish()

	c := upstreamClient(t)
	c.p.Send(rep(99))
	c.wantSE("SYN_REPLY on a stream never opened", 99, spdy.InvalidStream)
	c.alive()
	c.finish()
}

func defectIDs(t *testing.T) {
	for _, test := range []struct {
		name string
		send []frame
		last uint32
	}{
		{"wrong parity", []frame{req(2, "/ok")}, 0},
		{"id 0", []frame{req(0, "/ok")}, 0},
		{"wrong order", []frame{post(5, "/wait"), req(3, "/ok")}, 5},
	} {
		h := upstreamServer(t)
		h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		h.p.Send(test.send...)
		h.wantXE(test.name, test.last)
		h.finish()
	}
	h := upstreamServer(t)
	h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	h.p.Send(post(1, "/wait"), post(1, "/wait"))
	h.wantSE("an id in use", 1, spdy.ProtocolError)
	// Refused, and its block holds what later ones refer to.
	h.p.Send(withFlags(req(3, "/ok", spdytest.Pair{Name: "x-long", Value: strings.Repeat("long ", 100)}), 4))
	h.wantSE("refused", 3, spdy.ProtocolError)
	h.p.Send(req(5, "/ok", spdytest.Pair{Name: "x-long", Value: strings.Repeat("long ", 100)}))
	h.wantResponse("after a refused block", 5, "200", "ok")
	h.alive(7)
	h.finish()
}

func defectStatus(t *testing.T) {
	c := upstreamClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := c.proxy(c.request("GET", "/", nil).WithContext(ctx))
	id := c.wantSyn("a request").ID
	cancel()
	c.p.Want("the caller left", rst(id, spdy.Cancel))
	<-p.done
	p = c.proxy(c.request("GET", "/", nil))
	id = c.wantSyn("a request").ID
	c.p.Send(rep(id), rep(id))
	c.p.Want("a second SYN_REPLY", rst(id, spdy.StreamInUse))
	<-p.done
	p = c.proxy(c.request("GET", "/", nil))
	id = c.wantSyn("a request").ID
	c.p.Send(data(id, "x"))
	c.p.Want("DATA before SYN_REPLY", rst(id, spdy.ProtocolError))
	<-p.done
	c.p.Send(withFlags(spdytest.SynStream(2, 0, spdytest.Request("GET", "/")...), 2))
	c.p.Want("a push without its stream", rst(2, spdy.ProtocolError))
	c.finish()

	h := upstreamServer(t)
	h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	h.p.Send(post(1, "/wait"), wu(1, 0))
	h.wantSE("a WINDOW_UPDATE of 0", 1, spdy.FlowControlError)
	h.p.Send(req(3, "/wait"), data(3, "x"))
	h.wantSE("DATA after FIN", 3, spdy.StreamAlreadyClosed)
	h.p.Send(data(99, "x"))
	h.wantSE("DATA on a stream never opened", 99, spdy.InvalidStream)
	h.finish()
}

func defectCloseGoAway(t *testing.T) {
	h := upstreamServer(t)
	h.p.Send(req(1, "/ok"))
	h.wantResponse("a request", 1, "200", "ok")
	closed := make(chan struct{})
	go func() { h.s.Close(); close(closed) }()
	h.p.Want("GOAWAY before the end", goAway(1, 0))
	h.p.WantEOF("GOAWAY before the end")
	h.p.Close()
	<-closed
	h.finish()
}

func defectCompression(t *testing.T) {
	// A hundred handlers answer at once; the peer inflates in the order of the wire.
	h := upstreamServer(t)
	h.mux.HandleFunc("/many/{n}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Own", strings.Repeat(r.PathValue("n"), 50))
	})
	want := make(map[uint32]string)
	var ids []uint32
	var send []frame
	for i := range uint32(100) {
		id := 2*i + 1
		send = append(send, req(id, fmt.Sprint("/many/", i)))
		want[id] = strings.Repeat(fmt.Sprint(i), 50)
		ids = append(ids, id)
	}
	h.p.Send(send...)
	c := h.collect("a hundred answers", ids...)
	for id, own := range want {
		if got, _ := c.streams[id].head.Get("x-own"); got != own {
			t.Errorf("stream %d: X-Own %q, want %q", id, got, own)
		}
	}
	h.finish()

	// A guess that is right is not shorter than one that is wrong.
	cl := upstreamClient(t)
	var lengths []int
	for _, guess := range []string{"secret=0123456789", "secret=9876543210"} {
		r := cl.request("GET", "/?"+guess, nil)
		r.Header.Set("Cookie", "secret=0123456789")
		p := cl.proxy(r)
		f := cl.wantSyn("a request")
		if len(lengths) == 0 {
			// The first block of a session has a header of its own.
			cl.p.Send(rep(f.ID), data(f.ID, "", fin))
			<-p.done
			p = cl.proxy(r)
			f = cl.wantSyn("a request")
		}
		lengths = append(lengths, len(f.Wire))
		cl.p.Send(rep(f.ID), data(f.ID, "", fin))
		<-p.done
	}
	if lengths[0] != lengths[1] {
		t.Errorf("frames of %d bytes with the right guess, %d with a wrong one", lengths[0], lengths[1])
	}
	cl.finish()
}

func defectHeaderLimits(t *testing.T) {
	h := upstreamServer(t)
	id := uint32(1)
	for _, test := range []struct {
		name   string
		pairs  []spdytest.Pair
		status spdy.Status
	}{
		{"80 KiB", []spdytest.Pair{{Name: "x", Value: strings.Repeat("x", 80<<10)}}, spdy.FrameTooLarge},
		{"a name twice", []spdytest.Pair{{Name: "x", Value: "1"}, {Name: "x", Value: "2"}}, spdy.ProtocolError},
		{"an empty name", []spdytest.Pair{{Name: "", Value: "1"}}, spdy.ProtocolError},
		{"an upper-case name", []spdytest.Pair{{Name: "X-A", Value: "1"}}, spdy.ProtocolError},
		{"CR LF in a value", []spdytest.Pair{{Name: "x", Value: "1\r\ny: 2"}}, spdy.ProtocolError},
		{"CR LF in a name", []spdytest.Pair{{Name: "x\r\ny", Value: "1"}}, spdy.ProtocolError},
	} {
		h.p.Send(req(id, "/ok", test.pairs...))
		h.wantSE(test.name, id, test.status)
		id += 2
	}
	h.alive(id)
	h.finish()
}
