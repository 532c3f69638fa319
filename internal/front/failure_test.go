package front

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each row of the contract's table of what A sees, over each protocol.
func TestContractAnswers(t *testing.T) {
	// fails makes an origin whose attempts fail with err.
	fails := func(err error) func(t *testing.T, s *stage) {
		return func(t *testing.T, s *stage) {
			s.enroll(t, func(r *http.Request) (*http.Response, error) { return nil, err })
		}
	}
	// answers makes an origin that answers with what edit makes of a 200.
	answers := func(edit func(*http.Response)) func(t *testing.T, s *stage) {
		return func(t *testing.T, s *stage) {
			s.enroll(t, func(r *http.Request) (*http.Response, error) {
				resp := answerOf(r, 200, nil, "body")
				edit(resp)
				return resp, nil
			})
		}
	}
	late := func(t *testing.T, s *stage) {
		s.connect(t, "", "", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}
	lost := func(t *testing.T, s *stage) { s.connect(t, "", "", echo).gone() }
	shortHold := func(c *Config) { c.Hold = 30 * time.Millisecond }
	shortTimeout := func(c *Config) { c.ResponseTimeout = 30 * time.Millisecond }

	for _, test := range []struct {
		name    string
		config  func(*Config)
		origin  func(t *testing.T, s *stage)
		request func(*http.Request)
		status  int
		reason  string
	}{
		{"503 an origin that was never connected", nil, func(*testing.T, *stage) {}, nil, 503, reasonUnavailable},
		{"503 after the hold", shortHold, lost, nil, 503, reasonUnavailable},
		{"503 P is stopping", nil, func(t *testing.T, s *stage) { s.connect(t, "", "", echo); s.h.Stop() }, nil, 503, reasonInternal},
		{"503 P is stopping, the table", nil, func(t *testing.T, s *stage) { s.connect(t, "", "", echo); s.table.Stop() }, nil, 503, reasonInternal},
		{"503 GET, the session ended and none came back", shortHold, func(t *testing.T, s *stage) {
			var f *script
			f = s.enroll(t, func(r *http.Request) (*http.Response, error) { f.end(); return nil, errCut })
		}, nil, 503, reasonUnavailable},
		{"502 the stream ended before the headers", nil, fails(errResetByC), nil, 502, reasonIncomplete},
		{"502 POST, the session ended before the headers", nil, fails(errCut), func(r *http.Request) { r.Method = "POST" }, 502, reasonTerminated},
		{"502 the stream is refused as long as the hold", shortHold, fails(errRefused), nil, 502, reasonIncomplete},
		{"502 status 99", nil, answers(func(r *http.Response) { r.StatusCode = 99 }), nil, 502, reasonProtocol},
		{"502 status 103", nil, answers(func(r *http.Response) { r.StatusCode = 103 }), nil, 502, reasonProtocol},
		{"502 status 1000", nil, answers(func(r *http.Response) { r.StatusCode = 1000 }), nil, 502, reasonProtocol},
		{"502 a 101 that nobody asked for", nil, answers(func(r *http.Response) { r.StatusCode = 101 }), nil, 502, reasonProtocol},
		{"502 a header name with a space", nil, answers(func(r *http.Response) { r.Header["X Y"] = []string{"1"} }), nil, 502, reasonProtocol},
		{"502 a header name with a colon", nil, answers(func(r *http.Response) { r.Header["X:y"] = []string{"1"} }), nil, 502, reasonProtocol},
		{"502 an empty header name", nil, answers(func(r *http.Response) { r.Header[""] = []string{"1"} }), nil, 502, reasonProtocol},
		{"502 a header value with a newline", nil, answers(func(r *http.Response) { r.Header.Set("X-Y", "1\r\nSet-Cookie: a") }), nil, 502, reasonProtocol},
		{"502 a header value with a NUL", nil, answers(func(r *http.Response) { r.Header.Set("X-Y", "1\x00") }), nil, 502, reasonProtocol},
		{"502 two content-lengths", nil, answers(func(r *http.Response) { r.Header["Content-Length"] = []string{"4", "5"} }), nil, 502, reasonProtocol},
		{"502 a content-length with a sign", nil, answers(func(r *http.Response) { r.Header["Content-Length"] = []string{"+4"} }), nil, 502, reasonProtocol},
		{"502 a content-length in words", nil, answers(func(r *http.Response) { r.Header["Content-Length"] = []string{"four"} }), nil, 502, reasonProtocol},
		{"502 a list of content-lengths", nil, answers(func(r *http.Response) { r.Header["Content-Length"] = []string{"4, 4"} }), nil, 502, reasonProtocol},
		{"502 a status beyond 5xx", nil, answers(func(r *http.Response) { r.StatusCode = 600 }), nil, 502, reasonProtocol},
		{"502 a head that is too large", nil, answers(func(r *http.Response) { r.Header.Set("X-Big", strings.Repeat("x", 70_000)) }), nil, 502, reasonTooLarge},
		{"502 a head of too many lines", nil, answers(func(r *http.Response) { r.Header["X-Many"] = slices.Repeat([]string{"x"}, 2000) }), nil, 502, reasonTooLarge},
		{"502 a request that was here before", nil, func(t *testing.T, s *stage) { s.connect(t, "", "", echo) },
			func(r *http.Request) { r.Header.Set("Via", strings.Repeat("1.1 spdy-proxy, ", 9)+"1.1 spdy-proxy") }, 502, reasonLoop},
		{"504 no headers in time", shortTimeout, late, nil, 504, reasonTimeout},
		{"504 POST, no headers in time", shortTimeout, late, func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader("body")), 4
		}, 504, reasonTimeout},
		{"405 TRACE", nil, func(*testing.T, *stage) {}, func(r *http.Request) { r.Method = "TRACE" }, 405, reasonRequest},
		{"431 a head that is too large", func(c *Config) { c.MaxHeaderBytes = 5000 }, func(t *testing.T, s *stage) { s.connect(t, "", "", echo) },
			func(r *http.Request) { r.Header.Set("X-Big", strings.Repeat("x", 5000)) }, 431, reasonRequest},
		{"503 too many requests to one origin", func(c *Config) { c.MaxRequests = -1 }, func(t *testing.T, s *stage) { s.connect(t, "", "", echo) }, nil, 503, reasonLimit},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, test.config)
			test.origin(t, s)
			s.each(t, func(t *testing.T, v *visitor) {
				r := v.request(t, "GET", "/", nil)
				if test.request != nil {
					test.request(r)
				}
				got := v.do(t, r)
				got.wantRefusal(t, test.status, test.reason)
				if allow := got.Header.Get("Allow"); (test.status == 405) != (allow != "") {
					t.Errorf("Allow %q", allow)
				}
				rec := s.record(t)
				if rec.Status != test.status || rec.Reason != test.reason || rec.Aborted {
					t.Errorf("record: status %d, reason %q, aborted %v", rec.Status, rec.Reason, rec.Aborted)
				}
			})
		})
	}
}

func TestHeadRefusal(t *testing.T) {
	s := newStage(t, nil)
	s.each(t, func(t *testing.T, v *visitor) {
		got := v.do(t, v.request(t, "HEAD", "/", nil))
		got.wantRefusal(t, 503, reasonUnavailable)
		if got.body != "" {
			t.Errorf("body %q", got.body)
		}
	})
}

func TestSfString(t *testing.T) {
	if got := sfString("a\"b\\c\nd\xff"); got != `"a\"b\\c?d?"` {
		t.Errorf("%s", got)
	}
}

// An error of the origin's own is passed on as it is; the record says whose it is.
func TestErrorsOfTheOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rec Record
		h, table := newIn(t, func(c *Config) { c.OnDone = func(r *Record) { rec = *r } })
		status := 0
		register(t, table, newScript(t, func(r *http.Request) (*http.Response, error) { return answerOf(r, status, nil, "theirs"), nil }))
		for want, detail := range map[int]string{200: "", 404: "", 500: detailTheirs, 502: detailTheirs} {
			status = want
			w, _ := serveIn(t, h, httptest.NewRequest("GET", "/", nil))
			if w.Code != want || w.Body.String() != "theirs" || w.Header().Get("Proxy-Status") != "" || rec.Detail != detail || rec.Failed() != (want >= 500) {
				t.Errorf("%d: got %d %q, and noted %q", want, w.Code, w.Body, rec.Detail)
			}
		}
	})
}
