package front

import (
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

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
		conn       *fakeConn
	}{
		{"nothing is known of the connection", "/film", nil},
		{"one of few connections", "/film", &fakeConn{}},
		{"one of many connections", "/film", &fakeConn{crowded: true}},
		{"the end of a response, on one of many connections", "/small", &fakeConn{crowded: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, 100, nil, endless(gone), func(b *bubble) {
				b.conn = test.conn
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
		b.conn = &fakeConn{}
		v := b.h2("192.0.2.1", 0)
		defer v.conn.Close()
		v.status(v.get("/small"))
		if r := <-b.records; r.Stalled || r.Status != 200 {
			b.Errorf("record: %+v", r)
		}
		if n := b.conn.open.Load(); n != 0 || b.h.InFlight() != 0 {
			b.Errorf("%d requests with the handler, want none", n)
		}
	})
}

// A stream that gets some window now and then goes on. So does one whose
// connection takes nothing: that is the connection's affair.
func TestSlowReaderH2(t *testing.T) {
	gone := make(chan string, 1)
	inBubble(t, 100, nil, endless(gone), func(b *bubble) {
		b.conn = &fakeConn{}
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
		b.conn.writing.Store(true)
		if f := v.within(time.Hour); f != nil {
			b.Errorf("got %v on a connection that takes nothing, want nothing", f)
		}
		b.conn.writing.Store(false)
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
