package admin

import (
	"fmt"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/inspect"
)

// crowd returns a port with so many origins, all of them in use. There may be 10 000.
func crowd(tb testing.TB, origins int) *Port {
	tb.Helper()
	f := &fake{ready: true, labels: inspect.DefaultLabels}
	now := time.Now()
	for i := range origins {
		f.sessions = append(f.sessions, inspect.Session{
			Origin: fmt.Sprintf("site-%05d", i), ID: uint64(i + 1), Instance: fmt.Sprintf("4f1c9a%04x.0", i), Remote: fmt.Sprintf("203.0.113.%d:%d", i%250, 40000+i%20000),
			Agent: "c/v1.4.2 go1.27.3", Since: now.Add(-time.Hour), InFlight: i % 7, RoundTrip: time.Duration(i%40) * time.Millisecond, Measured: now,
		})
	}
	newFake(f)
	for i := range 2 * origins {
		f.board.Ended(&inspect.Request{
			Time: now, ID: fmt.Sprintf("%032x", i), Method: "GET", Host: "a.example.org", Target: "/a/path/of/some/length?with=a&query=of", Origin: fmt.Sprintf("site-%05d", i%origins),
			Known: true, Status: 200, Headers: time.Duration(i%90) * time.Millisecond, Duration: time.Second,
		})
	}
	return newHandler(f, false)
}

// What is shown of ten thousand origins does not grow with them.
func TestCrowd(t *testing.T) {
	p := crowd(t, 10_000)
	for path, most := range map[string]int{
		"/": 100 << 10, "/?sort=-requests&page=77": 100 << 10, "/?q=site-0999": 100 << 10, "/origins/site-09999": 100 << 10, "/requests": 100 << 10,
		"/api/v1/status?series=24h": 100 << 10, "/api/v1/origins?page=200": 100 << 10, "/api/v1/requests": 100 << 10,
	} {
		if n := len(body(t, ask(p, "GET", "http://localhost"+path))); n > most {
			t.Errorf("%s: %d bytes, want at most %d", path, n, most)
		} else {
			t.Logf("%s: %d bytes", path, n)
		}
	}
}

// Nor does what is made for a look: for each origin there is nothing, or else ten thousand
// would take their time. Of the metrics a thousand have their own.
func TestCrowdCosts(t *testing.T) {
	few, many := crowd(t, inspect.DefaultLabels), crowd(t, 10_000)
	for _, path := range []string{
		"/", "/?sort=-p99&page=9", "/?q=site-00", "/?q=nothing", "/?state=connected", "/origins/site-00999", "/requests", "/api/v1/status", "/api/v1/origins",
		"/api/v1/origins?per_page=500", "/metrics", "listing",
	} {
		cost := func(p *Port) float64 {
			return testing.AllocsPerRun(2, func() {
				if path == "listing" {
					p.Board.ListingNow()
				} else {
					ask(p, "GET", "http://localhost"+path)
				}
			})
		}
		if of, than := cost(many), cost(few); of > 1.3*than+200 {
			t.Errorf("%s: %.0f allocations for ten thousand origins, %.0f for a thousand", path, of, than)
		} else {
			t.Logf("%s: %.0f allocations, %.0f for a thousand", path, of, than)
		}
	}
}

// How long the pages of ten thousand origins take, and the listing that they share.
func BenchmarkCrowd(b *testing.B) {
	p := crowd(b, 10_000)
	b.Run("listing", func(b *testing.B) {
		for b.Loop() {
			p.Board.ListingNow()
		}
	})
	for _, path := range []string{"/", "/?sort=-p99", "/api/v1/origins", "/api/v1/status", "/metrics"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				ask(p, "GET", "http://localhost"+path)
			}
		})
	}
}
