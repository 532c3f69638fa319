package front

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A visitor can ask for a broken answer as often as it likes; the log has a line
// a minute.
func TestRefusedIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h, table := newIn(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		register(t, table, newScript(t, func(r *http.Request) (*http.Response, error) { return answerOf(r, 999, nil, ""), nil }))
		for range 3 {
			if w, _ := serveIn(t, h, httptest.NewRequest("GET", "/", nil)); w.Code != 502 {
				t.Errorf("status %d, want 502", w.Code)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || strings.Contains(lines[0], "times=") || !strings.Contains(lines[1], "times=2") ||
			!strings.Contains(lines[0], `reason="status 999"`) {
			t.Errorf("three refused answers at once: got the lines %q, want one, and one of two after a minute", lines)
		}
		table.Shutdown(t.Context())
	})
}

// Nothing is added to C's answer that C did not say.
func TestAnswerAsSent(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header().Set("X-Own", "yes")
		w.Header().Set("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
		w.Header().Set("Content-Encoding", "own")
		w.WriteHeader(418)
		io.WriteString(w, "<html>")
	})
	s.each(t, func(t *testing.T, v *visitor) {
		got := v.get(t, "/")
		if got.StatusCode != 418 || got.body != "<html>" {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		names := slices.DeleteFunc(sorted(got.Header), func(n string) bool { return n == "Content-Length" })
		if want := []string{"Content-Encoding", "Date", "Set-Cookie", "X-Own"}; !slices.Equal(names, want) {
			t.Errorf("A got the headers %q, want %q", names, want)
		}
		if got.Header.Get("Date") != "Thu, 01 Jan 1970 00:00:00 GMT" || len(got.Header["Set-Cookie"]) != 2 {
			t.Errorf("headers: %v", got.Header)
		}
	})
}

func TestHopByHopFromC(t *testing.T) {
	s := newStage(t, nil)
	s.enroll(t, func(r *http.Request) (*http.Response, error) {
		return answerOf(r, 200, map[string]string{
			"Connection": "close", "Keep-Alive": "1", "Proxy-Connection": "1", "Te": "x", "Proxy-Authenticate": "x", "Upgrade": "h2c", "X-Own": "yes",
		}, "body"), nil
	})
	s.each(t, func(t *testing.T, v *visitor) {
		got := v.get(t, "/")
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Proxy-Authenticate", "Upgrade"} {
			if got.Header.Get(name) != "" {
				t.Errorf("%s was passed on", name)
			}
		}
		if got.Header.Get("X-Own") != "yes" || got.body != "body" {
			t.Errorf("X-Own %q, body %q", got.Header.Get("X-Own"), got.body)
		}
	})
}

// "Trailers pass both ways as HEADERS frames."
func TestTrailers(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(200)
		json.NewEncoder(w).Encode(seen{Trailer: r.Trailer})
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Sudden", "2")
	})
	s.each(t, func(t *testing.T, v *visitor) {
		r := v.request(t, "POST", "/", io.MultiReader(strings.NewReader("body")))
		r.Trailer = http.Header{"X-Sum": {"7"}, "X-Forwarded-For": {"6.6.6.6"}, "X-Empty": nil}
		got := v.do(t, r)
		if got.err != nil {
			t.Fatal(got.err)
		}
		to := got.seen(t).Trailer
		if to.Get("X-Sum") != "7" || to.Get("X-Forwarded-For") != "" {
			t.Errorf("C got the trailers %v, want X-Sum alone", to)
		}
		if got.Trailer.Get("X-Announced") != "1" || got.Trailer.Get("X-Sudden") != "2" {
			t.Errorf("A got the trailers %v", got.Trailer)
		}
	})
	// Not announced, as HTTP/1.1 allows.
	answer := s.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, x-named\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"1\r\nx\r\n0\r\nX-Late: 1\r\nX-Request-Id: 6\r\nx-named: 1\r\nCache-Control: no-store\r\n\r\n")
	if !strings.Contains(answer, `"X-Late":["1"]`) || strings.Contains(answer, "X-Request-Id") || strings.Contains(answer, "X-Named") || strings.Contains(answer, "no-store") {
		t.Errorf("trailers that were not announced: %q", answer)
	}
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
