package spdy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"
)

// What programs written for the library of 2015 rely on, by number. Each runs
// in a synctest bubble but for those that need real sockets, which say so.
var upstreamBehaviour = []struct {
	id   int
	what string
	run  func(t *testing.T)
}{
	{1, "no stream: 404 and no error; failed: 404 and the error", bubble(upstreamNotFound)},
	{2, "what Do returns", bubble(upstreamDo)},
	{3, "NewClient that cannot connect", upstreamNoConnection},
	{4, "what a request needs", bubble(upstreamRequestURL)},
	{5, "the caller's request stays as it is", bubble(upstreamRequestUnchanged)},
	{6, "no body: FIN on SYN_STREAM", bubble(upstreamEmptyBody)},
	{7, "what a handler gets", bubble(upstreamHandlerRequest)},
	{8, "what WriteHeader and Write do", bubble(upstreamWriteHeader)},
	{9, "a response ends once", bubble(upstreamEnd)},
	{10, "ListenAndServeTLS", upstreamListenAndServeTLS},
	{11, "ListenAndServeTLSSpdyOnly", upstreamSpdyOnly},
	{12, "accepting", upstreamAccept},
	{13, "any number of goroutines", bubble(upstreamConcurrent)},
	{14, "ids and priority", bubble(upstreamIDs)},
	{15, "a client stream with flags 02", bubble(upstreamUnidirectional)},
}

func TestUpstream(t *testing.T) {
	quiet(t)
	for i, b := range upstreamBehaviour {
		if b.id != i+1 {
			t.Errorf("row %d is number %d", i+1, b.id)
		}
		t.Run(fmt.Sprintf("%02d_%s", b.id, b.what), b.run)
	}
}

// quiet keeps what the sessions of a test log off standard error.
func quiet(t *testing.T) {
	spdy.SetLog(nil)
	t.Cleanup(func() { spdy.SetLog(os.Stderr) })
}

// upstreamServer is a session of NewServerSession under test, with a scripted
// peer. Its handler has "/ok" beside what mux gets later.
func upstreamServer(t *testing.T) *serverTest {
	t.Helper()
	h := &serverTest{mux: http.NewServeMux()}
	h.mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	h.session = newTest(t, setup{}, func(_ *spdy.Config, conn *spdytest.Conn) *spdy.Session {
		return spdy.NewServerSession(conn, &http.Server{Handler: h.mux})
	})
	return h
}

// upstreamClient is a session of NewClientSession under test.
func upstreamClient(t *testing.T) *clientTest {
	t.Helper()
	h := &clientTest{next: 1}
	h.session = newTest(t, setup{}, func(_ *spdy.Config, conn *spdytest.Conn) *spdy.Session {
		return spdy.NewClientSession(conn)
	})
	return h
}

// upstreamPair is a Client whose peer runs h in a session of NewServerSession.
func upstreamPair(t *testing.T, h http.Handler) (*spdy.Client, *spdy.Session) {
	t.Helper()
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	server := spdy.NewServerSession(b, &http.Server{Handler: h})
	// Ends with the session, which the cleanup closes.
	go server.Serve()
	client, err := spdy.NewClientConn(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// rep200 is the SYN_REPLY that a server session sends.
func rep200(id uint32, flags uint8) frame {
	return spdytest.SynReply(id, flags, spdytest.Response("200 OK")...)
}

func upstreamConcurrent(t *testing.T) {
	c, _ := upstreamPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	s, _ := pair2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	var wg sync.WaitGroup
	for i := range 50 {
		body := string(bytes.Repeat([]byte{byte(i)}, 1000*i))
		wg.Go(func() {
			resp, err := c.Do(request(t, "POST", "/", strings.NewReader(body)))
			if err != nil || resp.ContentLength != int64(len(body)) {
				t.Errorf("Do: %v", err)
			}
		})
		wg.Go(func() {
			rec := spdy.NewRecorder()
			if err := s.NewStreamProxy(request(t, "POST", "/", strings.NewReader(body)), rec); err != nil || rec.Body.String() != body {
				t.Errorf("NewStreamProxy: %d bytes, %v, want %d", rec.Body.Len(), err, len(body))
			}
		})
		wg.Go(func() {
			rec := spdy.NewRecorder()
			if err := s.NewClientStream().Request(request(t, "POST", "/", strings.NewReader(body)), rec); err != nil || rec.Body.String() != body {
				t.Errorf("Request: %d bytes, %v, want %d", rec.Body.Len(), err, len(body))
			}
		})
		wg.Go(func() {
			if !s.Ping(time.Minute) {
				t.Error("Ping: no echo")
			}
		})
	}
	wg.Wait()
}

func upstreamIDs(t *testing.T) {
	h := upstreamClient(t)
	st := h.s.NewClientStream()
	if got := st.String(); got != "0" {
		t.Errorf("a stream before its request is %q, want 0", got)
	}
	done := make(chan error, 1)
	go func() { done <- st.Request(h.request("GET", "/", nil), spdy.NewRecorder()) }()
	f := h.wantSyn("the first stream") // wants id 1
	if f.Priority != spdy.PriorityFor(h.request("GET", "/", nil).URL) || f.Priority != 4 {
		t.Errorf("priority %d, want 4", f.Priority)
	}
	if got := st.String(); got != "1" {
		t.Errorf("the stream is %q, want 1", got)
	}
	h.p.Send(rep(1), data(1, "", fin))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := st.Request(h.request("GET", "/", nil), spdy.NewRecorder()); err == nil {
		t.Error("a second Request on a stream: no error")
	}
	r := h.request("GET", "/", nil)
	p := h.proxy(r.WithContext(spdy.WithPriority(r.Context(), 2)))
	if f := h.wantSyn("a priority of the caller's"); f.Priority != 2 {
		t.Errorf("priority %d, want 2", f.Priority)
	}
	h.p.Send(rep(3), data(3, "", fin))
	<-p.done
	pinged := make(chan bool, 1)
	go func() { pinged <- h.s.Ping(time.Second) }()
	h.p.Want("a client's first PING", ping(1))
	h.p.Send(ping(1))
	if !<-pinged {
		t.Error("Ping: false, want true")
	}
	h.finish()

	s := upstreamServer(t)
	go func() { pinged <- s.s.Ping(time.Second) }()
	s.p.Want("a server's first PING", ping(2))
	if <-pinged {
		t.Error("Ping without an echo: true, want false")
	}
	if st := s.s.NewClientStream(); st != nil {
		t.Errorf("NewClientStream of a server session: %v, want nil", st)
	}
	s.finish()
}

// Tests of the library of 2015 opened such streams and expected silence; draft
// 3.1 has no use for a request that must not be answered, and a reset tells its
// sender so.
func upstreamUnidirectional(t *testing.T) {
	h := upstreamServer(t)
	h.p.Send(withFlags(req(1, "/ok"), 2))
	h.wantSE("a request that is not to be answered", 1, spdy.ProtocolError)
	h.alive(3)
	h.finish()
}

// pair2 is a session of NewClientSession whose peer is one of NewServerSession
// that runs h.
func pair2(t *testing.T, h http.Handler) (client, server *spdy.Session) {
	t.Helper()
	a, b := spdytest.Pipe(spdytest.PipeConfig{})
	client, server = spdy.NewClientSession(a), spdy.NewServerSession(b, &http.Server{Handler: h})
	// Both end with the sessions, which the cleanup closes.
	go client.Serve()
	go server.Serve()
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// SendGoaway sends what it is given, or what is right if that cannot be.
func TestSendGoaway(t *testing.T) {
	for _, test := range []struct {
		name string
		dat  []byte
		want frame
	}{
		{"8 bytes", []byte{0, 0, 0, 9, 0, 0, 0, 2}, goAway(9, 2)},
		{"none", nil, goAway(1, 0)},
		{"too few", []byte{1}, goAway(1, 0)},
	} {
		t.Run(test.name, bubble(func(t *testing.T) {
			h := upstreamServer(t)
			release := make(chan struct{})
			h.mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { <-release })
			h.p.Send(req(1, "/wait"))
			synctest.Wait()
			h.s.SendGoaway(spdy.FLAG_FIN, test.dat)
			h.p.Want("GOAWAY without flags", test.want)
			close(release)
			h.p.Want("what is open goes on", rep200(1, fin))
			h.p.WantEOF("and is the last")
			h.s.SendGoaway(spdy.FLAG_NONE, test.dat) // after the end: nothing
			h.finish()
		}))
	}
}

// limit is how long a test with real sockets waits for what has to come.
const limit = time.Minute

// EnableDebug cannot be undone, so that it has a process of its own.
func TestEnableDebug(t *testing.T) {
	const inChild = "SPDY_TEST_ENABLE_DEBUG"
	if os.Getenv(inChild) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnableDebug$")
		cmd.Env = append(os.Environ(), inChild+"=1")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
		for _, want := range []string{"send SYN_STREAM stream=3", "recv SYN_STREAM stream=3", "send SYN_REPLY stream=3", "recv SYN_REPLY stream=3"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("standard output lacks %q:\n%s", want, out)
			}
		}
		for _, not := range []string{"stream=1", "secret"} {
			if strings.Contains(string(out), not) {
				t.Errorf("standard output has %q:\n%s", not, out)
			}
		}
		return
	}
	client, _ := pair2(t, http.NotFoundHandler())
	for i := range 2 { // the first before there is any debugging
		r := request(t, "GET", "/", nil)
		r.Header.Set("Cookie", "secret")
		if err := client.NewStreamProxy(r, spdy.NewRecorder()); err != nil {
			t.Error(err)
		}
		if i == 0 {
			spdy.EnableDebug()
		}
	}
}

// SetLog and EnableDebug speak of sessions that were not made from a Config.
func TestSharedLog(t *testing.T) {
	var log bytes.Buffer
	spdy.SetLog(&log)
	defer spdy.SetLog(os.Stderr)
	panics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("for the log") })
	synctest.Test(t, func(t *testing.T) {
		c, s := upstreamPair(t, panics)
		if resp, err := c.Do(request(t, "GET", "/", nil)); err != nil || resp.StatusCode != 500 {
			t.Errorf("Do: %+v, %v, want 500", resp, err)
		}
		s.Close() // and what it has to log is written
	})
	if !strings.Contains(log.String(), "for the log") {
		t.Errorf("the log is %q, want the panic in it", &log)
	}
	log.Reset()
	client, server := pair(t, nil, nil, panics)
	if resp, err := client.RoundTrip(request(t, "GET", "/", nil)); err == nil {
		resp.Body.Close()
	}
	server.Close()
	if log.Len() != 0 {
		t.Errorf("a session with a Config of its own logged %q", &log)
	}
}
