package proxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// dialer registers with x as a C does.
func dialer(t *testing.T, x *p, name, instance, token string) *control.Dialer {
	t.Helper()
	conf, err := control.ClientTLS{CAFile: x.files.path("ca.pem"), ServerName: "localhost"}.Load()
	if err != nil {
		t.Fatal(err)
	}
	return &control.Dialer{Addr: x.ControlAddr().String(), Name: name, Instance: instance, Token: token, TLS: conf, DialContext: x.files.dial}
}

// register takes C's part of the handshake, and hands the connection to the
// test.
func register(t *testing.T, x *p, name, instance string) *control.Conn {
	t.Helper()
	before := x.log.count("origin connected")
	conn, err := dialer(t, x, name, instance, "good-token").Dial(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	x.log.wait("origin connected", before+1)
	return conn
}

// serveSession registers, and serves handler on the session.
func serveSession(t *testing.T, x *p, name, instance string, handler http.Handler) *spdy.Session {
	t.Helper()
	s := (&spdy.Config{}).NewServerSession(register(t, x, name, instance), &http.Server{Handler: handler})
	done := make(chan struct{})
	go func() { // ends with the session, which the cleanup closes and waits for
		defer close(done)
		s.Serve()
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return s
}

// asked returns an edit that sets the Host.
func asked(host string) func(*http.Request) {
	return func(r *http.Request) { r.Host = host }
}

// With --domain D: NAME.D is origin NAME and never another; any other host is
// the default origin.
func TestDomain(t *testing.T) {
	f := newFiles(t)
	f.write("token", "good-token @ film\n")
	x := startP(t, f, func(c *proxy.Config) { c.Domains = []string{"example.test"} })
	startC(t, x, hello("default"), nil)
	startC(t, x, hello("film"), func(c *agent.Config) { c.Name = "film" })
	rt := transport(t, nil, false)
	for _, c := range []struct {
		host   string
		status int
		want   string
	}{
		{"example.test", 200, "default"},
		{"example.org", 200, "default"},
		{"localhost:1443", 200, "default"},
		{"127.0.0.1", 200, "default"},
		{"notexample.test", 200, "default"},
		{"film.example.test", 200, "film"},
		{"film.example.test:1443", 200, "film"},
		{"FILM.Example.Test", 200, "film"},
		{"film.example.test.", 200, "film"},
		{"film.example.test.:80", 200, "film"},
		{"music.example.test", 503, ""},
		{"a.film.example.test", 503, ""},
		{"-.example.test", 503, ""},
		{"film..example.test", 503, ""},
	} {
		a := fetch(deadline(t), rt, "GET", x.url("/"), nil, asked(c.host))
		if c.status == 200 {
			want(t, c.host, a, 200, c.want+" GET")
		} else if a.err != nil || a.status == 200 {
			t.Errorf("%s: got %v, want a refusal", c.host, a)
		}
	}
}

// A registration with the same instance, or where either has none, replaces the
// earlier, which finishes what it is serving and is closed; different instances
// share.
func TestTakeover(t *testing.T) {
	for _, c := range []struct {
		first, second string
		shares        bool
	}{
		{"a.0", "a.0", false}, {"", "a.0", false}, {"a.0", "", false}, {"", "", false},
		{"a.0", "a.1", true}, {"a.0", "b.0", true},
	} {
		t.Run(fmt.Sprintf("%q then %q", c.first, c.second), func(t *testing.T) {
			x := startP(t, newFiles(t), nil)
			arrived, release := make(chan struct{}), make(chan struct{})
			first := serveSession(t, x, "", c.first, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/open" {
					close(arrived)
					<-release
				}
				hello("first").ServeHTTP(w, r)
			}))
			open := async(deadline(t), transport(t, nil, false), "GET", x.url("/open"), nil)
			<-arrived
			serveSession(t, x, "", c.second, hello("second"))
			// The first has a request open, so the second is chosen either way.
			for range 5 {
				want(t, "GET after the second came", x.get("/"), 200, "second")
			}
			close(release)
			want(t, "GET that was open", <-open, 200, "first GET /open")
			if !c.shares {
				<-first.Done()
				if err := first.Err(); err == nil || !errors.Is(err, spdy.ErrGoingAway) && !errors.Is(err, spdy.ErrClosed) {
					t.Logf("the first ended with %v", err)
				}
				return
			}
			both := map[string]bool{}
			for range 20 {
				a := x.get("/")
				who, _, _ := strings.Cut(string(a.body), " ")
				both[who] = true
			}
			if !both["first"] || !both["second"] || first.Err() != nil {
				t.Errorf("served by %v, the first: %v; want both to share", both, first.Err())
			}
		})
	}
}

// A request goes to the connection with the fewest open streams.
func TestLeastOpenStreams(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	arrived, release := make(chan string, 16), make(chan struct{})
	at := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived <- name
			<-release
			hello(name).ServeHTTP(w, r)
		})
	}
	for _, name := range []string{"a", "b", "c"} {
		startC(t, x, at(name), nil)
	}
	waitFor(t, "all three in P's table", func() bool { return x.metric(`spdy_proxy_sessions{origin="@"}`) == "3" })
	var open []<-chan answer
	counts := map[string]int{}
	for range 9 {
		open = append(open, async(deadline(t), transport(t, nil, false), "GET", x.url("/"), nil))
		counts[<-arrived]++ // one by one: each choice sees those before
	}
	if counts["a"] != 3 || counts["b"] != 3 || counts["c"] != 3 {
		t.Errorf("got %v, want 3 each", counts)
	}
	close(release)
	for _, o := range open {
		want(t, "GET", <-o, 200, "GET /")
	}
}

// Two Cs with the same name and different instances never throw each other out,
// nor do the parallel connections of one C.
func TestSharingIsStable(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	a := startC(t, x, hello("a"), func(c *agent.Config) { c.Connections = 3 })
	b := startC(t, x, hello("b"), nil)
	x.log.wait("origin connected", 4)
	rt := transport(t, nil, false)
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() { // ends after its requests, waited for below
			for range 25 {
				want(t, "GET", fetch(deadline(t), rt, "GET", x.url("/"), nil, nil), 200, "GET /")
			}
		})
	}
	asking.Wait()
	if n := x.log.count("origin connected"); n != 4 {
		t.Errorf("%d registrations, want 4", n)
	}
	if n := x.log.count("origin disconnected"); n != 0 {
		t.Errorf("%d sessions ended, want none", n)
	}
	if a, b := a.wire.dials(), b.wire.dials(); a != 3 || b != 1 {
		t.Errorf("C dialled %d and %d times, want 3 and 1", a, b)
	}
	if got := x.metric(`spdy_proxy_sessions{origin="@"}`); got != "4" {
		t.Errorf("spdy_proxy_sessions: got %q, want 4", got)
	}
}

// At each registration P pings the others and drops within 2 s those that do
// not answer.
func TestSilentSessionIsDropped(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		x := startP(t, f, nil)
		silent := startC(t, x, hello("silent"), nil)
		silent.wire.fail(errNoNetwork)
		silent.wire.freeze()
		startC(t, x, hello("new"), nil)
		x.log.wait("origin dropped, it does not answer", 1)
		for range 5 {
			want(t, "GET", x.get("/"), 200, "new GET /")
		}
	})
}

// Once C's MAX_CONCURRENT_STREAMS is reached, requests wait their turn.
func TestMaxConcurrentStreams(t *testing.T) {
	x := startP(t, newFiles(t), nil)
	arrived, release := make(chan struct{}, 16), make(chan struct{})
	startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		hello("c").ServeHTTP(w, r)
	}), func(c *agent.Config) { c.Session.MaxConcurrentStreams = 2 })
	var open []<-chan answer
	for range 6 {
		open = append(open, async(deadline(t), transport(t, nil, false), "GET", x.url("/"), nil))
	}
	<-arrived
	<-arrived
	waitFor(t, "all six under way", func() bool { return x.metric(`spdy_proxy_streams_in_flight{origin="@"}`) == "6" })
	select {
	case <-arrived:
		t.Error("a third request reached C, want two at once")
	default:
	}
	close(release)
	for _, o := range open {
		want(t, "GET", <-o, 200, "c GET /")
	}
}

// RFC 9218 priority of A becomes SPDY's.
func TestPriority(t *testing.T) {
	everyClient(t, nil, func(t *testing.T, x *p, rt http.RoundTripper) {
		startC(t, x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pri, ok := spdy.PriorityFrom(r.Context())
			fmt.Fprintf(w, "%d %v %s", pri, ok, r.Header.Get("Priority"))
		}), nil)
		for _, c := range []struct{ header, want string }{
			{"", "3 true "}, {"u=0", "0 true u=0"}, {"u=7, i", "7 true u=7, i"}, {"i", "3 true i"},
			{"u=8", "3 true u=8"}, {"u=", "3 true u="}, {"nonsense!", "3 true nonsense!"},
		} {
			a := fetch(deadline(t), rt, "GET", x.url("/"), nil, func(r *http.Request) {
				if c.header != "" {
					r.Header.Set("Priority", c.header)
				}
			})
			if string(a.body) != c.want {
				t.Errorf("Priority %q: got %v, want %q", c.header, a, c.want)
			}
		}
	})
}

// Priority decides who gets C's uplink first.
func TestPriorityUplink(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		content := pattern(8 << 20)
		x := startP(t, f, nil)
		h := folder(t, content)
		y := startC(t, x, h, nil)
		// A link on which every record takes a while: who is first is seen.
		y.wire.delay(2e6)
		at := func(u string) <-chan answer {
			ch := make(chan answer, 1)
			go func() { // ends with the answer
				ch <- fetch(deadline(t), x.transport(nil, false), "GET", x.url("/film.mp4"), nil, func(r *http.Request) { r.Header.Set("Priority", u) })
			}()
			return ch
		}
		last := at("u=7")
		waitFor(t, "the download of low priority", func() bool { return x.metric(`spdy_proxy_body_bytes_total{direction="from_origin",origin="@"}`) != "0" })
		first := at("u=0")
		select {
		case a := <-first:
			same(t, "the urgent one", a.body, content)
		case a := <-last:
			t.Errorf("the download of low priority ended first: %v", a)
			<-first
			return
		}
		same(t, "the other one", (<-last).body, content)
	})
}
