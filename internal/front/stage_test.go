package front

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/testabort"
)

// patience bounds each wait of a test that would otherwise hang.
const patience = time.Minute

// stage is a table and a handler, with a server for each protocol.
type stage struct {
	*testing.T
	table   *origin.Table
	h       *Handler
	records chan *Record
	visitors
}

// visitor is an A that speaks one protocol.
type visitor struct {
	proto  string
	scheme string
	addr   string // host:port
	rt     http.RoundTripper
}

type visitors []*visitor

func newStage(t *testing.T, edit func(*Config)) *stage {
	t.Helper()
	s := &stage{T: t, table: origin.NewTable(origin.Config{}), records: make(chan *Record, 10000)}
	c := Config{Origins: s.table, Hold: patience, OnDone: func(r *Record) { kept := *r; s.records <- &kept }}
	if edit != nil {
		edit(&c)
	}
	var err error
	if s.h, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.h.Shutdown(ctx)
		s.table.Shutdown(ctx)
	})

	plain := httptest.NewUnstartedServer(s.h)
	plain.Config.DisableGeneralOptionsHandler = true
	plain.Config.MaxHeaderValueCount = 4 * MaxHeaderLines
	plain.Start()
	t.Cleanup(plain.Close)
	s.visitors = append(s.visitors, &visitor{"http/1.1", "http", plain.Listener.Addr().String(), &http.Transport{DisableCompression: true}})

	secure := httptest.NewUnstartedServer(s.h)
	secure.EnableHTTP2 = true
	secure.Config.DisableGeneralOptionsHandler = true
	secure.Config.MaxHeaderValueCount = 4 * MaxHeaderLines
	secure.StartTLS()
	t.Cleanup(secure.Close)
	rt := secure.Client().Transport.(*http.Transport).Clone()
	rt.DisableCompression = true
	s.visitors = append(s.visitors, &visitor{"h2", "https", secure.Listener.Addr().String(), rt})

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	// Ends when ln is closed; waited for by the cleanup.
	open.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			session := (&spdy.Config{MaxHeaderPairs: 4 * MaxHeaderLines}).NewServerSession(conn, &http.Server{Handler: s.h})
			t.Cleanup(session.Close)
			// Ends with the session.
			open.Go(func() { session.Serve() })
		}
	})
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	session := new(spdy.Config).NewClientSession(conn)
	// Ends with the session.
	open.Go(func() { session.Serve() })
	t.Cleanup(func() {
		ln.Close()
		session.Close()
		open.Wait()
	})
	s.visitors = append(s.visitors, &visitor{"spdy/3.1", "http", ln.Addr().String(), session})
	for _, v := range s.visitors {
		if c, ok := v.rt.(interface{ CloseIdleConnections() }); ok {
			t.Cleanup(c.CloseIdleConnections)
		}
	}
	return s
}

// each runs f once for each protocol.
func (s *stage) each(t *testing.T, f func(t *testing.T, v *visitor)) {
	for _, v := range s.visitors {
		t.Run(v.proto, func(t *testing.T) { f(t, v) })
	}
}

// c is an origin: an engine's two ends, in memory.
type c struct {
	t      *testing.T
	wire   *spdytest.Conn // C's end
	member *origin.Member
	server *spdy.Session
}

// connect makes handler the origin name.
func (s *stage) connect(t *testing.T, name origin.Name, instance string, handler http.HandlerFunc) *c {
	t.Helper()
	return connectTo(t, s.table, name, instance, handler)
}

// connectIn makes handler table's default origin.
func connectIn(t *testing.T, table *origin.Table, handler http.HandlerFunc) *c {
	t.Helper()
	return connectTo(t, table, "", "", handler)
}

func connectTo(t *testing.T, table *origin.Table, name origin.Name, instance string, handler http.HandlerFunc) *c {
	t.Helper()
	a, b := spdytest.Pipe(spdytest.PipeConfig{Buffer: 256 << 10})
	p := (&spdy.Config{MaxConcurrentStreams: 10}).NewClientSession(a)
	o := &c{t: t, wire: b, server: new(spdy.Config).NewServerSession(b, &http.Server{Handler: handler})}
	var open sync.WaitGroup
	// Both end with their connection.
	open.Go(func() { p.Serve() })
	open.Go(func() { o.server.Serve() })
	t.Cleanup(func() {
		p.Close()
		o.server.Close()
		open.Wait()
	})
	var err error
	if o.member, err = table.Register(origin.Registration{Name: name, Instance: instance, RemoteAddr: "c", Session: p}); err != nil {
		t.Fatal(err)
	}
	return o
}

// gone cuts the connection and waits until the table has seen it.
func (o *c) gone() {
	o.t.Helper()
	o.wire.Reset()
	await(o.t, "the end of the session", o.member.Done())
}

func await[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
	}
	return v
}

// waitFor asks again and again, for what no event tells.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit, again := time.After(patience), time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// request makes a request whose target is sent as it is written.
func (v *visitor) request(t *testing.T, method, target string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, v.scheme+"://"+v.addr+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	r.URL.RawQuery = query
	r.URL.ForceQuery = strings.HasSuffix(target, "?")
	if strings.HasPrefix(path, "//") || path == "*" {
		r.URL.Path = path
	} else {
		r.URL.Opaque = path
	}
	return r
}

// reply is a response that was read.
type reply struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (v *visitor) do(t *testing.T, r *http.Request) reply {
	t.Helper()
	resp, err := v.rt.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, string(body), err}
}

func (v *visitor) get(t *testing.T, target string) reply {
	t.Helper()
	return v.do(t, v.request(t, "GET", target, nil))
}

// wantRefusal checks an answer of P's own.
func (r reply) wantRefusal(t *testing.T, status int, reason string) {
	t.Helper()
	if r.StatusCode != status {
		t.Errorf("status %d, want %d (%q)", r.StatusCode, status, r.body)
	}
	if ps := r.Header.Get("Proxy-Status"); !strings.HasPrefix(ps, "spdy-proxy; error="+reason+"; details=\"") {
		t.Errorf("Proxy-Status %q, want the error %s", ps, reason)
	}
	if r.Request.Method != "HEAD" && (strings.Count(r.body, "\n") != 1 || !strings.HasPrefix(r.body, fmt.Sprint(status))) {
		t.Errorf("body %q, want one line of text with the status", r.body)
	}
	if got := r.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	if after := r.Header.Get("Retry-After"); (status == 503) != (after != "") {
		t.Errorf("Retry-After %q with status %d", after, status)
	}
}

// seen is a request as C saw it.
type seen struct {
	Method, URI, Host, Proto string
	Header                   http.Header
	Body                     string
	Trailer                  http.Header
}

// echo answers with what it saw.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	json.NewEncoder(w).Encode(seen{r.Method, r.RequestURI, r.Host, r.Proto, r.Header, string(body), r.Trailer})
}

// seen reads the answer of echo.
func (r reply) seen(t *testing.T) (s seen) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &s); err != nil {
		t.Fatalf("status %d, body %q: %v", r.StatusCode, r.body, err)
	}
	return s
}

// raw sends text to the HTTP/1.1 port and returns the answers, up to the end of
// the connection.
func (s *stage) raw(t *testing.T, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.visitors[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, text)
	answer, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil && len(answer) == 0 {
		t.Fatalf("%q: %v", text, err)
	}
	return string(answer)
}

// record returns the record of the next request that ends.
func (s *stage) record(t *testing.T) *Record {
	t.Helper()
	return await(t, "a record", s.records)
}

func sorted(m http.Header) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// serveIn runs one request in the bubble of a test.
func serveIn(t *testing.T, h *Handler, r *http.Request) (w *httptest.ResponseRecorder, took time.Duration) {
	t.Helper()
	w = httptest.NewRecorder()
	start := time.Now()
	testabort.Aborts(func() { h.ServeHTTP(w, r) })
	return w, time.Since(start)
}

func newIn(t *testing.T, edit func(*Config)) (*Handler, *origin.Table) {
	t.Helper()
	table := origin.NewTable(origin.Config{})
	c := Config{Origins: table, Hold: 10 * time.Second}
	if edit != nil {
		edit(&c)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h, table
}
