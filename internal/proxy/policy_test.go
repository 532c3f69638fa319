package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/policy"
	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// tables are what the configuration holds, for a P that reads it.
type tables struct {
	mu   sync.Mutex
	list []policy.Table // guarded by mu
	err  error          // guarded by mu
}

func (p *tables) set(err error, list ...policy.Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list, p.err = list, err
}

func (p *tables) read() ([]policy.Table, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list, p.err
}

// startWith runs a P with tables, and a C that serves handler.
func startWith(t *testing.T, handler http.Handler, list ...policy.Table) (*p, *tables) {
	t.Helper()
	held := new(tables)
	held.set(nil, list...)
	x := startP(t, newFiles(t), func(c *proxy.Config) { c.Policies = held.read })
	startC(t, x, handler, nil)
	return x, held
}

// asBrowser asks as a browser does.
func asBrowser(r *http.Request) { r.Header.Set("Accept", "text/html,*/*;q=0.8") }

// wantRefused checks an answer of a policy's.
func wantRefused(t *testing.T, what string, a answer, status int, reason, detail string) {
	t.Helper()
	want(t, what, a, status, detail)
	if got := a.header.Get("Proxy-Status"); !strings.HasPrefix(got, "spdy-proxy; error="+reason+"; details=") {
		t.Errorf("%s: Proxy-Status %q, want the error %s", what, got, reason)
	}
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if limited := status == 429 || status == 503; limited != (err == nil && after >= 1) {
		t.Errorf("%s: Retry-After %q", what, a.header.Get("Retry-After"))
	}
}

// Who may not is refused, whatever it speaks, and nobody else.
func TestPolicyRefuses(t *testing.T) {
	held := new(tables)
	edit := func(c *proxy.Config) { c.Policies = held.read }
	held.set(nil, policy.Table{Name: "@", Deny: []string{"127.0.0.0/8"}})
	everyClient(t, edit, func(t *testing.T, x *p, rt http.RoundTripper) {
		startC(t, x, hello("c"), nil)
		ask := func() answer { return fetch(deadline(t), rt, "GET", x.url("/"), nil, nil) }
		wantRefused(t, "denied", ask(), 403, "http_request_denied", "this address is not served here")
		held.set(nil, policy.Table{Name: "*", Allow: []string{"127.0.0.1"}, VisitorRequestsPerSecond: .001, VisitorBurst: 2})
		x.Reload()
		want(t, "the first", ask(), 200, "c GET /")
		want(t, "the second", ask(), 200, "c GET /")
		wantRefused(t, "the third", ask(), 429, "http_request_denied", "too many requests of this address")
		held.set(nil, policy.Table{Name: "other", Deny: []string{"0.0.0.0/0"}}, policy.Table{Name: "@", RequestsPerSecond: .001, Burst: 1})
		x.Reload()
		want(t, "in all, the first", ask(), 200, "c GET /")
		wantRefused(t, "in all, the second", ask(), 429, "http_request_denied", "too many requests to this origin")
		held.set(nil)
		x.Reload()
		want(t, "without a table", ask(), 200, "c GET /")
		held.set(nil, policy.Table{Name: "@", Deny: []string{"127.0.0.0/8"}})
	})
}

// A table holds for its origin by each of the names that this has, and so does what the
// operator asks for.
func TestPolicyByHost(t *testing.T) {
	f, held := newFiles(t), new(tables)
	f.write("token", "good-token * film.example.org\n")
	f.write("admin", "0123456789abcdef\n")
	x := startP(t, f, func(c *proxy.Config) {
		c.Domains, c.Policies, c.AdminToken = []string{"example.org", "example.com"}, held.read, f.path("admin")
	})
	y := startC(t, x, hello("film"), func(c *agent.Config) { c.Name = "film" })
	rt := transport(t, nil, false)
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer 0123456789abcdef") }
	admin := func(method, path string) answer {
		return fetch(deadline(t), rt, method, "http://"+x.AdminAddr().String()+path, nil, bearer)
	}
	for i, name := range []string{"film", "Film.example.org", "film.example.com"} {
		held.set(nil, policy.Table{Name: name, Deny: []string{"127.0.0.0/8"}})
		x.Reload()
		for _, host := range []string{"film.example.org", "film.example.com"} {
			wantRefused(t, name+" at "+host, fetch(deadline(t), rt, "GET", x.url("/"), nil, asked(host)), 403, "http_request_denied", "this address is not served here")
		}
		if a := admin("GET", "/readyz?origin="+name); a.status != 200 {
			t.Errorf("%s: ready: got %v", name, a)
		}
		if a := admin("GET", "/api/v1/origins/"+name); a.status != 200 || !strings.Contains(string(a.body), `"name":"film","state":"connected"`) {
			t.Errorf("%s: in the API: got %v", name, a)
		}
		if a := admin("GET", "/origins/"+name); a.status != 200 {
			t.Errorf("%s: the page: got %v", name, a)
		}
		if a := admin("GET", "/api/v1/requests?origin="+name); !strings.Contains(string(a.body), `"origin":"film"`) {
			t.Errorf("%s: its requests: got %v", name, a)
		}
		if a := admin("POST", "/api/v1/origins/"+name+"/disconnect"); a.status != 200 || string(a.body) != `{"disconnected":1}`+"\n" {
			t.Errorf("%s: disconnect: got %v", name, a)
		}
		y.log.wait("msg=connected", i+2)
	}
	if a := admin("GET", "/api/v1/origins"); strings.Contains(string(a.body), `"name":"film.example.org"`) {
		t.Errorf("the origin is there twice, once by the name in the token file: got %s", a.body)
	}
}

// A table of a host that no token has is warned of: it is not that of the default origin.
func TestPolicyForNobody(t *testing.T) {
	f, held := newFiles(t), new(tables)
	f.write("token", "good-token * photos.example.net *.example.com\n")
	held.set(nil, policy.Table{Name: "film.example.org"}, policy.Table{Name: "photos.example.net"}, policy.Table{Name: "a.b.example.com"}, policy.Table{Name: "@"})
	x := startP(t, f, func(c *proxy.Config) { c.Domains, c.Policies = []string{"example.org"}, held.read })
	if n := x.log.count("holds for nobody"); n != 0 {
		t.Errorf("%d tables that hold are warned of", n)
	}
	held.set(nil, policy.Table{Name: "film.example.org"}, policy.Table{Name: "example.org"}, policy.Table{Name: "photos.example.edu"})
	x.Reload()
	x.log.wait(`hosts="example.org, photos.example.edu"`, 1)
}

// Each kind of a refusal is counted as that, and those of an origin that answers itself
// are not.
func TestRefusalsAreCounted(t *testing.T) {
	f := newFiles(t)
	f.write("users", "anna:"+hash(t, "sesame")+"\n")
	held := new(tables)
	x := startP(t, f, func(c *proxy.Config) { c.Policies, c.TrustedProxies = held.read, []string{"127.0.0.1/32"} })
	begun, release := make(chan struct{}, 1), make(chan struct{})
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-release
		}
		w.WriteHeader(http.StatusForbidden)
	}), nil)
	rt := transport(t, nil, false)
	ask := func() { fetch(deadline(t), rt, "GET", x.url("/"), nil, nil) }
	for i, c := range []struct {
		reason string
		table  policy.Table
	}{
		{"address", policy.Table{Deny: []string{"127.0.0.0/8"}}},
		{"password", policy.Table{Htpasswd: f.path("users")}},
		{"visitor_rate", policy.Table{VisitorRequestsPerSecond: .001, VisitorBurst: 1}},
		{"rate", policy.Table{RequestsPerSecond: .001, Burst: 1}},
		{"in_flight", policy.Table{MaxRequests: 1}},
	} {
		c.table.Name = "@"
		held.set(nil, c.table)
		x.Reload()
		slow := make(chan answer, 1)
		switch c.reason {
		case "visitor_rate", "rate":
			ask() // within it
		case "in_flight":
			// Ends when release is closed.
			go func() { slow <- fetch(context.Background(), rt, "GET", x.url("/slow"), nil, nil) }()
			<-begun
		}
		for range i + 1 {
			ask()
		}
		metric := fmt.Sprintf(`spdy_proxy_request_refusals_total{reason=%q}`, c.reason)
		waitFor(t, metric, func() bool { return x.metric(metric) == strconv.Itoa(i+1) })
		if c.reason == "in_flight" {
			close(release)
			<-slow
		}
	}
	if n := x.metric(`spdy_proxy_request_refusals_total{reason="share"}`); n != "0" {
		t.Errorf("share: got %s, want 0", n)
	}
	if _, text := x.adminGet("/api/v1/requests?limit=500"); strings.Count(text, `"refused":"`) != 15 {
		t.Errorf("the list of requests has %d refusals, want 15", strings.Count(text, `"refused":"`))
	}
}

// An origin's passwords stand in the place of all origins', and the service is told who
// it is; nobody else can tell it so.
func TestPolicyPasswords(t *testing.T) {
	f := newFiles(t)
	f.write("all", "all:"+hash(t, "secret")+"\n")
	f.write("users", "anna:"+hash(t, "sesame")+"\n")
	held := new(tables)
	x := startP(t, f, func(c *proxy.Config) { c.Policies, c.Htpasswd = held.read, f.path("all") })
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user %q, %q", r.Header["X-Forwarded-User"], r.Header["Authorization"])
	}), nil)
	ask := func(user, password string) answer {
		return fetch(deadline(t), transport(t, nil, false), "GET", x.url("/"), nil, func(r *http.Request) {
			r.Header.Set("X-Forwarded-User", "root")
			if user != "" {
				r.SetBasicAuth(user, password)
			}
		})
	}
	want(t, "the password of all", ask("all", "secret"), 200, `user ["all"], []`)
	held.set(nil, policy.Table{Name: "@", Htpasswd: f.path("users")})
	x.Reload()
	want(t, "no password", ask("", ""), 401, "a name and a password are needed")
	want(t, "that of all", ask("all", "secret"), 401, "")
	want(t, "that of the origin", ask("anna", "sesame"), 200, `user ["anna"], []`)
	f.write("users", "anna:"+hash(t, "changed")+"\n")
	x.Reload()
	want(t, "the one before", ask("anna", "sesame"), 401, "")
	want(t, "the new one", ask("anna", "changed"), 200, "anna")
	f.write("users", "nonsense\n")
	x.Reload()
	want(t, "after a bad file", ask("anna", "changed"), 200, "anna")
	x.log.wait("reload failed, what was read before stays in use", 1)
}

// Without a password of P's, what A says of its user is dropped, and its Authorization
// is the service's.
func TestNoUserWithoutPasswords(t *testing.T) {
	x, _ := startWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user %q, %q", r.Header["X-Forwarded-User"], r.Header["Authorization"])
	}), policy.Table{Name: "*", MaxRequests: 5})
	a := fetch(deadline(t), transport(t, nil, false), "GET", x.url("/"), nil, func(r *http.Request) {
		r.Header.Set("X-Forwarded-User", "root")
		r.Header.Set("Authorization", "Bearer own")
	})
	want(t, "no password", a, 200, `user [], ["Bearer own"]`)
}

// More requests than may be in flight are refused until one ends.
func TestPolicyMaxRequests(t *testing.T) {
	begun, release := make(chan struct{}, 2), make(chan struct{})
	x, _ := startWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-release
		}
	}), policy.Table{Name: "@", MaxRequests: 1})
	rt := transport(t, nil, false)
	slow := make(chan answer, 1)
	// Ends when release is closed.
	go func() { slow <- fetch(context.Background(), rt, "GET", x.url("/slow"), nil, nil) }()
	<-begun
	wantRefused(t, "a second", fetch(deadline(t), rt, "GET", x.url("/"), nil, nil), 503, "connection_limit_reached", "as many requests in flight as it may")
	close(release)
	want(t, "the first", <-slow, 200, "")
	waitFor(t, "room again", func() bool { return fetch(deadline(t), rt, "GET", x.url("/"), nil, nil).status == 200 })
}

// Headers are set in answers, of the service and of P.
func TestPolicyHeaders(t *testing.T) {
	x, held := startWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Frame-Options"] = []string{"ALLOW", "ALL"}
		w.Header().Set("Server", "secret/1.2")
		w.Header().Set("X-Own", "stays")
	}), policy.Table{Name: "@", Headers: map[string]string{"x-frame-options": "DENY", "Server": "", "X-New": "here"}})
	a := x.get("/")
	if got := fmt.Sprint(a.header["X-Frame-Options"], a.header["Server"], a.header["X-New"], a.header["X-Own"]); a.status != 200 || got != "[DENY] [] [here] [stays]" {
		t.Errorf("got %v with %s", a, got)
	}
	held.set(nil, policy.Table{Name: "@", Headers: map[string]string{"X-New": "here", "Content-Type": "x/y"}, Deny: []string{"127.0.0.1"}})
	x.Reload()
	if a := x.get("/"); a.status != 403 || a.header.Get("X-New") != "here" || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("a refusal: %v with %v", a, a.header)
	}
}

// A person sees the operator's page while the origin is away, and a program its line.
func TestPolicyErrorPage(t *testing.T) {
	f := newFiles(t)
	page := f.write("away.html", "<h1>We are moving</h1>")
	held := new(tables)
	held.set(nil, policy.Table{Name: "*", ErrorPage: page})
	x := startP(t, f, func(c *proxy.Config) { noDefault(c); c.Policies = held.read })
	rt := transport(t, nil, false)
	a := fetch(deadline(t), rt, "GET", x.url("/"), nil, asBrowser)
	if want(t, "a browser", a, 503, "<h1>We are moving</h1>"); a.header.Get("Content-Type") != "text/html; charset=utf-8" || a.header.Get("Retry-After") == "" {
		t.Errorf("with %v", a.header)
	}
	want(t, "curl", fetch(deadline(t), rt, "GET", x.url("/"), nil, nil), 503, "503 Service Unavailable: the default origin is not connected\n")
	want(t, "another fault", fetch(deadline(t), rt, "TRACE", x.url("/"), nil, asBrowser), 405, "This method is not served.")
}

// So it is where the origin breaks off, or says nothing in time; what the origin answers
// itself is its own.
func TestPolicyErrorPageOfFaults(t *testing.T) {
	f := newFiles(t)
	page := f.write("away.html", "<h1>We are moving</h1>")
	held := new(tables)
	held.set(nil, policy.Table{Name: "@", ErrorPage: page})
	x := startP(t, f, func(c *proxy.Config) { c.Policies, c.ResponseTimeout = held.read, 200*time.Millisecond })
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/never":
			<-r.Context().Done()
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(502)
		io.WriteString(w, "my own")
	}), nil)
	rt := transport(t, nil, false)
	for _, c := range []struct {
		path          string
		status        int
		browser, curl string
	}{
		{"/abort", 502, "<h1>We are moving</h1>", "502 Bad Gateway: the origin reset the stream"},
		{"/never", 504, "<h1>We are moving</h1>", "504 Gateway Timeout: "},
		{"/own", 502, "my own", "my own"},
	} {
		want(t, "a browser at "+c.path, fetch(deadline(t), rt, "GET", x.url(c.path), nil, asBrowser), c.status, c.browser)
		want(t, "curl at "+c.path, fetch(deadline(t), rt, "GET", x.url(c.path), nil, nil), c.status, c.curl)
	}
}

// What is wrong with a table is said at the start, and at a reload changes nothing.
func TestPolicyFaults(t *testing.T) {
	x, held := startWith(t, hello("c"), policy.Table{Name: "@", Headers: map[string]string{"X-Table": "first"}})
	for i, fault := range []func(){
		func() { held.set(nil, policy.Table{Name: "@", Allow: []string{"everybody"}}) },
		func() { held.set(errors.New("the file is gone")) },
	} {
		fault()
		x.Reload()
		x.log.wait("reload failed, what was read before stays in use", i+1)
		if a := x.get("/"); a.status != 200 || a.header.Get("X-Table") != "first" {
			t.Errorf("after a bad reload: %v, %v", a, a.header)
		}
	}
	var bad *proxy.ConfigError
	cfg := x.cfg
	if _, err := proxy.New(cfg); !errors.As(err, &bad) {
		t.Errorf("at the start: %v, want a ConfigError", err)
	}
}

// Bodies pass at the origin's rate in each direction, and who has to wait for that is
// not taken for one who does not read.
func TestPolicyBandwidth(t *testing.T) {
	held := new(tables)
	held.set(nil, policy.Table{Name: "@", BytesPerSecond: "400kB"})
	const size, least = 250_000, 450 * time.Millisecond // 50 kB pass at once
	everyClientInBubble(t, func(c *proxy.Config) { c.Policies, c.Stall = held.read, 100*time.Millisecond }, func(t *testing.T, x *p, rt http.RoundTripper) {
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			if r.Method == "POST" {
				fmt.Fprint(w, len(got))
			} else {
				w.Write(pattern(size))
			}
		}), nil)
		began := time.Now()
		a := fetch(deadline(t), rt, "GET", x.url("/"), nil, nil)
		if took := time.Since(began); a.err != nil || took < least {
			t.Errorf("a download: %v after %v, want %v at least", a, took, least)
		}
		same(t, "a download", a.body, pattern(size))
		began = time.Now()
		a = fetch(deadline(t), rt, "POST", x.url("/"), bytes.NewReader(pattern(size)), nil)
		if took := time.Since(began); a.err != nil || string(a.body) != fmt.Sprint(size) || took < least {
			t.Errorf("an upload: %v after %v, want %v at least", a, took, least)
		}
	})
}

// A WebSocket is paced as a body is, and is a request in flight while it is open.
func TestPolicyWebSocket(t *testing.T) {
	s := newSocketService(t)
	h, err := serve.New(serve.Config{To: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	x, _ := startWith(t, h, policy.Table{Name: "@", BytesPerSecond: "400kB", MaxRequests: 1})
	ws, _, err := websocket.Dial(deadline(t), x.url("/socket"), &websocket.DialOptions{Subprotocols: []string{"echo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	wantRefused(t, "another request", x.get("/"), 503, "connection_limit_reached", "in flight")
	began := time.Now()
	if err := ws.Write(deadline(t), websocket.MessageBinary, pattern(250_000)); err != nil {
		t.Fatal(err)
	}
	_, msg, err := ws.Read(deadline(t))
	if took := time.Since(began); err != nil || took < 450*time.Millisecond {
		t.Errorf("the echo: %v after %v", err, took)
	}
	same(t, "the echo", msg, pattern(250_000))
	ws.Close(websocket.StatusNormalClosure, "")
	waitFor(t, "room again", func() bool { return x.get("/").status != 503 })
}

// What P answers by itself does not wait for the origin's turn.
func TestPolicyBandwidthIsOfBodies(t *testing.T) {
	held := new(tables)
	held.set(nil, policy.Table{Name: "@", BytesPerSecond: "100", MaxRequests: 1})
	inBubble(t, func(t *testing.T, f *files) {
		x := startP(t, f, func(c *proxy.Config) { c.Policies = held.read })
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(pattern(1 << 20)) }), nil)
		begin(t, x.transport(nil, false), x.url("/"), "", 1)
		began := time.Now()
		for range 20 {
			wantRefused(t, "another", x.get("/"), 503, "connection_limit_reached", "in flight")
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("20 refusals took %v", took)
		}
	})
}

// A stop ends what waits for its turn at a rate, within the time that it has.
func TestPolicyBandwidthAtStop(t *testing.T) {
	x, _ := startWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(pattern(1 << 20)) }), policy.Table{Name: "@", BytesPerSecond: "1kB"})
	res, err := transport(t, nil, false).RoundTrip(func() *http.Request {
		r, _ := http.NewRequestWithContext(deadline(t), "GET", x.url("/"), nil)
		return r
	}())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	x.cancel()
	x.cancelNow()
	x.wait()
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("a cut answer looks whole")
	}
}
