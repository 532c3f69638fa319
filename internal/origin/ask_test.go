package origin

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
)

// Ask asks those that understand it, and Dismiss has the others finish.
func TestAskAndDismiss(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		status := func(code int) func(*http.Request) (*http.Response, error) {
			return func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: code, Body: http.NoBody}, nil
			}
		}
		trips := map[string]func(*http.Request) (*http.Response, error){
			"yes":      status(204),
			"no":       status(404),
			"never":    func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
			"lost":     func(*http.Request) (*http.Response, error) { return nil, &spdy.SessionError{Cause: spdy.ErrLost} },
			"by front": func(*http.Request) (*http.Response, error) { t.Error("it was asked, too"); return nil, spdy.ErrLost },
			"no ear":   func(*http.Request) (*http.Response, error) { t.Error("it was asked"); return nil, spdy.ErrLost },
		}
		sessions, members := map[string]*fake{}, map[string]*Member{}
		for name, trip := range trips {
			s := newFake(name)
			s.trip = trip
			sessions[name] = s
			m, err := b.Register(Registration{Name: "films", Instance: name[:2] + "." + name[len(name)-1:], DialsAgain: name != "no ear", ByFront: name == "by front", Session: s})
			if err != nil {
				t.Fatal(err)
			}
			members[name] = m
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		start := time.Now()
		got := b.Ask(ctx, false, func(ctx context.Context) *http.Request { return new(http.Request).WithContext(ctx) })
		if len(got) != 1 || !got[members["yes"]] || time.Since(start) != 3*time.Second {
			t.Errorf("%d have answered after %v, want the one that says yes after 3s", len(got), time.Since(start))
		}
		b.Dismiss(got)
		synctest.Wait()
		for name, s := range sessions {
			want := 1
			if name == "yes" {
				want = 0
			}
			if shut, _ := s.counts(); (shut > 0) != (want > 0) {
				t.Errorf("%s: Shutdown was called %d times, want %d", name, shut, want)
			}
		}
		for _, s := range sessions {
			s.die(spdy.ErrClosed)
		}
	})
}
