package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// fake is a Source whose fields say everything.
type fake struct {
	ready     bool
	connected map[string]bool
	snapshot  Snapshot
}

func (f *fake) Ready() bool                { return f.ready }
func (f *fake) Connected(name string) bool { return f.connected[name] }
func (f *fake) Snapshot() Snapshot         { return f.snapshot }

func busy() *fake {
	now := time.Now()
	return &fake{
		ready:     true,
		connected: map[string]bool{"@": true, "film": true},
		snapshot: Snapshot{
			Connections: Connections{Open: 12, RefusedAddress: 34, RefusedTotal: 5, DroppedSilent: 67, DroppedIdle: 8},
			Front:       "localhost:1443", Control: "localhost:1444", Incoming: 7, Held: 2,
			Origins: []Origin{
				{Name: "@", Sessions: []Session{{
					Instance: "4f1c9a.0", Remote: "192.0.2.1:4711", Since: now.Add(-3*time.Hour - 5*time.Minute),
					InFlight: 3, Streams: 99, ToC: 2048, FromC: 3 << 20, RoundTrip: 12300 * time.Microsecond,
				}}},
				{Name: "film", Sessions: []Session{
					{Instance: "<script>alert(1)</script>", Remote: "192.0.2.2:1", Since: now.Add(-time.Minute), InFlight: 1, RoundTrip: time.Millisecond},
					{Remote: "192.0.2.2:2", Since: now, InFlight: 1, Leaving: true, RoundTrip: 5 * time.Millisecond},
				}},
			},
			Totals: Totals{ToC: 4096, FromC: 5 << 20, AccessLogDropped: 12, Resets: []Reset{{Sent: true, Status: "CANCEL", Count: 4}, {Status: "REFUSED_STREAM", Count: 1}}},
		},
	}
}

func newHandler(f *fake, pprof bool) http.Handler {
	return Handler(Config{Source: f, Metrics: NewMetrics(f, "v1.2.3"), Version: "v1.2.3", Started: time.Now().Add(-26 * time.Hour), Addr: "localhost:1445", PProf: pprof})
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
	idle := &fake{ready: true}
	stopping := &fake{connected: map[string]bool{"@": true}}
	for _, c := range []struct {
		name        string
		source      *fake
		method, url string
		status      int
		want        string // regular expression of the body
	}{
		{"/: the status page", busy(), "GET", "/", 200, `(?s)<!DOCTYPE html>.*Default origin \(@\).*4f1c9a\.0.*192\.0\.2\.1:4711.*3h 5m.*12\.3ms.*2\.0 KiB.*3\.0 MiB.*Origin film`},
		{"/: version and uptime", busy(), "GET", "/", 200, `version v1\.2\.3, up 1d 2h`},
		{"/: no origin", idle, "GET", "/", 200, `No origin is connected`},
		{"/: refreshes itself when asked", idle, "GET", "/?refresh=5", 200, `http-equiv="refresh" content="5"`},
		{"/: what C calls itself is text", busy(), "GET", "/", 200, `&lt;script&gt;`},
		{"/debug", busy(), "GET", "/debug", 200, `^goroutines:  [0-9]+\nincoming: 7\nserving: 5\n$`},
		{"/metrics", busy(), "GET", "/metrics", 200, `(?m)^spdy_proxy_requests_in_flight 7$`},
		{"/healthz: while running", idle, "GET", "/healthz", 200, `^ok\n$`},
		{"/healthz: while stopping too", stopping, "GET", "/healthz", 200, `^ok\n$`},
		{"/readyz: listening", idle, "GET", "/readyz", 200, `^ready\n$`},
		{"/readyz: stopping", stopping, "GET", "/readyz", 503, `^not ready\n$`},
		{"/readyz?origin=@: connected", busy(), "GET", "/readyz?origin=@", 200, `^ready\n$`},
		{"/readyz?origin=@: not connected", idle, "GET", "/readyz?origin=@", 503, `^origin "@" is not connected\n$`},
		{"/readyz?origin=@: stopping", stopping, "GET", "/readyz?origin=@", 503, `^not ready\n$`},
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

// The runtime's flight recorder beside the profiles, while it runs.
func TestFlight(t *testing.T) {
	flight := new(Flight)
	for _, c := range []struct {
		name       string
		pprof, run bool
		flight     *Flight
		status     int
		want       string
	}{
		{"it runs", true, true, flight, 200, "go 1."},
		{"it does not", true, false, flight, 503, "There is no recording"},
		{"there is none", true, true, nil, 404, ""},
		{"no profiles", false, true, flight, 404, ""},
	} {
		if c.run {
			if err := flight.Start(); err != nil {
				t.Fatal(err)
			}
		}
		h := Handler(Config{Source: busy(), Addr: "localhost:1445", PProf: c.pprof, Flight: c.flight})
		res := ask(h, "GET", "http://localhost/debug/pprof/flight")
		if got := body(t, res); res.StatusCode != c.status || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %d %.60q, want %d and %q", c.name, res.StatusCode, got, c.status, c.want)
		}
		flight.Stop()
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
			f := &fake{ready: true}
			r := httptest.NewRequest("GET", "/healthz", nil)
			r.Host = c.host
			local := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 1445}
			r = r.WithContext(contextWith(r.Context(), local))
			w := httptest.NewRecorder()
			Handler(Config{Source: f, Addr: c.addr}).ServeHTTP(w, r)
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

// The page uses no style or script but its own, and its policy says so.
func TestPagePolicy(t *testing.T) {
	res := ask(newHandler(busy(), true), "GET", "http://localhost/")
	page := body(t, res)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if style == nil {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if got := res.Header.Get("Content-Security-Policy"); !strings.Contains(got, want) || !strings.Contains(got, "default-src 'none'") {
		t.Errorf("Content-Security-Policy: got %q, want it to hold %q", got, want)
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "style=") || regexp.MustCompile(`(src|href)="[^/"]`).MatchString(page) {
		t.Error("the page has a script, an inline style or a link to elsewhere")
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		"Referrer-Policy": "no-referrer", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		got, want string
	}{
		{age(-time.Second), "0s"}, {age(59 * time.Second), "59s"}, {age(61 * time.Second), "1m 1s"},
		{age(3*time.Hour + 59*time.Minute), "3h 59m"}, {age(49 * time.Hour), "2d 1h"},
		{bytes(0), "0 B"}, {bytes(1023), "1023 B"}, {bytes(1536), "1.5 KiB"}, {bytes(5 << 40), "5.0 TiB"},
		{bytes(1<<64 - 1), "16384.0 PiB"},
		{roundTrip(0), "not measured"}, {roundTrip(123456 * time.Nanosecond), "123µs"}, {roundTrip(12345 * time.Microsecond), "12.3ms"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
