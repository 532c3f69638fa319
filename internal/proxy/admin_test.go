package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// The status page shows what goes on.
func TestAdminPort(t *testing.T) {
	f := newFiles(t)
	x := startP(t, f, nil)
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, "No origin is connected"}, {"/readyz", 200, "ready"}, {"/readyz?origin=@", 503, "not connected"}, {"/readyz?origin=film", 503, "film"},
		{"/readyz?origin=-bad-", 503, "bad"}, {"/debug", 200, "incoming: 0\nserving: 0\n"}, {"/debug/pprof/", 404, ""}, {"/debug/pprof/cmdline", 404, ""},
		{"/healthz", 200, "ok"},
	} {
		if status, text := x.adminGet(c.path); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s with no origin: got %d %.200q, want %d with %q", c.path, status, text, c.status, c.want)
		}
	}
	h, arrived, release := blocking()
	startC(t, x, h, func(c *agent.Config) { c.Agent = "test/1" })
	startC(t, x, h, func(c *agent.Config) { c.Name = "Film" })
	rt := transport(t, nil, false)
	open := async(deadline(t), rt, "GET", x.url("/open"), nil)
	<-arrived
	want(t, "POST", fetch(deadline(t), rt, "POST", x.url("/"), bytes.NewReader(pattern(5000)), nil), 200, "5000")
	// It is over for P, and for C's session, a little after A has its answer.
	waitFor(t, "one request in flight", func() bool {
		_, text := x.adminGet("/debug")
		return strings.Contains(text, "incoming: 1\nserving: 1\n") && x.metric(`spdy_proxy_requests_total{class="2xx",origin="@"}`) == "1"
	})
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, "default origin"}, {"/", 200, `data-key="film"`}, {"/", 200, "this proxy has no domain"}, {"/origins/film", 200, "127.0.0.1:"}, {"/readyz?origin=@", 200, "ready"}, {"/readyz?origin=FILM", 200, "ready"},
		{"/debug", 200, "incoming: 1\nserving: 1\n"},
		{"/metrics", 200, "spdy_proxy_origins 2\n"}, {"/metrics", 200, `spdy_proxy_requests_total{class="2xx",origin="@"} 1` + "\n"},
		{"/metrics", 200, `spdy_proxy_body_bytes_total{direction="to_origin",origin="@"} 5000` + "\n"},
	} {
		if status, text := x.adminGet(c.path); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: got %d %.2000q, want %d with %q", c.path, status, text, c.status, c.want)
		}
	}
	for _, c := range []struct{ path, want string }{
		{"/api/v1/origins/film", `"state":"unreachable"`}, {"/api/v1/origins?state=connected", `"matched":1`},
		{"/api/v1/requests?open=1", `"phase":"waits for the response"`}, {"/api/v1/requests?open=1", `"method":"POST"`},
		{"/api/v1/status", `"connected":1`}, {"/api/v1/origins/@", `"bytes_in":5000`}, {"/api/v1/origins/@", `"agent":"test/1"`},
	} {
		if status, text := x.adminGet(c.path); status != 200 || !strings.Contains(text, c.want) {
			t.Errorf("%s: got %d %.2000q, want %q", c.path, status, text, c.want)
		}
	}
	close(release)
	<-open
	// No DNS rebinding.
	a := fetch(deadline(t), rt, "GET", "http://"+x.AdminAddr().String()+"/", nil, asked("evil.example:1445"))
	want(t, "another name", a, 403, "")
}

// With --admin= there is no admin port; with --pprof there are profiles.
func TestAdminOptions(t *testing.T) {
	f := newFiles(t)
	if x := startP(t, f, func(c *proxy.Config) { c.Admin = "" }); x.AdminAddr() != nil {
		t.Errorf("AdminAddr: got %v, want none", x.AdminAddr())
	}
	x := startP(t, f, func(c *proxy.Config) { c.PProf = true })
	if status, text := x.adminGet("/debug/pprof/"); status != 200 || !strings.Contains(text, "goroutine") {
		t.Errorf("/debug/pprof/: got %d %q, want the profiles", status, text)
	}
	if status, text := x.adminGet("/debug/pprof/flight"); status != 503 || !strings.Contains(text, "from now on") {
		t.Errorf("/debug/pprof/flight, the first time: got %d %.40q, want 503", status, text)
	}
	if status, text := x.adminGet("/debug/pprof/flight"); status != 200 || !strings.HasPrefix(text, "go 1.") {
		t.Errorf("/debug/pprof/flight: got %d %.40q, want a trace", status, text)
	}
	if status, _ := x.adminGet("/debug/pprof/cmdline"); status != 404 {
		t.Errorf("/debug/pprof/cmdline: got %d, want 404", status)
	}
}

// What becomes of an origin, in the words of the API: refused, revoked, told to connect
// anew.
func TestOriginStates(t *testing.T) {
	f := newFiles(t)
	f.write("token", "good-token @ film\nother-token books\n")
	f.write("admin", "0123456789abcdef\n")
	x := startP(t, f, func(c *proxy.Config) { c.AdminToken = f.path("admin") })
	ask := func(method, path string) (int, string) {
		t.Helper()
		a := fetch(deadline(t), transport(t, nil, false), method, "http://"+x.AdminAddr().String()+path, nil, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer 0123456789abcdef")
		})
		return a.status, string(a.body)
	}
	state := func(name, want string) {
		t.Helper()
		waitFor(t, name+" "+want, func() bool {
			_, text := ask("GET", "/api/v1/origins/"+name)
			return strings.Contains(text, `"state":"`+want+`"`)
		})
	}
	if status, _ := x.adminGet("/api/v1/status"); status != 401 {
		t.Errorf("without the token: got %d, want 401", status)
	}
	state("@", "absent")
	state("books", "absent")
	refused := launchC(t, x, hello("c"), func(c *agent.Config) { c.Name = "books" })
	state("books", "refused")
	if _, text := ask("GET", "/api/v1/origins/books"); !strings.Contains(text, "this token may not register") {
		t.Errorf("it is not said why: %s", text)
	}
	refused.crash()
	y := startC(t, x, hello("c"), nil)
	state("@", "connected")
	if status, text := ask("POST", "/api/v1/origins/@/disconnect"); status != 200 || text != `{"disconnected":1}`+"\n" {
		t.Errorf("disconnect: got %d %s", status, text)
	}
	y.log.wait("msg=connected", 2)
	state("@", "connected")
	f.write("token", "other-token books\n")
	x.Reload()
	state("@", "revoked")
	x.log.wait("state=revoked", 1)
	if _, text := ask("GET", "/metrics"); !strings.Contains(text, `spdy_proxy_origin_state{origin="@",state="revoked"} 1`) {
		t.Error("the metrics do not say revoked")
	}
	f.write("admin", "short")
	x.Reload()
	if _, text := ask("GET", "/metrics"); !strings.Contains(text, "spdy_proxy_config_last_reload_successful 0") {
		t.Error("the metrics do not say that the reload failed")
	}
}

// A state is the same word in the log, the API, the metrics and on the page.
func TestWordsOfStates(t *testing.T) {
	f := newFiles(t)
	f.write("token", "good-token @ film\n")
	x := startP(t, f, nil)
	is := func(name, want string) {
		t.Helper()
		waitFor(t, name+" "+want, func() bool {
			_, text := x.adminGet("/api/v1/origins/" + name)
			return strings.Contains(text, `"state":"`+want+`"`)
		})
		if got := x.metric(fmt.Sprintf("spdy_proxy_origin_state{origin=%q,state=%q}", name, want)); got != "1" {
			t.Errorf("%s %s: the metric is %q", name, want, got)
		}
		for _, path := range []string{"/origins/" + name, "/?state=" + want} {
			if _, text := x.adminGet(path); !strings.Contains(text, `<span class="state `+want+`"><i></i>`+want+`</span>`) {
				t.Errorf("%s %s: not on %s", name, want, path)
			}
		}
		if want == "absent" && x.log.count("origin=") == 0 {
			return // nothing has happened
		}
		x.log.wait("state="+want, 1)
	}
	is("@", "absent")
	if _, err := dialer(t, x, "film", "", "wrong-token").Dial(deadline(t)); err == nil {
		t.Fatal("a wrong token is let in")
	}
	is("film", "refused")
	h, arrived, release := blocking()
	film := startC(t, x, h, func(c *agent.Config) { c.Name = "film" }) // there is no --domain
	is("film", "unreachable")
	film.crash()
	is("film", "absent")
	c := startC(t, x, h, nil)
	is("@", "connected")
	open := async(deadline(t), transport(t, nil, false), "GET", x.url("/open"), nil)
	<-arrived
	c.cancel()
	is("@", "leaving")
	close(release)
	<-open
	is("@", "absent")
}

// The streams of events end at a stop, which does not wait for them.
func TestEventsEndAtAStop(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		x := startP(t, f, nil)
		res, err := x.admin.Get("http://" + x.AdminAddr().String() + "/api/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.ReadFull(res.Body, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		x.cancel()
		x.wait()
		if took := time.Since(start); took > 900*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("the stream ends with %v", err)
		}
	})
}

// elsewhere is a listener at another address than it says.
type elsewhere struct {
	net.Listener
	addr net.Addr
}

func (e elsewhere) Addr() net.Addr { return e.addr }

// An admin port that other machines reach is warned of, once, unless it asks for a token;
// where nobody but this machine does, it is not. p check says the same of what it is told.
func TestAdminOpenToOthers(t *testing.T) {
	f := newFiles(t)
	f.write("admin", "0123456789abcdef\n")
	const warning = "the admin port is reached by other machines"
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1445} }
	for _, tt := range []struct {
		addr  net.Addr
		token string
		want  int
	}{
		{tcp("0.0.0.0"), "", 1}, {tcp("::"), "", 1}, {tcp("10.0.0.1"), "", 1}, {tcp("10.0.0.1"), f.path("admin"), 0},
		{tcp("127.0.0.1"), "", 0}, {tcp("127.0.0.2"), "", 0}, {tcp("::1"), "", 0}, {tcp("::ffff:127.0.0.1"), "", 0}, {&net.UnixAddr{Name: "/run/p/admin", Net: "unix"}, "", 0},
	} {
		x := startP(t, f, func(c *proxy.Config) {
			c.AdminToken = tt.token
			c.Inherited = func(name string) (net.Listener, error) {
				if name != "admin" {
					return nil, nil
				}
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				return elsewhere{ln, tt.addr}, err
			}
		})
		x.log.wait("p listens", 1)
		x.cancel()
		x.wait()
		if n := x.log.count(warning); n != tt.want {
			t.Errorf("%v, token %q: warned %d times, want %d", tt.addr, tt.token, n, tt.want)
		}
	}
	cfg := startP(t, f, nil).cfg
	for addr, want := range map[string]int{":1445": 1, "[::]:1445": 1, "192.0.2.1:1445": 1, "localhost:1445": 0, "127.0.0.1:1445": 0, "p.internal:1445": 0, "": 0} {
		log := newJournal(t, "check")
		cfg.Admin, cfg.Logger = addr, log.logger()
		if _, faults := proxy.Check(cfg); len(faults) > 0 || log.count(warning) != want {
			t.Errorf("p check with --admin %q: %v, warned %d times, want %d", addr, faults, log.count(warning), want)
		}
	}
}
