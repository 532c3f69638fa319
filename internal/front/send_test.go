package front

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy/spdytest"
)

// "A request is sent again, within the hold, where that is safe", and only there.
func TestReplay(t *testing.T) {
	for _, test := range []struct {
		name   string
		method string
		body   string
		read   bool  // C reads a byte of the body first
		err    error // of the first attempt
		again  bool
	}{
		{"GET refused", "GET", "", false, errRefused, true},
		{"POST refused", "POST", "", false, errRefused, true},
		{"POST refused, body read", "POST", "body", true, errRefused, false},
		{"POST above last-good", "POST", "", false, errUnsent, true},
		{"POST above last-good, body read", "POST", "body", true, errUnsent, false},
		{"DELETE above last-good", "DELETE", "", false, errUnsent, true},
		{"GET, session ended", "GET", "", false, errCut, true},
		{"HEAD, session ended", "HEAD", "", false, errCut, true},
		{"OPTIONS, session ended", "OPTIONS", "", false, errCut, true},
		{"GET with a body, session ended", "GET", "body", false, errCut, false},
		{"POST without a body, session ended", "POST", "", false, errCut, false},
		{"POST, session ended", "POST", "body", false, errCut, false},
		{"PUT, session ended", "PUT", "body", false, errCut, false},
		{"DELETE, session ended", "DELETE", "", false, errCut, false},
		{"TRACE-like method, session ended", "X-GET", "", false, errCut, false},
		{"GET, stream reset", "GET", "", false, errResetByC, false},
		{"GET, no answer that can be read", "GET", "", false, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, nil)
			type outcome struct {
				id   string
				body string
			}
			seen := make(chan outcome, 10)
			first := true
			f := s.enroll(t, func(r *http.Request) (*http.Response, error) {
				if first {
					first = false
					seen <- outcome{id: r.Header.Get("X-Request-Id")}
					if test.read {
						r.Body.Read(make([]byte, 1))
					}
					if r.Body != nil {
						r.Body.Close()
					}
					return answerOf(r, 99, nil, ""), test.err
				}
				body := []byte(nil)
				if r.Body != nil {
					body, _ = io.ReadAll(r.Body)
				}
				first = true
				seen <- outcome{r.Header.Get("X-Request-Id"), string(body)}
				return answerOf(r, 200, nil, ""), nil
			})
			defer f.end()
			s.each(t, func(t *testing.T, v *visitor) {
				first = true
				got := v.do(t, v.request(t, test.method, "/", strings.NewReader(test.body)))
				one := <-seen
				rec := s.record(t)
				if !test.again {
					if got.StatusCode != 502 || len(seen) > 0 || rec.Replayed != 0 {
						t.Errorf("%d after %d more attempts (record: %d), want 502 after none", got.StatusCode, len(seen), rec.Replayed)
					}
					return
				}
				if got.StatusCode != 200 || len(seen) != 1 || rec.Replayed != 1 {
					t.Fatalf("%d after %d more attempts (record: %d), want 200 after one", got.StatusCode, len(seen), rec.Replayed)
				}
				if two := <-seen; two.id != one.id || two.body != test.body {
					t.Errorf("the second attempt has the id %q and the body %q, want %q and %q", two.id, two.body, one.id, test.body)
				}
			})
		})
	}
}

// A request that waits for its turn on a session that goes away was not sent,
// and none of its body was read.
func TestReplayBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, table := newIn(t, nil)
		first := newScript(t, func(r *http.Request) (*http.Response, error) {
			t.Error("the request was sent where no stream is allowed")
			return nil, errCut
		})
		first.link.send(spdytest.Settings(spdytest.SettingMaxConcurrentStreams, 0))
		register(t, table, first)
		synctest.Wait()
		done := make(chan *httptest.ResponseRecorder)
		// Ends with the request; waited for below.
		go func() {
			w, _ := serveIn(t, h, httptest.NewRequest("POST", "/", strings.NewReader("body")))
			done <- w
		}()
		synctest.Wait()
		register(t, table, newScript(t, func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			return answerOf(r, 200, nil, "got "+string(body)), nil
		}))
		if w := <-done; w.Code != 200 || w.Body.String() != "got body" {
			t.Errorf("%d %q, want 200 and the whole body", w.Code, w.Body)
		}
		table.Shutdown(t.Context())
	})
}

// A request that kills every session it meets does not go round for ever.
func TestReplayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, table := newIn(t, nil)
		attempts := 0
		var enroll func()
		enroll = func() {
			var f *script
			f = newScript(t, func(r *http.Request) (*http.Response, error) {
				attempts++
				f.end()
				time.AfterFunc(100*time.Millisecond, enroll)
				return nil, errCut
			})
			register(t, table, f)
		}
		enroll()
		w, _ := serveIn(t, h, httptest.NewRequest("GET", "/", nil))
		if w.Code != 502 || attempts != 1+maxRepeats {
			t.Errorf("%d after %d attempts, want 502 after %d", w.Code, attempts, 1+maxRepeats)
		}
		time.Sleep(time.Second)
		table.Shutdown(t.Context())
	})
}

// What is refused is tried again with growing pauses, within the hold.
func TestRefusedPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, table := newIn(t, nil)
		attempts := 0
		register(t, table, newScript(t, func(r *http.Request) (*http.Response, error) {
			attempts++
			return nil, errRefused
		}))
		w, took := serveIn(t, h, httptest.NewRequest("POST", "/", nil))
		if w.Code != 502 || took > 10*time.Second || took < 9*time.Second || attempts < 10 || attempts > 40 {
			t.Errorf("%d after %d attempts in %v, want 502 after some 25 in up to 10s", w.Code, attempts, took)
		}
		table.Shutdown(t.Context())
	})
}

// All waits of one request together are bounded by the hold.
func TestHoldIsForAllAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, table := newIn(t, nil)
		failing := func() {
			f := newScript(t, func(r *http.Request) (*http.Response, error) { return nil, errUnsent })
			register(t, table, f)
		}
		failing()
		time.AfterFunc(6*time.Second, failing)
		time.AfterFunc(12*time.Second, failing)
		w, took := serveIn(t, h, httptest.NewRequest("POST", "/", nil))
		if w.Code != 503 || took != 10*time.Second {
			t.Errorf("%d after %v, want 503 after 10s", w.Code, took)
		}
		time.Sleep(10 * time.Second)
		table.Shutdown(t.Context())
	})
}

// "from the request's end to the response's headers"
func TestResponseTimeout(t *testing.T) {
	late := func(t *testing.T, headers, body time.Duration) *script {
		return newScript(t, func(r *http.Request) (*http.Response, error) {
			// Ends with the body, or with the test's bubble.
			if r.Body != nil {
				go io.Copy(io.Discard, r.Body)
			}
			select {
			case <-time.After(headers):
				resp := answerOf(r, 200, nil, "body")
				resp.Body = io.NopCloser(io.MultiReader(waitReader(body), strings.NewReader("body")))
				return resp, nil
			case <-r.Context().Done():
				return nil, errResetByC
			}
		})
	}
	for _, test := range []struct {
		name    string
		limit   time.Duration
		upload  time.Duration // until the request's end
		headers time.Duration // from its beginning
		body    time.Duration // from the headers
		status  int
		took    time.Duration
	}{
		{"in time", 5 * time.Second, 0, 4 * time.Second, 0, 200, 4 * time.Second},
		{"too late", 5 * time.Second, 0, 6 * time.Second, 0, 504, 5 * time.Second},
		{"none", 0, 0, time.Hour, 0, 200, time.Hour},
		{"a slow upload does not count", 5 * time.Second, time.Minute, time.Minute + 4*time.Second, 0, 200, time.Minute + 4*time.Second},
		{"what follows it does", 5 * time.Second, time.Minute, 2 * time.Minute, 0, 504, time.Minute + 5*time.Second},
		{"a slow body does not", 5 * time.Second, 0, 4 * time.Second, time.Hour, 200, time.Hour + 4*time.Second},
		{"an answer before the request's end", 5 * time.Second, time.Minute, time.Second, time.Hour, 200, time.Hour + time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, table := newIn(t, func(c *Config) { c.ResponseTimeout = test.limit })
				register(t, table, late(t, test.headers, test.body))
				r := httptest.NewRequest("POST", "/", io.MultiReader(waitReader(test.upload), strings.NewReader("body")))
				if test.upload == 0 {
					r = httptest.NewRequest("GET", "/", nil)
				}
				w, took := serveIn(t, h, r)
				if w.Code != test.status || took != test.took {
					t.Errorf("%d after %v, want %d after %v", w.Code, took, test.status, test.took)
				}
				time.Sleep(2 * time.Hour)
				table.Shutdown(t.Context())
			})
		})
	}
}

// waitReader is at its end after a while.
type waitReader time.Duration

func (d waitReader) Read([]byte) (int, error) {
	time.Sleep(time.Duration(d))
	return 0, io.EOF
}

// Held requests leave when A leaves, and when the origin is back they go on.
func TestHeld(t *testing.T) {
	s := newStage(t, nil)
	s.connect(t, "", "", echo).gone()
	held := func(want int) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%d held requests", want), func() bool { return s.table.Waiting() == want })
	}
	answers := make(chan reply, 10)
	cancels := make(map[string]context.CancelFunc)
	for _, v := range s.visitors {
		ctx, cancel := context.WithCancel(context.Background())
		cancels[v.proto] = cancel
		leaver := v.request(t, "GET", "/", nil).WithContext(ctx)
		// Each ends with its request; the answers are waited for.
		go v.rt.RoundTrip(leaver)
		go func() { answers <- v.do(t, v.request(t, "POST", "/", strings.NewReader("body"))) }()
	}
	held(6)
	for _, cancel := range cancels {
		cancel()
	}
	held(3)
	for range s.visitors {
		if rec := s.record(t); rec.Status != statusLeft || rec.Held <= 0 {
			t.Errorf("record of one that left: status %d, held %v", rec.Status, rec.Held)
		}
	}
	s.connect(t, "", "", echo)
	for range s.visitors {
		if got := await(t, "an answer", answers); got.StatusCode != 200 || got.seen(t).Body != "body" {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		if rec := s.record(t); rec.Held <= 0 || rec.Replayed != 0 {
			t.Errorf("record: held %v, replayed %d", rec.Held, rec.Replayed)
		}
	}
}
