package front

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/testabort"
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
	e := h.begin(w, r)
	defer e.end()
	e.respond(r, &http.Response{StatusCode: 200, Header: make(http.Header), ContentLength: -1, Body: body})
}

// stream is what a SPDY visitor's stream is beside.
type stream struct{ steps }

func (*stream) WaitSent() error { return nil }

// A frame of an h2 or SPDY visitor and its header are one record of TLS, however much has
// come.
func TestPieceOfFrames(t *testing.T) {
	h, _ := newIn(t, nil)
	h1, h2, spdy := new(steps), new(steps), new(stream)
	for _, c := range []struct {
		name  string
		w     http.ResponseWriter
		steps *steps
		major int
		piece int
	}{{"HTTP/1", h1, h1, 1, largeBuffer}, {"h2", h2, h2, 2, frameBuffer}, {"SPDY", spdy, &spdy.steps, 1, frameBuffer}} {
		c.steps.h = make(http.Header)
		r := httptest.NewRequest("GET", "/", nil)
		r.ProtoMajor, r.ProtoMinor = c.major, 2-c.major
		e := h.begin(c.w, r)
		e.respond(r, &http.Response{StatusCode: 200, Header: make(http.Header), ContentLength: 2 * largeAfter,
			Body: io.NopCloser(strings.NewReader(strings.Repeat("x", 2*largeAfter)))})
		e.end()
		most, all := 0, 0
		for _, step := range c.steps.done {
			if strings.HasPrefix(step, "x") {
				most, all = max(most, len(step)), all+len(step)
			}
		}
		if most != c.piece || all != 2*largeAfter {
			t.Errorf("%s: %d bytes came, at most %d at once; want %d, and %d", c.name, all, most, 2*largeAfter, c.piece)
		}
	}
}

// A body that is announced to be short takes a short buffer, and not more than was
// announced.
func TestBufferOfShortBody(t *testing.T) {
	h, _ := newIn(t, nil)
	for _, c := range []struct {
		announced, has int64
		buffer         int
		whole          bool
	}{
		{0, 0, smallBuffer, true}, {smallBuffer, smallBuffer, smallBuffer, true}, {smallBuffer + 1, smallBuffer + 1, copyBuffer, true},
		{-1, 1, copyBuffer, true}, {smallBuffer, smallBuffer + 1, smallBuffer, false}, {2, 1, smallBuffer, false},
	} {
		t.Run(fmt.Sprint(c.announced, c.has), func(t *testing.T) {
			w := &steps{h: make(http.Header)}
			body := &measured{Reader: strings.NewReader(strings.Repeat("x", int(c.has)))}
			r := httptest.NewRequest("GET", "/", nil)
			whole := !testabort.Aborts(func() {
				e := h.begin(w, r)
				defer e.end()
				e.respond(r, &http.Response{StatusCode: 200, Header: make(http.Header), ContentLength: c.announced, Body: body})
			})
			if whole != c.whole || body.longest != c.buffer {
				t.Errorf("whole: %v, want %v; a Read of %d bytes, want %d", whole, c.whole, body.longest, c.buffer)
			}
		})
	}
}

// measured is a body that knows how much was asked of it at once.
type measured struct {
	io.Reader
	longest int
}

func (m *measured) Read(p []byte) (int, error) {
	m.longest = max(m.longest, len(p))
	return m.Reader.Read(p)
}
func (m *measured) Close() error { return nil }

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

// A Write of h2 that was given up may still read what it was given, and send it
// to a visitor whose it is not by then.
func TestBufferOfFailedWrite(t *testing.T) {
	h, _ := newIn(t, nil)
	const most = 2 * largeAfter
	for name, room := range map[string]int{"at once": 0, "after much": most - largeBuffer} {
		w := &keeper{steps: steps{h: make(http.Header)}, room: room}
		if !testabort.Aborts(func() { deliver(h, w, io.NopCloser(strings.NewReader(strings.Repeat("mine", most/4)))) }) {
			t.Fatalf("%s: what was cut looks whole", name)
		}
		want := copyBuffer
		if room >= largeAfter {
			want = largeBuffer
		}
		if w.longest != want {
			t.Errorf("%s: the longest Write has %d bytes, want %d", name, w.longest, want)
		}
		for range 10 {
			for _, size := range []int{smallBuffer, frameBuffer, copyBuffer, largeBuffer} {
				if buf := h.buffers.get(size); &buf[0] == &w.kept[0] {
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

// "it ended after them, or the body's length is not the announced one: a
// truncated body never looks complete."
func TestBrokenAfterHeaders(t *testing.T) {
	for _, test := range []struct {
		name   string
		length int64
		err    error
		ok     bool
	}{
		{"the stream was reset", 8, errResetByC, false},
		{"the stream was reset, length unknown", -1, errResetByC, false},
		{"the session ended, length unknown", -1, errCut, false},
		{"the session ended, no validator", 8, errCut, false},
		{"shorter than announced", 8, io.EOF, false},
		{"longer than announced", 3, io.EOF, false},
		{"the session ended when all had come", 4, errCut, true},
		{"whole", 4, io.EOF, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, nil)
			s.enroll(t, func(r *http.Request) (*http.Response, error) {
				resp := answerOf(r, 200, nil, "")
				resp.ContentLength = test.length
				resp.Header.Del("Content-Length")
				if test.length >= 0 {
					resp.Header.Set("Content-Length", fmt.Sprint(test.length))
				}
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), errReader{test.err}))
				return resp, nil
			})
			s.each(t, func(t *testing.T, v *visitor) {
				resp, err := v.rt.RoundTrip(v.request(t, "GET", "/", nil))
				var body []byte
				if err == nil {
					body, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				if test.name == "longer than announced" {
					// A sees as much as was announced, or a break.
					if string(body) != "bod" && err == nil {
						t.Errorf("A got %q", body)
					}
				} else if (err == nil) != test.ok || test.ok && string(body) != "body" {
					t.Errorf("A got %q, %v; want ok %v", body, err, test.ok)
				}
				rec := s.record(t)
				if rec.Aborted == test.ok || (rec.Reason != "") == test.ok {
					t.Errorf("record: aborted %v, reason %q", rec.Aborted, rec.Reason)
				}
			})
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// awaited is a body that is awaited without a buffer.
type awaited struct {
	pieces
	h     *Handler
	after []bool // of each Await: a buffer had been given back
}

func (a *awaited) Await() {
	buf, back := a.h.buffers.usual.Get().(*[copyBuffer]byte)
	if back {
		a.h.buffers.usual.Put(buf)
	}
	a.after = append(a.after, back)
	a.pieces[0] = "+" + a.pieces[0]
}

func (a *awaited) Read(p []byte) (int, error) {
	if !a.Ready() {
		return 0, errors.New("it was not awaited")
	}
	return a.pieces.Read(p)
}

// While a body has nothing to be read, its download holds no buffer.
func TestAwaitsWithoutBuffer(t *testing.T) {
	h, err := New(Config{Origins: new(canned)})
	if err != nil {
		t.Fatal(err)
	}
	gave := false
	for range 10 { // a pool may lose what it was given
		w := &steps{h: make(http.Header)}
		body := &awaited{pieces: pieces{"a", "+b", "c"}, h: h}
		deliver(h, w, body)
		if got := fmt.Sprint(w.done); got != "[200 flush a b flush c]" || len(body.after) != 2 {
			t.Fatalf("got %s, awaited %d times", got, len(body.after))
		}
		gave = gave || body.after[1]
	}
	if !gave {
		t.Error("the buffer was not given back")
	}
}
