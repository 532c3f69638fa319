package originserver

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/accesslog"
	"github.com/amahi/spdy-proxy/internal/testabort"
)

// A line tells of its own request alone, though what counts for it is used again: not where
// a handler has broken off, or what is read of a request's body after it.
func TestLinesOfRequestsInTurn(t *testing.T) {
	var lines bytes.Buffer
	var rest io.Reader
	writers := make(map[http.ResponseWriter]bool)
	h := &logged{log: accesslog.New(&lines, accesslog.JSON), origin: "films", next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/plain":
			writers[w] = true
		case "/much":
			w.WriteHeader(http.StatusNotFound)
			w.Write(make([]byte, 1000))
		case "/broken":
			w.Write(make([]byte, 10))
			panic(http.ErrAbortHandler)
		case "/body":
			io.ReadFull(r.Body, make([]byte, 3))
			rest = r.Body
		case "/rest": // as a transport may read that still sends it
			io.Copy(io.Discard, rest)
		case "/switched":
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
	})}
	for _, test := range []struct{ path, body, want string }{
		{"/much", "", `"status":404,"bytes_in":0,"bytes_out":1000,`},
		{"/none", "", `"status":200,"bytes_in":0,"bytes_out":0,`},
		{"/broken", "", `"status":200,"aborted":true,"bytes_in":0,"bytes_out":10,`},
		{"/none", "", `"status":200,"bytes_in":0,"bytes_out":0,`},
		{"/body", "12345", `"status":200,"bytes_in":3,"bytes_out":0,`},
		{"/rest", "", `"status":200,"bytes_in":0,"bytes_out":0,`},
		{"/switched", "", `"status":101,"upgraded":true,"bytes_in":0,"bytes_out":0,`},
		{"/none", "", `"status":200,"bytes_in":0,"bytes_out":0,`},
	} {
		lines.Reset()
		r := httptest.NewRequest("GET", test.path, nil)
		if test.body != "" {
			r = httptest.NewRequest("POST", test.path, strings.NewReader(test.body))
		}
		if aborted := testabort.Aborts(func() { h.ServeHTTP(&discards{make(http.Header)}, r) }); aborted != (test.path == "/broken") {
			t.Errorf("%s: aborted %t", test.path, aborted)
		}
		if got := lines.String(); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s\nwant %s", test.path, got, test.want)
		}
	}
	for range 100 {
		h.ServeHTTP(&discards{}, httptest.NewRequest("GET", "/plain", nil))
	}
	if len(writers) > 60 {
		t.Errorf("100 requests in turn had %d writers, want few", len(writers)) // a pool may lose some
	}
}

// discards is a ResponseWriter that keeps nothing.
type discards struct{ header http.Header }

func (w *discards) Header() http.Header         { return w.header }
func (w *discards) WriteHeader(int)             {}
func (w *discards) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkAccess is what the access log costs C for a small GET.
func BenchmarkAccess(b *testing.B) {
	for _, f := range []accesslog.Format{accesslog.Combined, accesslog.JSON} {
		b.Run(f.String(), func(b *testing.B) { benchmarkAccess(b, f) })
	}
}

func benchmarkAccess(b *testing.B, format accesslog.Format) {
	body := make([]byte, 1<<10)
	h := &logged{log: accesslog.New(io.Discard, format), origin: "films", next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.Write(body)
	})}
	r := httptest.NewRequest("GET", "/films/a-small-one.jpg?size=small", nil)
	r.Header = http.Header{
		"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"films.example.org"}, "Via": {"1.1 spdy-proxy"},
		"X-Request-Id": {"3ccb461ac65b4a9fde068952f08af063"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip, br"}, "Accept-Language": {"de"},
		"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"}, "Referer": {"https://films.example.org/films/"},
	}
	w := &discards{make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
