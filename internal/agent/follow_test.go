package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// several is a bubble with Ps that are one, and Cs.
type several struct {
	t   *testing.T
	ca  *controltest.CA
	log testlog.Buffer

	mu      sync.Mutex
	ps      map[string]*oneP         // guarded by mu, by id
	down    map[string]bool          // guarded by mu; ids of which nothing is heard
	site    func(id string) string   // nil: none
	lead    func(addr string) string // guarded by mu; the id that an address leads to, nil: what is before the dot
	private bool                     // guarded by mu; what Ps tell leads nowhere
	silent  bool                     // guarded by mu; Ps do not tell of themselves
}

// oneP is a P.
type oneP struct {
	w      *several
	id     string
	ln     *controltest.Listener
	server *control.Server
	served chan struct{}
	mu     sync.Mutex
	sess   map[string]*session // guarded by mu; that take requests, by instance
	all    []*session          // guarded by mu
}

func inSeveral(t *testing.T, ids []string, f func(w *several)) {
	synctest.Test(t, func(t *testing.T) {
		w := &several{t: t, ca: controltest.NewCA(t), ps: make(map[string]*oneP), down: make(map[string]bool)}
		for _, id := range ids {
			w.start(id)
		}
		f(w)
		for id := range w.ps {
			w.kill(id)
		}
		if strings.Contains(w.log.String(), "sesame") {
			t.Errorf("the token was logged:\n%s", w.log.String())
		}
	})
}

func (w *several) peers(self string) []control.Peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []control.Peer
	for _, id := range slices.Sorted(maps.Keys(w.ps)) {
		p := control.Peer{ID: id, Addr: id + ".example:1444"}
		if w.private {
			p.Addr = id + ".private:1444"
		}
		if w.site != nil {
			p.Site = w.site(id)
		}
		switch {
		case id != self:
			list = append(list, p)
		case !w.silent:
			list = slices.Insert(list, 0, p)
		}
	}
	return list
}

// start starts a P.
func (w *several) start(id string) *oneP {
	w.t.Helper()
	tokens, err := control.ParseTokens(strings.NewReader("sesame *"))
	if err != nil {
		w.t.Fatal(err)
	}
	cert := &tls.Config{Certificates: []tls.Certificate{w.ca.Issue(w.t, "p.example")}}
	p := &oneP{w: w, id: id, ln: controltest.NewListener(), served: make(chan struct{}), sess: make(map[string]*session)}
	p.server = &control.Server{
		TLS: func() *tls.Config { return cert }, Auth: control.NewAuth(tokens), ID: id,
		Peers: func() []control.Peer { return w.peers(id) }, Handle: p.handle,
	}
	w.mu.Lock()
	w.ps[id] = p
	w.mu.Unlock()
	// Ends in kill.
	go func() { p.server.Serve(p.ln); close(p.served) }()
	return p
}

func (p *oneP) handle(r *control.Registration) (func(), error) {
	s := &session{new(spdy.Config).NewClientSession(r.Conn), r}
	p.mu.Lock()
	p.sess[r.Instance] = s
	p.all = append(p.all, s)
	p.mu.Unlock()
	return func() {
		// Ends with C, or in kill.
		go func() {
			s.Serve()
			p.forget(s)
		}()
		// Ends with the session.
		go func() {
			<-s.GoingAway()
			p.forget(s)
		}()
	}, nil
}

func (p *oneP) forget(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sess[s.reg.Instance] == s {
		delete(p.sess, s.reg.Instance)
	}
}

// kill ends a P without a word.
func (w *several) kill(id string) {
	w.mu.Lock()
	p := w.ps[id]
	delete(w.ps, id)
	w.mu.Unlock()
	p.server.Close()
	<-p.served
	p.mu.Lock()
	all := slices.Clone(p.all)
	p.mu.Unlock()
	for _, s := range all {
		s.reg.Conn.NetConn().Close()
		<-s.Done()
	}
}

// drain has a P tell its Cs to go, as one that stops.
func (w *several) drain(id string) {
	w.mu.Lock()
	p := w.ps[id]
	w.mu.Unlock()
	p.server.Stop()
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.sess))
	p.mu.Unlock()
	for _, s := range all {
		// Ends with C's streams; kill waits for the session.
		go s.Shutdown(context.Background())
	}
}

func (w *several) dial(_ context.Context, _, addr string) (net.Conn, error) {
	w.mu.Lock()
	id, domain, _ := strings.Cut(addr, ".")
	if w.lead != nil {
		id = w.lead(addr)
	}
	p := w.ps[id]
	if w.down[id] || w.private && domain == "private:1444" {
		p = nil
	}
	w.mu.Unlock()
	if p == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	return p.ln.Dial()
}

// c runs a C until stop is called.
func (w *several) c(change func(*Config)) (stop func()) {
	w.t.Helper()
	cfg := Config{
		Proxies: []string{"p1.example:1444"},
		Load: func() (Identity, error) {
			return Identity{Token: "sesame", TLS: &tls.Config{RootCAs: w.ca.Pool(), ServerName: "p.example"}}, nil
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Second) // of the bubble
			}
			io.WriteString(w, "hello "+r.URL.Path)
		}),
		Drain: 30 * time.Second, Logger: slog.New(slog.NewTextHandler(&w.log, nil)), DialContext: w.dial,
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	// Ends in stop.
	go func() { a.Run(ctx, ctx); close(ended) }()
	return func() { cancel(); <-ended }
}

// sessions returns how many sessions take requests at each P, "p1:1 p2:1".
func (w *several) sessions() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, id := range slices.Sorted(maps.Keys(w.ps)) {
		w.ps[id].mu.Lock()
		if n := len(w.ps[id].sess); n > 0 {
			list = append(list, fmt.Sprintf("%s:%d", id, n))
		}
		w.ps[id].mu.Unlock()
	}
	return strings.Join(list, " ")
}

// distinct reports whether each of n Ps has each sessions, and no other has any.
func (w *several) distinct(n, each int) bool {
	list := strings.Fields(w.sessions())
	return len(list) == n && !slices.ContainsFunc(list, func(s string) bool { return !strings.HasSuffix(s, fmt.Sprint(":", each)) })
}

func (w *several) want(when string, n, each int) {
	w.t.Helper()
	if !w.distinct(n, each) {
		w.t.Errorf("%s: sessions at %q, want %d at each of %d\n%s", when, w.sessions(), each, n, w.log.String())
	}
}

var five = []string{"p1", "p2", "p3", "p4", "p5"}

// C is connected to two Ps of several, or to as many as it is told.
func TestSpread(t *testing.T) {
	for _, row := range []struct {
		spread, connections int
		ps                  []string
		want                int
	}{{0, 1, five, 2}, {3, 1, five, 3}, {5, 1, five, 5}, {1, 1, five, 1}, {9, 1, five, 5}, {2, 3, five, 2}, {0, 1, five[:1], 1}} {
		inSeveral(t, row.ps, func(w *several) {
			defer w.c(func(c *Config) { c.Spread, c.Connections = row.spread, row.connections })()
			time.Sleep(time.Second)
			w.want(fmt.Sprintf("%+v", row), row.want, row.connections)
			time.Sleep(time.Hour)
			w.want(fmt.Sprintf("%+v, an hour later", row), row.want, row.connections)
			if n := w.log.Count("level=WARN"); n > 0 {
				t.Errorf("%d warnings", n)
			}
		})
	}
}

// One that may not follow has what it was given.
func TestNoFollow(t *testing.T) {
	inSeveral(t, five, func(w *several) {
		defer w.c(func(c *Config) { c.NoFollow = true; c.Proxies = []string{"p1.example:1444", "p3.example:1444"} })()
		time.Sleep(time.Minute)
		if got := w.sessions(); got != "p1:1 p3:1" {
			t.Errorf("sessions at %s", got)
		}
	})
}

// A P that dies takes one session with it; there is another at once, to another P.
func TestSpreadKill(t *testing.T) {
	inSeveral(t, five, func(w *several) {
		defer w.c(nil)()
		time.Sleep(time.Minute)
		for range 3 {
			id, _, _ := strings.Cut(w.sessions(), ":")
			w.kill(id)
			time.Sleep(200 * time.Millisecond)
			w.want("after a kill", 2, 1)
			time.Sleep(time.Minute)
		}
		w.want("with two left", 2, 1)
		id, _, _ := strings.Cut(w.sessions(), ":")
		w.kill(id)
		time.Sleep(time.Hour)
		w.want("with one left", 1, 1)
		w.start("p9")
		// It is not told yet, but p1 to p5 may be there again.
		w.start(id)
		time.Sleep(20 * time.Second)
		w.want("with another one back", 2, 1)
	})
}

// A P that asks for another connection and goes before it is made is left for another,
// whether it dies or says goodbye with something open.
func TestSpreadAskedByOneThatGoes(t *testing.T) {
	for _, row := range []struct {
		how    string
		spread int
		goes   func(w *several)
	}{
		{"dies", 2, func(w *several) { w.kill("p1") }},
		{"dies, the only one", 1, func(w *several) { w.kill("p1") }},
		{"says goodbye", 2, func(w *several) { w.drain("p1") }},
	} {
		inSeveral(t, five, func(w *several) {
			defer w.c(func(c *Config) { c.Spread = row.spread })()
			time.Sleep(time.Minute)
			w.mu.Lock()
			p := w.ps["p1"]
			w.down["p1"] = true
			w.mu.Unlock()
			p.mu.Lock()
			s := slices.Collect(maps.Values(p.sess))[0]
			p.mu.Unlock()
			slow, cancel := context.WithCancel(w.t.Context())
			defer cancel()
			// Ends with the answer, the session, or cancel.
			go s.get(slow, "/slow")
			s.again(slow, nil)
			time.Sleep(50 * time.Millisecond)
			row.goes(w)
			time.Sleep(time.Second)
			w.want(row.how, row.spread, 1)
			time.Sleep(time.Minute)
			w.want(row.how+", a minute later", row.spread, 1)
		})
	}
}

// One that is told to go dials another P first, and finishes what it serves.
func TestSpreadGoAway(t *testing.T) {
	inSeveral(t, five, func(w *several) {
		defer w.c(nil)()
		time.Sleep(time.Minute)
		w.mu.Lock()
		p := w.ps["p1"]
		w.mu.Unlock()
		p.mu.Lock()
		s := slices.Collect(maps.Values(p.sess))[0]
		p.mu.Unlock()
		slow := make(chan error, 1)
		// Ends with the answer.
		go func() {
			got, err := s.get(context.Background(), "/slow")
			if err == nil && got != "hello /slow" {
				err = errors.New(got)
			}
			slow <- err
		}()
		time.Sleep(time.Second)
		w.drain("p1")
		time.Sleep(50 * time.Millisecond)
		if got := w.sessions(); strings.Contains(got, "p1") || len(strings.Fields(got)) != 2 {
			t.Errorf("after the goodbye: %s", got)
		}
		if err := <-slow; err != nil {
			t.Errorf("what was open: %v", err)
		}
		time.Sleep(time.Minute)
		w.want("later", 2, 1)
	})
}

// All are restarted in turn: C always has a session.
func TestSpreadRolling(t *testing.T) {
	inSeveral(t, five, func(w *several) {
		defer w.c(nil)()
		time.Sleep(time.Minute)
		for _, id := range five {
			w.drain(id)
			if n := len(strings.Fields(w.sessions())); n == 0 {
				t.Errorf("while %s stops there is none", id)
			}
			time.Sleep(time.Second) // another may lead where there is one, and be let go
			if n := len(strings.Fields(w.sessions())); n != 2 {
				t.Errorf("a second after %s stopped there are %d", id, n)
			}
			w.kill(id)
			time.Sleep(time.Second)
			w.start(id)
			time.Sleep(5 * time.Second)
			w.want("after "+id, 2, 1)
		}
	})
}

// A P of its own site is preferred.
func TestSpreadSite(t *testing.T) {
	inSeveral(t, five, func(w *several) {
		w.site = func(id string) string {
			if id == "p1" || id == "p4" {
				return "eu"
			}
			return "us"
		}
		for range 5 {
			stop := w.c(nil)
			time.Sleep(time.Second)
			if got := w.sessions(); got != "p1:1 p4:1" {
				t.Errorf("sessions at %s, want those of eu", got)
			}
			stop()
		}
		defer w.c(nil)()
		time.Sleep(time.Minute)
		w.kill("p4")
		time.Sleep(time.Second)
		w.want("after the site's other one", 2, 1)
	})
}

// Many Cs take all of the Ps, not the same ones.
func TestSpreadBalance(t *testing.T) {
	inSeveral(t, five, func(w *several) {
		const many = 100
		for range many {
			defer w.c(nil)()
		}
		time.Sleep(time.Second)
		if got := strings.Fields(w.sessions()); len(got) != 5 || got[0] != "p1:100" {
			t.Errorf("sessions at %v", got)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, id := range five[1:] {
			w.ps[id].mu.Lock()
			if n := len(w.ps[id].sess); n < many/8 {
				t.Errorf("%s has %d of %d", id, n, many)
			}
			w.ps[id].mu.Unlock()
		}
	})
}

// A load balancer leads to any P, two addresses to the same one.
func TestSpreadLoadBalancer(t *testing.T) {
	inSeveral(t, five[:3], func(w *several) {
		w.lead = func(addr string) string {
			if id, _, _ := strings.Cut(addr, "."); strings.HasPrefix(id, "p") {
				return id
			}
			return "p2"
		}
		defer w.c(func(c *Config) { c.Proxies = []string{"lb.example:1444", "lb2.example:1444"} })()
		time.Sleep(2 * time.Second)
		w.want("two addresses of one P", 2, 1)
		if n := w.log.Count("looking for another"); n != 1 {
			t.Errorf("it is said %d times:\n%s", n, w.log.String())
		}
	})
}

// Ps that are told and cannot be reached do no harm, and the load balancer is asked
// now and then, not often.
func TestSpreadPrivate(t *testing.T) {
	inSeveral(t, five[:3], func(w *several) {
		w.private = true
		dials := 0
		w.lead = func(addr string) string {
			if strings.HasPrefix(addr, "lb") {
				dials++
				return fmt.Sprint("p", 1+dials%3)
			}
			id, _, _ := strings.Cut(addr, ".")
			return id
		}
		defer w.c(func(c *Config) { c.Proxies = []string{"lb.example:1444"} })()
		time.Sleep(time.Minute)
		w.want("by the load balancer alone", 2, 1)
		w.mu.Lock()
		before := dials
		w.lead = func(string) string { dials++; return "p1" }
		w.mu.Unlock()
		time.Sleep(time.Hour)
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := dials - before; n > 300 {
			t.Errorf("%d dials in an hour", n)
		}
	})
}

// A P that tells of others, and not of itself, is one of them all the same.
func TestSpreadSilent(t *testing.T) {
	inSeveral(t, five[:2], func(w *several) {
		w.silent = true
		defer w.c(nil)()
		time.Sleep(time.Second)
		w.want("two", 2, 1)
		time.Sleep(time.Hour)
		w.want("an hour later", 2, 1)
	})
}

// A P that comes later is told of on the session that there is.
func TestSpreadTold(t *testing.T) {
	inSeveral(t, five[:1], func(w *several) {
		defer w.c(nil)()
		time.Sleep(time.Minute)
		w.want("alone", 1, 1)
		p := w.ps["p1"]
		w.start("p2")
		p.mu.Lock()
		s := slices.Collect(maps.Values(p.sess))[0]
		p.mu.Unlock()
		resp, err := s.RoundTrip(control.TellPeers(context.Background(), w.peers("p1")))
		if err != nil || resp.StatusCode != http.StatusNoContent {
			t.Fatalf("C answered %v, %v", resp, err)
		}
		resp.Body.Close()
		time.Sleep(time.Second)
		w.want("told", 2, 1)
	})
}

// What a P tells is not believed beyond its certificate: the token goes to no other.
func TestSpreadVerifies(t *testing.T) {
	inSeveral(t, five[:2], func(w *several) {
		other := controltest.NewCA(t)
		w.mu.Lock()
		p2 := w.ps["p2"]
		w.mu.Unlock()
		wrong := &tls.Config{Certificates: []tls.Certificate{other.Issue(t, "p.example")}}
		p2.server.TLS = func() *tls.Config { return wrong }
		defer w.c(nil)()
		time.Sleep(time.Minute)
		if got := w.sessions(); got != "p1:1" {
			t.Errorf("sessions at %s", got)
		}
		if n := w.log.Count("looking for another"); n != 1 {
			t.Errorf("it is said %d times\n%s", n, w.log.String())
		}
	})
}
