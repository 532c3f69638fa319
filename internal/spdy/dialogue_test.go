package spdy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// The dialogues of the tests: a session and a scripted peer, or two sessions, mostly in
// synctest bubbles.

// Short names for what the list's notation has.

type (
	frame = spdytest.Frame
)

const fin = spdytest.Fin

func wu(id, delta uint32) frame               { return spdytest.WindowUpdate(id, delta) }
func rst(id uint32, status spdy.Status) frame { return spdytest.Rst(id, uint32(status)) }
func set(idValue ...uint32) frame             { return spdytest.Settings(idValue...) }
func ping(id uint32) frame                    { return spdytest.Ping(id) }
func goAway(last, status uint32) frame        { return spdytest.GoAway(last, status) }
func raw(hex string) frame                    { return spdytest.Raw(unhex(hex)) }
func data(id uint32, s string, flags ...uint8) frame {
	return spdytest.Data(id, s, or(flags))
}

// nv is a name with its value.
func nv(name, value string) spdytest.Pair { return spdytest.Pair{Name: name, Value: value} }

// req is REQ(n): a GET whole in its SYN_STREAM.
func req(id uint32, path string, more ...spdytest.Pair) frame {
	return spdytest.SynStream(id, fin, append(spdytest.Request("GET", path), more...)...)
}

// post is REQ(n,-): a POST whose body is still to come.
func post(id uint32, path string, more ...spdytest.Pair) frame {
	return spdytest.SynStream(id, 0, append(spdytest.Request("POST", path), more...)...)
}

// rep is REP(n).
func rep(id uint32, more ...spdytest.Pair) frame {
	return spdytest.SynReply(id, 0, append(spdytest.Response("200"), more...)...)
}

func headers(id uint32, flags uint8, pairs ...spdytest.Pair) frame {
	return spdytest.Headers(id, flags, pairs...)
}

func withFlags(f frame, flags uint8) frame { f.Flags = flags; return f }

func or(flags []uint8) (f uint8) {
	for _, g := range flags {
		f |= g
	}
	return f
}

func unhex(s string) []byte {
	s = strings.Join(strings.Fields(s), "")
	b := make([]byte, len(s)/2)
	for i := range b {
		v, err := strconv.ParseUint(s[2*i:2*i+2], 16, 8)
		if err != nil {
			panic(err) // the test's own literal
		}
		b[i] = byte(v)
	}
	return b
}

// bytesOf returns n bytes that say where they stand.
func bytesOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)
	}
	return b
}

// setup is what a case asks for beyond the defaults.
type setup struct {
	config spdy.Config
	pipe   spdytest.PipeConfig
	// idle leaves the session's first frames to the case, and Serve too.
	idle bool
}

// session is what the two roles' tests have in common.
type session struct {
	*testing.T
	p      *spdytest.Peer
	s      *spdy.Session
	end    *spdytest.Conn // the session's end of the connection
	pre    spdytest.Preface
	served chan error // what Serve returned
}

func newTest(t *testing.T, s setup, open func(c *spdy.Config, conn *spdytest.Conn) *spdy.Session) *session {
	a, b := spdytest.Pipe(s.pipe)
	h := &session{T: t, p: spdytest.NewPeer(t, a), end: b, served: make(chan error, 1)}
	h.s = open(&s.config, b)
	if s.idle {
		return h
	}
	h.serve()
	h.pre = h.p.WantPreface()
	return h
}

// serve runs the session. Whatever becomes of the test, its goroutines end.
func (h *session) serve() {
	h.Cleanup(func() {
		h.p.Close()
		h.s.Close()
	})
	// Ends with the session, which the cleanup closes.
	go func() { h.served <- h.s.Serve() }()
}

// finish ends the session as a peer does that closes its connection, and waits
// until nothing of it is left.
func (h *session) finish() {
	h.Helper()
	h.p.Close()
	h.wantServed()
	if n := h.s.InFlight(); n != 0 {
		h.Errorf("after the end: %d streams in flight, want 0", n)
	}
}

// wantServed waits for Serve's return.
func (h *session) wantServed() error {
	h.Helper()
	select {
	case err := <-h.served:
		h.served <- err
		return err
	case <-time.After(spdytest.Limit):
		h.Fatal("Serve did not return")
	}
	return nil
}

// wantXE is XE with a given last-good id: GOAWAY, EOF, and a Serve that says
// what was wrong.
func (h *session) wantXE(why string, last uint32) {
	h.Helper()
	h.p.Want(why, goAway(last, 1))
	h.p.WantEOF(why)
	start := time.Now()
	err := h.wantServed()
	if d := time.Since(start); d > spdytest.EOFLimit {
		h.Errorf("%s: Serve returned %v after the GOAWAY, want 2s at most", why, d)
	}
	se, ok := errors.AsType[*spdy.SessionError](err)
	if !ok || se.Status != spdy.GoAwayProtocolError || se.Remote || se.Cause == nil {
		h.Errorf("%s: Serve: got %#v, want a *SessionError with PROTOCOL_ERROR, of this side", why, err)
	}
}

// wantSE is SE: one RST_STREAM, and nothing more.
func (h *session) wantSE(why string, id uint32, status spdy.Status) {
	h.Helper()
	h.p.Want(why, rst(id, status))
	h.p.WantIdle(why)
}

// message is what came on one stream.
type message struct {
	head     frame // SYN_REPLY or SYN_STREAM
	body     []byte
	trailers []spdytest.Pair
	fin      bool
	reset    spdy.Status // of a RST_STREAM, 0 if none came
}

// collector sorts frames by stream.
type collector struct {
	streams map[uint32]*message
	credit  map[uint32]int // sums of WINDOW_UPDATE
	order   []uint32       // the stream of each DATA frame that is not empty
	largest int            // DATA frame
}

func newCollector() *collector {
	return &collector{streams: make(map[uint32]*message), credit: make(map[uint32]int)}
}

func (c *collector) stream(id uint32) *message {
	m := c.streams[id]
	if m == nil {
		m = new(message)
		c.streams[id] = m
	}
	return m
}

func (c *collector) add(t testing.TB, f frame) {
	t.Helper()
	if f.Type == spdytest.TypeWindowUpdate {
		c.credit[f.ID] += int(f.Value)
		return
	}
	if f.Type == spdytest.TypePing || f.Type == spdytest.TypeSettings || f.Type == spdytest.TypeGoAway {
		t.Fatalf("got %v among a stream's frames", f)
	}
	m := c.stream(f.ID)
	if m.fin && f.Type != spdytest.TypeRstStream || m.reset != 0 {
		t.Fatalf("got %v after the end of that stream", f)
	}
	opens := f.Type == spdytest.TypeSynReply || f.Type == spdytest.TypeSynStream
	if opens != (m.head.Wire == nil) && f.Type != spdytest.TypeRstStream {
		t.Fatalf("got %v: out of order on stream %d", f, f.ID)
	}
	switch f.Type {
	case spdytest.TypeData:
		m.body = append(m.body, f.Data...)
		c.largest = max(c.largest, len(f.Data))
		if len(f.Data) > 0 {
			c.order = append(c.order, f.ID)
		}
	case spdytest.TypeHeaders:
		m.trailers = append(m.trailers, f.Pairs...)
	case spdytest.TypeRstStream:
		m.reset = spdy.Status(f.Value)
		return
	default:
		m.head = f
	}
	m.fin = f.Flags&fin != 0
}

// collect reads frames until each of the streams has ended.
func (h *session) collect(why string, ids ...uint32) *collector {
	h.Helper()
	c := newCollector()
	h.collectInto(c, why, ids...)
	return c
}

func (h *session) collectInto(c *collector, why string, ids ...uint32) {
	h.Helper()
	for {
		open := false
		for _, id := range ids {
			m := c.streams[id]
			open = open || m == nil || !m.fin && m.reset == 0
		}
		if !open {
			return
		}
		c.add(h, h.p.Next(why))
	}
}

// drain reads frames until none comes for 300 ms.
func (h *session) drain(c *collector) *collector {
	h.Helper()
	for {
		f, ok := h.p.Poll(spdytest.Idle)
		if !ok {
			return c
		}
		c.add(h, f)
	}
}

// wantBytes reads until no frame comes for 300 ms, and fails unless that was
// exactly so many bytes of DATA on each stream, and no other frame but the
// SYN_REPLY or SYN_STREAM in front.
func (h *session) wantBytes(why string, want map[uint32]int) {
	h.Helper()
	c := newCollector()
	for {
		f, ok := h.p.Poll(spdytest.Idle)
		if !ok {
			break
		}
		switch f.Type {
		case spdytest.TypeSynReply, spdytest.TypeSynStream:
		case spdytest.TypeData:
			c.stream(f.ID).body = append(c.stream(f.ID).body, f.Data...)
			if len(f.Data) > 16384 {
				h.Errorf("%s: DATA of %d bytes, want 16384 at most", why, len(f.Data))
			}
		default:
			h.Fatalf("%s: got %v, want only DATA", why, f)
		}
	}
	for id, n := range want {
		if got := len(c.stream(id).body); got != n {
			h.Errorf("%s: got %d bytes of DATA on stream %d, want %d", why, got, id, n)
		}
		delete(c.streams, id)
	}
	for id, m := range c.streams {
		if len(m.body) > 0 {
			h.Errorf("%s: got %d bytes of DATA on stream %d, want none", why, len(m.body), id)
		}
	}
}

// serverTest is a server session under test.
type serverTest struct {
	*session
	mux *http.ServeMux
	// arrived has each request that /block, /noread and /hold got.
	arrived chan *http.Request
	// ended has why the context of each request of /block ended.
	ended chan error
	// release lets /noread and /hold answer.
	release chan struct{}
	// failed has the error of each failed Write of /size.
	failed chan error
	// bodies has what reading a body came to, in /read.
	bodies chan readResult
}

type readResult struct {
	body    string
	err     error
	trailer http.Header
}

func serve(t *testing.T, s setup, run func(h *serverTest)) {
	h := newServerTest(t, s)
	run(h)
	if !s.idle {
		h.finish()
	}
}

func newServerTest(t *testing.T, s setup) *serverTest {
	h := &serverTest{
		mux:     http.NewServeMux(),
		arrived: make(chan *http.Request, 2000),
		ended:   make(chan error, 2000),
		release: make(chan struct{}),
		failed:  make(chan error, 2000),
		bodies:  make(chan readResult, 100),
	}
	h.mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	h.mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	h.mux.HandleFunc("/size/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		if _, err := w.Write(bytesOf(n)); err != nil {
			h.failed <- err
		}
	})
	h.mux.HandleFunc("/block", func(w http.ResponseWriter, r *http.Request) {
		h.arrived <- r
		<-r.Context().Done()
		h.ended <- context.Cause(r.Context())
	})
	h.mux.HandleFunc("/noread", h.hold)
	h.mux.HandleFunc("/hold", h.hold)
	h.mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		fmt.Fprint(w, n)
	})
	h.mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		h.bodies <- readResult{string(b), err, r.Trailer}
	})
	h.session = newTest(t, s, func(c *spdy.Config, conn *spdytest.Conn) *spdy.Session {
		return c.NewServerSession(conn, &http.Server{Handler: h.mux})
	})
	return h
}

// hold answers when the test says so, without having read the body.
func (h *serverTest) hold(w http.ResponseWriter, r *http.Request) {
	h.arrived <- r
	select {
	case <-h.release:
		io.WriteString(w, "ok")
	case <-r.Context().Done():
	}
}

// alive proves that the session works, the compression state included.
func (h *serverTest) alive(id uint32) {
	h.Helper()
	h.p.Send(ping(id))
	h.p.Want("alive: PING is echoed", ping(id))
	h.p.Send(req(id, "/ok"))
	h.wantResponse("alive", id, "200", "ok")
}

// wantResponse reads a response on id and nothing else.
func (h *serverTest) wantResponse(why string, id uint32, status, body string) *message {
	h.Helper()
	c := h.collect(why, id)
	m := c.streams[id]
	if len(c.streams) != 1 || len(c.credit) != 0 || m.reset != 0 {
		h.Fatalf("%s: got %+v, %v, want only a response on stream %d", why, c.streams, c.credit, id)
	}
	h.checkResponse(why, m, status, body)
	return m
}

func (h *serverTest) checkResponse(why string, m *message, status, body string) {
	h.Helper()
	got, _ := m.head.Get(":status")
	version, _ := m.head.Get(":version")
	if got != status && !strings.HasPrefix(got, status+" ") || version != "HTTP/1.1" {
		h.Errorf("%s: got :status %q, :version %q, want %s and HTTP/1.1", why, got, version, status)
	}
	if string(m.body) != body {
		h.Errorf("%s: got a body of %d bytes, want %d that are equal (%.80q, %.80q)", why, len(m.body), len(body), m.body, body)
	}
}

// wantEnded waits until the context of a handler of /block has ended.
func (h *serverTest) wantEnded(why string) {
	h.Helper()
	select {
	case <-h.ended:
	case <-time.After(time.Second):
		h.Errorf("%s: the handler's context did not end", why)
	}
}

// clientTest is a client session under test.
type clientTest struct {
	*session
	next uint32 // id of the next stream that the client opens
}

func dial(t *testing.T, s setup, run func(h *clientTest)) {
	h := newClientTest(t, s)
	run(h)
	if !s.idle {
		h.finish()
	}
}

func newClientTest(t *testing.T, s setup) *clientTest {
	h := &clientTest{next: 1}
	h.session = newTest(t, s, func(c *spdy.Config, conn *spdytest.Conn) *spdy.Session {
		return c.NewClientSession(conn)
	})
	return h
}

// call is one RoundTrip.
type call struct {
	t    *testing.T
	done chan struct{}
	resp *http.Response
	err  error
}

// start runs RoundTrip.
func (h *clientTest) start(r *http.Request) *call {
	c := &call{t: h.T, done: make(chan struct{})}
	// Ends when RoundTrip does, at the latest with the session.
	go func() {
		defer close(c.done)
		c.resp, c.err = h.s.RoundTrip(r)
	}()
	return c
}

func (h *clientTest) request(method, path string, body io.Reader) *http.Request {
	h.Helper()
	r, err := http.NewRequest(method, "http://a.test"+path, body)
	if err != nil {
		h.Fatal(err)
	}
	return r
}

// get starts a GET.
func (h *clientTest) get(path string) *call {
	h.Helper()
	return h.start(h.request("GET", path, nil))
}

// wantSyn reads the SYN_STREAM of a call.
func (h *clientTest) wantSyn(why string) frame {
	h.Helper()
	f := h.p.Next(why)
	if f.Type != spdytest.TypeSynStream || f.ID != h.next {
		h.Fatalf("%s: got %v, want SYN_STREAM %d", why, f, h.next)
	}
	h.next += 2
	return f
}

// open starts a GET and reads its SYN_STREAM.
func (h *clientTest) open(path string) (*call, uint32) {
	h.Helper()
	c := h.get(path)
	f := h.wantSyn("a call")
	if f.Flags != fin {
		h.Fatalf("a call without a body: got %v, want FIN", f)
	}
	return c, f.ID
}

// wait waits for RoundTrip's return.
func (c *call) wait() (*http.Response, error) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(spdytest.Limit):
		c.t.Fatal("RoundTrip did not return")
	}
	return c.resp, c.err
}

// wantBody fails unless the call yields status and body.
func (c *call) wantBody(why string, status int, body string) {
	c.t.Helper()
	resp, err := c.wait()
	if err != nil {
		c.t.Errorf("%s: the call failed: %v", why, err)
		return
	}
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != status || string(b) != body || err != nil {
		c.t.Errorf("%s: got %d, %d bytes %.80q, %v, want %d and %d bytes %.80q", why, resp.StatusCode, len(b), b, err, status, len(body), body)
	}
	resp.Body.Close()
}

// wantReset fails unless the call, or the reading of its body, fails with a
// StreamError of that status.
func (c *call) wantReset(why string, status spdy.Status, remote bool) {
	c.t.Helper()
	err := c.failure()
	se, ok := errors.AsType[*spdy.StreamError](err)
	if !ok || se.Status != status || se.Remote != remote {
		c.t.Errorf("%s: got %v, want a *StreamError with %v, remote %v", why, err, status, remote)
	}
}

// failure returns the error of the call or of reading its body.
func (c *call) failure() error {
	c.t.Helper()
	resp, err := c.wait()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	return err
}

// alive proves that the session works, the compression state included.
func (h *clientTest) alive() {
	h.Helper()
	id := h.next + 1
	h.p.Send(ping(id))
	h.p.Want("alive: PING is echoed", ping(id))
	c, sid := h.open("/alive")
	h.p.Send(rep(sid), data(sid, "ok", fin))
	c.wantBody("alive", 200, "ok")
}

// answer answers a call whole.
func (h *clientTest) answer(c *call, id uint32) {
	h.Helper()
	h.p.Send(rep(id), data(id, "ok", fin))
	c.wantBody("an answer", 200, "ok")
}

// sender sends DATA as a conforming peer does: never more than both windows
// allow.
type sender struct {
	h       *session
	start   int // a stream's window
	session int
	streams map[uint32]int
	credit  map[uint32]int // WINDOW_UPDATE in sum
	other   []frame
}

func (h *session) sender() *sender {
	return &sender{h: h, start: h.pre.StreamWindow, session: h.pre.SessionWindow,
		streams: make(map[uint32]int), credit: make(map[uint32]int)}
}

// take reads one frame, and fails if it does not come.
func (s *sender) take(why string) {
	s.h.Helper()
	f := s.h.p.Next(why)
	s.note(f)
}

func (s *sender) note(f frame) {
	if f.Type != spdytest.TypeWindowUpdate {
		s.other = append(s.other, f)
		return
	}
	s.credit[f.ID] += int(f.Value)
	if f.ID == 0 {
		s.session += int(f.Value)
	} else {
		s.streams[f.ID] += int(f.Value)
	}
}

// drain reads what there is.
func (s *sender) drain() {
	s.h.Helper()
	for {
		f, ok := s.h.p.Poll(spdytest.Idle)
		if !ok {
			return
		}
		s.note(f)
	}
}

// send sends b on id, waiting for credit as it must.
func (s *sender) send(id uint32, b []byte, flags uint8) {
	s.h.Helper()
	if _, ok := s.streams[id]; !ok {
		s.streams[id] = s.start
	}
	for {
		n := min(len(b), 16000, s.session, s.streams[id])
		last := n == len(b)
		if n > 0 || last {
			f := data(id, string(b[:n]))
			if last {
				f.Flags = flags
			}
			s.h.p.Send(f)
			s.session -= n
			s.streams[id] -= n
			b = b[n:]
		}
		if last {
			return
		}
		if len(b) > 0 && min(s.session, s.streams[id]) <= 0 {
			s.take(fmt.Sprintf("credit for stream %d", id))
		}
	}
}

var errTest = errors.New("an error of the test's own")

func onServer(t *testing.T, s setup, run func(h *serverTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { serve(t, s, run) })
}

func onClient(t *testing.T, s setup, run func(h *clientTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { dial(t, s, run) })
}

// unsized hides the length and the type of a body.
type unsized struct{ io.Reader }

// lines counts log records.
type lines struct {
	slog.Handler
	n *atomic.Int32
}

func (l lines) Enabled(context.Context, slog.Level) bool { return true }

func (l lines) Handle(context.Context, slog.Record) error {
	l.n.Add(1)
	return nil
}

// nextWithin returns the next frame, which has to come within d.
func nextWithin(h *serverTest, d time.Duration) frame {
	h.Helper()
	f, ok := h.p.Poll(d)
	if !ok {
		h.Fatalf("no frame came within %v", d)
	}
	return f
}

// linked is a client and a server session on one connection in memory.
type linked struct {
	*testing.T
	client, server *spdy.Session
	ends           [2]*spdytest.Conn // the client's and the server's
	serving        sync.WaitGroup
}

func link(t *testing.T, pipe spdytest.PipeConfig, cc, sc spdy.Config, h http.HandlerFunc) *linked {
	a, b := spdytest.Pipe(pipe)
	l := &linked{T: t, ends: [2]*spdytest.Conn{a, b},
		client: cc.NewClientSession(a), server: sc.NewServerSession(b, &http.Server{Handler: h})}
	for _, s := range []*spdy.Session{l.client, l.server} {
		l.serving.Go(func() { s.Serve() })
	}
	t.Cleanup(l.close)
	return l
}

func (l *linked) close() {
	l.client.Close()
	l.server.Close()
	l.serving.Wait()
}

// fetch sends a request and returns the response.
func (l *linked) fetch(method, path string, body io.Reader) *http.Response {
	l.Helper()
	r, err := http.NewRequest(method, "http://a.test"+path, body)
	if err != nil {
		l.Fatal(err)
	}
	resp, err := l.client.RoundTrip(r)
	if err != nil {
		l.Fatal(err)
	}
	return resp
}

// afterwards is call.failure without its limit of 5 s.
func (h *clientTest) afterwards(c *call) error {
	h.Helper()
	select {
	case <-c.done:
	case <-time.After(time.Hour):
		h.Fatal("RoundTrip did not return within an hour")
	}
	return c.err
}

// wantServedStatus waits for Serve's return, which must name that status.
func (h *session) wantServedStatus(status spdy.GoAwayStatus) {
	h.Helper()
	err := h.wantServed()
	if se, ok := errors.AsType[*spdy.SessionError](err); !ok || se.Status != status {
		h.Errorf("Serve: got %v, want a *SessionError with %v", err, status)
	}
}

func bubble(run func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) { synctest.Test(t, run) }
}
