package front

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/origin"
)

func TestResumable(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		header map[string]string
		length int64
		want   *span
	}{
		{"200", 200, map[string]string{"Etag": `"a"`}, 100, &span{0, 99, 100, `"a"`}},
		{"206", 206, map[string]string{"Etag": `"a"`, "Content-Range": "bytes 5-9/100"}, 5, &span{5, 9, 100, `"a"`}},
		{"206, unit in capitals", 206, map[string]string{"Etag": `"a"`, "Content-Range": "Bytes 5-9/100"}, 5, &span{5, 9, 100, `"a"`}},
		{"an empty etag", 200, map[string]string{"Etag": `""`}, 100, &span{0, 99, 100, `""`}},
		{"no etag", 200, nil, 100, nil},
		{"a weak etag", 200, map[string]string{"Etag": `W/"a"`}, 100, nil},
		{"an etag without quotes", 200, map[string]string{"Etag": `a`}, 100, nil},
		{"half an etag", 200, map[string]string{"Etag": `"`}, 100, nil},
		{"two etags in one", 200, map[string]string{"Etag": `"a", "b"`}, 100, nil},
		{"length unknown", 200, map[string]string{"Etag": `"a"`}, -1, nil},
		{"empty", 200, map[string]string{"Etag": `"a"`}, 0, nil},
		{"ranges not accepted", 200, map[string]string{"Etag": `"a"`, "Accept-Ranges": "none"}, 100, nil},
		{"200 with a Content-Range", 200, map[string]string{"Etag": `"a"`, "Content-Range": "bytes 0-99/100"}, 100, nil},
		{"206 without one: several ranges", 206, map[string]string{"Etag": `"a"`, "Content-Type": "multipart/byteranges; boundary=x"}, 100, nil},
		{"206 of a total that is not known", 206, map[string]string{"Etag": `"a"`, "Content-Range": "bytes 5-9/*"}, 5, nil},
		{"206 with another length", 206, map[string]string{"Etag": `"a"`, "Content-Range": "bytes 5-9/100"}, 6, nil},
		{"206 beyond the total", 206, map[string]string{"Etag": `"a"`, "Content-Range": "bytes 96-100/100"}, 5, nil},
		{"206 backwards", 206, map[string]string{"Etag": `"a"`, "Content-Range": "bytes 9-5/100"}, 5, nil},
		{"206 of something else", 206, map[string]string{"Etag": `"a"`, "Content-Range": "lines 5-9/100"}, 5, nil},
		{"206 with signs", 206, map[string]string{"Etag": `"a"`, "Content-Range": "bytes +5-9/100"}, 5, nil},
		{"206, no numbers", 206, map[string]string{"Etag": `"a"`, "Content-Range": "bytes -9/100"}, 5, nil},
		{"404", 404, map[string]string{"Etag": `"a"`}, 100, nil},
		{"203", 203, map[string]string{"Etag": `"a"`}, 100, nil},
	} {
		resp := &http.Response{StatusCode: test.status, Header: make(http.Header), ContentLength: test.length}
		for k, v := range test.header {
			resp.Header.Set(k, v)
		}
		got, ok := resumable(resp)
		if ok != (test.want != nil) || ok && got != *test.want {
			t.Errorf("%s: %+v, %v, want %+v", test.name, got, ok, test.want)
		}
	}
}

const film = "0123456789abcdefghij"

// part answers with bytes from up to to of film, of which cut come, and then err.
func part(r *http.Request, from, to, cut int, err error, edit func(*http.Response)) *http.Response {
	resp := answerOf(r, 200, map[string]string{"Etag": `"v1"`, "Accept-Ranges": "bytes"}, film[from:to])
	if r.Header.Get("Range") != "" {
		resp.StatusCode = 206
		resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(film)))
	}
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(film[from:from+cut]), errReader{err}))
	if edit != nil {
		edit(resp)
	}
	return resp
}

// A download goes on where it stopped, "if and only if the validator still matches".
func TestResume(t *testing.T) {
	type answers []func(r *http.Request) (*http.Response, error)
	ok := func(from, to, cut int, err error, edit func(*http.Response)) func(r *http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) { return part(r, from, to, cut, err, edit), nil }
	}
	fail := func(err error) func(r *http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) { return nil, err }
	}
	for _, test := range []struct {
		name    string
		request map[string]string
		method  string
		answers answers
		ranges  []string // asked for after the first
		want    string   // "": broken off
		resumed int
	}{
		{"200", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 13, io.EOF, nil)}, []string{"bytes=7-19"}, film, 1},
		{"200, twice", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 1, errCut, nil), ok(8, 20, 12, io.EOF, nil)},
			[]string{"bytes=7-19", "bytes=8-19"}, film, 2},
		{"200, before the first byte", nil, "GET", answers{ok(0, 20, 0, errCut, nil), ok(0, 20, 20, io.EOF, nil)}, []string{"bytes=0-19"}, film, 1},
		{"206", map[string]string{"Range": "bytes=5-14", "If-Range": `"v1"`}, "GET",
			answers{ok(5, 15, 4, errCut, nil), ok(9, 15, 6, io.EOF, nil)}, []string{"bytes=9-14"}, film[5:15], 1},
		{"206 of the tail", map[string]string{"Range": "bytes=-5"}, "GET", answers{ok(15, 20, 4, errCut, nil), ok(19, 20, 1, io.EOF, nil)}, []string{"bytes=19-19"}, film[15:], 1},
		{"conditions are not asked twice", map[string]string{"If-None-Match": `"v0"`, "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, "GET",
			answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 13, io.EOF, nil)}, []string{"bytes=7-19"}, film, 1},
		{"the next session ends before it answers", nil, "GET",
			answers{ok(0, 20, 7, errCut, nil), fail(errCut), fail(errRefused), ok(7, 20, 13, io.EOF, nil)}, []string{"bytes=7-19", "bytes=7-19", "bytes=7-19"}, film, 1},
		{"refused for a while", nil, "GET",
			answers{ok(0, 20, 7, errCut, nil), fail(errRefused), fail(errRefused), fail(errRefused), fail(errRefused), ok(7, 20, 13, io.EOF, nil)},
			[]string{"bytes=7-19", "bytes=7-19", "bytes=7-19", "bytes=7-19", "bytes=7-19"}, film, 1},
		{"all had come", nil, "GET", answers{ok(0, 20, 20, errCut, nil)}, nil, film, 0},
		{"fruitless", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 0, errCut, nil), ok(7, 20, 0, errCut, nil), ok(7, 20, 0, errCut, nil)},
			[]string{"bytes=7-19", "bytes=7-19", "bytes=7-19"}, "", 3},
		{"another etag", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 13, io.EOF, func(r *http.Response) { r.Header.Set("Etag", `"v2"`) })}, []string{"bytes=7-19"}, "", 0},
		{"a weak etag", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 13, io.EOF, func(r *http.Response) { r.Header.Set("Etag", `W/"v1"`) })}, []string{"bytes=7-19"}, "", 0},
		{"200 in the place of 206", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(0, 20, 20, io.EOF, func(r *http.Response) { r.StatusCode = 200; r.Header.Del("Content-Range") })}, []string{"bytes=7-19"}, "", 0},
		{"404", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 13, io.EOF, func(r *http.Response) { r.StatusCode = 404 })}, []string{"bytes=7-19"}, "", 0},
		{"another range", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(8, 20, 12, io.EOF, nil)}, []string{"bytes=7-19"}, "", 0},
		{"a shorter range", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 19, 12, io.EOF, nil)}, []string{"bytes=7-19"}, "", 0},
		{"another total", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 13, io.EOF, func(r *http.Response) { r.Header.Set("Content-Range", "bytes 7-19/21") })}, []string{"bytes=7-19"}, "", 0},
		{"another coding", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 13, io.EOF, func(r *http.Response) { r.Header.Set("Content-Encoding", "gzip") })}, []string{"bytes=7-19"}, "", 0},
		{"the rest is short", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 12, io.EOF, nil)}, []string{"bytes=7-19"}, "", 1},
		{"the stream was reset", nil, "GET", answers{ok(0, 20, 7, errResetByC, nil)}, nil, "", 0},
		{"no validator", nil, "GET", answers{ok(0, 20, 7, errCut, func(r *http.Response) { r.Header.Del("Etag") })}, nil, "", 0},
		{"several ranges", map[string]string{"Range": "bytes=0-1,4-5"}, "GET",
			answers{ok(0, 20, 7, errCut, func(r *http.Response) { r.Header.Del("Content-Range") })}, nil, "", 0},
		{"POST", nil, "POST", answers{ok(0, 20, 7, errCut, nil)}, nil, "", 0},
		{"an answer that is no HTTP", nil, "GET", answers{ok(0, 20, 7, errCut, nil), ok(7, 20, 13, io.EOF, func(r *http.Response) { r.Header.Set("X", "\n") })}, []string{"bytes=7-19"}, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, nil)
			requests := make(chan http.Header, 10)
			next := 0
			s.enroll(t, func(r *http.Request) (*http.Response, error) {
				requests <- r.Header.Clone()
				next++
				if next > len(test.answers) {
					return nil, errors.New("one request too many")
				}
				return test.answers[next-1](r)
			})
			s.each(t, func(t *testing.T, v *visitor) {
				next = 0
				r := v.request(t, test.method, "/film", nil)
				for k, val := range test.request {
					r.Header.Set(k, val)
				}
				resp, err := v.rt.RoundTrip(r)
				var body []byte
				if err == nil {
					body, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				if test.want == "" && err == nil {
					t.Errorf("A got %q as if it were whole", body)
				}
				if test.want != "" && (string(body) != test.want || err != nil) {
					t.Errorf("A got %q, %v; want %q", body, err, test.want)
				}
				rec := s.record(t)
				if rec.Resumed != test.resumed || rec.Aborted != (test.want == "") {
					t.Errorf("record: resumed %d, aborted %v, %s; want %d", rec.Resumed, rec.Aborted, rec.Detail, test.resumed)
				}
				first := <-requests
				var ranges []string
				for len(requests) > 0 {
					h := <-requests
					ranges = append(ranges, h.Get("Range"))
					if h.Get("If-Range") != `"v1"` || h.Get("If-None-Match") != "" || h.Get("If-Modified-Since") != "" {
						t.Errorf("asked with %v, want If-Range alone", h)
					}
					if h.Get("X-Request-Id") != first.Get("X-Request-Id") {
						t.Error("asked with another request id")
					}
				}
				if strings.Join(ranges, " ") != strings.Join(test.ranges, " ") {
					t.Errorf("asked for %q, want %q", ranges, test.ranges)
				}
			})
		})
	}
}

// The rest is waited for as long as the hold, and no longer.
func TestResumeWaits(t *testing.T) {
	for _, test := range []struct {
		after time.Duration // until the origin is back
		took  time.Duration
		ok    bool
	}{
		{4 * time.Second, 4 * time.Second, true},
		{11 * time.Second, 10 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, table := newIn(t, nil)
			register(t, table, newScript(t, func(r *http.Request) (*http.Response, error) { return part(r, 0, 20, 7, errCut, nil), nil }))
			time.AfterFunc(test.after, func() {
				register(t, table, newScript(t, func(r *http.Request) (*http.Response, error) { return part(r, 7, 20, 13, io.EOF, nil), nil }))
			})
			r := httptest.NewRequest("GET", "/", nil)
			w, took := serveIn(t, h, r)
			if took != test.took || (w.Body.String() == film) != test.ok {
				t.Errorf("back after %v: %q after %v", test.after, w.Body.String(), took)
			}
			time.Sleep(time.Minute)
			table.Shutdown(t.Context())
		})
	}
}

// With the real engine: the connection is cut in the middle, and C comes back.
func TestResumeOverReconnect(t *testing.T) {
	s := newStage(t, nil)
	content := strings.Repeat(film, 100_000)
	serve := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "film.mp4", time.Unix(1, 0), strings.NewReader(content))
	}
	begin := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		io.WriteString(w, content[:60_000])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	s.each(t, func(t *testing.T, v *visitor) {
		first := s.connect(t, origin.Name(""), "x", begin)
		resp, err := v.rt.RoundTrip(v.request(t, "GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		head := make([]byte, 50_000)
		if _, err := io.ReadFull(resp.Body, head); err != nil {
			t.Fatal(err)
		}
		first.gone()
		s.connect(t, "", "x", serve)
		tail, err := io.ReadAll(resp.Body)
		if err != nil || string(head)+string(tail) != content {
			t.Errorf("%d bytes of %d: %v", len(head)+len(tail), len(content), err)
		}
		if rec := s.record(t); rec.Resumed != 1 || rec.BytesOut != int64(len(content)) {
			t.Errorf("record: resumed %d, %d bytes out", rec.Resumed, rec.BytesOut)
		}
	})
}

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
