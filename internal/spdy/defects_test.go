package spdy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// What the library of 2015 did wrong, by number: a test each that fails where
// the defect is back, through the constructors that its users call. Each runs in a synctest bubble, so that a wait of hours is exact and
// a goroutine that is left behind fails it:
//
//	go test -run TestDefect/12
var defects = []struct {
	id   int
	what string
	run  func(t *testing.T)
}{
	{1, "a HEADERS frame panics", defectHeaders},
	{2, "a short payload panics", defectShortPayloads},
	{3, "a bad status or an empty name in SYN_REPLY panics", defectReply},
	{4, "a handler that panics, or none, kills the process", defectHandlerPanic},
	{5, "a bad path gives a nil URL, no body a nil Body", defectRequestParts},
	{6, "lengths in a header block are allocated unseen", defectBlockLengths},
	{7, "the count of SETTINGS is allocated unseen", defectSettingsCount},
	{8, "Close races with who sends", defectClose},
	{9, "Server.Close before Serve panics", defectServerClose},
	{10, "DATA that is not taken in 300 ms is dropped", defectSlowReader},
	{11, "a sixth piece of DATA ends the stream", defectManyPieces},
	{12, "only the last of several values survives", defectValues},
	{13, "Request hangs after a reset, a loss, 10 s", defectRequestHangs},
	{14, "a body without FIN for 3 s loses its request", defectSlowBody},
	{15, "FIN on SYN_REPLY is lost", defectReplyFin},
	{16, "no SYN_REPLY from a handler that wrote nothing; HEAD gets a body", defectNoReply},
	{17, "SETTINGS of 9 bytes an entry, never used", defectSettings},
	{18, "a PING forgets the settings", defectPingSettings},
	{19, "GOAWAY ends the wrong streams, and no session", defectGoAway},
	{20, "a Write above the window never starts", defectLargeWrite},
	{21, "10 s of silence end a stream", defectSilence},
	{22, "a request with a body stops the session", defectBodyStops},
	{23, "one stuck stream stops all", defectStuckStream},
	{24, "a peer that is slow for 5 s ends the session; no priority", defectSlowPeer},
	{25, "one Ping at a time, and another's answer is taken", defectPings},
	{26, "no room closes the session; SYN_STREAM after GOAWAY stops it", defectNoRoom},
	{27, "the version is not looked at, 16 MiB are read on the peer's word", defectFrameHeader},
	{28, "a body is read whole first, and ignores windows", defectRequestBody},
	{29, "no session window, no overflow of the stream's", defectWindows},
	{30, "unknown streams: silence, or the session's end", defectUnknownStreams},
	{31, "ids are not judged, a refused block is not inflated", defectIDs},
	{32, "priorities are ignored", defectPriority},
	{33, "CANCEL for every reason", defectStatus},
	{34, "Close without GOAWAY", defectCloseGoAway},
	{35, "blocks in any order; secrets compressed beside chosen text", defectCompression},
	{36, "no limit on headers, and any name is taken", defectHeaderLimits},
	{37, "the handler's map is written to, and races", defectHeaderMap},
	{38, "Do: all in memory, no GOAWAY, no context", defectDo},
}

func TestDefect(t *testing.T) {
	quiet(t)
	for i, d := range defects {
		if d.id != i+1 {
			t.Errorf("row %d is number %d", i+1, d.id)
		}
		t.Run(fmt.Sprintf("%02d_%s", d.id, d.what), bubble(d.run))
	}
	if len(defects) != 38 {
		t.Errorf("%d rows, want 38", len(defects))
	}
}

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

func defectReply(t *testing.T) {
	h := upstreamClient(t)
	pairs := func(nameValue ...string) (pairs []spdytest.Pair) {
		for i := 0; i < len(nameValue); i += 2 {
			pairs = append(pairs, spdytest.Pair{Name: nameValue[i], Value: nameValue[i+1]})
		}
		return pairs
	}
	for _, pairs := range [][]spdytest.Pair{
		nil,
		pairs(":version", "HTTP/1.1"),
		pairs(":status", "", ":version", "HTTP/1.1"),
		pairs(":status", "2", ":version", "HTTP/1.1"),
		pairs(":status", "abc", ":version", "HTTP/1.1"),
		pairs(":status", "200", ":version", "HTTP/1.1", "", "x"),
	} {
		p := h.proxy(h.request("GET", "/", nil))
		id := h.wantSyn("a request").ID
		h.p.Send(spdytest.SynReply(id, fin, pairs...))
		h.p.Want(fmt.Sprint(pairs), rst(id, spdy.ProtocolError))
		if err := <-p.done; err == nil || p.rec.Code != 404 {
			t.Errorf("%v: %d, %v, want 404 and an error", pairs, p.rec.Code, err)
		}
	}
	h.alive()
	h.finish()
}

func defectHandlerPanic(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/before", func(http.ResponseWriter, *http.Request) { panic("of a test") })
	h.mux.HandleFunc("/after", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		synctest.Wait()
		panic("of a test")
	})
	h.p.Send(req(1, "/before"))
	h.wantResponse("a panic before the headers", 1, "500", "")
	h.p.Send(req(3, "/after"))
	h.p.Want("a panic after the headers", rep200(3, 0), rst(3, spdy.InternalError))
	h.alive(5)
	h.finish()

	for _, server := range []*http.Server{nil, {}} { // http.DefaultServeMux has nothing here
		h := &serverTest{session: newTest(t, setup{}, func(_ *spdy.Config, conn *spdytest.Conn) *spdy.Session {
			return spdy.NewServerSession(conn, server)
		})}
		h.p.Send(req(1, "/nothing-here"))
		h.wantResponse("no handler", 1, "404", "404 page not found\n")
		h.finish()
	}
}

func defectRequestParts(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL == nil || r.Body == nil || r.Header == nil {
			t.Errorf("the request is %+v", r)
		}
		io.WriteString(w, "ok")
	})
	id := uint32(1)
	for _, path := range []string{"%zz", "x", "", "/%zz", "http://%zz/"} {
		h.p.Send(req(id, path))
		h.wantResponse(fmt.Sprintf("path %q", path), id, "400", "")
		id += 2
	}
	h.p.Send(req(id, "/"))
	h.wantResponse("no body", id, "200", "ok")
	h.finish()
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

func defectClose(t *testing.T) {
	c, s := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(bytesOf(10000)); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
			case <-time.After(time.Millisecond):
			}
		}
	}))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Do(request(t, "GET", "/", nil)); err == nil {
				t.Error("a response without end came to one")
			}
		})
	}
	<-time.After(50 * time.Millisecond) // of the bubble
	for range 10 {
		wg.Go(s.Close)
		wg.Go(func() { c.Close() })
		wg.Go(func() { c.Ping(time.Millisecond) })
		wg.Go(func() { c.Do(request(t, "GET", "/", nil)) })
	}
	wg.Wait()
}

func defectServerClose(t *testing.T) {
	for range 2 {
		if err := new(spdy.Server).Close(); err != nil {
			t.Errorf("Close before Serve: %v", err)
		}
	}
}

func defectSlowReader(t *testing.T) {
	h := upstreamServer(t)
	body := bytesOf(60000)
	h.mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 5000)
		var got []byte
		for {
			<-time.After(time.Second)
			n, err := r.Body.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				if string(got) != string(body) || err != io.EOF {
					t.Errorf("a body of %d bytes, %v, want %d that are equal", len(got), err, len(body))
				}
				return
			}
		}
	})
	h.p.Send(post(1, "/slow"))
	for at := 0; at < len(body); at += 6000 {
		h.p.Send(data(1, string(body[at:at+6000])))
	}
	h.p.Send(data(1, "", fin))
	<-time.After(time.Minute)
	h.p.Answer = func(f frame) bool { return f.Type == spdytest.TypeWindowUpdate }
	h.p.Want("the handler has read all", rep200(1, fin))
	h.finish()
}

func defectManyPieces(t *testing.T) {
	h := upstreamServer(t)
	release := make(chan struct{})
	h.mux.HandleFunc("/later", func(w http.ResponseWriter, r *http.Request) {
		<-release
		io.Copy(w, r.Body)
	})
	h.p.Send(post(1, "/later"))
	for range 100 {
		h.p.Send(data(1, "x"))
	}
	h.p.Send(data(1, "", fin))
	synctest.Wait()
	close(release)
	h.wantResponse("100 pieces", 1, "200", strings.Repeat("x", 100))
	h.finish()

	// The client's side, with a visitor who does not take it.
	c := upstreamClient(t)
	w := &blockedWriter{ResponseRecorder: spdy.NewRecorder(), release: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- c.s.NewStreamProxy(c.request("GET", "/", nil), w) }()
	id := c.wantSyn("a request").ID
	c.p.Send(rep(id))
	for range 100 {
		c.p.Send(data(id, "x"))
	}
	c.p.Send(data(id, "", fin))
	synctest.Wait()
	close(w.release)
	if err := <-done; err != nil || w.Body.String() != strings.Repeat("x", 100) {
		t.Errorf("100 pieces: %q, %v", w.Body, err)
	}
	c.finish()
}

// blockedWriter takes nothing until it is released.
type blockedWriter struct {
	*spdy.ResponseRecorder
	release chan struct{}
}

func (w *blockedWriter) Write(p []byte) (int, error) {
	<-w.release
	return w.ResponseRecorder.Write(p)
}

func defectValues(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, v := range r.Header["X-Many"] {
			w.Header().Add("Set-Cookie", v)
		}
	})
	r := request(t, "GET", "/", nil)
	want := []string{"a=1", "b=2", "c=3"}
	r.Header["X-Many"] = want
	c, _ := upstreamPair(t, h)
	resp, err := c.Do(r)
	if err != nil || !slices.Equal(resp.Header["Set-Cookie"], want) {
		t.Errorf("Do: Set-Cookie %q, %v, want %q", resp.Header["Set-Cookie"], err, want)
	}
	s, _ := pair2(t, h)
	rec := spdy.NewRecorder()
	if err := s.NewStreamProxy(r, rec); err != nil || !slices.Equal(rec.HeaderMap["Set-Cookie"], want) {
		t.Errorf("NewStreamProxy: Set-Cookie %q, %v, want %q", rec.HeaderMap["Set-Cookie"], err, want)
	}
}

func defectRequestHangs(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(h *clientTest, id uint32)
		code int
		err  bool
	}{
		{"RST_STREAM before the reply", func(h *clientTest, id uint32) { h.p.Send(rst(id, spdy.Cancel)) }, 404, true},
		{"RST_STREAM after it", func(h *clientTest, id uint32) { h.p.Send(rep(id), data(id, "x"), rst(id, spdy.Cancel)) }, 200, true},
		{"loss before the reply", func(h *clientTest, id uint32) { h.p.Close() }, 404, true},
		{"loss after it", func(h *clientTest, id uint32) { h.p.Send(rep(id), data(id, "x")); h.p.Close() }, 200, true},
		{"an hour of silence", func(h *clientTest, id uint32) {
			<-time.After(time.Hour)
			h.p.Send(rep(id))
			<-time.After(time.Hour)
			h.p.Send(data(id, "x", fin))
		}, 200, false},
	} {
		h := upstreamClient(t)
		rec, done := spdy.NewRecorder(), make(chan error, 1)
		go func() { done <- h.s.NewStreamProxy(h.request("GET", "/", nil), rec) }()
		test.end(h, h.wantSyn(test.name).ID)
		if err := <-done; (err != nil) != test.err || rec.Code != test.code {
			t.Errorf("%s: %d, %v, want %d, an error: %t", test.name, rec.Code, err, test.code, test.err)
		}
		h.finish()
	}
}

func defectSlowBody(t *testing.T) {
	h := upstreamServer(t)
	began := make(chan struct{})
	h.mux.HandleFunc("/body", func(w http.ResponseWriter, r *http.Request) {
		close(began)
		io.Copy(w, r.Body)
	})
	h.p.Send(post(1, "/body"))
	<-began // at once
	for _, piece := range []string{"a", "b", "c"} {
		<-time.After(time.Hour)
		h.p.Send(data(1, piece))
	}
	h.p.Send(data(1, "", fin))
	h.wantResponse("a body that takes hours", 1, "200", "abc")
	h.finish()
}

func defectReplyFin(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	h.p.Send(req(1, "/empty"))
	h.p.Want("nothing follows", rep200(1, fin))
	h.p.WantIdle("nothing follows")
	h.finish()

	c := upstreamClient(t)
	p := c.proxy(c.request("GET", "/", nil))
	f := rep(c.wantSyn("a request").ID)
	f.Flags = fin
	c.p.Send(f)
	if err := <-p.done; err != nil || p.rec.Body.Len() != 0 {
		t.Errorf("FIN on SYN_REPLY: %q, %v, want the end", p.rec.Body, err)
	}
	c.finish()
}

func defectNoReply(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	h.p.Send(req(1, "/empty"))
	h.p.Want("a handler that wrote nothing", rep200(1, fin))
	h.p.Send(spdytest.SynStream(3, fin, spdytest.Request("HEAD", "/ok")...))
	h.p.Want("HEAD", rep200(3, fin))
	h.p.WantIdle("no body")
	h.finish()
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

func defectLargeWrite(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		if n, err := w.Write(bytesOf(1 << 20)); n != 1<<20 || err != nil {
			t.Errorf("Write: %d, %v", n, err)
		}
	})
	h.p.Send(req(1, "/large"))
	h.wantBytes("what the window allows starts at once", map[uint32]int{1: 65536})
	<-time.After(time.Hour)
	h.p.Send(wu(1, 1<<20), wu(0, 1<<20))
	h.wantBytes("the rest with the credit", map[uint32]int{1: 1<<20 - 65536})
	h.finish()
}

func defectSilence(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(time.Hour)
		io.WriteString(w, "at last")
	}))
	resp, err := c.Do(request(t, "GET", "/", nil))
	if err != nil || resp.ContentLength != int64(len("at last")) {
		t.Errorf("a long poll: %+v, %v", resp, err)
	}
}

func defectBodyStops(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/body", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	h.p.Send(post(1, "/body"))
	h.alive(3)
	h.p.Send(data(1, "x", fin))
	h.wantResponse("the request with the body", 1, "200", "x")
	h.finish()
}

func defectStuckStream(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/stuck", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	h.p.Send(post(1, "/stuck"))
	for range 4 {
		h.p.Send(data(1, strings.Repeat("x", 16384)))
	}
	h.alive(3)
	h.finish()

	// A visitor who takes nothing, and one who does.
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(1 << 20)) }))
	stuck := request(t, "GET", "/", nil)
	resp, err := c.RoundTrip(stuck)
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := c.Do(request(t, "GET", "/", nil)); err != nil || whole.ContentLength != 1<<20 {
		t.Errorf("beside a stuck stream: %v", err)
	}
	resp.Body.Close()
}

func defectSlowPeer(t *testing.T) {
	// The peer reads nothing for 20 s.
	a, b := spdytest.Pipe(spdytest.PipeConfig{Buffer: 1000})
	s := spdy.NewServerSession(b, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(50000)) })})
	go s.Serve()
	p := spdytest.NewPeer(t, a)
	p.WantPreface()
	p.Send(req(1, "/"))
	<-time.After(20 * time.Second)
	for got := 0; got < 50000; {
		got += len(p.Next("the response goes on").Data)
	}
	p.Close()
	s.Close()

	// What is more urgent goes first.
	h := upstreamServer(t)
	h.mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(100000)) })
	h.mux.HandleFunc("/window", func(w http.ResponseWriter, r *http.Request) { w.Write(bytesOf(65536)) })
	h.p.Send(req(1, "/window"))
	h.collect("the session's window is used up", 1)
	low, high := req(3, "/large"), req(5, "/large")
	low.Priority, high.Priority = 7, 0
	h.p.Send(low, high, wu(3, 1<<20), wu(5, 1<<20))
	synctest.Wait()
	h.p.Send(wu(0, 65536))
	c := h.drain(newCollector())
	if got3, got5 := len(c.stream(3).body), len(c.stream(5).body); got3 != 0 || got5 != 65536 {
		t.Errorf("priority 7 got %d bytes, priority 0 %d, want 0 and 65536", got3, got5)
	}
	h.finish()
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

func defectNoRoom(t *testing.T) {
	h := upstreamClient(t)
	h.p.Send(set(4, 1))
	h.p.Send(ping(2))
	h.p.Want("the settings were read", ping(2))
	p := h.proxy(h.request("GET", "/", nil))
	id := h.wantSyn("the only one").ID
	start := time.Now()
	if st := h.s.NewClientStream(); st != nil || time.Since(start) != 1500*time.Millisecond {
		t.Errorf("NewClientStream: %v after %v, want nil after 1.5 s", st, time.Since(start))
	}
	h.p.Send(rep(id), data(id, "ok", fin))
	if err := <-p.done; err != nil {
		t.Errorf("the open stream: %v", err)
	}
	// Streams that are never used take no room.
	for range 10 {
		if h.s.NewClientStream() == nil {
			t.Fatal("NewClientStream: nil with room for one")
		}
	}
	h.alive()
	h.finish()

	s := upstreamServer(t)
	release := make(chan struct{})
	s.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-release })
	s.p.Send(req(1, "/wait"))
	synctest.Wait()
	s.s.SendGoaway(spdy.FLAG_NONE, []byte{0, 0, 0, 1, 0, 0, 0, 0})
	s.p.Want("GOAWAY", goAway(1, 0))
	s.p.Send(req(3, "/ok"), ping(1))
	s.p.Want("SYN_STREAM after GOAWAY is ignored, the session goes on", ping(1))
	close(release)
	s.p.Want("what is open ends", rep200(1, fin))
	s.p.WantEOF("and is the last")
	s.finish()
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

func defectRequestBody(t *testing.T) {
	h := upstreamClient(t)
	body, feed := io.Pipe()
	p := h.proxy(h.request("POST", "/", body))
	feed.Write([]byte("first"))
	id := h.wantSyn("SYN_STREAM comes before the body's end").ID
	var first string
	for len(first) < 5 {
		first += string(h.p.Next("so does DATA").Data)
	}
	if first != "first" {
		t.Errorf("DATA %q, want first", first)
	}
	fed := make(chan struct{})
	// Ends when the body is taken or given up.
	go func() {
		defer close(fed)
		feed.Write(bytesOf(200000))
		feed.Close()
	}()
	h.wantBytes("no more than the window", map[uint32]int{id: 65536 - 5})
	h.p.Send(wu(id, 1<<20), wu(0, 1<<20))
	h.wantBytes("the rest with the credit", map[uint32]int{id: 200000 - 65536 + 5})
	h.p.Send(rep(id), data(id, "", fin))
	if err := <-p.done; err != nil {
		t.Error(err)
	}
	<-fed
	h.finish()
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

func defectPriority(t *testing.T) {
	c := upstreamClient(t)
	for pri := range uint8(8) {
		r := c.request("GET", "/", nil)
		p := c.proxy(r.WithContext(spdy.WithPriority(r.Context(), pri)))
		f := c.wantSyn("a request")
		if f.Priority != pri || f.Assoc != 0 {
			t.Errorf("got %v, want priority %d", f, pri)
		}
		c.p.Send(rep(f.ID), data(f.ID, "", fin))
		<-p.done
	}
	c.finish()

	h := upstreamServer(t)
	h.mux.HandleFunc("/priority", func(w http.ResponseWriter, r *http.Request) {
		pri, ok := spdy.PriorityFrom(r.Context())
		fmt.Fprint(w, pri, ok)
	})
	f := req(1, "/priority")
	f.Priority, f.Assoc = 6, 99
	h.p.Send(f)
	h.wantResponse("the handler is told", 1, "200", "6 true")
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

func defectHeaderMap(t *testing.T) {
	h := upstreamServer(t)
	h.mux.HandleFunc("/map", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Early", "1")
		w.WriteHeader(200)
		if len(w.Header()) != 1 {
			t.Errorf("after WriteHeader the handler's map is %v, want its own entry", w.Header())
		}
		// Meanwhile the session sends what the map was: the race detector watches.
		w.(http.Flusher).Flush()
		for i := range 100 {
			w.Header().Set("X-Early", fmt.Sprint(i))
			w.Header().Set(fmt.Sprint("X-Late-", i), "1")
		}
		io.WriteString(w, "ok")
	})
	h.p.Send(req(1, "/map"))
	m := h.wantResponse("the map as it was", 1, "200", "ok")
	if got, _ := m.head.Get("x-early"); got != "1" || len(m.head.Pairs) != 5 {
		t.Errorf("got %v, want x-early=1 and nothing later", m.head)
	}
	h.finish()
}

func defectDo(t *testing.T) {
	release := make(chan struct{})
	ended := make(chan error, 1)
	c, s := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			const size = 64 << 20
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.(http.Flusher).Flush()
			<-release
			piece := make([]byte, 1<<20)
			for range size / len(piece) {
				w.Write(piece)
			}
		case "/wait":
			<-r.Context().Done()
			ended <- r.Context().Err()
		}
	}))
	resp, err := c.Do(request(t, "GET", "/large", nil)) // returns before there is a body
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	buf := make([]byte, 1<<20)
	total := 0
	for err == nil {
		var n int
		n, err = resp.Body.Read(buf)
		total += n
		if total == 8<<20 {
			// What Do's caller has not read is not here.
			synctest.Wait()
			if held := s.Stats().BytesSent; held > 48<<20 {
				t.Errorf("%d bytes were sent when 8 MiB were read", held)
			}
		}
	}
	if total != 64<<20 || err != io.EOF {
		t.Errorf("a body of %d bytes, %v", total, err)
	}
	// Another that nobody reads: its Close stops it.
	resp, err = c.Do(request(t, "GET", "/large", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	if _, err := c.Do(request(t, "GET", "/wait", nil).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
		t.Errorf("Do: %v after %v, want the context's end", err, time.Since(start))
	}
	if err := <-ended; err == nil {
		t.Error("the handler was not told")
	}

	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	p := spdytest.NewPeer(t, a)
	c, err = spdy.NewClientConn(b)
	if err != nil {
		t.Fatal(err)
	}
	p.WantPreface()
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	p.Want("GOAWAY before the end", goAway(0, 0))
	p.WantEOF("GOAWAY before the end")
	p.Close()
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
}
