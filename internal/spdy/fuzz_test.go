package spdy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// Fuzzing of whole sessions. What holds for any input: no panic; no goroutine
// is left (the synctest bubble says so); the session goes on, and echoes a
// PING, or has ended with a GOAWAY; all that it sends can be read, keeps both
// windows, and is no more than so much for each frame it got; memory is bounded
// by what was sent.

// Bounds of what a session may send and allocate, by what it was sent.
const (
	outPerFrame  = 600       // of control frames: a SYN_REPLY, or some short frames
	outBase      = 4 << 10   // preface, GOAWAY, calls of its own
	allocBase    = 24 << 20  // what a session costs at all: a bomb is read to 1 MiB, pooled chunks
	allocPerByte = 4 << 10   // a request of few bytes starts a handler
	fuzzMaxInput = 256 << 10 // longer inputs only cost time
)

// fuzzBody is what the fuzzed servers send: theirs, so that only what the
// session allocates counts. It is never written to.
var fuzzBody = make([]byte, 1<<20)

// fuzzHandler is what the fuzzed servers run.
func fuzzHandler(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/echo":
		io.Copy(w, r.Body)
	case path == "/block":
		<-r.Context().Done()
	case path == "/slow":
		select {
		case <-time.After(time.Second):
			io.WriteString(w, "slow")
		case <-r.Context().Done():
		}
	case path == "/panic":
		panic(http.ErrAbortHandler)
	case path == "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Sum", "0")
		io.WriteString(w, "body")
		w.Header().Add("X-Sum", "1")
	case path == "/flush":
		w.WriteHeader(http.StatusAccepted)
		w.(http.Flusher).Flush()
		io.Copy(io.Discard, r.Body)
	case path == "/upgrade":
		w.Header().Set("Upgrade", "x")
		w.WriteHeader(http.StatusSwitchingProtocols)
		io.Copy(w, r.Body)
	case strings.HasPrefix(path, "/size/"):
		n, _ := strconv.Atoi(path[len("/size/"):])
		w.Write(fuzzBody[:min(n, len(fuzzBody))])
	default:
		io.WriteString(w, "ok")
	}
}

// fuzzed is one session under a fuzzed peer.
type fuzzed struct {
	*testing.T
	p      *spdytest.Peer
	s      *spdy.Session
	server bool
	served chan error
	cancel context.CancelFunc // of the calls
	ctx    context.Context

	frames  int // sent to the session, and calls and PINGs of its own
	ended   bool
	goAway  bool
	control int // bytes of control frames received

	// The windows that the session has for sending, never too small.
	window  int64
	start   int64
	credit  map[uint32]int64
	got     map[uint32]int64
	gotAll  int64
	syns    []uint32 // streams that the session opened
	before  uint64
	written int
}

func newFuzzed(t *testing.T, server bool, config spdy.Config) *fuzzed {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	x := &fuzzed{T: t, p: spdytest.NewPeer(t, a), server: server, served: make(chan error, 1), before: m.TotalAlloc,
		window: 65536, start: 65536, credit: make(map[uint32]int64), got: make(map[uint32]int64)}
	x.p.NoSecond = true
	x.ctx, x.cancel = context.WithCancel(t.Context())
	if server {
		x.s = config.NewServerSession(b, &http.Server{Handler: http.HandlerFunc(fuzzHandler)})
	} else {
		x.s = config.NewClientSession(b)
	}
	// Of what has failed, the goroutines must end too.
	t.Cleanup(func() {
		x.cancel()
		x.p.Close()
		x.s.Close()
	})
	// Ends with the session; finish waits for it.
	go func() { x.served <- x.s.Serve() }()
	synctest.Wait() // closed before Serve, a session says nothing
	return x
}

// call has a client session send a request.
func (x *fuzzed) call(method string, body int) {
	x.frames++ // for its SYN_STREAM
	x.written += body
	var r io.Reader
	if body > 0 {
		r = bytes.NewReader(make([]byte, body))
	}
	req, err := http.NewRequestWithContext(x.ctx, method, "http://a.test/", r)
	if err != nil {
		x.Fatal(err)
	}
	// Ends with the call and its body, at the latest with the session.
	go func() {
		resp, err := x.s.RoundTrip(req)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
}

// read takes in what the session has sent, and checks it.
func (x *fuzzed) read() {
	x.Helper()
	for !x.ended {
		f, err := x.p.TryNext(time.Nanosecond)
		if errors.Is(err, io.EOF) {
			x.ended = true
			if !x.goAway {
				x.Error("the session ended without GOAWAY")
			}
			return
		}
		if err == spdytest.ErrTimeout {
			return
		}
		if err != nil {
			x.Fatalf("reading what the session sent: %v", err)
		}
		if f.Type != spdytest.TypeData {
			x.control += len(f.Wire)
		}
		switch f.Type {
		case spdytest.TypeGoAway:
			x.goAway = true
		case spdytest.TypeSynStream:
			if x.server {
				x.Fatalf("a server sent %v", f)
			}
			x.syns = append(x.syns, f.ID)
		case spdytest.TypeData:
			n := int64(len(f.Data))
			x.got[f.ID] += n
			x.gotAll += n
			if n > 0 && (x.gotAll > x.window || x.got[f.ID] > x.start+x.credit[f.ID]) {
				x.Fatalf("%v overruns a window: %d of %d on the stream, %d of %d in all", f, x.got[f.ID], x.start+x.credit[f.ID], x.gotAll, x.window)
			}
		}
	}
}

// send sends frames that are whole.
func (x *fuzzed) send(frames ...frame) {
	x.Helper()
	for _, f := range frames {
		b := x.p.Encode(f)
		x.written += len(b)
		x.frames++
		x.p.Conn.Write(b) // fails once the session has ended
	}
}

// alive sends a PING and fails unless it is echoed, or a GOAWAY ends the
// session.
func (x *fuzzed) alive() {
	x.Helper()
	synctest.Wait()
	x.read()
	if x.ended {
		return
	}
	id := uint32(0x7ffffff1)
	if !x.server {
		id--
	}
	echoed := false
	x.p.Answer = func(f frame) bool {
		echoed = echoed || f.Type == spdytest.TypePing && f.ID == id
		return false
	}
	x.send(ping(id))
	for i := 0; i < 3 && !echoed; i++ { // until the session has ended, at most 2 s
		synctest.Wait()
		x.read()
		if x.ended {
			return
		}
		if !echoed {
			time.Sleep(time.Second) // the bubble's: a session error takes 1 s to close
		}
	}
	if !echoed && !x.goAway {
		x.Error("the session neither echoes a PING nor has sent GOAWAY")
	}
}

// finish ends the session and checks what it cost.
func (x *fuzzed) finish() {
	x.Helper()
	x.p.Conn.(*spdytest.Conn).CloseWrite()
	for range 10 {
		synctest.Wait()
		x.read()
		if x.ended {
			break
		}
		time.Sleep(time.Second) // the bubble's
	}
	x.cancel()
	x.p.Close()
	select {
	case <-x.served:
	case <-time.After(10 * time.Second):
		x.Error("Serve did not return within 10 s of the peer's EOF")
	}
	if limit := outBase + outPerFrame*(x.frames+2); x.control > limit {
		x.Errorf("got %d bytes of control frames for %d frames, want %d at most", x.control, x.frames, limit)
	}
	if st := x.s.Stats(); st.StreamsOpen != 0 {
		x.Errorf("after the end: %d streams open, want 0", st.StreamsOpen)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	// What was received was copied here, and in the pipe.
	if got, limit := m.TotalAlloc-x.before, uint64(allocBase+allocPerByte*x.written)+8*uint64(x.gotAll); got > limit {
		x.Errorf("got %d bytes allocated for %d bytes of input, want %d at most", got, x.written, limit)
	}
}

// seedFrames is a valid frame of each type and kind, for a session of that
// role.
func seedFrames(server bool) []frame {
	common := []frame{
		set(4, 100, 7, 65536), set(7, 0), wu(0, 65536), wu(1, 1000), rst(1, spdy.Cancel), ping(1), ping(2), goAway(0, 0), goAway(1, 2),
		data(1, "hello"), data(1, "", fin), headers(1, fin, nv("x-sum", "1")), control(spdytest.TypeNoop, 0, ""), control(0xf000, 0, "abcd"),
		raw("80020006 00000004 00000001"), raw("80030001 01100000"),
	}
	if server {
		return append(common, req(1, "/ok"), post(1, "/echo", nv("content-length", "5")), req(1, "/size/100000"), req(3, "/block"), post(3, "/upgrade", nv("upgrade", "x")),
			withFlags(req(1, "/ok"), 3), req(1, "/ok", nv("cookie", "a\x00b"), nv("x-empty", "")),
			post(1, "/echo", nv("content-length", "5\x006"), nv("x-sum", "1")), post(1, "/trailers", nv("content-length", "+5")), req(1, "/ok", blockEnd))
	}
	push := spdytest.SynStream(2, spdytest.Unidirectional, nv(":host", "a"), nv(":scheme", "http"), nv(":path", "/"))
	push.Assoc = 1
	return append(common, rep(1), withFlags(rep(1), fin), rep(1, nv("content-length", "5"), nv("trailer", "x-sum")), spdytest.SynReply(1, 0, spdytest.Response("101")...), push,
		rep(1, nv("content-length", "5\x006")), rep(1, nv("content-length", "+5"), nv("x-sum", "1")), rep(1, nv("content-length", "5\x005"), nv("x-sum", "1")), rep(1, blockEnd))
}

// blockEnd is a pair whose value looks like the end of a compressed block.
var blockEnd = nv("x-end", "a\x01\x00\x00\xff\xff")

// FuzzFrames feeds a session any bytes.
func FuzzFrames(f *testing.F) {
	for _, server := range []bool{true, false} {
		all := spdytest.NewPeer(f, nil)
		var session []byte
		for _, seed := range seedFrames(server) {
			f.Add(server, spdytest.NewPeer(f, nil).Encode(seed))
			session = append(session, all.Encode(seed)...)
		}
		f.Add(server, session)
	}
	f.Fuzz(func(t *testing.T, server bool, b []byte) {
		if len(b) > fuzzMaxInput {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) {
			x := newFuzzed(t, server, spdy.Config{})
			if !server {
				for i := range 3 {
					x.call("GET", 0)
					x.call("POST", 100000*(i+1))
				}
				synctest.Wait()
			}
			x.learn(b)
			x.written, x.frames = x.written+len(b), x.frames+len(b)/8+1
			x.p.Conn.Write(b)
			synctest.Wait()
			x.read()
			x.finish()
		})
	})
}

// learn notes the credit that b may hold: every eight bytes that look like a
// WINDOW_UPDATE or an entry of SETTINGS count, wherever they stand.
func (x *fuzzed) learn(b []byte) {
	for i := range b {
		if i+16 <= len(b) && bytes.HasPrefix(b[i:], []byte{0x80, 3, 0, 9, 0, 0, 0, 8}) {
			id, delta := binary.BigEndian.Uint32(b[i+8:])&maxDelta, binary.BigEndian.Uint32(b[i+12:])&maxDelta
			x.credit[id] += int64(delta)
			if id == 0 {
				x.window += int64(delta)
			}
		}
		if i+8 <= len(b) && bytes.HasPrefix(b[i+1:], []byte{0, 0, 7}) {
			x.start = max(x.start, int64(binary.BigEndian.Uint32(b[i+4:])))
		}
	}
}

// FuzzSession has a peer whose frames are whole, with sound compression, send
// them in any order.
func FuzzSession(f *testing.F) {
	for _, server := range []bool{true, false} {
		for op := range byte(fuzzOps) {
			f.Add(server, uint8(0), []byte{0, 0, 0, 1, 1, 1, op, 1, 2, op, 200, 3, 14, 0, 0})
		}
		f.Add(server, uint8(1), bytes.Repeat([]byte{0, 2, 5, 3, 0, 5, 1, 9, 9}, 50))
		f.Add(server, uint8(2), bytes.Repeat([]byte{0, 17, 1, 2, 0, 0}, 200)) // rapid resets
		f.Add(server, uint8(3), bytes.Repeat([]byte{5, 1, 1}, 300))           // a flood of PINGs
		f.Add(server, uint8(4), bytes.Repeat([]byte{4, 7, 1}, 300))           // of SETTINGS
		f.Add(server, uint8(8), bytes.Repeat([]byte{16, 0, 0, 14}, 50))       // calls beyond the last id
	}
	deflater := spdytest.NewDeflater(6) // making one is slow
	f.Fuzz(func(t *testing.T, server bool, conf uint8, script []byte) {
		if len(script) > 8<<10 {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) {
			config := spdy.Config{MaxConcurrentStreams: 50, KeepAlive: time.Minute}
			if conf&1 != 0 {
				config.SessionWindow = 65536
			}
			if conf&2 != 0 {
				config.CompressionLevel = 6
			}
			if conf&4 != 0 {
				config.MaxStreamWindow = -1
			}
			if conf&8 != 0 {
				config.FirstStreamID = 1<<31 - 9
			}
			x := newFuzzed(t, server, config)
			deflater.Reset()
			x.p.Deflater = deflater
			g := &generator{fuzzed: x, script: script}
			for !g.done() && !x.ended {
				g.step()
			}
			x.alive()
			x.finish()
		})
	})
}

// fuzzOps is how many kinds of steps a generator has.
const fuzzOps = 18

// generator turns bytes into a peer's frames.
type generator struct {
	*fuzzed
	script []byte
	last   uint32 // the id that this peer used last
}

func (g *generator) done() bool { return len(g.script) == 0 }

// next takes a byte off the script.
func (g *generator) next() byte {
	if len(g.script) == 0 {
		return 0
	}
	b := g.script[0]
	g.script = g.script[1:]
	return b
}

// some returns one of s.
func some[T any](g *generator, s ...T) T { return s[int(g.next())%len(s)] }

// stream returns the id of some stream: more often one that exists.
func (g *generator) stream() uint32 {
	b := uint32(g.next())
	switch {
	case b >= 250:
		return some[uint32](g, 0, 2, 99, 1<<31-1, g.last+2, g.last+1)
	case g.server:
		return 1 + 2*(b%(g.last/2+2))
	case len(g.syns) > 0:
		return g.syns[int(b)%len(g.syns)]
	}
	return 1
}

func (g *generator) flags() uint8 { return some[uint8](g, 0, 0, 0, fin, fin, 2, 3, 4, 0x80) }

func (g *generator) pairs(pairs []spdytest.Pair) []spdytest.Pair {
	for n := g.next() % 4; n > 0; n-- {
		p := nv(some(g, "x-a", "cookie", "content-length", "trailer", "x-sum", "te", "host", "connection", "upgrade", "X-Bad", "", ":other", ":status"),
			some(g, "", "1", "5", "a\x00b", "\x00", "a\r\nb", "x-sum", "gzip", strings.Repeat("v", 5000), "100000", "+5", "5\x006", "5\x005", blockEnd.Value))
		pairs = append(pairs, p)
	}
	if g.next() == 0xff {
		pairs = pairs[min(len(pairs), 1):]
	}
	return pairs
}

// size is a number of bytes, small ones more often.
func (g *generator) size() int { return some(g, 0, 1, 5, 100, 1000, 16384, 16000, 65536, 70000, 1<<17) }

func (g *generator) step() {
	switch op := g.next() % fuzzOps; op {
	case 0, 1: // a stream of the peer's
		id := g.last + 2
		if g.last == 0 && g.server {
			id = 1
		}
		if b := g.next(); b >= 240 {
			id = g.stream()
		}
		path := some(g, "/ok", "/echo", "/block", "/slow", "/panic", "/trailers", "/flush", "/upgrade", "/size/100000", "/size/1000000", "x", "/a%zz")
		f := spdytest.SynStream(id, g.flags(), g.pairs(spdytest.Request(some(g, "GET", "POST", "HEAD", "CONNECT", "G T"), path))...)
		f.Priority = g.next() % 8
		if !g.server {
			f.Assoc = g.stream()
		}
		g.last = max(g.last, id)
		g.send(f)
	case 2:
		g.send(rst(g.stream(), spdy.Status(some(g, 5, 3, 1, 0, 11, 200))))
	case 3:
		id, delta := g.stream(), some[uint32](g, 1, 1000, 65536, 1<<20, 0, maxDelta)
		if id == 0 {
			g.window += int64(delta)
		}
		g.credit[id] += int64(delta)
		g.send(wu(id, delta))
	case 4:
		id, v := some[uint32](g, 7, 4, 1, 99, 0), some[uint32](g, 0, 1, 10, 1000, 65536, 1<<20, maxDelta, 1<<31)
		if id == 7 {
			g.start = max(g.start, int64(v))
		}
		f := set(id, v)
		f.Settings[0].Flags = some[uint8](g, 0, 0, 1, 2)
		g.send(f)
	case 5:
		g.send(ping(uint32(g.next())))
	case 6:
		g.send(headers(g.stream(), g.flags(), g.pairs(nil)...))
	case 7, 8:
		f := spdytest.SynReply(g.stream(), g.flags(), g.pairs(spdytest.Response(some(g, "200", "204", "101", "100", "500 Oh", "abc")))...)
		g.send(f)
	case 9:
		if g.next() >= 128 { // or few scripts would get any further
			g.send(goAway(g.stream(), some[uint32](g, 0, 1, 2, 99)))
		}
	case 10:
		g.send(control(some(g, spdytest.Type(5), 10, 11, 0xf000), g.next(), string(make([]byte, g.size()%1000))))
	case 11, 12:
		g.send(withFlags(data(g.stream(), string(make([]byte, g.size()))), g.flags()))
	case 13:
		delta := some[uint32](g, 1, 1000, 65536, 1<<20, 1<<20, maxDelta)
		g.window += int64(delta)
		g.send(wu(0, delta))
	case 14:
		synctest.Wait()
		g.read()
	case 15:
		synctest.Wait()
		time.Sleep(some(g, time.Millisecond, time.Second, time.Minute)) // the bubble's
		g.read()
	case 16:
		switch b := g.next(); {
		case !g.server:
			g.call(some(g, "GET", "POST", "HEAD"), g.size())
		case b%2 == 0:
			g.frames++ // for its PING
			// Ends after a second.
			go g.s.Ping(time.Second)
		}
	case 17:
		switch g.next() % 8 {
		case 0:
			// Ends when the session does.
			go g.s.Shutdown(g.ctx)
		case 1:
			g.cancel()
			g.ctx, g.cancel = context.WithCancel(g.Context())
		}
	}
}
