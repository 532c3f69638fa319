package front

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
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
			v.WriteWindowUpdate(id, frameBuffer+4<<10)
			synctest.Wait()
			for got := 0; got < frameBuffer+4<<10; {
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
				peer, end := b.spdy("192.0.2.1", new(spdy.Config))
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
				end()
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

// A body of which A sends nothing more is not waited for longer than two minutes, by a
// service that would wait for ever: 408, and the stream is reset.
func TestMuteBodyHTTP1(t *testing.T) {
	for _, test := range []struct {
		name, request string
		next          string // what is sent 50 s later
	}{
		{"with a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx", "y"},
		{"in chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "1\r\ny\r\n"},
		{"nothing at all", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", "y"},
		{"HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx", "y"},
	} {
		t.Run(test.name, func(t *testing.T) {
			read := make(chan error, 1)
			inBubble(t, 100, nil, uploaded(read), func(b *bubble) {
				conn := b.dial("192.0.2.1")
				defer conn.Close()
				io.WriteString(conn, test.request)
				time.Sleep(50 * time.Second)
				io.WriteString(conn, test.next)
				time.Sleep(bodyIdle - time.Second)
				if len(b.records) > 0 {
					b.Fatal("ended within two minutes of what was sent last")
				}
				time.Sleep(bodyIdle/stallTicks + 2*time.Second)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					b.Fatalf("no answer: %v", err)
				}
				if resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
					b.Errorf("status %d, close %v; want 408, true", resp.StatusCode, resp.Close)
				}
				b.wantMute(http.StatusRequestTimeout, read)
			})
		})
	}
}

// The same over h2 and SPDY. Who sends one body after another is waited for.
func TestMuteBodyH2(t *testing.T) {
	read := make(chan error, 10)
	inBubble(t, 100, nil, uploaded(read), func(b *bubble) {
		b.conn = &fakeConn{}
		v := b.h2("192.0.2.1", 1<<16)
		defer v.conn.Close()
		first, second := v.post("/"), v.post("/")
		for range 20 {
			v.WriteData(first, false, []byte("x"))
			if f := v.within(50 * time.Second); f != nil {
				b.Fatalf("got %v, want nothing while another body gets on", f)
			}
		}
		v.WriteData(first, true, nil)
		if status, whole := v.status(first); status != "200" || !whole {
			b.Errorf("the first body: %s, whole %v", status, whole)
		}
		<-b.records
		if err := <-read; err != nil {
			b.Errorf("the first body: %v", err)
		}
		// A body's end is not seen as its last byte was, 50 s before.
		if f := v.within(bodyIdle - 52*time.Second); f != nil {
			b.Fatalf("got %v within two minutes of the first body's last byte, want nothing", f)
		}
		time.Sleep(50*time.Second + bodyIdle/stallTicks + 2*time.Second)
		if status, _ := v.status(second); status != "408" {
			b.Errorf("the second body: %s, want 408", status)
		}
		b.wantMute(http.StatusRequestTimeout, read)
	})
}

// A frame, or a record of TLS, may take long to come, and is nothing before it is whole.
func TestSlowFrame(t *testing.T) {
	read := make(chan error, 1)
	inBubble(t, 100, nil, uploaded(read), func(b *bubble) {
		conn := &fakeConn{}
		b.conn = conn
		v := b.h2("192.0.2.1", 1<<16)
		defer v.conn.Close()
		body := v.post("/")
		for range 600 {
			conn.received.Add(bodyRate)
			if f := v.within(time.Second); f != nil {
				b.Fatalf("got %v while something comes, want nothing", f)
			}
		}
		v.WriteData(body, true, []byte("x"))
		if status, whole := v.status(body); status != "200" || !whole {
			b.Errorf("%s, whole %v", status, whole)
		}
	})
}

// Between a look and what comes of it a body may go on, or be answered: nothing ends then,
// and nobody is kept from the lock.
func TestBodyGoesOnAfterLook(t *testing.T) {
	for name, goOn := range map[string]func(e *exchange){
		"it comes":       func(e *exchange) { e.upload.Store(uploadHeld) },
		"it is answered": func(e *exchange) { e.w.stage.Store(stagePassed) },
		"it has ended":   func(e *exchange) { e.open = false },
	} {
		t.Run(name, func(t *testing.T) {
			var h Handler
			e := &exchange{open: true}
			e.ctx.Begin(t.Context())
			e.upload.Store(uploadSeen)
			goOn(e)
			h.endStuck(stuck{e, errMute})
			if !h.mu.TryLock() {
				t.Fatal("the lock is held")
			}
			h.mu.Unlock()
			if err := e.ctx.Err(); err != nil {
				t.Errorf("it was ended: %v", err)
			}
		})
	}
}

// Bodies of one connection have one window, which one has that its service does not take.
func TestBodyBehindAnother(t *testing.T) {
	var taken chan bool // of the bubble
	inBubble(t, 100, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-taken
		}
		uploaded(make(chan error, 1))(w, r)
	}, func(b *bubble) {
		taken = make(chan bool)
		b.conn = &fakeConn{}
		v := b.h2("192.0.2.1", 1<<16)
		defer v.conn.Close()
		slow := v.post("/slow")
		for range 20 {
			v.WriteData(slow, false, make([]byte, 16<<10-1))
		}
		v.post("/other")
		if f := v.within(time.Hour); f != nil {
			b.Errorf("got %v while another body waits for its service, want nothing", f)
		}
		close(taken)
		time.Sleep(bodyIdle + bodyIdle/stallTicks + 2*time.Second)
		late := 0
		for f := v.within(time.Second); f != nil; f = v.within(time.Second) {
			if f, ok := f.(*http2.MetaHeadersFrame); ok && f.PseudoValue("status") == "408" {
				late++
			}
		}
		if late != 2 {
			b.Errorf("%d of 2 were answered 408 two minutes later", late)
		}
	})
}

func TestMuteBodySPDY(t *testing.T) {
	read := make(chan error, 1)
	inBubble(t, 100, nil, uploaded(read), func(b *bubble) {
		b.conn = &fakeConn{}
		b.conn.received.Store(1 << 20) // TLS's handshake, say
		peer, end := b.spdy("192.0.2.1", &spdy.Config{KeepAlive: 15 * time.Second})
		peer.Send(spdytest.SynStream(1, 0, spdytest.Request("POST", "/")...), spdytest.Data(1, "x", 0))
		var f spdytest.Frame
		var err error
		begun := time.Now()
		for err == nil && time.Since(begun) < 2*bodyIdle {
			if f, err = peer.TryNext(time.Hour); f.Type != spdytest.TypePing {
				break
			}
			peer.Send(f)
		}
		if d := time.Since(begun); d < bodyIdle-time.Second || d > bodyIdle+bodyIdle/stallTicks+2*time.Second {
			b.Errorf("an answer after %v, want two minutes and a step", d)
		}
		if status, _ := f.Get(":status"); err != nil || f.Type != spdytest.TypeSynReply || !strings.HasPrefix(status, "408") {
			b.Errorf("got %v, %v want 408", f, err)
		}
		b.wantMute(http.StatusRequestTimeout, read)
		end()
	})
}

// Where the answer has begun, both sides may be silent for as long as they like: a body
// that nobody waited for by then comes in its own time.
func TestMuteBodyAnswered(t *testing.T) {
	inBubble(t, 100, nil, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		for range 3 {
			promptly{w}.Write([]byte("tick"))
			time.Sleep(time.Hour)
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}, func(b *bubble) {
		conn := b.dial("192.0.2.1")
		defer conn.Close()
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
		time.Sleep(5 * time.Hour)
		io.WriteString(conn, "y")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			b.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); string(got) != "tickticktick2" || err != nil {
			b.Errorf("got %q, %v", got, err)
		}
	})
}

// What is not A's to send is waited for: a service that takes nothing for an hour.
func TestBodyNotTaken(t *testing.T) {
	inBubble(t, 100, nil, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Hour)
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}, func(b *bubble) {
		conn := b.dial("192.0.2.1")
		defer conn.Close()
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 1000000))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			b.Fatal(err)
		}
		if got, _ := io.ReadAll(resp.Body); string(got) != "1000000" {
			b.Errorf("%s: %q", resp.Status, got)
		}
	})
}

// uploaded reads a body for as long as it takes, and tells how it ended.
func uploaded(read chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
	}
}

// wantMute fails unless a request ended with status because A sent no more of its body,
// and C was told.
func (b *bubble) wantMute(status int, read <-chan error) {
	b.Helper()
	synctest.Wait()
	select {
	case r := <-b.records:
		if r.Status != status || r.Detail != errMute.Error() || r.Stalled || r.Failed() {
			b.Errorf("record: %d, %q, stalled %v, failed %v", r.Status, r.Detail, r.Stalled, r.Failed())
		}
	default:
		b.Fatal("the request has not ended")
	}
	select {
	case err := <-read:
		if err == nil {
			b.Error("C takes what it has got for the whole body")
		}
	default:
		b.Error("C still waits for the body")
	}
}
