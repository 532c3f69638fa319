package origin

import (
	"context"
	"fmt"
	"net/http"
	"sync"
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
		got := b.Ask(ctx, false, 0, func(ctx context.Context) *http.Request { return new(http.Request).WithContext(ctx) })
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

// Ask takes its time for many sessions, no longer than it may, and ends with its
// context. Who are few do not wait.
func TestAskLittleByLittle(t *testing.T) {
	for _, test := range []struct {
		sessions    int
		over, limit time.Duration
		atOnce, all int
		took        time.Duration
	}{
		{sessions: 1000, over: time.Second, limit: time.Minute, atOnce: 10, all: 1000, took: 990 * time.Millisecond},
		{sessions: 1000, over: time.Second, limit: 10*askTick + askTick/2, atOnce: 10, all: 110, took: 10*askTick + askTick/2},
		{sessions: 1000, over: time.Second / 5, limit: time.Minute, atOnce: 50, all: 1000, took: 190 * time.Millisecond},
		{sessions: 100, over: 10 * time.Second, limit: time.Minute, atOnce: askAtOnce, all: 100, took: 9 * askTick},
		{sessions: 3, over: 10 * time.Second, limit: time.Minute, atOnce: 3, all: 3},
		{sessions: 100, limit: time.Minute, atOnce: 100, all: 100},
	} {
		t.Run(fmt.Sprintf("%d over %v within %v", test.sessions, test.over, test.limit), func(t *testing.T) {
			run(t, Config{}, func(b *bench) {
				start := time.Now()
				var sessions []*fake
				for i := range test.sessions {
					s := newFake(fmt.Sprint(i))
					s.trip = func(*http.Request) (*http.Response, error) {
						return &http.Response{StatusCode: 204, Body: http.NoBody}, nil
					}
					sessions = append(sessions, s)
					if _, err := b.Register(Registration{Name: Name(fmt.Sprint("n", i)), Instance: s.name, DialsAgain: true, Session: s}); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(b.Context(), test.limit)
				defer cancel()
				var mu sync.Mutex
				asked := make(map[time.Duration]int) // guarded by mu; how many, by the time since start
				answered := b.Ask(ctx, false, test.over, func(ctx context.Context) *http.Request {
					mu.Lock()
					defer mu.Unlock()
					asked[time.Since(start)]++
					return new(http.Request).WithContext(ctx)
				})
				if took := time.Since(start); len(answered) != test.all || took != test.took {
					t.Errorf("%d have answered after %v, want %d after %v", len(answered), took, test.all, test.took)
				}
				for at, n := range asked {
					if n > test.atOnce {
						t.Errorf("%d were asked at once, after %v, want %d at most", n, at, test.atOnce)
					}
				}
				for _, s := range sessions {
					s.die(spdy.ErrClosed)
				}
			})
		})
	}
}
