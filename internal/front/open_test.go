package front

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// counter is a Meter.
type counter struct{ in, out atomic.Int64 }

func (c *counter) In(n int)  { c.in.Add(int64(n)) }
func (c *counter) Out(n int) { c.out.Add(int64(n)) }

// How long each step of a request took, what failed on the way, what it waits for
// meanwhile, and what passed.
func TestSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var meter counter
		var rec Record
		h, table := newIn(t, func(c *Config) {
			c.Meter = func(n origin.Name) Meter {
				if n != "" {
					t.Errorf("asked for the meter of %q", n)
				}
				return &meter
			}
			c.OnDone = func(r *Record) { rec = *r }
		})
		slow := func(answer func(r *http.Request) *http.Response) *script {
			return newScript(t, func(r *http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return answer(r), nil
			})
		}
		waits := func(phase string) {
			t.Helper()
			n := 0
			for r, got := range h.Open(10) {
				if n++; got != phase || r.URI != "/film" || r.Origin != "@" || r.RequestID == "" {
					t.Errorf("open: %+v %q, want one that %s", r, got, phase)
				}
			}
			if n != 1 {
				t.Errorf("%d are open, want 1", n)
			}
		}
		register(t, table, slow(func(r *http.Request) *http.Response { return part(r, 0, 20, 7, errCut, nil) }))
		done := make(chan string)
		go func() { // ends with the request
			w, _ := serveIn(t, h, httptest.NewRequest("GET", "/film", nil))
			done <- w.Body.String()
		}()
		time.Sleep(500 * time.Millisecond)
		waits("waits for the response")
		time.Sleep(time.Second)
		waits("waits for the origin")
		time.Sleep(2500 * time.Millisecond) // 4 s in all
		register(t, table, slow(func(r *http.Request) *http.Response { return part(r, 7, 20, 13, io.EOF, nil) }))
		if body := <-done; body != film {
			t.Errorf("body: %q", body)
		}
		for r := range h.Open(10) {
			t.Errorf("%+v is open", r)
		}
		if rec.Opened > time.Millisecond || rec.Headers != time.Second || rec.Held != 3*time.Second || rec.Duration != 5*time.Second || rec.Queued != 0 {
			t.Errorf("steps: opened %v, headers %v, held %v, in all %v", rec.Opened, rec.Headers, rec.Held, rec.Duration)
		}
		if len(rec.Attempts) != 1 {
			t.Fatalf("attempts: %+v, want one", rec.Attempts)
		}
		a := rec.Attempts[0]
		if _, ended := errors.AsType[*spdy.SessionError](a.Err); !ended || a.Session != 1 || a.Stream != 1 || a.After != time.Second || rec.Session != 2 {
			t.Errorf("attempt: %+v, then session %d", a, rec.Session)
		}
		if meter.out.Load() != 20 || meter.in.Load() != 0 {
			t.Errorf("meter: %d in, %d out", meter.in.Load(), meter.out.Load())
		}
		if rec.Failed() {
			t.Error("it counts as failed")
		}
		r := httptest.NewRequest("POST", "/film", strings.NewReader("twelve bytes"))
		serveIn(t, h, r)
		if meter.in.Load() != 12 {
			t.Errorf("meter: %d in, want 12", meter.in.Load())
		}
	})
}
