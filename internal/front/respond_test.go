package front

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// steps is a ResponseWriter that notes what is done with it.
type steps struct {
	h    http.Header
	done []string
}

func (s *steps) Header() http.Header { return s.h }
func (s *steps) WriteHeader(c int)   { s.done = append(s.done, fmt.Sprint(c)) }
func (s *steps) FlushError() error   { s.done = append(s.done, "flush"); return nil }
func (s *steps) Write(p []byte) (int, error) {
	s.done = append(s.done, string(p))
	return len(p), nil
}

// pieces is a body that comes in pieces, each after a wait unless it begins with
// "+". Its end comes with the last.
type pieces []string

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, strings.TrimPrefix((*p)[0], "+"))
	*p = (*p)[1:]
	return n, nil
}

func (p *pieces) Ready() bool {
	if len(*p) > 0 {
		return (*p)[0][0] == '+'
	}
	return true
}

func (p *pieces) Close() error { return nil }

// late is a body whose end comes some time after its last byte.
type late struct{ pieces }

func (l *late) Ready() bool { return len(l.pieces) > 0 && l.pieces.Ready() }

// deliver sends a response with this body to a visitor. When the parts of a body
// come is the engine's affair, so that this does without one.
func deliver(h *Handler, w http.ResponseWriter, body io.ReadCloser) {
	r := httptest.NewRequest("GET", "/", nil)
	x := h.begin(w, r)
	defer x.end()
	x.respond(r, &http.Response{StatusCode: 200, Header: make(http.Header), ContentLength: -1, Body: body})
}

// "flushed as they come", and what is there at once costs one write.
func TestFlushes(t *testing.T) {
	come := func(p ...string) func() io.ReadCloser {
		return func() io.ReadCloser { c := pieces(slices.Clone(p)); return &c }
	}
	for _, test := range []struct {
		name string
		body func() io.ReadCloser
		want string
	}{
		{"all is there", come("+one"), "200 one"},
		{"two pieces are there", come("+one", "+two"), "200 one two"},
		{"nothing is in it", come(), "200"},
		{"the headers come first", come("one"), "200 flush one"},
		{"each piece by itself", come("one", "two", "three"), "200 flush one flush two flush three"},
		{"headers with the first piece", come("+one", "two"), "200 one flush two"},
		{"the end is late", func() io.ReadCloser { return &late{pieces{"+one"}} }, "200 one flush"},
		{"headers, and the end is late", func() io.ReadCloser { return &late{} }, "200 flush"},
		{"a body that cannot tell", func() io.ReadCloser { return io.NopCloser(strings.NewReader("one")) }, "200 flush one flush"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _ := newIn(t, nil)
			w := &steps{h: make(http.Header)}
			deliver(h, w, test.body())
			if got := strings.Join(w.done, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A client that sees nothing of an answer may send its request again: what came
// before a break reaches A.
func TestBreakIsSeen(t *testing.T) {
	s := newStage(t, nil)
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		resp := answerOf(r, 200, map[string]string{"X-Own": "yes"}, "body and more")
		resp.Body = &broken{io.MultiReader(strings.NewReader("body"), errReader{errResetByC})}
		return resp, nil
	})
	got := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, "X-Own: yes\r\n") || !strings.HasSuffix(got, "\r\n\r\nbody") {
		t.Errorf("A got %q, want the headers and what came of the body", got)
	}
	if rec := s.record(t); !rec.Aborted || rec.BytesOut != 4 {
		t.Errorf("record: aborted %v, %d bytes out", rec.Aborted, rec.BytesOut)
	}
}

// broken is a body all of which is there from the start, its error too.
type broken struct{ io.Reader }

func (*broken) Ready() bool  { return true }
func (*broken) Close() error { return nil }

// Before the wait for another session A has what came of the first.
func TestFlushBeforeResume(t *testing.T) {
	h, table := newIn(t, nil)
	first := true
	f := newScript(t, func(r *http.Request) (*http.Response, error) {
		if !first {
			return part(r, 7, 20, 13, io.EOF, nil), nil
		}
		first = false
		return part(r, 0, 20, 7, errCut, nil), nil
	})
	f.table = table
	register(t, table, f)
	w := &steps{h: make(http.Header)}
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	got := strings.Join(w.done, " ")
	begin, rest, _ := strings.Cut(strings.ReplaceAll(got, " flush 0", " 0"), " flush ")
	if begin != "200 "+film[:7] || strings.ReplaceAll(strings.ReplaceAll(rest, " ", ""), "flush", "") != film[7:] {
		t.Errorf("got %q, want %s flushed before the rest", got, film[:7])
	}
	table.Shutdown(t.Context())
}

// A trailer that was announced is a field like others; one that was not takes
// http.Server's way for those. Neither needs a body.
func TestTrailersOfC(t *testing.T) {
	for _, test := range []struct {
		name      string
		announced http.Header
		came      http.Header
		body      string
	}{
		{"announced", http.Header{"X-A": nil, "X-B": nil}, http.Header{"X-A": {"1"}, "X-B": {"2", "3"}}, "body"},
		{"announced, no body", http.Header{"X-A": nil}, http.Header{"X-A": {"1"}}, ""},
		{"not announced", nil, http.Header{"X-A": {"1"}}, "body"},
		{"not announced, no body", nil, http.Header{"X-A": {"1"}}, ""},
		{"one of two announced", http.Header{"X-A": nil}, http.Header{"X-A": {"1"}, "X-B": {"2"}}, "body"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, nil)
			s.enroll(t, func(r *http.Request) (*http.Response, error) {
				resp := answerOf(r, 200, nil, "")
				resp.Header.Del("Content-Length")
				resp.ContentLength = -1
				resp.Trailer = test.announced.Clone()
				resp.Body = &withTrailer{strings.NewReader(test.body), resp, test.came}
				return resp, nil
			})
			s.each(t, func(t *testing.T, v *visitor) {
				got := v.get(t, "/")
				if got.err != nil || got.body != test.body {
					t.Errorf("body %q, %v", got.body, got.err)
				}
				for name, want := range test.came {
					if have := got.Trailer[name]; !slices.Equal(have, want) {
						t.Errorf("trailer %s: %q, want %q", name, have, want)
					}
				}
			})
		})
	}
}

// withTrailer is a body that has come whole, with its trailer.
type withTrailer struct {
	*strings.Reader
	resp *http.Response
	came http.Header
}

func (b *withTrailer) Ready() bool  { return true }
func (b *withTrailer) Close() error { return nil }
func (b *withTrailer) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.resp.Trailer = b.came
	}
	return n, err
}

// Responses that have no body keep their headers, the length included.
func TestNoBody(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(304)
		case "/empty":
			w.Header().Set("Content-Length", "0")
		default:
			w.Header().Set("Content-Length", "4")
			io.WriteString(w, "body")
		}
	})
	s.each(t, func(t *testing.T, v *visitor) {
		for _, test := range []struct {
			method, path string
			status       int
			length, body string
		}{
			{"HEAD", "/", 200, "4", ""},
			{"GET", "/", 200, "4", "body"},
			{"GET", "/204", 204, "", ""},
			{"GET", "/304", 304, "", ""},
			{"GET", "/empty", 200, "0", ""},
			{"HEAD", "/empty", 200, "0", ""},
		} {
			got := v.do(t, v.request(t, test.method, test.path, nil))
			if got.err != nil || got.StatusCode != test.status || got.body != test.body || got.Header.Get("Content-Length") != test.length {
				t.Errorf("%s %s: %d, length %q, body %q, %v; want %d, %q, %q", test.method, test.path,
					got.StatusCode, got.Header.Get("Content-Length"), got.body, got.err, test.status, test.length, test.body)
			}
			if rec := s.record(t); rec.Aborted || rec.BytesOut != int64(len(test.body)) {
				t.Errorf("%s %s: record: aborted %v, %d bytes out", test.method, test.path, rec.Aborted, rec.BytesOut)
			}
		}
	})
}

// "TE: trailers" is for the next hop, and true of P as well.
func TestTE(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	for te, want := range map[string]string{"trailers": `"Te":["trailers"]`, "deflate, Trailers": `"Te":["trailers"]`, "deflate": "", "trailers;q=0": ""} {
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, close\r\nTE: "+te+"\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || strings.Contains(got, `"Te"`) != (want != "") || !strings.Contains(got, want) {
			t.Errorf("TE: %s: %q", te, got)
		}
	}
}

// What Connection names is not passed on, whatever it is, except what P itself says.
func TestNamedByConnection(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, cookie ,\t X-OWN,,X-Forwarded-For, Via, X-Request-Id\r\n"+
		"Connection: x-second\r\nCookie: a\r\nX-Own: 1\r\nX-Second: 1\r\nVia: 1.0 fred\r\nX-Third: 1\r\n\r\n")
	for name, want := range map[string]bool{"Cookie": false, "X-Own": false, "X-Second": false, "X-Third": true,
		"X-Forwarded-For": true, "X-Request-Id": true, "Via": true, "Connection": false} {
		if strings.Contains(got, `"`+name+`":[`) != want {
			t.Errorf("%s: C has seen it: %v, want %v", name, !want, want)
		}
	}
	if strings.Contains(got, "fred") {
		t.Error("C has seen the Via that Connection names")
	}
}

func TestOddUpgrade400(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	const next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for _, body := range []string{
		"\r\n",
		"Content-Length: 3\r\n\r\nabc",
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	} {
		got := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: web\xffsocket\r\n"+body+next)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%q: %q, want 400", body, got)
		}
		// The body is not the next request's, and after chunks there is none.
		if next := strings.Contains(got, `"URI":"/next"`); strings.Contains(body, "chunked") && !next {
			continue
		}
		if !strings.Contains(got, "HTTP/1.1 200 ") || !strings.Contains(got, `"URI":"/next"`) {
			t.Errorf("%q: %q, want the next request answered", body, got)
		}
	}
}

// Unicode's letters and white space are not HTTP's: the kelvin sign is no k.
func TestUpgradeIsASCII(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo)
	for upgrade, want := range map[string]string{
		"Connection: Upgrade\r\nUpgrade: websoc\u212aet\r\n":    "HTTP/1.1 400 ",
		"Connection: \u00a0Upgrade\r\nUpgrade: websocket\r\n":   "HTTP/1.1 200 ",
		"Connection: Upgrade\r\nUpgrade: \u2003websocket\r\n":   "HTTP/1.1 400 ",
		"Connection: close, Upgrade\r\nUpgrade: h2c\r\n":        "HTTP/1.1 200 ",
		"Connection: close\r\nUpgrade: \u2003websocket\r\n":     "HTTP/1.1 200 ",
		"Connection: close, \u00a0Upgrade\r\nUpgrade: \xff\r\n": "HTTP/1.1 200 ",
	} {
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n"+upgrade+"\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, want) || strings.Contains(got, `"Upgrade"`) {
			t.Errorf("%q: %.200q, want %s", upgrade, got, want)
		}
	}
}

// What A sends right behind the request is the beginning of its direction.
func TestUpgradeEarlyBytes(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(101)
		http.NewResponseController(w).Flush()
		io.Copy(flusher{w}, r.Body)
	})
	conn, err := net.Dial("tcp", s.visitors[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	if !strings.EqualFold(resp.Header.Get("Connection"), "upgrade") {
		t.Errorf("Connection: %q", resp.Header.Get("Connection"))
	}
	io.WriteString(conn, " and late")
	conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); err != nil || string(got) != "early and late" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A 101 to another protocol than the one that was asked for is no answer.
func TestUpgradeToSomethingElse(t *testing.T) {
	s := newStage(t, nil)
	for _, upgrade := range [][]string{nil, {"h2c"}, {"websocket", "h2c"}, {"websocket, h2c"}} {
		f := s.enroll(t, func(r *http.Request) (*http.Response, error) {
			resp := answerOf(r, 101, nil, "")
			resp.Header["Upgrade"] = upgrade
			return resp, nil
		})
		got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, "error="+reasonProtocol) {
			t.Errorf("Upgrade %q: %q, want 502", upgrade, got)
		}
		f.end()
	}
}

// http.Server's body may not be read after the handler: an attempt that still
// holds it gets an error.
func TestBodyAfterHandler(t *testing.T) {
	body := &requestBody{src: io.NopCloser(strings.NewReader("body")), in: &http.Request{}, out: make(http.Header)}
	a := &attempt{requestBody: body, ended: func() {}}
	if n, err := a.Read(make([]byte, 2)); n != 2 || err != nil {
		t.Errorf("a read before its end: %d, %v", n, err)
	}
	body.close()
	if n, err := a.Read(make([]byte, 2)); n != 0 || err != errBodyGone {
		t.Errorf("a read after it: %d, %v; want %v", n, err, errBodyGone)
	}
}

// A Write of h2 that was given up may still read what it was given, and send it
// to a visitor whose it is not by then.
func TestBufferOfFailedWrite(t *testing.T) {
	h, _ := newIn(t, nil)
	const most = 2 * largeAfter
	for name, room := range map[string]int{"at once": 0, "after much": most - largeBuffer} {
		w := &keeper{steps: steps{h: make(http.Header)}, room: room}
		func() {
			defer func() {
				if got := recover(); got != http.ErrAbortHandler {
					t.Fatalf("%s: got %v, want %v", name, got, http.ErrAbortHandler)
				}
			}()
			deliver(h, w, io.NopCloser(strings.NewReader(strings.Repeat("mine", most/4))))
		}()
		want := copyBuffer
		if room >= largeAfter {
			want = largeBuffer
		}
		if w.longest != want {
			t.Errorf("%s: the longest Write has %d bytes, want %d", name, w.longest, want)
		}
		for range 10 {
			for _, large := range []bool{false, true} {
				if buf := h.buffers.get(large); &buf[0] == &w.kept[0] {
					t.Fatalf("%s: the buffer of a failed Write is used again", name)
				}
			}
		}
	}
}

// keeper keeps what it failed to write.
type keeper struct {
	steps
	room    int // bytes that it takes before
	kept    []byte
	longest int
}

func (k *keeper) Write(p []byte) (int, error) {
	k.kept = p
	k.longest = max(k.longest, len(p))
	if k.room -= len(p); k.room >= 0 {
		return len(p), nil
	}
	return 0, errors.New("the stream is closed")
}

// The line of a 101 is P's own, as http.Server writes that of every other answer.
func TestUpgradeStatusLine(t *testing.T) {
	s := newStage(t, nil)
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		resp := answerOf(r, 101, map[string]string{"Upgrade": "websocket", "Connection": "Upgrade"}, "")
		resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/2.0", 2, 0
		resp.Status = "101 Fine\x00X-A: b"
		resp.Body = &joined{}
		return resp, nil
	})
	got := s.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if line, _, _ := strings.Cut(got, "\r\n"); line != "HTTP/1.1 101 Switching Protocols" {
		t.Errorf("got %q", line)
	}
}

// joined is the connection of a 101, on which C has said all it had to say.
type joined struct{}

func (joined) Read([]byte) (int, error)    { return 0, io.EOF }
func (joined) Write(p []byte) (int, error) { return 0, io.ErrClosedPipe }
func (joined) Close() error                { return nil }

// OnDone is told of a response that is cut short before its end can be seen, in
// HTTP/1.0 too, whose connection has to be reset for that.
func TestDoneBeforeReset(t *testing.T) {
	w := &steps{h: make(http.Header)}
	s := newStage(t, func(c *Config) { c.OnDone = func(*Record) { w.done = append(w.done, "done") } })
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		resp := answerOf(r, 200, nil, "")
		resp.ContentLength = -1
		delete(resp.Header, "Content-Length")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("part"), iotest.ErrReader(errCut)))
		return resp, nil
	})
	r := httptest.NewRequest("GET", "/", nil)
	r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	func() {
		defer func() {
			if got := recover(); got != http.ErrAbortHandler {
				t.Fatalf("got %v, want %v", got, http.ErrAbortHandler)
			}
		}()
		s.h.ServeHTTP(w, r)
	}()
	n := len(w.done)
	if n < 2 || w.done[n-2] != "done" || w.done[n-1] != "hijack" {
		t.Errorf("got %q, want done, then hijack at the end", w.done)
	}
}

func (s *steps) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.done = append(s.done, "hijack")
	return nil, nil, http.ErrNotSupported
}
