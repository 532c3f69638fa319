package front

import (
	"net/http"
	"testing"

	"github.com/amahi/spdy-proxy/internal/origin"
)

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct{ h http.Header }

func (w nowhere) Header() http.Header         { return w.h }
func (w nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w nowhere) WriteHeader(int)             {}
func (w nowhere) FlushError() error           { return nil }

// What a small request costs at the front, sessions and sockets apart.
func BenchmarkHandler(b *testing.B) {
	table := origin.NewTable(origin.Config{})
	h, err := New(Config{Origins: table, Hold: patience, ResponseTimeout: patience})
	if err != nil {
		b.Fatal(err)
	}
	f := newScript(func(r *http.Request) (*http.Response, error) {
		return answerOf(r, 200, map[string]string{"Content-Type": "text/plain"}, "body"), nil
	})
	if _, err := table.Register(origin.Registration{Session: f}); err != nil {
		b.Fatal(err)
	}
	defer f.end()
	r, err := http.NewRequestWithContext(b.Context(), "GET", "/", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.RequestURI, r.RemoteAddr = "/", "192.0.2.1:1"
	r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}, "Cookie": {"a=b"}}
	b.ReportAllocs()
	for b.Loop() {
		w := nowhere{make(http.Header)}
		h.ServeHTTP(w, r)
	}
}
