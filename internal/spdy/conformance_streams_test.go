package spdy_test

import (
	"errors"
	"fmt"
	"io"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// wantSessionError fails unless err is a SessionError with that status.
func wantSessionError(h *session, err error, status spdy.GoAwayStatus, remote bool) {
	h.Helper()
	se, ok := errors.AsType[*spdy.SessionError](err)
	if !ok || se.Status != status || se.Remote != remote {
		h.Errorf("got error %v, want a *SessionError with %v, remote %v", err, status, remote)
	}
}

var streamCases = join([]conformanceCase{
	server(15, "a request is answered", func(h *serverTest) {
		h.p.Send(req(1, "/ok"))
		m := h.wantResponse("SYN_REPLY, DATA, FIN once", 1, "200", "ok")
		if m.head.Flags != 0 {
			h.Errorf("SYN_REPLY of a response with a body: got flags %02x, want 0", m.head.Flags)
		}
		h.p.WantIdle("nothing after FIN")
	}),
	server(15, "requests as moby's framer writes them", func(h *serverTest) {
		h.p.Moby = spdytest.NewMobyWriter()
		h.p.Send(set(7, 65536), post(1, "/echo", nv("x-two", "a\x00b")), data(1, "echo"), headers(1, fin, nv("x-sum", "1")))
		h.wantResponse("an echo", 1, "200", "echo")
		for id := uint32(3); id < 20; id += 2 {
			h.alive(id)
		}
	}),
	server(16, "one request waits, the next is answered", func(h *serverTest) {
		h.p.Send(req(1, "/block"), req(3, "/ok"))
		h.wantResponse("stream 3 does not wait for stream 1", 3, "200", "ok")
		h.p.WantIdle("nothing of stream 1")
	}),
	server(17, "ids with a gap", func(h *serverTest) {
		h.p.Send(req(1, "/ok"), req(7, "/ok"))
		c := h.collect("2.3.2: ids grow, not by 2", 1, 7)
		h.checkResponse("stream 1", c.streams[1], "200", "ok")
		h.checkResponse("stream 7", c.streams[7], "200", "ok")
		h.alive(9)
	}),
	server(18, "an id that goes back", func(h *serverTest) {
		h.p.Send(req(3, "/ok"))
		h.wantResponse("stream 3", 3, "200", "ok")
		h.p.Send(req(1, "/ok"))
		h.wantXE("2.3.2: ids grow", 3)
	}),
	server(18, "an id that goes back, in one write", func(h *serverTest) {
		h.p.Send(req(3, "/ok"), req(1, "/ok"))
		f := h.p.Next("2.3.2: ids grow")
		for ; f.Type == spdytest.TypeSynReply || f.Type == spdytest.TypeData; f = h.p.Next("2.3.2: ids grow") {
			if f.ID != 3 {
				h.Fatalf("got %v, want frames of stream 3 alone before the GOAWAY", f)
			}
		}
		if f.Type != spdytest.TypeGoAway || f.ID != 3 || f.Value != 1 {
			h.Fatalf("got %v, want GOAWAY with last-good 3 and PROTOCOL_ERROR", f)
		}
		h.p.WantEOF("a session error")
	}),
	server(19, "an id twice", func(h *serverTest) {
		h.p.Send(post(1, "/echo"), post(1, "/echo"))
		h.wantSE("2.3.2: the same id again", 1, spdy.ProtocolError)
		h.alive(3)
	}),
	server(19, "an id twice, the first stream closed", func(h *serverTest) {
		h.p.Send(req(1, "/ok"))
		h.wantResponse("stream 1", 1, "200", "ok")
		h.p.Send(req(1, "/ok"))
		h.wantSE("2.3.2: the same id again", 1, spdy.ProtocolError)
		h.alive(3)
	}),
	server(20, "an even id", func(h *serverTest) {
		h.p.Send(req(2, "/ok"))
		h.wantXE("2.3.2: a client's ids are odd", 0)
	}),
	server(21, "stream id 0", func(h *serverTest) {
		h.p.Send(req(0, "/ok"))
		h.wantXE("2.3.2: 0 is no stream", 0)
	}),
},
	bothXE(22, "DATA on stream 0", data(0, "x")),
	[]conformanceCase{
		server(23, "DATA on a stream never opened", func(h *serverTest) {
			h.p.Send(data(5, "x"))
			h.wantSE("2.2.2: INVALID_STREAM", 5, spdy.InvalidStream)
			h.alive(1)
		}),
		server(24, "HEADERS on a stream never opened", func(h *serverTest) {
			h.p.Send(headers(5, 0, nv("a", "b")))
			h.wantSE("INVALID_STREAM", 5, spdy.InvalidStream)
			h.alive(1)
		}),
		server(25, "DATA after FIN", func(h *serverTest) {
			h.p.Send(req(1, "/block"), data(1, "x"))
			h.wantSE("2.3.6: STREAM_ALREADY_CLOSED", 1, spdy.StreamAlreadyClosed)
			h.wantEnded("the stream was reset")
			h.alive(3)
		}),
		server(26, "DATA twice on a closed stream", func(h *serverTest) {
			h.p.Send(req(1, "/ok"))
			h.wantResponse("stream 1", 1, "200", "ok")
			h.p.Send(data(1, "x"), data(1, "x"))
			h.wantSE("PROTOCOL_ERROR, once", 1, spdy.ProtocolError)
			h.alive(3)
		}),
		server(27, "DATA after our RST_STREAM", func(h *serverTest) {
			h.p.Send(post(1, "/echo"), withFlags(data(1, "x"), 2), data(1, "y"), data(1, "y"), data(1, "y"))
			h.wantSE("2.4.2: one RST_STREAM in all", 1, spdy.ProtocolError)
			h.alive(3)
		}),
		server(28, "RST_STREAM while a response is sent", func(h *serverTest) {
			h.p.Send(req(1, "/size/1000000"))
			h.wantBytes("the window", map[uint32]int{1: 65536})
			h.p.Send(rst(1, spdy.Cancel))
			select {
			case err := <-h.failed:
				se, ok := errors.AsType[*spdy.StreamError](err)
				if !ok || se.Status != spdy.Cancel || !se.Remote || se.StreamID != 1 {
					h.Errorf("Write: got %v, want a *StreamError with the peer's CANCEL", err)
				}
			case <-time.After(time.Second):
				h.Error("Write did not fail within 1 s")
			}
			h.p.Send(wu(1, 65536), wu(0, 65536))
			h.p.WantIdle("nothing more of stream 1")
			h.alive(3)
		}),
	},
	bothIgnore(29, "RST_STREAM on a stream never opened", rst(99, spdy.ProtocolError)),
	[]conformanceCase{
		server(30, "RST_STREAM with status 0", func(h *serverTest) {
			h.p.Send(post(1, "/block"), rst(1, 0))
			h.wantEnded("the stream is closed")
			h.p.WantIdle("2.4.2: never a RST_STREAM for a RST_STREAM")
			h.alive(3)
		}),
		client(30, "RST_STREAM with status 0", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(rst(id, 0))
			c.wantReset("the stream fails", 0, true)
			h.p.WantIdle("2.4.2: never a RST_STREAM for a RST_STREAM")
			h.alive()
		}),
		server(31, "SYN_STREAM with UNIDIRECTIONAL", func(h *serverTest) {
			h.p.Send(withFlags(req(1, "/ok"), fin|spdytest.Unidirectional))
			h.wantSE("it could not be answered", 1, spdy.ProtocolError)
			h.alive(3)
		}),
		server(32, "SYN_REPLY on its own stream", func(h *serverTest) {
			h.p.Send(post(1, "/block"), rep(1))
			h.wantSE("SYN_REPLY on a stream that the peer opened", 1, spdy.ProtocolError)
			h.wantEnded("the stream was reset")
			h.alive(3)
		}),
		client(33, "DATA before SYN_REPLY", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(data(id, "x"))
			h.wantSE("2.3.2: SYN_REPLY comes first", id, spdy.ProtocolError)
			c.wantReset("the call fails", spdy.ProtocolError, false)
			h.alive()
		}),
		client(34, "HEADERS before SYN_REPLY", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(headers(id, 0, nv("a", "b")))
			h.wantSE("SYN_REPLY comes first", id, spdy.ProtocolError)
			c.wantReset("the call fails", spdy.ProtocolError, false)
			h.alive()
		}),
		client(35, "SYN_REPLY on a stream never opened", func(h *clientTest) {
			h.p.Send(rep(99))
			h.wantSE("INVALID_STREAM", 99, spdy.InvalidStream)
			h.alive()
		}),
		client(36, "a response", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(rep(id), data(id, "ok", fin))
			c.wantBody("the call", 200, "ok")
			h.p.WantIdle("nothing more to say")
		}),
		client(36, "responses as moby's framer writes them", func(h *clientTest) {
			h.p.Moby = spdytest.NewMobyWriter()
			for range 10 {
				h.alive()
			}
		}),
		client(37, "SYN_REPLY twice", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(rep(id))
			c.wait()
			h.p.Send(rep(id))
			h.wantSE("2.3.2: STREAM_IN_USE", id, spdy.StreamInUse)
			c.wantReset("the call fails", spdy.StreamInUse, false)
			h.alive()
		}),
		client(37, "SYN_REPLY twice in one write", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(rep(id), rep(id))
			h.wantSE("2.3.2: STREAM_IN_USE", id, spdy.StreamInUse)
			c.wantReset("the call fails", spdy.StreamInUse, false)
			h.alive()
		}),
		client(38, "connection closed within a body", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(rep(id), data(id, "abc"))
			resp, err := c.wait()
			if err != nil {
				h.Fatal(err)
			}
			h.p.Close()
			wantCut(h.session, resp.Body)
		}),
		client(39, "RST_STREAM within a body", func(h *clientTest) {
			c, id := h.open("/")
			h.p.Send(rep(id), data(id, "abc"), rst(id, spdy.InternalError))
			resp, err := c.wait()
			if err != nil {
				h.Fatal(err)
			}
			err = wantCut(h.session, resp.Body)
			if se, ok := errors.AsType[*spdy.StreamError](err); !ok || se.Status != spdy.InternalError || !se.Remote {
				h.Errorf("got %v, want a *StreamError with the peer's INTERNAL_ERROR", err)
			}
			h.p.WantIdle("2.4.2: never a RST_STREAM for a RST_STREAM")
			h.alive()
		}),
		client(40, "100 calls at once", func(h *clientTest) {
			calls := make(map[string]*call)
			for i := range 100 {
				path := fmt.Sprintf("/%d", i)
				calls[path] = h.get(path)
			}
			for range 100 {
				f := h.wantSyn("2.3.2: ids are odd and grow") // the peer's zlib state follows the wire's order
				path, _ := f.Get(":path")
				h.p.Send(rep(f.ID), data(f.ID, path, fin))
			}
			for path, c := range calls {
				c.wantBody(path, 200, path)
			}
			synctest.Wait()
			h.alive()
		}),
	},
)

// wantCut fails unless the body gives "abc" and then an error that is not
// io.EOF.
func wantCut(h *session, body io.Reader) error {
	h.Helper()
	var b []byte
	buf := make([]byte, 10)
	for {
		n, err := body.Read(buf)
		b = append(b, buf[:n]...)
		if err == nil {
			continue
		}
		if err == io.EOF || string(b) != "abc" {
			h.Errorf("a cut body: got %q, %v, want abc and an error that is not EOF", b, err)
		}
		return err
	}
}
