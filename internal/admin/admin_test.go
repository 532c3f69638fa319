package admin

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/inspect"
)

// fake is a Source whose fields say everything, with its Board.
type fake struct {
	ready        bool
	connected    map[string]bool
	figures      Figures
	sessions     []inspect.Session
	resets       []Reset
	open         []inspect.Request
	certificates []Certificate
	disconnected []string
	labels       int // 0: 100
	written      map[string]string

	board *inspect.Board
}

func (f *fake) Ready() bool { return f.ready }
func (f *fake) Name(text string) string {
	return strings.TrimSuffix(strings.ToLower(text), ".example.org")
}
func (f *fake) Connected(name string) bool { return f.connected[name] }
func (f *fake) Figures() Figures           { return f.figures }
func (f *fake) Serving() int               { return f.board.ListingNow().InFlight }
func (f *fake) Resets() []Reset            { return f.resets }

func (f *fake) Open(filter inspect.Filter, max int) (open []inspect.Request) {
	for i := range f.open {
		if filter.TakesOpen(&f.open[i]) && len(open) < max {
			open = append(open, f.open[i])
		}
	}
	return open
}

func (f *fake) Certificates() []Certificate { return f.certificates }

func (f *fake) Frames(origin string) []SessionFrames {
	if origin != "film" {
		return nil
	}
	return []SessionFrames{{Session: 2, Frames: []Frame{{Sent: true, Type: "SYN_STREAM", Stream: 7, Length: 99, Flags: 1}, {Type: "RST_STREAM", Stream: 7, Length: 8, Detail: "status=CANCEL"}}}}
}

func (f *fake) Disconnect(name string) int {
	f.disconnected = append(f.disconnected, name)
	n := 0
	for _, s := range f.sessions {
		if s.Origin == name {
			n++
		}
	}
	return n
}

// newFake returns f with a Board that knows its sessions.
func newFake(f *fake) *fake {
	f.board = inspect.New(inspect.Config{
		Sessions: func() []inspect.Session { return f.sessions }, Labels: cmp.Or(f.labels, 100),
		URLs:    func(name string) []string { return []string{"https://" + name + ".example.org/"} },
		Written: func(name string) string { return f.written[name] },
	})
	for _, s := range f.sessions {
		f.board.SessionStarted(s.Origin)
	}
	return f
}

func idle() *fake {
	return newFake(&fake{ready: true, figures: Figures{Front: "localhost:1443", Control: "localhost:1444"}})
}
func stopping() *fake {
	return newFake(&fake{connected: map[string]bool{"@": true}})
}

// left is P when its origin has just gone.
func left() *fake {
	f := idle()
	f.board.SessionStarted("film")
	f.board.SessionEnded("film", false, "connection reset by peer")
	return f
}

// abroad is P with an origin whose name people write in another way.
func abroad() *fake {
	f := newFake(&fake{ready: true, written: map[string]string{"xn--mnchen-3ya": "münchen"}})
	f.board.Named([]string{"film", "xn--mnchen-3ya"})
	return f
}

func busy() *fake {
	now := time.Now()
	f := newFake(&fake{
		ready:     true,
		connected: map[string]bool{"@": true, "film": true},
		figures: Figures{
			Connections: Connections{Open: 12, RefusedAddress: 34, RefusedTotal: 5, DroppedSilent: 67, DroppedIdle: 8},
			Front:       "localhost:1443", Control: "localhost:1444", Incoming: 7, Held: 2, AccessLogDropped: 12, LogDropped: 3, TraceDropped: 40,
			Reloaded: now.Add(-time.Hour),
		},
		sessions: []inspect.Session{
			{
				Origin: "@", ID: 1, Instance: "4f1c9a.0", Remote: "192.0.2.1:4711", Agent: "c/v1.2.3", Since: now.Add(-3*time.Hour - 5*time.Minute),
				InFlight: 3, Streams: 99, ToC: 2048, FromC: 3 << 20, RoundTrip: 12300 * time.Microsecond, Measured: now.Add(-time.Minute),
			},
			{Origin: "film", ID: 2, Instance: "<script>alert(1)</script>", Remote: "192.0.2.2:1", Since: now.Add(-time.Minute), InFlight: 1, RoundTrip: time.Millisecond},
			{Origin: "film", ID: 3, Remote: "192.0.2.2:2", Since: now, InFlight: 1, Leaving: true, RoundTrip: 5 * time.Millisecond},
		},
		resets: []Reset{{Sent: true, Status: "CANCEL", Count: 4}, {Status: "REFUSED_STREAM", Count: 1}},
		certificates: []Certificate{
			{Name: "example.org", From: "certs/p.pem", NotAfter: now.Add(20*24*time.Hour + time.Hour)},
			{Name: "day.example.org", NotAfter: now.Add(20 * time.Hour)},
			{Name: "late.example.org", NotAfter: now.Add(2 * time.Hour), EndsSoon: true},
			{Name: "new.example.org"},
			{Name: "two.example.org", From: "acme"},
			{Name: "two.example.org", NotAfter: time.Unix(2e9, 0), EndsSoon: true},
			{Name: "two.example.org", NotAfter: time.Unix(1e9, 0)},
		},
	})
	f.board.SessionStarted("gone")
	f.board.SessionEnded("gone", false, "connection reset by peer")
	f.board.Refused(inspect.Refusal{Origin: "gone", Remote: "192.0.2.9:9", Status: 401, Kind: "token", Why: "no token, or not one that this proxy knows"})
	f.board.Ended(&inspect.Request{
		Time: now, ID: "r1", Client: netip.MustParseAddr("192.0.2.77"), Method: "GET", Host: "film.example.org", Target: "/a?token=secret", Origin: "film", Known: true,
		Session: 2, Stream: 7, Status: 200, Headers: 20 * time.Millisecond, Duration: 2 * time.Second, Held: time.Second, Opened: time.Second,
		Out: 5 << 20, Replayed: 2, Resumed: 1, Attempts: []inspect.Attempt{{Session: 1, Stream: 5, After: time.Second, Why: "the session ended"}},
	})
	f.board.Ended(&inspect.Request{Time: now, ID: "r2", Method: "POST", Host: "x", Target: "/b", Origin: "@", Known: true, Status: 502, Failed: true,
		Detail: "the origin reset the stream", In: 4096})
	f.board.Tally("film", true).Out(5 << 20)
	f.board.Tally("@", true).In(4096)
	return f
}

func newHandler(f *fake, pprof bool) *Port {
	return Handler(Config{Source: f, Board: f.board, Metrics: NewMetrics(f, f.board, "v1.2.3"), Version: "v1.2.3", Started: time.Now().Add(-26 * time.Hour), Addr: "localhost:1445", PProf: pprof})
}

func ask(h http.Handler, method, url string) *http.Response {
	r := httptest.NewRequest(method, url, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The table of the contract's "The admin port".
func TestAdminPort(t *testing.T) {
	for _, c := range []struct {
		name        string
		source      *fake
		method, url string
		status      int
		want        string // regular expression of the body
	}{
		{"/: the status page", busy(), "GET", "/", 200, `(?s)<!DOCTYPE html>.*2 of 3 origins.*default origin.*connected.*192\.0\.2\.1 c/v1\.2\.3.*12 ms.*film.*gone.*refused.*no token`},
		{"/: refusals, certificates", busy(), "GET", "/", 200, `(?s)192\.0\.2\.9:9.*401, no token.*20 days</b> <span>example\.org`},
		{"/: a round trip measured at no known time", busy(), "GET", "/", 200, `data-name="Round trip" class="n">\d\.0 ms</td>`},
		{"/: search", busy(), "GET", "/?q=FIL", 200, `data-key="film"`},
		{"/: search for a name as it is written", abroad(), "GET", "/?q=M%C3%9CNCH", 200, `data-key="xn--mnchen-3ya"`},
		{"/: search for the same as it is sent", abroad(), "GET", "/?q=xn--MN", 200, `data-key="xn--mnchen-3ya"`},
		{"/api/v1/origins: search for a name as it is written", abroad(), "GET", "/api/v1/origins?q=m%C3%BCnchen", 200, `"total":2,"matched":1,`},
		{"/: sorted, and in pages", busy(), "GET", "/?sort=-name&per_page=1&page=2", 200, `(?s)aria-sort="descending".*data-key="film".*sort=-name" rel="prev">Previous</a><span>Page 2 of 3, 3 origins</span><a href="/\?page=3[^"]*" rel="next">`},
		{"/: nothing found", busy(), "GET", "/?q=nothing", 200, `No origin is like this`},
		{"/origins/NAME", busy(), "GET", "/origins/@", 200, `(?s)default origin.*4f1c9a\.0.*192\.0\.2\.1:4711.*c/v1\.2\.3.*3h 5m.*12 ms.*3\.0 MiB.*2\.0 KiB to it`},
		{"/origins/NAME: its requests", busy(), "GET", "/origins/film", 200, `(?s)GET <span>film\.example\.org</span>/a\?token=\*.*held 1\.0 s.*session 1, stream 5.*the session ended`},
		{"/origins/NAME: its answers", busy(), "GET", "/origins/film", 200, `Answers</span><b>1</b><small>2xx, 2 sent again, 1 resumed<`},
		{"/origins/NAME: its answers by class", busy(), "GET", "/origins/@", 200, `Answers</span><b>0</b><small>2xx, 1 5xx<`},
		{"/api/v1/origins/NAME: the same", busy(), "GET", "/api/v1/origins/film", 200, `"classes":\{"1xx":0,"2xx":1,.*"aborted":0\},"replayed":2,"resumed":1,`},
		{"/: several connections", busy(), "GET", "/", 200, `2 held, 12 connections`},
		{"/origins/NAME: its last frames", busy(), "GET", "/origins/film", 200, `(?s)Last frames of session 2.*RST_STREAM.*status=CANCEL.*SYN_STREAM`},
		{"/api/v1/origins/NAME: its last frames", busy(), "GET", "/api/v1/origins/film", 200, `"frames":\[\{"session":2,"frames":\[\{.*"sent":true,"type":"SYN_STREAM","stream":7`},
		{"/origins/NAME: nobody knows it", busy(), "GET", "/origins/nobody", 404, `No origin has this name here`},
		{"/requests", busy(), "GET", "/requests", 200, `(?s)POST <span>x</span>/b.*the origin reset the stream.*GET <span>film`},
		{"/requests: a filter", busy(), "GET", "/requests?status=2xx&q=film", 200, `(?s)<li data-key="1">.*</ul>`},
		{"/api/v1/status", busy(), "GET", "/api/v1/status", 200, `^\{"version":"v1\.2\.3".*"ready":true.*"open":7,"held":2,"serving":5.*"refused":1.*"days_left":20,"ends_soon":false.*"name":"late.example.org",[^}]*"ends_soon":true`},
		{"/: certificates", busy(), "GET", "/", 200, `(?s)<b>0 days</b> <span>day\.e.*<b class="bad">0 days</b> <span>late\.e.*<b class="bad">none yet</b> <span>new\.e.*<b>20 days</b> <span>example\.org`},
		{"/api/v1/origins", busy(), "GET", "/api/v1/origins?state=refused", 200, `"total":3,"matched":1,.*"name":"gone","state":"refused",.*"last_refusal"`},
		{"/api/v1/origins: the other way round", busy(), "GET", "/api/v1/origins?sort=-name&per_page=1&page=2", 200, `"page":2,"per_page":1,.*"origins":\[\{"name":"film"`},
		{"/api/v1/origins/NAME", busy(), "GET", "/api/v1/origins/film", 200, `"name":"film",.*"urls":\["https://film\.example\.org/"\],.*"leaving":true.*"changes":\[\{`},
		{"/api/v1/origins/NAME: nobody knows it", busy(), "GET", "/api/v1/origins/nobody", 404, `"error"`},
		{"/api/v1/requests", busy(), "GET", "/api/v1/requests?origin=film&open=1", 200, `^\{"requests":\[\{"seq":1,.*"target":"/a\?token=\*",.*"held_ms":1000,.*"attempts":\[\{"session":1,"stream":5,"after_ms":1000,"why":"the session ended"\}\]`},
		{"/api/v1/requests: no number", busy(), "GET", "/api/v1/requests?before=x", 400, `"error"`},
		{"/api/v1/: no such path", busy(), "GET", "/api/v1/nothing", 404, `^\{"error":"there is nothing at this path`},
		{"/api/v1/nodes: there are no others", busy(), "GET", "/api/v1/nodes", 404, `^\{"error"`},
		{"/api/v1/: another method", busy(), "DELETE", "/api/v1/status", 405, `^\{"error":"Only GET and HEAD`},
		{"/api/v1/requests: no status", busy(), "GET", "/api/v1/requests?status=fialed", 400, `^\{"error":"status is a status, .*aborted, failed, not \\"fialed\\""\}`},
		{"/api/v1/requests: too many", busy(), "GET", "/api/v1/requests?limit=501", 400, `from 1 to 500, not \\"501`},
		{"/api/v1/requests: no time", busy(), "GET", "/api/v1/requests?slow_ms=1s", 400, `^\{"error":"slow_ms`},
		{"/api/v1/origins: no state", busy(), "GET", "/api/v1/origins?state=gone", 400, `one of revoked, refused`},
		{"/api/v1/origins: no order", busy(), "GET", "/api/v1/origins?sort=age", 400, `one of bytes, errors, in_flight`},
		{"/api/v1/origins: no number", busy(), "GET", "/api/v1/origins?per_page=1000", 400, `from 1 to 500`},
		{"/api/v1/status: no series", busy(), "GET", "/api/v1/status?series=7d", 400, `5m or 24h`},
		{"/api/v1/events: no topic", busy(), "GET", "/api/v1/events?topics=status,request", 400, `status,origins,changes,requests`},
		{"/requests: no status", busy(), "GET", "/requests?status=fialed", 200, `film`},
		{"/assets/", busy(), "GET", "/assets/page.js", 200, `EventSource`},
		{"/assets/: no other file", busy(), "GET", "/assets/base.html", 404, ``},
		{"/: version and uptime", busy(), "GET", "/", 200, `version v1\.2\.3, up 1d 2h`},
		{"/: no origin", idle(), "GET", "/", 200, `(?s)No origin is connected.*c --proxy localhost:1444.*p invite NAME.*c --join CODE.*/help/two-machines`},
		{"/: no origin is connected, one was", left(), "GET", "/", 200, `(?s)data-key="film".*No origin is connected.*p invite NAME`},
		{"/: no origin is like that", idle(), "GET", "/?q=x", 200, `(?s)No origin is like this[^p]*Show all</a></p>\s*</section>`},
		{"/requests: none", idle(), "GET", "/requests", 200, `No request has ended yet. One that comes to <code>localhost:1443</code> shows up here by itself`},
		{"/requests: none is like that", busy(), "GET", "/requests?q=nothing", 200, `No request is like this. <a href="/requests">Show all`},
		{"/origins/NAME: what C calls itself is text", busy(), "GET", "/origins/film", 200, `&lt;script&gt;`},
		{"/help", busy(), "GET", "/help", 301, ``},
		{"/help/: the contents", busy(), "GET", "/help/", 200, `(?s)<a href="/help/" aria-current="page">Help.*<h1>Handbook</h1>.*<a href="/help/start">A first try`},
		{"/help/PAGE", busy(), "GET", "/help/start", 200, `(?s)<title>A first try on one machine - spdy-proxy</title>.*<h1 id="[a-z-]+">A first try.*<a href="/help/start" aria-current="page">`},
		{"/help/PAGE: there is none", busy(), "GET", "/help/nothing", 404, `/help/ lists`},
		{"/debug", busy(), "GET", "/debug", 200, `^goroutines:  [0-9]+\nincoming: 7\nserving: 5\n$`},
		{"/metrics", busy(), "GET", "/metrics", 200, `(?m)^spdy_proxy_requests_in_flight 7$`},
		{"/healthz: while running", idle(), "GET", "/healthz", 200, `^ok\n$`},
		{"/healthz: while stopping too", stopping(), "GET", "/healthz", 200, `^ok\n$`},
		{"/readyz: listening", idle(), "GET", "/readyz", 200, `^ready\n$`},
		{"/readyz: stopping", stopping(), "GET", "/readyz", 503, `^not ready\n$`},
		{"/readyz?origin=@: connected", busy(), "GET", "/readyz?origin=@", 200, `^ready\n$`},
		{"/readyz?origin=@: not connected", idle(), "GET", "/readyz?origin=@", 503, `^origin "@" is not connected\n$`},
		{"/readyz?origin=@: stopping", stopping(), "GET", "/readyz?origin=@", 503, `^not ready\n$`},
		{"/readyz?origin=NAME: connected", busy(), "GET", "/readyz?origin=film", 200, `^ready\n$`},
		{"/readyz?origin=NAME: not connected", busy(), "GET", "/readyz?origin=music", 503, `^origin "music" is not connected\n$`},
		{"/readyz: two names, one missing", busy(), "GET", "/readyz?origin=film&origin=music", 503, `music`},
		{"/debug/pprof/: off", busy(), "GET", "/debug/pprof/", 404, ``},
		{"another path", busy(), "GET", "/nothing", 404, ``},
		{"HEAD", busy(), "HEAD", "/", 200, ``},
		{"POST", busy(), "POST", "/", 405, `Only GET and HEAD`},
		{"DELETE", busy(), "DELETE", "/healthz", 405, `Only GET and HEAD`},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := ask(newHandler(c.source, false), c.method, "http://localhost:1445"+c.url)
			if res.StatusCode != c.status {
				t.Errorf("status: got %d, want %d", res.StatusCode, c.status)
			}
			if got := body(t, res); !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("body: got %q, want a match of %q", got, c.want)
			}
			if c.status == 405 && res.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: got %q, want %q", res.Header.Get("Allow"), "GET, HEAD")
			}
		})
	}
}

// With --pprof, and never the command line.
func TestPProf(t *testing.T) {
	h := newHandler(busy(), true)
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"", 200, "goroutine"},
		{"goroutine?debug=1", 200, "goroutine profile"},
		{"heap", 200, ""},
		{"cmdline", 404, ""},
		{"symbol", 404, ""},
		{"profile?seconds=0", 400, "seconds is 1 to 60"},
		{"profile?seconds=61", 400, "seconds is 1 to 60"},
		{"profile?seconds=x", 400, "seconds is 1 to 60"},
	} {
		res := ask(h, "GET", "http://localhost/debug/pprof/"+c.path)
		if got := body(t, res); res.StatusCode != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %d %.60q, want %d and %q", c.path, res.StatusCode, got, c.status, c.want)
		}
	}
}

// A page of another site cannot have the program profile, or record, what nobody looks at.
func TestPProfOfOtherSites(t *testing.T) {
	flight := new(Flight)
	defer flight.Close()
	h := Handler(Config{Source: idle(), Board: idle().board, Addr: "localhost:1445", PProf: true, Flight: flight})
	for _, path := range []string{"profile?seconds=60", "trace?seconds=60", "heap?gc=1", "flight"} {
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "http://example.com"} {
			r := httptest.NewRequest("GET", "http://localhost:1445/debug/pprof/"+path, nil)
			r.Header.Set(name, value)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 403 || !strings.HasPrefix(w.Body.String(), "A page of another site has no say here") {
				t.Errorf("%s with %s: %s: got %d %.60q, want 403", path, name, value, w.Code, w.Body)
			}
		}
	}
	if flight.recorder != nil {
		t.Error("it records")
	}
	for _, site := range []string{"same-origin", "none"} {
		r := httptest.NewRequest("GET", "http://localhost:1445/debug/pprof/goroutine", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 200 {
			t.Errorf("Sec-Fetch-Site: %s: got %d, want 200", site, w.Code)
		}
	}
}

// The runtime's flight recorder beside the profiles runs from the first time that somebody
// asks for it, until it is told to end.
func TestFlight(t *testing.T) {
	flight := new(Flight)
	defer flight.Close()
	h := Handler(Config{Source: idle(), Board: idle().board, Addr: "localhost:1445", PProf: true, Flight: flight})
	for _, c := range []struct {
		path   string
		status int
		want   string
		runs   bool // after it
	}{
		{"", 200, "", false},
		{"goroutine?debug=1", 200, "goroutine profile", false},
		{"flight?stop=1", 200, "It does not record any more.", false},
		{"flight", 503, "It records from now on, which costs p some 10 % of its CPU. Ask again, in 10 s ", true},
		{"flight", 200, "go 1.", true},
		{"flight", 200, "go 1.", true},
		{"flight?stop=1", 200, "It does not record any more.", false},
		{"flight", 503, "It records from now on", true},
	} {
		res := ask(h, "GET", "http://localhost/debug/pprof/"+c.path)
		if got := body(t, res); res.StatusCode != c.status || !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: got %d %.60q, want %d and %q", c.path, res.StatusCode, got, c.status, c.want)
		}
		if after := res.Header.Get("Retry-After"); (after == "10") != (c.status == 503) {
			t.Errorf("%q: got %d with Retry-After %q", c.path, res.StatusCode, after)
		}
		if got := flight.recorder != nil; got != c.runs {
			t.Errorf("%q: it runs: %v, want %v", c.path, got, c.runs)
		}
	}
	// A process has one that records.
	other := Handler(Config{Source: idle(), Board: idle().board, Addr: "localhost:1445", PProf: true, Flight: new(Flight)})
	res := ask(other, "GET", "http://localhost/debug/pprof/flight")
	if got := body(t, res); res.StatusCode != 503 || !strings.HasPrefix(got, "There is no recording: ") {
		t.Errorf("a second one: got %d %.60q, want 503 and why", res.StatusCode, got)
	}
	flight.Close()
	res = ask(h, "GET", "http://localhost/debug/pprof/flight")
	if got := body(t, res); res.StatusCode != 503 || got != "There is no recording: p is stopping.\n" || flight.recorder != nil {
		t.Errorf("after Close: got %d %.60q, want 503 and why", res.StatusCode, got)
	}
}

// stuck is a visitor who reads nothing after the head.
type stuck struct {
	*httptest.ResponseRecorder
	writes, ends chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	close(s.writes)
	<-s.ends
	return len(p), nil
}

// Who takes a recording slowly holds up neither others nor the end of p.
func TestFlightSlowReader(t *testing.T) {
	flight := new(Flight)
	if _, err := flight.begin(); err != nil {
		t.Fatal(err)
	}
	w := &stuck{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	defer close(w.ends)
	// Ends with w.ends.
	go flight.ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/flight", nil))
	<-w.writes
	other := httptest.NewRecorder()
	flight.ServeHTTP(other, httptest.NewRequest("GET", "/debug/pprof/flight", nil))
	if other.Code != 503 || other.Header().Get("Retry-After") != "1" {
		t.Errorf("another: got %d %q, want 503 and when to ask again", other.Code, other.Body)
	}
	flight.Close()
}

// A recording that nobody asks for ends, and can begin again.
func TestFlightIdle(t *testing.T) {
	flight := new(Flight)
	defer flight.Close()
	runs := func() bool {
		flight.mu.Lock()
		defer flight.mu.Unlock()
		return flight.recorder != nil
	}
	for range 2 {
		if begun, err := flight.begin(); !begun || err != nil {
			t.Fatalf("it begins: %v, %v", begun, err)
		}
		if begun, err := flight.begin(); begun || err != nil {
			t.Fatalf("it begins again: %v, %v", begun, err)
		}
		if !runs() || !flight.idle.Reset(0) { // as after an hour
			t.Fatal("nothing will end it")
		}
		for runs() {
			runtime.Gosched()
		}
	}
}

func TestNoFlight(t *testing.T) {
	for name, c := range map[string]Config{"there is none": {PProf: true}, "no profiles": {Flight: new(Flight)}} {
		c.Source, c.Board, c.Addr = idle(), idle().board, "localhost:1445"
		res := ask(Handler(c), "GET", "http://localhost/debug/pprof/flight")
		if body(t, res); res.StatusCode != 404 {
			t.Errorf("%s: got %d, want 404", name, res.StatusCode)
		}
	}
}

// No DNS rebinding: only a loopback name, or the address listened on.
func TestHost(t *testing.T) {
	for _, c := range []struct {
		addr, host string
		want       bool
	}{
		{"localhost:1445", "localhost", true},
		{"localhost:1445", "localhost:1445", true},
		{"localhost:1445", "localhost:9999", true}, // a forwarded port
		{"localhost:1445", "LOCALHOST.:1445", true},
		{"localhost:1445", "admin.localhost", true},
		{"localhost:1445", "127.0.0.1:1445", true},
		{"localhost:1445", "127.8.8.8", true},
		{"localhost:1445", "[::1]:1445", true},
		{"localhost:1445", "[::1]", true},
		{"localhost:1445", "[::ffff:127.0.0.1]", true},
		{"localhost:1445", "evil.example", false},
		{"localhost:1445", "evil.example:1445", false},
		{"localhost:1445", "localhost.evil.example", false},
		{"localhost:1445", "127.0.0.1.evil.example", false},
		{"localhost:1445", "192.0.2.9:1445", false},
		{"localhost:1445", "", false},
		{"localhost:1445", "localhost:", false},
		{"localhost:1445", "localhost:x", false},
		{"localhost:1445", "localhost:1445:1", false},
		{"localhost:1445", "::1", false},
		{"localhost:1445", "[::1", false},
		{"localhost:1445", "[::1]1445", false},
		{"localhost:1445", "[localhost]:1445", false},
		{"admin.lan:1445", "admin.lan:1445", true},
		{"admin.lan:1445", "Admin.LAN", true},
		{"admin.lan:1445", "other.lan", false},
		{"192.0.2.7:1445", "192.0.2.7:1445", true},
		{"192.0.2.7:1445", "192.0.2.8", false},
		{"[2001:db8::7]:1445", "[2001:db8:0::7]:1445", true},
		{"[2001:db8::7]:1445", "[2001:db8::8]", false},
		{":1445", "evil.example", false},
		{":1445", "198.51.100.1:1445", true}, // the address of this connection
		{"0.0.0.0:1445", "0.0.0.0:1445", false},
		{"0.0.0.0:1445", "198.51.100.1", true},
		{"0.0.0.0:1445", "198.51.100.2", false},
	} {
		t.Run(fmt.Sprintf("%s on %s", c.host, c.addr), func(t *testing.T) {
			f := idle()
			r := httptest.NewRequest("GET", "/healthz", nil)
			r.Host = c.host
			local := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 1445}
			r = r.WithContext(contextWith(r.Context(), local))
			w := httptest.NewRecorder()
			Handler(Config{Source: f, Board: f.board, Addr: c.addr}).ServeHTTP(w, r)
			want := 403
			if c.want {
				want = 200
			}
			if w.Code != want {
				t.Errorf("got %d, want %d", w.Code, want)
			}
		})
	}
}

// The pages use no style or script but this port's own, and their policy says so.
func TestPagePolicy(t *testing.T) {
	for _, path := range []string{"/", "/requests", "/origins/film"} {
		res := ask(newHandler(busy(), true), "GET", "http://localhost"+path)
		page := body(t, res)
		got := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: Content-Security-Policy: got %q, want it to hold %q", path, got, want)
			}
		}
		if strings.Count(page, "<script") != 1 || !strings.Contains(page, `<script src="/assets/page.js" defer></script>`) ||
			regexp.MustCompile(`<style|style=| on[a-z]+=`).MatchString(page) || regexp.MustCompile(`src="[^/]`).MatchString(page) {
			t.Errorf("%s has a script or a style of another kind", path)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Referrer-Policy": "same-origin", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s: got %q, want %q", path, name, got, want)
			}
		}
	}
}

// A count of one has no s, what nothing happened to has no figures of what happened, and
// a session that leaves before the Board is told was here.
func TestFewWords(t *testing.T) {
	f := &fake{
		ready: true, figures: Figures{Connections: Connections{Open: 1}},
		sessions:     []inspect.Session{{Origin: "film", ID: 1, Since: time.Now(), Leaving: true}},
		certificates: []Certificate{{Name: "example.org", NotAfter: time.Now().Add(25 * time.Hour)}},
	}
	h := newHandler(newFake(f), false)
	for path, want := range map[string]string{
		"/":             `(?s)>none in this second<.*0 held, 1 connection<.*>leaving</span>.*class="n none"> 0/s<.*class="n none">0 B/s<.*class="n none">-<.*>1 day<`,
		"/origins/film": `(?s)>leaving</span>.*>none of late<.*>1 session came, 0 ended<`,
	} {
		got := body(t, ask(h, "GET", "http://localhost:1445"+path))
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s: got %q, want a match of %q", path, got, want)
		}
		for _, s := range []string{"never here", "p99 -", "B/s in", "within -"} {
			if strings.Contains(got, s) {
				t.Errorf("%s: it has %q, want nothing of that", path, s)
			}
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		got, want string
	}{
		{age(-time.Second), "0s"}, {age(59 * time.Second), "59s"}, {age(61 * time.Second), "1m 1s"},
		{age(3*time.Hour + 59*time.Minute), "3h 59m"}, {age(49 * time.Hour), "2d 1h"},
		{bytesOf(0), "0 B"}, {bytesOf(1023), "1023 B"}, {bytesOf(1536), "1.5 KiB"}, {bytesOf(1023 << 10), "1.0 MiB"}, {bytesOf(5 << 40), "5.0 TiB"},
		{bytesOf(1<<64 - 1), "16384.0 PiB"},
		{dur(0), "-"}, {dur(30 * time.Microsecond), "<0.1 ms"}, {dur(123456 * time.Nanosecond), "0.1 ms"}, {dur(12345 * time.Microsecond), "12 ms"}, {dur(1500 * time.Millisecond), "1.5 s"}, {dur(90 * time.Second), "1m 30s"},
		{rate(0), "0/s"}, {rate(1.25), "1.2/s"}, {rate(9.96), "10/s"}, {rate(123.4), "123/s"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
