package spdy_test

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// badRequest is a row: a request whose pairs are wrong gets 400, and the
// session lives on.
func badRequest(id int, what string, change func(pairs []spdytest.Pair) []spdytest.Pair) conformanceCase {
	return server(id, what, func(h *serverTest) {
		h.mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { h.Error("a handler got the request") })
		h.p.Send(spdytest.SynStream(1, fin, change(spdytest.Request("GET", "/ok"))...))
		h.wantStatusFin("3.2.1: "+what, 1, "400")
		h.alive(3)
	})
}

// wantStatusFin reads a response without caring for its body.
func (h *serverTest) wantStatusFin(why string, id uint32, status string) {
	h.Helper()
	m := h.collect(why, id).streams[id]
	if m.reset != 0 {
		h.Fatalf("%s: got RST_STREAM with %v, want a response", why, m.reset)
	}
	h.checkResponse(why, m, status, string(m.body))
}

func without(name string) conformanceCase {
	return badRequest(97, "no "+name, func(pairs []spdytest.Pair) (left []spdytest.Pair) {
		for _, p := range pairs {
			if p.Name != name {
				left = append(left, p)
			}
		}
		return left
	})
}

func with(what, name, value string) conformanceCase {
	return badRequest(98, what, func(pairs []spdytest.Pair) []spdytest.Pair {
		for i := range pairs {
			if pairs[i].Name == name {
				pairs[i].Value = value
			}
		}
		return pairs
	})
}

// badResponse is a row of case 101.
func badResponse(what string, pairs ...spdytest.Pair) conformanceCase {
	return client(101, what, func(h *clientTest) {
		c, id := h.open("/")
		h.p.Send(spdytest.SynReply(id, 0, pairs...))
		h.wantSE("3.2.2: "+what, id, spdy.ProtocolError)
		c.wantReset("the call fails", spdy.ProtocolError, false)
		h.alive()
	})
}

// badPush is a row: a pushed stream, changed so, gets that status.
func badPush(id int, what string, status spdy.Status, change func(f *frame)) conformanceCase {
	return client(id, what, func(h *clientTest) {
		c, sid := h.open("/")
		f := spdytest.SynStream(2, spdytest.Unidirectional, nv(":host", "a.test"), nv(":scheme", "https"), nv(":path", "/pushed"))
		f.Assoc = sid
		change(&f)
		h.p.Send(f)
		h.wantSE("3.3.1: "+what, 2, status)
		h.answer(c, sid)
		h.alive()
	})
}

// wantRead waits for what a handler read of its body in /read.
func (h *serverTest) wantRead() readResult {
	h.Helper()
	return <-h.bodies
}

var httpCases = []conformanceCase{
	without(":method"), without(":path"), without(":version"), without(":host"), without(":scheme"),
	badRequest(97, "no headers at all", func([]spdytest.Pair) []spdytest.Pair { return nil }),
	with("an empty path", ":path", ""),
	with("a path without slash", ":path", "x"),
	with("a path of * for GET", ":path", "*"),
	with("two hosts", ":host", "a.test\x00b.test"),
	with("an empty host", ":host", ""),
	with("a host with a slash", ":host", "a/b"),
	with("version FTP 1.1", ":version", "FTP/1.1"),
	with("a method with a space", ":method", "G T"),
	with("two paths", ":path", "/ok\x00/x"),
	with("two schemes", ":scheme", "http\x00https"),
	with("two versions", ":version", "HTTP/1.1\x00HTTP/1.1"),
	with("an empty scheme", ":scheme", ""),
	badRequest(98, "content-length of no digits", func(p []spdytest.Pair) []spdytest.Pair { return append(p, nv("content-length", "+1")) }),
	badRequest(98, "two content-lengths", func(p []spdytest.Pair) []spdytest.Pair { return append(p, nv("content-length", "1\x002")) }),
	server(98, "400 before a request's body", func(h *serverTest) {
		h.p.Send(post(1, "x"))
		f := h.p.Next("a response")
		if f.Type != spdytest.TypeSynReply || f.Flags != fin {
			h.Errorf("got %v, want SYN_REPLY with FIN", f)
		}
		// The body is not wanted: the client may be told so.
		h.drainResets()
		h.p.Send(data(1, "x"), data(1, "y", fin))
		h.drainResets()
		h.alive(3)
	}),
	server(99, "names that are dropped", func(h *serverTest) {
		got := h.capture("/see")
		h.p.Send(req(1, "/see", nv("connection", "x-a"), nv("transfer-encoding", "chunked"), nv("host", "b.test"), nv(":other", "1"),
			nv("keep-alive", "1"), nv("proxy-connection", "close"), nv("te", "gzip"), nv("x-a", "1")))
		h.wantResponse("answered", 1, "200", "ok")
		want := seen{"GET", "/see", "a.test", "HTTP/1.1", http.Header{"X-A": {"1"}}}
		if s := <-got; !reflect.DeepEqual(s, want) {
			h.Errorf("got %+v, want %+v", s, want)
		}
		h.alive(3)
	}),
	server(100, "a body shorter than content-length", func(h *serverTest) {
		h.p.Send(post(1, "/read", nv("content-length", "5")), data(1, "abc", fin))
		h.wantStatusFin("3.2.1: 400 if nothing was sent", 1, "400")
		if r := h.wantRead(); r.err == nil || !errors.Is(r.err, spdy.ErrBodyLength) || len(r.body) > 5 {
			h.Errorf("the handler's read: got %q, %v, want ErrBodyLength", r.body, r.err)
		}
		h.p.WantIdle("nothing more")
		h.alive(3)
	}),
	server(100, "a body longer than content-length", func(h *serverTest) {
		h.p.Send(post(1, "/read", nv("content-length", "5")), data(1, "abcdefghi", fin))
		h.wantStatusFin("3.2.1: 400 if nothing was sent", 1, "400")
		if r := h.wantRead(); r.err == nil || !errors.Is(r.err, spdy.ErrBodyLength) || len(r.body) > 5 {
			h.Errorf("the handler's read: got %q, %v, want ErrBodyLength", r.body, r.err)
		}
		h.p.WantIdle("nothing more")
		h.alive(3)
	}),
	server(100, "a body shorter than content-length, the response begun", func(h *serverTest) {
		errs := make(chan error, 1)
		h.mux.HandleFunc("/begun", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
			_, err := io.ReadAll(r.Body)
			errs <- err
		})
		h.p.Send(post(1, "/begun", nv("content-length", "5")))
		h.p.Want("the response begins", spdytest.SynReply(1, 0, nv(":status", "200 OK")), data(1, "begun"))
		h.p.Send(data(1, "abc", fin))
		h.wantSE("a response that was begun is reset", 1, spdy.ProtocolError)
		if err := <-errs; !errors.Is(err, spdy.ErrBodyLength) {
			h.Errorf("the handler's read: got %v, want ErrBodyLength", err)
		}
		h.alive(3)
	}),
	server(100, "a body as long as content-length", func(h *serverTest) {
		h.p.Send(post(1, "/read", nv("content-length", "5\x005")), data(1, "abcde"), data(1, "", fin))
		h.wantResponse("equal lengths count once", 1, "200", "")
		if r := h.wantRead(); r.err != nil || r.body != "abcde" {
			h.Errorf("the handler's read: got %q, %v, want abcde", r.body, r.err)
		}
		h.alive(3)
	}),
	badResponse("no :status", nv(":version", "HTTP/1.1")),
	badResponse("no :version", nv(":status", "200")),
	badResponse("a :status of letters", nv(":status", "abc"), nv(":version", "HTTP/1.1")),
	badResponse("a :status of two digits", nv(":status", "99"), nv(":version", "HTTP/1.1")),
	badResponse("a :status of four digits", nv(":status", "2000"), nv(":version", "HTTP/1.1")),
	badResponse("a :status of 100", nv(":status", "100 Continue"), nv(":version", "HTTP/1.1")),
	badResponse("a :status of 101 that was not asked for", nv(":status", "101"), nv(":version", "HTTP/1.1")),
	client(102, ":status with and without a reason", func(h *clientTest) {
		for _, status := range []string{"204", "204 No Content"} {
			c, id := h.open("/")
			h.p.Send(spdytest.SynReply(id, fin, spdytest.Response(status)...))
			c.wantBody(status, 204, "")
		}
		h.alive()
	}),
	client(103, "HEADERS with FIN", func(h *clientTest) {
		c, id := h.open("/")
		h.p.Send(rep(id, nv("trailer", "x-sum")), data(id, "ok"), headers(id, fin, nv("x-sum", "1")))
		c.wantBody("the body ends clean", 200, "ok")
		if want := (http.Header{"X-Sum": {"1"}}); !reflect.DeepEqual(c.resp.Trailer, want) {
			h.Errorf("trailer: got %q, want %q", c.resp.Trailer, want)
		}
		h.alive()
	}),
	server(104, "HEADERS with FIN", func(h *serverTest) {
		h.p.Send(post(1, "/read", nv("trailer", "x-sum")), data(1, "abc"), headers(1, fin, nv("x-sum", "1")))
		h.wantResponse("answered", 1, "200", "")
		r := h.wantRead()
		if want := (http.Header{"X-Sum": {"1"}}); r.body != "abc" || r.err != nil || !reflect.DeepEqual(r.trailer, want) {
			h.Errorf("the handler's read: got %q, %v, trailer %q, want abc and %q", r.body, r.err, r.trailer, want)
		}
		h.alive(3)
	}),
	server(105, "a handler that panics before the headers", func(h *serverTest) {
		h.mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic(errTest) })
		h.p.Send(req(1, "/panic"))
		h.wantStatusFin("500", 1, "500")
		h.p.WantIdle("nothing more")
		h.alive(3)
	}),
	server(105, "a handler that panics after the headers", func(h *serverTest) {
		h.mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
			panic(errTest)
		})
		h.p.Send(req(1, "/panic"))
		m := h.collect("INTERNAL_ERROR", 1).streams[1]
		if m.fin || m.reset != spdy.InternalError {
			h.Errorf("got FIN %v, RST_STREAM with %v, want INTERNAL_ERROR alone", m.fin, m.reset)
		}
		h.p.WantIdle("nothing more")
		h.alive(3)
	}),
	server(105, "a handler that aborts", func(h *serverTest) {
		h.mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
		h.p.Send(req(1, "/panic"))
		h.wantSE("INTERNAL_ERROR", 1, spdy.InternalError)
		h.alive(3)
	}),
	server(106, "a handler that writes nothing", func(h *serverTest) {
		h.mux.HandleFunc("/nothing", func(http.ResponseWriter, *http.Request) {})
		h.p.Send(req(1, "/nothing"))
		f := h.p.Next("SYN_REPLY with FIN")
		status, _ := f.Get(":status")
		if f.Type != spdytest.TypeSynReply || f.Flags != fin || !strings.HasPrefix(status, "200") {
			h.Errorf("got %v, want SYN_REPLY 200 with FIN", f)
		}
		h.p.WantIdle("no bare DATA")
		h.alive(3)
	}),
	badPush(107, "a push", spdy.RefusedStream, func(f *frame) {}),
	badPush(108, "a push without an associated stream", spdy.ProtocolError, func(f *frame) { f.Assoc = 0 }),
	badPush(108, "a push for a stream that is not open", spdy.ProtocolError, func(f *frame) { f.Assoc = 99 }),
	badPush(108, "a push without UNIDIRECTIONAL", spdy.ProtocolError, func(f *frame) { f.Flags = 0 }),
	badPush(108, "a push without :path", spdy.ProtocolError, func(f *frame) { f.Pairs = f.Pairs[:2] }),
	badPush(108, "a push without :host", spdy.ProtocolError, func(f *frame) { f.Pairs = f.Pairs[1:] }),
	server(109, "priorities 7 and 0", func(h *serverTest) {
		c := twoPriorities(h)
		h.p.Send(wu(0, 1000000))
		h.collectInto(c, "both", 1, 3)
		if a, b := len(c.stream(1).body), len(c.stream(3).body); a != 300000-65536 || b != 300000 {
			h.Errorf("got %d and %d bytes, want %d and 300000", a, b, 300000-65536)
		}
		// 128 kB of each wait to be sent. What comes behind them depends on whether
		// its handler is as quick as the line.
		queued := 0
		for _, id := range c.order {
			if queued += 16000; id != 3 && queued <= 128000 {
				h.Fatalf("2.3.3: DATA of the streams %d, want what is queued of 3 before any of 1", c.order)
			}
		}
	}),
	server(109, "priorities 7 and 0, the handlers are quicker than the line", func(h *serverTest) {
		c := twoPriorities(h)
		for !c.stream(1).fin {
			h.p.Send(wu(0, 16000))
			h.drain(c)
		}
		if a, b := len(c.stream(1).body), len(c.stream(3).body); a != 300000-65536 || b != 300000 || !c.stream(3).fin {
			h.Errorf("got %d and %d bytes, want %d and 300000", a, b, 300000-65536)
		}
		if at := slices.Index(c.order, 1); slices.Contains(c.order[at:], 3) {
			h.Errorf("2.3.3: DATA of the streams %d, want all of 3 before any of 1", c.order)
		}
	}),
}

// twoPriorities has 300000 bytes of 1, of which 65536 came, and of 3, which is the
// more urgent one, wait for the session's window alone.
func twoPriorities(h *serverTest) *collector {
	h.Helper()
	low, high := req(1, "/size/300000"), req(3, "/size/300000")
	low.Priority, high.Priority = 7, 0
	h.p.Send(low)
	h.wantBytes("the session's window is used up", map[uint32]int{1: 65536})
	h.p.Send(high)
	h.wantBytes("only SYN_REPLY", map[uint32]int{3: 0})
	h.p.Send(wu(1, 1000000), wu(3, 1000000))
	h.p.WantIdle("the session's window is used up")
	c := newCollector()
	for _, id := range []uint32{1, 3} {
		c.stream(id).head = frame{Wire: []byte{}} // SYN_REPLY came above
	}
	return c
}
