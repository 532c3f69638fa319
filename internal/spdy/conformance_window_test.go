package spdy_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// onRead is a session whose streams open their windows with the first Read.
var onRead = setup{config: spdy.Config{WindowOnRead: true}}

// handleLate has /late read the body when the test says so.
func (h *serverTest) handleLate() {
	h.mux.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
		<-h.release
		b, err := io.ReadAll(r.Body)
		h.bodies <- readResult{string(b), err, r.Trailer}
	})
}

// wantBody fails unless a handler has read b.
func (h *serverTest) wantBody(why string, b []byte) {
	h.Helper()
	if got := <-h.bodies; got.body != string(b) || got.err != nil {
		h.Errorf("%s: got a body of %d bytes, %v, want %d bytes", why, len(got.body), got.err, len(b))
	}
}

var windowCases = []conformanceCase{
	{121, "server", "a window of 0 at the start", func(t *testing.T) {
		h := newServerTest(t, setup{config: onRead.config, idle: true})
		h.serve()
		h.p.Want("SETTINGS", set(4, 1000, 7, 0), wu(0, 1<<20-65536))
		h.p.Send(req(1, "/ok"))
		h.wantResponse("a request without a body", 1, "200", "ok")
		h.finish()
	}},
	serverWith(122, "the first Read opens the window", onRead, func(h *serverTest) {
		h.handleLate()
		h.p.Send(post(1, "/late"))
		h.p.WantIdle("nothing was read")
		close(h.release)
		h.p.Want("2.6.8: the window of 0 grows", wu(1, 65536))
		s := h.sender()
		s.start = 65536
		s.send(1, bytesOf(60000), 0)
		s.drain()
		wantCredit(h.session, "stream 1", s.credit[1], 60000, 65536)
		h.p.Send(data(1, "", fin))
		h.wantBody("what was sent", bytesOf(60000))
		h.wantResponse("the end", 1, "200", "")
		h.alive(3)
	}),
	serverWith(123, "a body that is not asked for", onRead, func(h *serverTest) {
		h.mux.HandleFunc("/close", func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			io.WriteString(w, "ok")
		})
		close(h.release)
		for i, path := range []string{"/noread", "/close"} {
			id := uint32(1 + 2*i)
			h.p.Send(post(id, path))
			c := h.drain(newCollector())
			m := c.stream(id)
			h.checkResponse("the response is whole", m, "200", "ok")
			if len(c.credit) != 0 || !m.fin || m.reset != spdy.Cancel {
				h.Errorf("%s: got credit %v, FIN %v, %v, want none, FIN, and CANCEL", path, c.credit, m.fin, m.reset)
			}
		}
		h.alive(5)
	}),
	serverWith(124, "DATA of a peer that has not seen the SETTINGS", onRead, func(h *serverTest) {
		h.handleLate()
		s := h.sender()
		s.start = 65536
		h.p.Send(post(1, "/late"), post(3, "/block"))
		s.send(1, bytesOf(65536), 0)
		s.send(3, bytesOf(65536), 0)
		s.drain()
		if s.credit[1] != 0 || len(s.other) != 0 {
			h.Errorf("got credit of %d, and %v, want none before the first Read", s.credit[1], s.other)
		}
		close(h.release)
		for s.credit[1] < 65536 {
			s.take("the window, and credit for what was read")
		}
		h.p.Send(data(1, "", fin))
		h.wantBody("all that came", bytesOf(65536))
		s.drain()
		h.p.Send(data(3, "x"))
		h.wantSE("2.6.8: one byte too many", 3, spdy.FlowControlError)
		h.wantEnded("the stream was reset")
		h.alive(5)
	}),
	serverWith(125, "a long body", onRead, func(h *serverTest) {
		h.p.Answer = func(f frame) bool { return f.Type == spdytest.TypePing } // the round trip is not to be known
		h.p.Send(post(1, "/read"))
		s := h.sender()
		s.start = 0
		s.send(1, bytesOf(300000), fin)
		h.wantBody("in the windows that were given", bytesOf(300000))
	}),
}
