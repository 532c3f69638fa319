package spdy_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// maxDelta is the largest window and the largest WINDOW_UPDATE.
const maxDelta = 1<<31 - 1

// smallSession is a session whose window is the protocol's 64 KiB, so that
// credit for it is due early.
var smallSession = setup{config: spdy.Config{SessionWindow: 65536}}

// use56 is case 56: a response of 200000 bytes of which the windows let 65536
// through.
func (h *serverTest) use56() {
	h.Helper()
	h.p.Send(req(1, "/size/200000"))
	h.wantBytes("2.6.8: both windows start at 65536", map[uint32]int{1: 65536})
}

// wantCredit fails unless got is what a receiver gives back of n bytes: all of
// it, or less by under half a window that it still waits to fill.
func wantCredit(h *session, what string, got, n, window int) {
	h.Helper()
	if got > n || got < n-window/2 {
		h.Errorf("credit for %s: got %d, want between %d and %d", what, got, max(0, n-window/2), n)
	}
}

var flowCases = join([]conformanceCase{
	server(56, "no credit is given", func(h *serverTest) { h.use56() }),
	server(57, "credit for the stream, then for the session", func(h *serverTest) {
		h.use56()
		h.p.Send(wu(1, 1000))
		h.p.WantIdle("the session's window is used up")
		h.p.Send(wu(0, 1000))
		h.wantBytes("2.6.8: the smaller of the two windows", map[uint32]int{1: 1000})
	}),
	server(58, "two streams in one session window", func(h *serverTest) {
		h.p.Send(req(1, "/size/100000"), req(3, "/size/100000"), wu(1, 1000000), wu(3, 1000000))
		c := h.drain(newCollector())
		if n := len(c.stream(1).body) + len(c.stream(3).body); n != 65536 {
			h.Errorf("got %d bytes in sum, want 65536", n)
		}
	}),
	server(59, "two stream windows", func(h *serverTest) {
		h.p.Send(req(1, "/size/100000"), req(3, "/size/100000"), wu(0, 1000000))
		h.wantBytes("2.6.8: each stream's own window", map[uint32]int{1: 65536, 3: 65536})
	}),
	{60, "server", "what both windows allow, no more", func(t *testing.T) {
		serve(t, setup{}, func(h *serverTest) {
			h.p.Send(req(1, "/size/1000000"), req(3, "/size/1000000"))
			wantWindowsKept(h.session, map[uint32]int{1: 1000000, 3: 1000000})
			h.alive(5)
		})
	}},
	{60, "client", "what both windows allow, no more", func(t *testing.T) {
		dial(t, setup{}, func(h *clientTest) {
			var calls []*call
			for range 2 {
				calls = append(calls, h.start(h.request("POST", "/", bytes.NewReader(bytesOf(1000000)))))
			}
			wantWindowsKept(h.session, map[uint32]int{1: 1000000, 3: 1000000})
			h.p.Send(rep(1), data(1, "ok", fin), rep(3), data(3, "ok", fin))
			for _, c := range calls {
				c.wantBody("an answer", 200, "ok")
			}
			h.next = 5
			h.alive()
		})
	}},
	server(61, "a stream window above 2^31-1", func(h *serverTest) {
		h.use56()
		h.p.Send(wu(1, maxDelta))
		h.p.WantIdle("2^31-1 is allowed")
		h.p.Send(wu(1, maxDelta))
		h.wantSE("2.6.8: a window above 2^31-1 ends the stream", 1, spdy.FlowControlError)
		h.p.Send(wu(0, 65536))
		h.p.WantIdle("nothing of stream 1")
		h.alive(3)
	}),
},
	bothXE(62, "a session window above 2^31-1", wu(0, maxDelta)),
	[]conformanceCase{
		server(63, "WINDOW_UPDATE of 0 on a stream", func(h *serverTest) {
			h.p.Send(post(1, "/echo"), wu(1, 0))
			h.wantSE("a delta of 0", 1, spdy.FlowControlError)
			h.alive(3)
		}),
	},
	bothXE(64, "WINDOW_UPDATE of 0 on the session", wu(0, 0)),
	bothIgnore(65, "WINDOW_UPDATE on a stream never opened", wu(77, 1000)),
	[]conformanceCase{
		server(65, "WINDOW_UPDATE on a stream that this side has finished", func(h *serverTest) {
			h.p.Send(post(1, "/ok"))
			h.wantResponse("the response is whole, the request not", 1, "200", "ok")
			h.p.Send(wu(1, maxDelta), wu(1, maxDelta), wu(1, 0))
			h.p.WantIdle("2.6.8: ignored")
			h.p.Send(data(1, "x", fin), wu(1, maxDelta), wu(1, 0))
			h.p.WantIdle("ignored on a closed stream too")
			h.alive(3)
		}),
		client(65, "WINDOW_UPDATE on a stream that this side has finished", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(wu(id, maxDelta), wu(id, maxDelta), wu(id, 0))
			h.p.WantIdle("2.6.8: ignored")
			h.answer(c, id)
			h.p.Send(wu(id, maxDelta), wu(id, 0))
			h.p.WantIdle("ignored on a closed stream too")
			h.alive()
		}),
		server(66, "SETTINGS lower the window below 0", func(h *serverTest) {
			h.use56()
			h.p.Send(set(7, 0), wu(1, 65536), wu(0, 1000000))
			h.p.WantIdle("2.6.8: 65536 - 65536 sent + (0 - 65536) + 65536 = 0")
			h.p.Send(wu(1, 10))
			h.wantBytes("2.6.8: the window is above 0 again", map[uint32]int{1: 10})
		}),
		server(67, "SETTINGS raise the window", func(h *serverTest) {
			h.use56()
			h.p.Send(wu(0, 1000000), set(7, 131072))
			h.wantBytes("2.6.8: open streams get the difference", map[uint32]int{1: 65536})
		}),
		serverWith(68, "credit for what was read", smallSession, func(h *serverTest) { uploadCredit(h) }),
		server(68, "credit for what was read, wide session window", func(h *serverTest) { uploadCredit(h) }),
		serverWith(69, "a handler that does not read holds nobody up", smallSession, func(h *serverTest) { unreadUpload(h) }),
		server(69, "a handler that does not read holds nobody up, wide session window", func(h *serverTest) { unreadUpload(h) }),
		server(70, "DATA beyond the stream window", func(h *serverTest) {
			h.p.Send(post(1, "/block"))
			s := h.sender()
			s.send(1, bytesOf(h.pre.StreamWindow), 0)
			h.p.WantIdle("the window is used up, not overrun")
			h.p.Send(data(1, "x"))
			h.wantSE("2.6.8: one byte too many", 1, spdy.FlowControlError)
			h.wantEnded("the stream was reset")
			h.alive(3)
		}),
		server(71, "DATA beyond the session window", func(h *serverTest) {
			h.p.Send(post(1, "/block"))
			<-h.arrived
			h.p.Send(tooMuchData(h.session, 1))
			h.wantXE("2.6.8: judged by the frame's header", 1)
		}),
		client(71, "DATA beyond the session window", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(rep(id))
			resp, err := c.wait()
			if err != nil {
				h.Fatal(err)
			}
			h.p.Send(tooMuchData(h.session, id))
			h.wantXE("2.6.8: judged by the frame's header", 0)
			_, err = io.ReadAll(resp.Body)
			wantSessionError(h.session, err, spdy.GoAwayProtocolError, false)
		}),
		serverWith(72, "DATA on streams never opened gives session credit", smallSession, func(h *serverTest) { strayData(h) }),
		server(72, "DATA on streams never opened gives session credit, wide session window", func(h *serverTest) { strayData(h) }),
		serverWith(73, "no credit for a stream after FIN", smallSession, func(h *serverTest) {
			h.p.Send(post(1, "/count"), data(1, string(bytesOf(40000)), fin))
			c := h.drain(newCollector())
			h.checkResponse("the upload", c.stream(1), "200", "40000")
			if n, ok := c.credit[1]; ok {
				h.Errorf("got WINDOW_UPDATE of %d for a stream whose FIN came, want none", n)
			}
			wantCredit(h.session, "the session", c.credit[0], 40000, h.pre.SessionWindow)
			if c.credit[0] == 0 {
				h.Error("got no credit for the session")
			}
			h.alive(3)
		}),
		client(74, "an upload without credit", func(h *clientTest) {
			post := h.start(h.request("POST", "/", bytes.NewReader(bytesOf(200000))))
			h.wantSyn("the upload")
			h.wantBytes("2.6.8: both windows start at 65536", map[uint32]int{1: 65536})
			get, id := h.open("/")
			h.answer(get, id)
			h.p.Send(rep(1), data(1, "enough", fin), rst(1, spdy.Cancel))
			post.wantBody("the response stays whole", 200, "enough")
			h.alive()
		}),
		client(75, "a body that nobody reads holds nobody up", func(h *clientTest) {
			h.p.Answer = h.p.EchoPings(true) // 1 MiB: the client may measure the round trip
			first, id1 := h.open("/1")
			s := h.sender()
			h.p.Send(rep(id1))
			s.send(id1, bytesOf(h.pre.StreamWindow), 0)
			resp, err := first.wait()
			if err != nil {
				h.Fatal(err)
			}
			second, id3 := h.open("/3")
			h.p.Send(rep(id3))
			read := make(chan struct{})
			// Ends when the body does; waited for below.
			go func() {
				defer close(read)
				second.wantBody("stream 3", 200, string(bytesOf(1<<20)))
			}()
			s.send(id3, bytesOf(1<<20), fin)
			<-read
			s.drain()
			if s.credit[id1] != 0 {
				h.Errorf("got credit of %d for a body that nobody read, want none", s.credit[id1])
			}
			if len(s.other) != 0 {
				h.Errorf("got %v, want only WINDOW_UPDATE", s.other)
			}
			resp.Body.Close()
			h.p.Want("a body closed before its end", rst(id1, spdy.Cancel))
			h.alive()
		}),
		serverWith(76, "SPDY/3 has no session window", setup{config: spdy.Config{Version: spdy.SPDY3}}, func(h *serverTest) {
			if h.pre.SessionWindow != 65536 {
				h.Errorf("got a WINDOW_UPDATE for the session, want none in SPDY/3")
			}
			h.use56()
			h.p.Send(wu(1, 1000000))
			c := newCollector()
			c.stream(1).head = frame{Wire: []byte{}} // SYN_REPLY came above
			h.collectInto(c, "the rest", 1)
			if n := len(c.stream(1).body); n != 200000-65536 {
				h.Errorf("got %d bytes more, want %d", n, 200000-65536)
			}
			h.p.Send(wu(0, maxDelta), wu(0, maxDelta), wu(0, 0))
			h.p.WantIdle("WINDOW_UPDATE of the session is ignored")
			h.alive(3)
		}),
	})

// uploadCredit is case 68.
func uploadCredit(h *serverTest) {
	h.Helper()
	h.p.Send(post(1, "/echo"))
	for n := 0; n < 60000; n += 15000 {
		h.p.Send(data(1, string(bytesOf(60000)[n:n+15000])))
	}
	c := h.drain(newCollector())
	wantCredit(h.session, "stream 1", c.credit[1], 60000, h.pre.StreamWindow)
	wantCredit(h.session, "the session", c.credit[0], 60000, h.pre.SessionWindow)
	if !bytes.Equal(c.stream(1).body, bytesOf(60000)) {
		h.Errorf("got an echo of %d bytes, want the 60000 that were sent", len(c.stream(1).body))
	}
	h.p.Send(data(1, "", fin), wu(0, 65536))
	h.collectInto(c, "the echo's end", 1)
	h.alive(3)
}

// unreadUpload is case 69.
func unreadUpload(h *serverTest) {
	h.Helper()
	s := h.sender()
	h.p.Send(post(1, "/noread"))
	<-h.arrived
	s.send(1, bytesOf(h.pre.StreamWindow), 0)
	h.p.Send(post(3, "/count"))
	s.send(3, bytesOf(100000), fin)
	s.drain()
	c := newCollector()
	for _, f := range s.other {
		c.add(h, f)
	}
	h.checkResponse("stream 3 completes", c.stream(3), "200", "100000")
	if s.credit[1] != 0 {
		h.Errorf("got credit of %d for what was not read, want none", s.credit[1])
	}
	close(h.release)
	c = h.collect("stream 1 is answered", 1)
	h.checkResponse("stream 1", c.stream(1), "200", "ok")
	h.p.Send(data(1, "", fin))
	h.drain(newCollector())
	h.alive(5)
}

// strayData is case 72.
func strayData(h *serverTest) {
	h.Helper()
	s := h.sender()
	const n, size = 13, 16000
	for i := range n {
		id := uint32(101 + 2*i)
		for s.session < size {
			s.take("session credit")
		}
		s.send(id, bytesOf(size), 0)
		for len(s.other) <= i {
			s.take("RST_STREAM")
		}
		if want := rst(id, spdy.InvalidStream); !bytes.Equal(s.other[i].Wire, want.Append(nil, nil)) {
			h.Fatalf("DATA on stream %d: got %v, want %v", id, s.other[i], want)
		}
	}
	s.drain()
	if len(s.other) != n {
		h.Errorf("got %v, want one RST_STREAM for each frame", s.other[n:])
	}
	wantCredit(h.session, "the session", s.credit[0], n*size, h.pre.SessionWindow)
	h.alive(1)
}

// tooMuchData is the header of a DATA frame one byte longer than the session's
// window.
func tooMuchData(h *session, id uint32) frame {
	n := h.pre.SessionWindow + 1
	return spdytest.Raw([]byte{0, 0, 0, byte(id), 0, byte(n >> 16), byte(n >> 8), byte(n)})
}

// wantWindowsKept reads the streams' DATA, giving credit in small portions, and
// fails if a frame is too long or beyond a window.
func wantWindowsKept(h *session, want map[uint32]int) {
	h.Helper()
	total := 65536
	windows := make(map[uint32]int)
	got := make(map[uint32]int)
	for id := range want {
		windows[id] = 65536
	}
	done := 0
	for i := 0; done < len(want); {
		f, ok := h.p.Poll(spdytest.Idle)
		if !ok { // no frame: all that the windows allowed has come
			i++
			id := uint32(1 + 2*(i%2))
			n := 3001 * (1 + i%40)
			h.p.Send(wu(id, uint32(n)), wu(0, uint32(n/2+1)))
			windows[id] += n
			total += n/2 + 1
			continue
		}
		switch f.Type {
		case spdytest.TypeData:
		case spdytest.TypeSynReply, spdytest.TypeSynStream:
			continue
		default:
			h.Fatalf("got %v, want DATA", f)
		}
		n := len(f.Data)
		got[f.ID] += n
		windows[f.ID] -= n
		total -= n
		if n > 16384 {
			h.Errorf("got DATA of %d bytes, want 16384 at most", n)
		}
		if windows[f.ID] < 0 || total < 0 {
			h.Fatalf("got %v: windows of the stream %d, of the session %d, want none below 0", f, windows[f.ID], total)
		}
		if f.Flags&fin != 0 {
			done++
		}
	}
	for id, n := range want {
		if got[id] != n {
			h.Errorf("stream %d: got %d bytes, want %d", id, got[id], n)
		}
	}
}

var settingsCases = join([]conformanceCase{
	{77, "server", "the first SETTINGS", func(t *testing.T) {
		h := newServerTest(t, setup{idle: true})
		h.serve()
		h.p.Send(req(1, "/ok"))
		h.p.Want("SETTINGS before any stream frame", set(4, 1000, 7, 65536), wu(0, 1<<20-65536))
		h.wantResponse("then the streams", 1, "200", "ok")
		h.finish()
	}},
	{77, "client", "the first SETTINGS", func(t *testing.T) {
		h := newClientTest(t, setup{idle: true})
		c := h.get("/")
		h.serve()
		h.p.Want("SETTINGS before any stream frame", set(4, 0, 7, 65536), wu(0, 1<<20-65536))
		f := h.wantSyn("then the streams")
		h.answer(c, f.ID)
		h.finish()
	}},
},
	bothXE(78, "SETTINGS with count 2 in length 12", raw("80030004 0000000c 00000002 00000007 00010000")),
	bothXE(78, "SETTINGS with count 1 in length 20", raw("80030004 00000014 00000001 00000007 00010000 00000008 00000000")),
	bothXE(78, "SETTINGS with count 2^29+1 in length 12", raw("80030004 0000000c 20000001 00000007 00010000")),
	[]conformanceCase{
		server(79, "SETTINGS that are not known", func(h *serverTest) {
			h.p.Send(set(99, 1), set(0, 1), withFlags(set(99, 1), spdytest.ClearSettings))
			h.p.WantIdle("2.6.4: ignored")
			h.alive(1)
		}),
		server(80, "an id twice in one SETTINGS", func(h *serverTest) {
			h.p.Send(set(7, 1000, 7, 5000), req(1, "/size/9000"))
			h.wantBytes("2.6.4: the first counts", map[uint32]int{1: 1000})
		}),
		server(80, "an id in two SETTINGS", func(h *serverTest) {
			h.p.Send(set(7, 1000), set(7, 5000), req(1, "/size/9000"))
			h.wantBytes("2.6.4: the later counts", map[uint32]int{1: 5000})
		}),
	},
	bothXE(81, "SETTINGS with a window of 2^31", set(7, 1<<31)),
	[]conformanceCase{
		client(82, "MAX_CONCURRENT_STREAMS 1", func(h *clientTest) {
			h.p.Send(set(4, 1))
			h.p.WantIdle("SETTINGS are not answered")
			first, id := h.open("/1")
			second := h.get("/2")
			h.p.WantIdle("2.6.4: one stream at once")
			h.p.Send(rep(id))
			h.p.WantIdle("the first stream is still open")
			h.p.Send(data(id, "ok", fin))
			f := h.wantSyn("the first stream has ended")
			first.wantBody("the first", 200, "ok")
			h.answer(second, f.ID)
			h.alive()
		}),
		client(83, "MAX_CONCURRENT_STREAMS 0, then 10", func(h *clientTest) {
			h.p.Send(set(4, 0))
			h.p.WantIdle("SETTINGS are not answered")
			c := h.get("/")
			h.p.WantIdle("2.6.4: no stream")
			if n := h.s.Available(); n != 0 {
				h.Errorf("Available: got %d, want 0", n)
			}
			h.p.Send(set(4, 10))
			f := h.wantSyn("ten streams")
			h.answer(c, f.ID)
			h.alive()
		}),
		serverWith(84, "one stream too many", setup{config: spdy.Config{MaxConcurrentStreams: 3}}, func(h *serverTest) {
			if h.pre.MaxStreams != 3 {
				h.Fatalf("got MAX_CONCURRENT_STREAMS %d, want 3", h.pre.MaxStreams)
			}
			h.p.Send(req(1, "/block"), req(3, "/block"), req(5, "/hold"), req(7, "/ok"))
			h.wantSE("2.6.4: REFUSED_STREAM", 7, spdy.RefusedStream)
			h.p.Send(rst(1, spdy.Cancel))
			h.wantEnded("stream 1 was reset")
			h.p.WantIdle("nothing for it")
			h.alive(9)
			close(h.release)
			h.wantResponse("the others go on", 5, "200", "ok")
		}),
		server(84, "one stream too many, of the default", func(h *serverTest) {
			n := h.pre.MaxStreams
			for i := range n {
				h.p.Send(req(1+2*i, "/block"))
			}
			h.p.Send(req(1+2*n, "/ok"))
			h.wantSE("2.6.4: REFUSED_STREAM", 1+2*n, spdy.RefusedStream)
			h.p.Send(rst(1, spdy.Cancel))
			h.wantEnded("stream 1 was reset")
			h.p.WantIdle("nothing for it")
			h.alive(3 + 2*n)
		}),
		server(85, "an entry with PERSISTED", func(h *serverTest) {
			f := set(7, 1)
			f.Settings[0].Flags = 2
			h.p.Send(f)
			h.use56()
		}),
		client(85, "an entry with PERSIST_VALUE", func(h *clientTest) {
			f := set(7, 1000)
			f.Settings[0].Flags = 1
			h.p.Send(f)
			h.p.WantIdle("SETTINGS are not answered")
			h.start(h.request("POST", "/", bytes.NewReader(bytesOf(2000))))
			h.wantSyn("the upload")
			h.wantBytes("2.6.4: applied", map[uint32]int{1: 1000})
		}),
	})
