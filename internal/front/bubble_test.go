package front

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/http1"
	"github.com/amahi/spdy-proxy/internal/origin"
)

// bubble is a handler with an origin, in a synctest bubble, and visitors that
// are scripted: what they read, and when, is the test's.
type bubble struct {
	*testing.T
	h       *Handler
	table   *origin.Table
	origin  *spdy.Session // C's end
	records chan *Record
	server  *http.Server
	conns   chan net.Conn // that speak HTTP/1, and are served by package http1 as P serves them
	others  chan net.Conn // that speak h2
	conn    *fakeConn     // of the connections to come; nil: none
}

// inBubble runs body with a handler that edit may change, and an origin that
// lets P open streams and answers with serve.
func inBubble(t *testing.T, streams uint32, edit func(*Config), serve http.HandlerFunc, body func(b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		table := origin.NewTable(origin.Config{})
		b := &bubble{T: t, table: table, records: make(chan *Record, 1000), conns: make(chan net.Conn), others: make(chan net.Conn)}
		c := Config{Origins: table, Stall: time.Minute, OnDone: func(r *Record) { kept := *r; b.records <- &kept }}
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
		b.origin = o
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
		b.server = &http.Server{Handler: b.h, Protocols: protocols, ConnContext: b.context, HTTP2: &http.HTTP2Config{SendPingTimeout: time.Minute}}
		own := http1.New(&http.Server{Handler: b.h, ConnContext: b.context})
		open.Go(func() { b.server.Serve(pipeListener{b.others, new(sync.Once)}) })
		open.Go(func() { own.Serve(pipeListener{b.conns, new(sync.Once)}) })
		synctest.Wait()
		defer func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			b.h.Shutdown(ctx)
			table.Shutdown(ctx)
			b.server.Close()
			own.Close()
			p.Close()
			o.Close()
			open.Wait()
		}()
		body(b)
	})
}

func (b *bubble) context(ctx context.Context, conn net.Conn) context.Context {
	if c := conn.(pipeConn).conn; c != nil {
		return WithConn(ctx, c)
	}
	return ctx
}

// pipeListener accepts what is sent to it.
type pipeListener struct {
	conns chan net.Conn
	close *sync.Once
}

func (l pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l pipeListener) Close() error   { l.close.Do(func() { close(l.conns) }); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// pipeConn comes from an address.
type pipeConn struct {
	*spdytest.Conn
	from netip.Addr
	conn *fakeConn
}

func (c pipeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.conn != nil {
		c.conn.received.Add(uint32(n))
	}
	return n, err
}

func (c pipeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 4711))
}

// dial is a visitor's connection. Its network takes 16 KiB that are not read.
func (b *bubble) dial(from string) *spdytest.Conn { return b.dialTo(b.conns, from) }

func (b *bubble) dialTo(conns chan<- net.Conn, from string) *spdytest.Conn {
	ours, theirs := spdytest.Pipe(spdytest.PipeConfig{Buffer: 16 << 10})
	conns <- pipeConn{theirs, netip.MustParseAddr(from), b.conn}
	return ours
}

// fakeConn says of a connection what the test wants.
type fakeConn struct {
	quiet
	open     atomic.Int32
	writing  atomic.Bool
	received atomic.Uint32
	crowded  bool
}

func (c *fakeConn) Began()           { c.open.Add(1) }
func (c *fakeConn) Ended()           { c.open.Add(-1) }
func (c *fakeConn) Writing() bool    { return c.writing.Load() }
func (c *fakeConn) Crowded() bool    { return c.crowded }
func (c *fakeConn) Received() uint32 { return c.received.Load() }

// quiet is a Conn of which there is nothing to say.
type quiet struct{}

func (quiet) Began()               {}
func (quiet) Ended()               {}
func (quiet) Writing() bool        { return false }
func (quiet) Stalled() bool        { return false }
func (quiet) Crowded() bool        { return false }
func (quiet) Received() uint32     { return 0 }
func (quiet) End() <-chan struct{} { return nil }
func (quiet) Written() uint32      { return 0 }
func (quiet) Broken() bool         { return false }

// spdy returns a visitor that speaks SPDY, under cfg at P. end ends it, and waits for its
// session.
func (b *bubble) spdy(from string, cfg *spdy.Config) (peer *spdytest.Peer, end func()) {
	near, far := spdytest.Pipe(spdytest.PipeConfig{})
	conn := pipeConn{far, netip.MustParseAddr(from), b.conn}
	session := cfg.NewServerSession(conn, &http.Server{Handler: b.h, ConnContext: b.context})
	served := make(chan error, 1)
	// Ends with the connection; waited for by end.
	go func() { served <- session.Serve() }()
	peer = spdytest.NewPeer(b, near)
	peer.WantPreface()
	return peer, func() {
		peer.Close()
		session.Close()
		<-served
	}
}

// h2 is a visitor that speaks h2 and gives the windows it is told to.
type h2 struct {
	b    *bubble
	conn *spdytest.Conn
	*http2.Framer
	next   uint32
	frames chan http2.Frame // those that say something of a stream
}

func (b *bubble) h2(from string, window uint32) *h2 {
	v := &h2{b: b, conn: b.dialTo(b.others, from), next: 1, frames: make(chan http2.Frame, 10000)}
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
			switch f := f.(type) {
			case *http2.MetaHeadersFrame, *http2.DataFrame, *http2.RSTStreamFrame:
				v.frames <- f
			case *http2.PingFrame:
				if !f.IsAck() { // not by the Framer, which is the test's
					v.conn.Write(append([]byte{2: 8, 3: byte(http2.FramePing), 4: byte(http2.FlagPingAck), 8: 0}, f.Data[:]...))
				}
			}
		}
	}()
	synctest.Wait()
	return v
}

// get asks for path and returns the stream's id.
func (v *h2) get(path string) uint32 { return v.ask("GET", path, true) }

// post is get for a request with a body, which is to be sent.
func (v *h2) post(path string) uint32 { return v.ask("POST", path, false) }

func (v *h2) ask(method, path string, end bool) uint32 {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "a"}, {":path", path}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	id := v.next
	v.next += 2
	v.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: end, EndHeaders: true})
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
