package tap

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// seen is a Viewer that notes all that it is shown.
type seen struct{ request, head, response bytes.Buffer }

func (s *seen) RequestBody(p []byte) { s.request.Write(p) }
func (s *seen) Head(status int, h http.Header) {
	fmt.Fprintf(&s.head, "%d %v;", status, h)
}
func (s *seen) ResponseBody(p []byte) { s.response.Write(p) }

// recorder takes interim answers for what they are.
type recorder struct{ *httptest.ResponseRecorder }

func (r recorder) WriteHeader(status int) {
	if status >= 200 {
		r.ResponseRecorder.WriteHeader(status)
	}
}

// Whatever a handler does with its writer, it is done, counted and seen.
func TestServe(t *testing.T) {
	for name, c := range map[string]struct {
		serve  http.HandlerFunc
		status int
		body   string
		head   string
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) {}, 200, "", "200 map[];"},
		"a write": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "some"); w.Write([]byte("thing")) }, 200, "something", "200 map[];"},
		"a status": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("A", "b")
			w.WriteHeader(103)
			w.WriteHeader(404)
			w.Write([]byte("none"))
		}, 404, "none", "404 map[A:[b]];"},
		"a reader": {func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, strings.NewReader("read")) }, 200, "read", "200 map[];"},
		"a flush": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("a"))
			w.(http.Flusher).Flush()
			if err := http.NewResponseController(w).Flush(); err != nil {
				w.Write([]byte(err.Error()))
			}
		}, 200, "a", "200 map[];"},
		"an echo": {func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }, 200, "question", "200 map[];"},
	} {
		for _, view := range []bool{false, true} {
			e := Exchange{Timed: true}
			s := new(seen)
			w := recorder{httptest.NewRecorder()}
			var viewer Viewer
			if view {
				viewer = s
			}
			e.Serve(c.serve, w, httptest.NewRequest("POST", "/", strings.NewReader("question")), viewer)
			if w.Code != c.status || w.Body.String() != c.body || e.Status != c.status || e.Out != int64(len(c.body)) || e.Headers <= 0 {
				t.Errorf("%s: %d %q, noted %d and %d bytes", name, w.Code, w.Body, e.Status, e.Out)
			}
			if in := int64(s.request.Len()); view && (s.response.String() != c.body || s.head.String() != c.head || in != e.In.Load()) {
				t.Errorf("%s: seen were %q and %q, and %d bytes of the request of %d", name, &s.head, &s.response, in, e.In.Load())
			}
		}
	}
}

// A handler that breaks off goes on to do so.
func TestServePanics(t *testing.T) {
	var e Exchange
	defer func() {
		if p := recover(); p != http.ErrAbortHandler || e.Status != 0 {
			t.Errorf("panic %v and status %d, want ErrAbortHandler and 0", p, e.Status)
		}
	}()
	e.Serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), nil)
}

// An exchange serves again as a new one does, unless a part of the one before may be in use
// yet.
func TestReset(t *testing.T) {
	e := Exchange{Timed: true}
	for _, test := range []struct {
		method string
		status int
		again  bool
	}{{"GET", 404, true}, {"HEAD", 200, true}, {"POST", 200, false}, {"GET", 101, false}} {
		r := httptest.NewRequest(test.method, "/", nil)
		if test.method == "POST" {
			r = httptest.NewRequest(test.method, "/", strings.NewReader("question"))
		}
		e.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(test.status)
			io.WriteString(w, "answer")
		}), recorder{httptest.NewRecorder()}, r, new(seen))
		if e.Status != test.status || e.Out != 6 || e.Headers <= 0 {
			t.Errorf("%s, %d: noted %d and %d bytes", test.method, test.status, e.Status, e.Out)
		}
		if got := e.Reset(); got != test.again {
			t.Errorf("%s, %d: reset %t, want %t", test.method, test.status, got, test.again)
		}
		if test.again && (e.Status != 0 || e.Out != 0 || e.Headers != 0 || e.viewer != nil || e.writer.ResponseWriter != nil || !e.Timed) {
			t.Errorf("%s, %d: left %+v", test.method, test.status, &e)
		}
		if !test.again {
			e = Exchange{Timed: true}
		}
	}
}

// readerFrom says whether its ReadFrom was called.
type readerFrom struct {
	*httptest.ResponseRecorder
	asked bool
}

func (w *readerFrom) ReadFrom(r io.Reader) (int64, error) {
	w.asked = true
	return io.Copy(w.ResponseRecorder, r)
}

// The writer below reads by itself, and so sends each piece as it comes, whether somebody
// looks or not.
func TestReadFrom(t *testing.T) {
	s := new(seen)
	for _, viewer := range []Viewer{nil, s} {
		w := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
		var e Exchange
		e.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, struct{ io.Reader }{strings.NewReader("file")})
		}), w, httptest.NewRequest("GET", "/", nil), viewer)
		if !w.asked || w.Body.String() != "file" || e.Out != 4 {
			t.Errorf("with %T: asked %t, %q, %d bytes", viewer, w.asked, w.Body, e.Out)
		}
	}
	if s.response.String() != "file" || s.head.String() != "200 map[];" {
		t.Errorf("seen were %q and %q", &s.head, &s.response)
	}
}
