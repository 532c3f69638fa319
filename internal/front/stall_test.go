package front

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// bubble is a handler with an origin, in a synctest bubble, and visitors that
// are scripted: what they read, and when, is the test's.
type bubble struct {
	*testing.T
	h       *Handler
	records chan *Record
	server  *http.Server
	conns   chan net.Conn
	line    *fakeLine // of the connections to come; nil: none
}

// inBubble runs body with a handler that edit may change, and an origin that
// lets P open streams and answers with serve.
func inBubble(t *testing.T, streams uint32, edit func(*Config), serve http.HandlerFunc, body func(b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		table := origin.NewTable(origin.Config{})
		b := &bubble{T: t, records: make(chan *Record, 1000), conns: make(chan net.Conn)}
		c := Config{Origins: table, Stall: time.Minute, OnDone: func(r *Record) { b.records <- r }}
		if edit != nil {
			edit(&c)
		}
		var err error
		if b.h, err = New(c); err != nil {
			t.Fatal(err)
		}
		near, far := spdytest.Pipe(spdytest.PipeConfig{Buffer: 256 << 10})
		p := new(spdy.Config).NewClientSession(near)
		o := (&spdy.Config{MaxConcurrentStreams: streams}).NewServerSession(far, &http.Server{Handler: serve})
		var open sync.WaitGroup
		// All end with their connections; waited for below.
		open.Go(func() { p.Serve() })
		open.Go(func() { o.Serve() })
		if _, err := table.Register(origin.Registration{Session: p}); err != nil {
			t.Fatal(err)
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		b.server = &http.Server{Handler: b.h, Protocols: protocols, ConnContext: b.context}
		open.Go(func() { b.server.Serve(pipeListener{b.conns}) })
		synctest.Wait()
		defer func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			b.h.Shutdown(ctx)
			table.Shutdown(ctx)
			b.server.Close()
			p.Close()
			o.Close()
			open.Wait()
		}()
		body(b)
	})
}

func (b *bubble) context(ctx context.Context, conn net.Conn) context.Context {
	if l := conn.(pipeConn).line; l != nil {
		return WithLine(ctx, l)
	}
	return ctx
}

// pipeListener accepts what is sent to it.
type pipeListener struct{ conns chan net.Conn }

func (l pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l pipeListener) Close() error   { close(l.conns); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// pipeConn comes from an address.
type pipeConn struct {
	*spdytest.Conn
	from netip.Addr
	line *fakeLine
}

func (c pipeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 4711))
}

// dial is a visitor's connection. Its network takes 16 KiB that are not read.
func (b *bubble) dial(from string) *spdytest.Conn {
	ours, theirs := spdytest.Pipe(spdytest.PipeConfig{Buffer: 16 << 10})
	b.conns <- pipeConn{theirs, netip.MustParseAddr(from), b.line}
	return ours
}

// fakeLine says of a connection what the test wants.
type fakeLine struct {
	open    atomic.Int32
	writing atomic.Bool
	crowded bool
}

func (l *fakeLine) Began()        { l.open.Add(1) }
func (l *fakeLine) Ended()        { l.open.Add(-1) }
func (l *fakeLine) Writing() bool { return l.writing.Load() }
func (l *fakeLine) Stalled() bool { return false }
func (l *fakeLine) Crowded() bool { return l.crowded }

// h2 is a visitor that speaks h2 and gives the windows it is told to.
type h2 struct {
	b    *bubble
	conn *spdytest.Conn
	*http2.Framer
	next   uint32
	frames chan http2.Frame // those that say something of a stream
}

func (b *bubble) h2(from string, window uint32) *h2 {
	v := &h2{b: b, conn: b.dial(from), next: 1, frames: make(chan http2.Frame, 10000)}
	// Frames are written whole, or what waits for the pipe would mix them up.
	v.Framer = http2.NewFramer(v.conn, v.conn)
	v.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(v.conn, http2.ClientPreface); err != nil {
		b.Fatal(err)
	}
	v.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	v.WriteWindowUpdate(0, 1<<30)
	// Ends with the connection.
	go func() {
		for {
			f, err := v.ReadFrame()
			if err != nil {
				close(v.frames)
				return
			}
			switch f.(type) {
			case *http2.MetaHeadersFrame, *http2.DataFrame, *http2.RSTStreamFrame:
				v.frames <- f
			}
		}
	}()
	synctest.Wait()
	return v
}

// get asks for path and returns the stream's id.
func (v *h2) get(path string) uint32 {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", path}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	id := v.next
	v.next += 2
	v.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	synctest.Wait()
	return id
}

// status waits for the headers of a response. whole: nothing follows them.
func (v *h2) status(id uint32) (status string, whole bool) {
	v.b.Helper()
	f, ok := v.within(time.Second).(*http2.MetaHeadersFrame)
	if !ok || f.StreamID != id {
		v.b.Fatalf("got %v, want the headers of stream %d", f, id)
	}
	return f.PseudoValue("status"), f.StreamEnded()
}

// within returns the next frame of a stream, nil if none comes.
func (v *h2) within(d time.Duration) http2.Frame {
	select {
	case f := <-v.frames:
		return f
	case <-time.After(d):
		return nil
	}
}

// wantReset fails unless stream id, begun now, is reset in a minute and a step.
func (v *h2) wantReset(what string, id uint32) {
	v.b.Helper()
	if f := v.within(time.Minute - time.Second); f != nil {
		v.b.Fatalf("%s: got %v within a minute, want nothing", what, f)
	}
	f, ok := v.within(time.Minute/stallTicks + 2*time.Second).(*http2.RSTStreamFrame)
	if !ok || f.StreamID != id {
		v.b.Fatalf("%s: got %v after a minute and a step, want stream %d reset", what, f, id)
	}
}

// endless answers with more than anybody takes, but for /small, and tells of the
// end of each request's context.
func endless(gone chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			io.WriteString(w, "small")
			return
		}
		for {
			if _, err := w.Write(make([]byte, 16<<10)); err != nil {
				gone <- r.URL.Path
				return
			}
		}
	}
}

func (b *bubble) wantGone(gone <-chan string) {
	b.Helper()
	synctest.Wait()
	select {
	case <-gone:
	default:
		b.Error("C still sends to a visitor who has been given up")
	}
}

func (b *bubble) wantStalled() {
	b.Helper()
	synctest.Wait()
	select {
	case r := <-b.records:
		if !r.Stalled || !r.Aborted || r.Reason != reasonStalled {
			b.Errorf("record: stalled %v, aborted %v, %q; want it stalled", r.Stalled, r.Aborted, r.Reason)
		}
	default:
		b.Error("the request has not ended")
	}
}

// "A response that A does not read at all for --stall is ended", over HTTP/1.
func TestStallHTTP1(t *testing.T) {
	gone := make(chan string, 1)
	inBubble(t, 100, nil, endless(gone), func(b *bubble) {
		conn := b.dial("192.0.2.1")
		defer conn.Close()
		io.WriteString(conn, "GET /film HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(time.Minute - time.Second)
		if len(b.records) > 0 {
			b.Fatal("ended within a minute")
		}
		time.Sleep(time.Minute/stallTicks + 2*time.Second)
		b.wantStalled()
		b.wantGone(gone)
		if got, err := io.ReadAll(conn); err == nil && bytes.HasSuffix(got, []byte("\r\n0\r\n\r\n")) {
			b.Error("what was broken off looks whole")
		}
	})
}

// Who reads something now and then goes on, over HTTP/1.
func TestSlowReaderHTTP1(t *testing.T) {
	gone := make(chan string, 1)
	inBubble(t, 100, nil, endless(gone), func(b *bubble) {
		conn := b.dial("192.0.2.1")
		defer conn.Close()
		io.WriteString(conn, "GET /film HTTP/1.1\r\nHost: a\r\n\r\n")
		for range 20 {
			time.Sleep(50 * time.Second)
			if _, err := io.ReadFull(conn, make([]byte, 2*largeBuffer)); err != nil {
				b.Fatalf("broken off: %v", err)
			}
		}
	})
}

// The same over h2, where the stream has no window and the connection has.
func TestStallH2(t *testing.T) {
	gone := make(chan string, 10)
	for _, test := range []struct {
		name, path string
		line       *fakeLine
	}{
		{"nothing is known of the connection", "/film", nil},
		{"one of few connections", "/film", &fakeLine{}},
		{"one of many connections", "/film", &fakeLine{crowded: true}},
		{"the end of a response, on one of many connections", "/small", &fakeLine{crowded: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, 100, nil, endless(gone), func(b *bubble) {
				b.line = test.line
				v := b.h2("192.0.2.1", 0)
				defer v.conn.Close()
				id := v.get(test.path)
				if status, whole := v.status(id); status != "200" || whole {
					b.Fatalf("status %s, whole %v", status, whole)
				}
				v.wantReset("no window", id)
				b.wantStalled()
				if test.path == "/film" {
					b.wantGone(gone)
				}
				// The others on the connection have no part in it.
				if v.get("/film"); v.within(time.Second) == nil {
					b.Error("no answer to another request on the same connection")
				}
			})
		})
	}
}

// The end of a response that waits on one of a few connections is left to the
// server, so that no response costs one frame more: the handler has ended.
func TestEndOfH2Response(t *testing.T) {
	inBubble(t, 100, nil, endless(nil), func(b *bubble) {
		b.line = &fakeLine{}
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		v.status(v.get("/small"))
		if r := <-b.records; r.Stalled || r.Status != 200 {
			b.Errorf("record: %+v", r)
		}
		if n := b.line.open.Load(); n != 0 || b.h.InFlight() != 0 {
			b.Errorf("%d requests with the handler, want none", n)
		}
	})
}

// A stream that gets some window now and then goes on. So does one whose
// connection takes nothing: that is the connection's affair.
func TestSlowReaderH2(t *testing.T) {
	gone := make(chan string, 1)
	inBubble(t, 100, nil, endless(gone), func(b *bubble) {
		b.line = &fakeLine{}
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		id := v.get("/film")
		v.status(id)
		for range 20 {
			time.Sleep(50 * time.Second)
			v.WriteWindowUpdate(id, copyBuffer+4<<10)
			synctest.Wait()
			for got := 0; got < copyBuffer+4<<10; {
				f, ok := v.within(time.Second).(*http2.DataFrame)
				if !ok {
					b.Fatal("the stream was ended")
				}
				got += int(f.Length)
			}
		}
		b.line.writing.Store(true)
		if f := v.within(time.Hour); f != nil {
			b.Errorf("got %v on a connection that takes nothing, want nothing", f)
		}
		b.line.writing.Store(false)
		if f, ok := v.within(time.Minute + time.Second).(*http2.RSTStreamFrame); !ok || f.StreamID != id {
			b.Error("the connection is free for a minute, and the stream has no window: it goes on, want it reset")
		}
	})
}

// The same over SPDY: in the middle of a response, and at its end.
func TestStallSPDY(t *testing.T) {
	gone := make(chan string, 1)
	for _, path := range []string{"/film", "/small"} {
		t.Run(path, func(t *testing.T) {
			inBubble(t, 100, nil, endless(gone), func(b *bubble) {
				near, far := spdytest.Pipe(spdytest.PipeConfig{})
				session := new(spdy.Config).NewServerSession(pipeConn{far, netip.MustParseAddr("192.0.2.1"), nil}, &http.Server{Handler: b.h})
				served := make(chan error, 1)
				// Ends with the connection; waited for below.
				go func() { served <- session.Serve() }()
				peer := spdytest.NewPeer(b, near)
				peer.WantPreface()
				peer.Send(spdytest.Settings(spdytest.SettingInitialWindowSize, 0),
					spdytest.SynStream(1, spdytest.Fin, spdytest.Request("GET", path)...))
				if f := peer.Next("the response's headers"); f.Type != spdytest.TypeSynReply || f.Flags != 0 {
					b.Fatalf("got %v, want a SYN_REPLY", f)
				}
				if f, err := peer.TryNext(time.Minute - time.Second); err == nil {
					b.Fatalf("got %v within a minute, want nothing", f)
				}
				f, err := peer.TryNext(time.Minute/stallTicks + 2*time.Second)
				if err != nil || f.Type != spdytest.TypeRstStream || f.ID != 1 {
					b.Fatalf("got %v, %v after a minute and a step, want the stream reset", f, err)
				}
				b.wantStalled()
				if path == "/film" {
					b.wantGone(gone)
				}
				peer.Close()
				session.Close()
				<-served
			})
		})
	}
}

// Without a limit nothing is ended.
func TestNoStall(t *testing.T) {
	inBubble(t, 100, func(c *Config) { c.Stall = 0 }, endless(make(chan string, 1)), func(b *bubble) {
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		v.status(v.get("/film"))
		if f := v.within(time.Hour); f != nil {
			b.Errorf("got %v, want nothing", f)
		}
	})
}

// One address holds what it may of an origin, and another is served at once.
func TestShareOfStreams(t *testing.T) {
	const streams = 80
	gone := make(chan string, 100)
	inBubble(t, streams, func(c *Config) { c.ResponseTimeout = 100 * time.Second }, endless(gone), func(b *bubble) {
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		for range streams {
			v.get("/film")
		}
		time.Sleep(time.Second)
		if n := len(v.frames); n != streams/sharePart {
			b.Errorf("%d of %d requests of one address are served, want an eighth of the streams", n, streams)
		}
		for range len(v.frames) {
			<-v.frames
		}
		other := b.h2("192.0.2.2", 1<<20)
		defer other.conn.Close()
		if status, _ := other.status(other.get("/small")); status != "200" {
			b.Errorf("another address got %s", status)
		}
		// As its first ones are given up, the next ones of the same address go.
		time.Sleep(70 * time.Second)
		resets, heads := 0, 0
		for range len(v.frames) {
			switch (<-v.frames).(type) {
			case *http2.RSTStreamFrame:
				resets++
			case *http2.MetaHeadersFrame:
				heads++
			}
		}
		if resets != streams/sharePart || heads != streams/sharePart {
			b.Errorf("after a minute: %d streams reset, %d more served; want %d of each", resets, heads, streams/sharePart)
		}
		// Those that did not have their turn within the response's time get 504.
		time.Sleep(40 * time.Second)
		late := 0
		for range len(v.frames) {
			if f, ok := (<-v.frames).(*http2.MetaHeadersFrame); ok && f.PseudoValue("status") == "504" {
				late++
			}
		}
		if want := streams - 2*streams/sharePart; late != want {
			b.Errorf("%d were answered 504, want %d", late, want)
		}
	})
}

// A request that waits for its turn goes with its visitor, and with a stop.
func TestWaitForTurnEnds(t *testing.T) {
	inBubble(t, 8, nil, endless(make(chan string, 10)), func(b *bubble) {
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		v.status(v.get("/film"))
		waits := v.get("/film")
		if f := v.within(time.Second); f != nil {
			b.Fatalf("got %v, want the second to wait", f)
		}
		v.WriteRSTStream(waits, http2.ErrCodeCancel)
		if r := <-b.records; r.Status != statusLeft {
			b.Errorf("the visitor left: record of %d, want %d", r.Status, statusLeft)
		}
		waits = v.get("/film")
		b.h.Stop()
		if status, _ := v.status(waits); status != "503" {
			b.Errorf("at the stop: %s, want 503", status)
		}
	})
}

// Above its share an address gets 429, without a body where a body would wait
// for a window, and is not even answered if it does not read that.
func TestOverShare(t *testing.T) {
	inBubble(t, 1000, func(c *Config) { c.MaxRequests = 16 }, endless(make(chan string, 10)), func(b *bubble) {
		b.line = &fakeLine{crowded: true}
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		for range 2 {
			v.status(v.get("/film"))
		}
		for range 5 {
			if status, whole := v.status(v.get("/film")); status != "429" || !whole {
				b.Fatalf("above the share: %s, whole %v, want 429 without a body", status, whole)
			}
			if r := <-b.records; !r.OverShare || r.Status != 429 || r.Aborted {
				b.Errorf("record: over share %v, status %d, aborted %v", r.OverShare, r.Status, r.Aborted)
			}
		}
		plain := b.dial("192.0.2.1")
		defer plain.Close()
		io.WriteString(plain, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		got, err := io.ReadAll(plain)
		for _, part := range []string{"HTTP/1.1 429 ", "\r\nRetry-After: 1\r\n", "\r\nProxy-Status: spdy-proxy; error=connection_limit_reached; ", "\r\n\r\n429 "} {
			if err != nil || !strings.Contains(string(got), part) {
				b.Errorf("HTTP/1: %q, %v; want %q in it", got, err, part)
			}
		}
		for _, from := range []string{"192.0.2.2", "127.0.0.1"} {
			other := b.h2(from, 1<<20)
			if status, _ := other.status(other.get("/small")); status != "200" {
				b.Errorf("%s got %s", from, status)
			}
			other.conn.Close()
		}
	})
}

// This machine's own two addresses have no bounds, others of 127.0.0.0/8 have;
// behind a trusted proxy it is the client that counts.
func TestWhoShares(t *testing.T) {
	h, err := New(Config{Origins: origin.NewTable(origin.Config{}), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "192.0.2.9", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:1", "", "192.0.2.1"},
		{"[2001:db8::1:2:3:4]:1", "", "2001:db8::"},
		{"127.0.0.1:1", "", ""},
		{"[::1]:1", "", ""},
		{"127.0.0.2:1", "", "127.0.0.2"},
		{"10.0.0.1:1", "", ""},
		{"10.0.0.1:1", "192.0.2.9, 10.0.0.2", "192.0.2.9"},
		{"10.0.0.1:1", "2001:db8::9", "2001:db8::"},
		{"10.0.0.1:1", "127.0.0.1", ""},
		{"@", "", ""},
	} {
		r, err := http.NewRequest("GET", "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = test.remote
		if test.forwarded != "" {
			r.Header.Set("X-Forwarded-For", test.forwarded)
		}
		x := h.begin(nowhere{make(http.Header)}, r)
		got := ""
		if x.who.IsValid() {
			got = x.who.String()
		}
		if got != test.want {
			t.Errorf("%s for %q: share of %q, want %q", test.remote, test.forwarded, got, test.want)
		}
		x.finished = true
		x.end()
	}
	if len(h.shares.open.one) != 0 {
		t.Errorf("left over: %v", h.shares.open)
	}
}
