package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/amahi/spdy"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/certs"
	"github.com/amahi/spdy-proxy/internal/cluster/registry/registrytest"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/proxy"
	"github.com/amahi/spdy-proxy/internal/serve"
)

// nodes are Ps that are one, by their ids, on one bus in memory; the rest is real.
type nodes struct {
	*testing.T
	files *files
	hub   *registrytest.Hub
	byID  map[string]*p
	peers map[string]string // their peer ports
	ca    *controltest.CA   // of their certificates
}

func startNodes(t *testing.T, ids string, edit func(*proxy.Config)) *nodes {
	t.Helper()
	return startNodesOf(t, newFiles(t), ids, edit)
}

// startNodesOf is startNodes with files that are there.
func startNodesOf(t *testing.T, f *files, ids string, edit func(*proxy.Config)) *nodes {
	t.Helper()
	n := &nodes{T: t, files: f, hub: registrytest.NewHub(1), byID: make(map[string]*p), peers: make(map[string]string)}
	n.ca = n.files.authority("cluster-ca.pem")
	for id := range strings.FieldsSeq(ids) {
		n.files.leaf(id, n.ca, id)
	}
	for id := range strings.FieldsSeq(ids) {
		n.start(id, edit)
	}
	n.linked(len(n.byID) - 1)
	return n
}

// start runs a node, whose certificate is there.
func (n *nodes) start(id string, edit func(*proxy.Config)) *p {
	n.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.Fatal(err)
	}
	addr := ln.Addr().String()
	bus := n.hub.Bus(id)
	n.Cleanup(bus.Close) // after the node's own
	x := startP(n.T, n.files, func(c *proxy.Config) {
		c.Cluster = &proxy.ClusterConfig{
			ID: id, Bus: bus, Peer: addr, PeerAdvertise: addr, Site: "here",
			CAFile: n.files.path("cluster-ca.pem"), CertFile: n.files.path(id + ".pem"), KeyFile: n.files.path(id + ".key"),
		}
		c.Inherited = func(name string) (net.Listener, error) {
			if name == "peer" {
				return ln, nil
			}
			return nil, nil
		}
		if edit != nil {
			edit(c)
		}
	})
	n.byID[id], n.peers[id] = x, addr
	return x
}

// linked waits until each node has links to so many others.
func (n *nodes) linked(others int) {
	n.Helper()
	for id, x := range n.byID {
		waitFor(n.T, fmt.Sprintf("%d links of %s", others, id), func() bool { return x.Linked() == others })
	}
}

// startC runs a C that is connected to a node, and returns when the others know.
func (n *nodes) startC(id string, h http.Handler, edit func(*agent.Config)) *c {
	n.Helper()
	y := startC(n.T, n.byID[id], h, edit)
	for other, x := range n.byID {
		waitFor(n.T, other+" knows of C", func() bool { return x.Connected("@") })
	}
	return y
}

// Any visitor at any node reaches any origin.
func TestClusterReachesAll(t *testing.T) {
	n := startNodes(t, "p1 p2 p3", nil)
	var got http.Header
	y := n.startC("p2", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		hello("c").ServeHTTP(w, r)
	}), nil)
	for id, x := range n.byID {
		want(t, id, x.get("/a?b=%zz"), 200, "c GET /a?b=%zz 0")
	}
	if a, b, c := n.byID["p1"].HandedOn(), n.byID["p2"].HandedOn(), n.byID["p3"].HandedOn(); a != 1 || b != 0 || c != 1 {
		t.Errorf("handed on: got %d, %d, %d, want 1, 0, 1", a, b, c)
	}

	body := pattern(3 << 20)
	a := fetch(deadline(t), n.byID["p1"].transport(nil, false), "POST", n.byID["p1"].url("/up"), struct{ io.Reader }{bytes.NewReader(body)}, func(r *http.Request) {
		r.Header.Set("Spdy-Proxy-Origin", "other")
		r.Header.Set("Spdy-Proxy-Session", "99")
		r.Header.Set("Spdy-Proxy-Dial", "again")
		r.Header.Set("X-Forwarded-For", "198.51.100.1")
		r.Header.Set("Expect", "100-continue")
	})
	want(t, "a POST with headers that are the link's", a, 200, fmt.Sprint("c POST /up ", len(body)))
	for name := range got {
		if strings.HasPrefix(name, "Spdy-Proxy") {
			t.Errorf("C got %s: %v", name, got[name])
		}
	}
	if got["X-Forwarded-For"][0] != "127.0.0.1" || len(got["X-Forwarded-For"]) != 1 || len(got["Via"]) != 1 || len(got["X-Request-Id"]) != 1 {
		t.Errorf("C got X-Forwarded-For %v, Via %v, X-Request-Id %v, want those of one node", got["X-Forwarded-For"], got["Via"], got["X-Request-Id"])
	}

	y.stop()
	for id, x := range n.byID {
		waitFor(t, id+" knows that it is gone", func() bool { return !x.Connected("@") })
	}
}

// Trailers pass both ways, and a request that is given up is given up at C.
func TestClusterTrailersAndCancel(t *testing.T) {
	t.Parallel()
	n := startNodes(t, "p1 p2", nil)
	ended := make(chan error, 1)
	n.startC("p2", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			io.WriteString(w, "begin")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			ended <- r.Context().Err()
			return
		}
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "ok")
		w.Header().Set("X-Sum", "got "+r.Trailer.Get("X-End"))
	}), nil)
	x := n.byID["p1"]
	req, _ := http.NewRequestWithContext(deadline(t), "POST", x.url("/"), struct{ io.Reader }{strings.NewReader("body")})
	req.Trailer = http.Header{"X-End": {"of A"}}
	res, err := x.transport(nil, false).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); string(b) != "ok" || err != nil || res.Trailer.Get("X-Sum") != "got of A" {
		t.Errorf("got %q, %v, trailers %v, want ok and X-Sum", b, err, res.Trailer)
	}
	res.Body.Close()
	ctx, cancel := context.WithCancel(deadline(t))
	req, _ = http.NewRequestWithContext(ctx, "GET", x.url("/wait"), nil)
	if res, err = x.transport(nil, false).RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(res.Body, make([]byte, 5))
	cancel()
	res.Body.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("C was not told that A has left")
	}
	waitFor(t, "no stream at the other node", func() bool { return n.byID["p2"].OpenHere() == 0 })
}

// A request that C has refused goes to the next one, wherever that is, with the body
// that nobody has touched. None is sent twice.
func TestClusterReplays(t *testing.T) {
	n := startNodes(t, "p1 p2 p3", nil)
	var refused, served atomic.Int32
	n.startC("p2", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refused.Add(1)
		spdy.ResetStream(r.Context(), spdy.RefusedStream)
	}), func(c *agent.Config) { c.Session.WindowOnRead = true }) // or the body would be under way
	startC(t, n.byID["p3"], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		hello("c3").ServeHTTP(w, r)
	}), nil)
	x := n.byID["p1"]
	waitFor(t, "p1 knows of both", func() bool { return x.Sessions("") == 2 })
	body := pattern(1 << 20)
	for i := range 6 {
		a := fetch(deadline(t), x.transport(nil, false), "POST", x.url("/"), struct{ io.Reader }{bytes.NewReader(body)}, nil)
		want(t, fmt.Sprint("POST ", i), a, 200, fmt.Sprint("c3 POST / ", len(body)))
	}
	if refused.Load() == 0 || served.Load() != 6 {
		t.Errorf("got %d refused, %d served, want some and 6", refused.Load(), served.Load())
	}
}

// What C began and did not end: a GET is repeated at another node's, a POST is not,
// and a download goes on.
func TestClusterLosesC(t *testing.T) {
	content := pattern(24 << 20)
	film, _ := atRest(t, content, 1)
	n := startNodes(t, "p1 p2 p3", nil)
	x := n.byID["p1"]
	var lost atomic.Int32
	var cs [2]*c
	for i, id := range []string{"p2", "p3"} {
		cs[i] = startC(t, n.byID[id], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/film0.mp4" {
				film.ServeHTTP(w, r)
				return
			}
			if lost.Add(1) == 1 {
				cs[i].wire.cut()
				<-r.Context().Done()
				return
			}
			hello("again").ServeHTTP(w, r)
		}), nil)
	}
	both := func() {
		t.Helper()
		waitFor(t, "p1 knows of both", func() bool { return x.Sessions("") == 2 })
	}
	both()
	want(t, "a GET whose C is lost", x.get("/"), 200, "again GET / 0")
	both()
	lost.Store(0)
	a := fetch(deadline(t), x.transport(nil, false), "POST", x.url("/"), strings.NewReader("x"), nil)
	want(t, "a POST whose C is lost", a, 502, "the connection to the origin ended")
	if got := lost.Load(); got != 1 {
		t.Errorf("the POST was at C %d times, want once", got)
	}
	both()
	res, head := begin(t, x.transport(nil, false), x.url("/film0.mp4"), "", 100_000)
	for _, y := range cs {
		if y.wire.dials() > 0 && len(head) > 0 {
			y.wire.cut() // whichever of the two it is
		}
	}
	tail, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(head)+len(tail), err)
	}
	same(t, "a download over the loss of C", append(head, tail...), content)
}

// A name whose origin another node has gets its certificate here as well, if a token
// could be of it: its visitors come to all nodes. Of one that is here, too, it is the token
// that it came by.
func TestClusterCertificates(t *testing.T) {
	n := startNodes(t, "p1 p2", func(c *proxy.Config) {
		c.Domains = []string{"example.test"}
		c.NoAuth, c.Tokens.File = false, c.Cluster.CertFile+".token"
		tokens := "good-token *\n"
		if c.Cluster.ID == "p1" {
			tokens = "other-token film\nthird-token *.example.org\nfourth-token *\ngood-token music *\n"
		}
		if err := os.WriteFile(c.Tokens.File, []byte(tokens), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	x := n.byID["p1"]
	startC(t, n.byID["p2"], hello("c"), func(c *agent.Config) { c.Name = "photos" })
	waitFor(t, "p1 knows of photos", func() bool { return x.Connected("photos") })
	hosts := slices.Sorted(maps.Keys(x.CertNames()))
	if want := []string{"film.example.test", "music.example.test", "photos.example.test"}; !slices.Equal(hosts, want) {
		t.Errorf("got %q, want %q", hosts, want)
	}
	startC(t, x, hello("c"), func(c *agent.Config) { c.Name = "photos" })
	waitFor(t, "p1 has one, too", func() bool { return x.Sessions("photos") == 2 })
	if names := x.CertNames(); names["photos.example.test"] != names["music.example.test"] {
		t.Error("it counts for another token than the one that it is here by")
	}
}

// A WebSocket goes through two nodes.
func TestClusterWebSocket(t *testing.T) {
	n := startNodes(t, "p1 p2", nil)
	s := newSocketService(t)
	h, err := serve.New(serve.Config{To: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	n.startC("p2", h, nil)
	x := n.byID["p1"]
	dial := func() *websocket.Conn {
		ws, _, err := websocket.Dial(deadline(t), x.url("/socket"), &websocket.DialOptions{HTTPClient: &http.Client{Transport: x.transport(nil, false)}})
		if err != nil {
			t.Fatal(err)
		}
		ws.SetReadLimit(16 << 20)
		t.Cleanup(func() { ws.CloseNow() })
		return ws
	}
	ws := dial()
	for i := range 20 {
		if err := say(deadline(t), ws, websocket.MessageBinary, pattern(1<<i)); err != nil {
			t.Fatal(err)
		}
	}
	ws.Close(websocket.StatusNormalClosure, "bye")
	if err := s.end(t); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the service's end: got %v, want the visitor's close", err)
	}
	ws = dial()
	if err := ws.Write(deadline(t), websocket.MessageText, []byte("close")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(deadline(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the visitor's end: got %v, want the service's close", err)
	}
	waitFor(t, "no stream at the other node", func() bool { return n.byID["p2"].OpenHere() == 0 })
}

// Somebody who reads slowly at one node holds up nobody, there or elsewhere.
func TestClusterSlowReader(t *testing.T) {
	n := startNodes(t, "p1 p2", nil)
	content := pattern(16 << 20)
	var sent atomic.Int64
	n.startC("p2", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for b := content; len(b) > 0; b = b[64<<10:] {
			if _, err := w.Write(b[:64<<10]); err != nil {
				return
			}
			if r.URL.Path == "/slow" {
				sent.Add(64 << 10)
			}
		}
	}), nil)
	x := n.byID["p1"]
	const slow = 8
	for range slow {
		begin(t, x.transport(nil, false), x.url("/slow"), "", 1000)
	}
	for id, x := range n.byID {
		a := x.get("/")
		same(t, id, a.body, content)
	}
	if got := sent.Load(); got > slow*8<<20 {
		t.Errorf("C has sent %d bytes to %d that do not read", got, slow)
	}
}

// A node that stops has its Cs and visitors at the others before, and ends what has
// begun: with a C that is connected to two, no request fails, of any method, and each
// answer is whole.
func TestClusterRollingRestart(t *testing.T) {
	n := startNodes(t, "p1 p2 p3", func(c *proxy.Config) { c.Drain = patience })
	var posts atomic.Int32
	arrived := make(chan struct{}, 4)
	release := map[string]chan struct{}{"/p2": make(chan struct{}), "/p3": make(chan struct{})}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			posts.Add(1)
		}
		if released := release[r.URL.Path]; released != nil {
			io.WriteString(w, "first ")
			http.NewResponseController(w).Flush()
			arrived <- struct{}{}
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		hello("c").ServeHTTP(w, r)
	})
	n.startC("p2", h, func(c *agent.Config) {
		c.Proxies = []string{n.byID["p2"].ControlAddr().String(), n.byID["p3"].ControlAddr().String()}
	})
	x := n.byID["p1"]
	waitFor(t, "p1 knows of both", func() bool { return x.Sessions("") == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	var asked, made atomic.Int32
	ask := func(rt http.RoundTripper, method, path, begin string) bool {
		body := ""
		if method == "POST" {
			body = "body"
			made.Add(1)
		}
		a := fetch(deadline(t), rt, method, x.url(path), strings.NewReader(body), nil)
		text := fmt.Sprintf("%sc %s %s %d", begin, method, path, len(body))
		right := a.err == nil && a.status == 200 && string(a.body) == text
		if !right {
			t.Errorf("%s %s: got %v, want 200 with %q", method, path, a, text)
		}
		return right
	}
	for i := range 4 {
		asking.Go(func() {
			rt := x.transport(nil, false)
			for ctx.Err() == nil && ask(rt, []string{"GET", "POST"}[i%2], "/", "") {
				asked.Add(1)
			}
		})
	}
	for _, id := range []string{"p2", "p3"} {
		y := n.byID[id]
		// Of these, too, some are handed on to y. It stops with nothing else to end.
		var begun sync.WaitGroup
		for i := range 4 {
			begun.Go(func() { ask(x.transport(nil, false), []string{"GET", "POST"}[i%2], "/"+id, "first ") })
			<-arrived
		}
		y.cancel()
		y.log.wait("p is stopping", 1)
		before := asked.Load()
		waitFor(t, "requests while "+id+" stops", func() bool { return asked.Load() >= before+50 })
		close(release["/"+id])
		begun.Wait()
		y.wait()
		if y.err != nil {
			t.Errorf("%s: Run: got %v", id, y.err)
		}
		before = asked.Load()
		waitFor(t, "requests without "+id, func() bool { return asked.Load() >= before+20 })
		if id == "p2" {
			// The same id again, another run.
			addr := y.ControlAddr().String()
			delete(n.byID, id)
			n.start(id, func(c *proxy.Config) { c.Control = addr })
			n.linked(2)
			waitFor(t, "C is back at p2", func() bool { return x.Sessions("") == 2 })
		}
	}
	cancel()
	asking.Wait()
	if posts.Load() != made.Load() {
		t.Errorf("got %d POSTs at C, want %d", posts.Load(), made.Load())
	}
}

// A node that is gone without a word is missed by nobody whose C is at another, too.
func TestClusterNodeIsLost(t *testing.T) {
	n := startNodes(t, "p1 p2 p3", nil)
	n.startC("p2", hello("c"), func(c *agent.Config) {
		c.Proxies = []string{n.byID["p2"].ControlAddr().String(), n.byID["p3"].ControlAddr().String()}
	})
	x := n.byID["p1"]
	waitFor(t, "p1 knows of both", func() bool { return x.Sessions("") == 2 })
	n.hub.Cut(func(from, to string) bool { return from == "p2" || to == "p2" })
	n.byID["p2"].cancel()
	n.byID["p2"].cancelNow()
	for i := range 50 {
		want(t, fmt.Sprint("request ", i), x.get("/"), 200, "c GET / 0")
	}
}

// A C that was lost without a word and is back at another node leaves nothing behind at
// the first one, whose visitors would be sent there.
func TestClusterDropsSilent(t *testing.T) {
	n := startNodes(t, "p1 p2", func(c *proxy.Config) { c.KeepAlive = time.Minute })
	register(t, n.byID["p1"], "", "lost.0") // and says nothing
	waitFor(t, "p2 knows of it", func() bool { return n.byID["p2"].Connected("@") })
	startC(t, n.byID["p2"], hello("c"), nil)
	n.byID["p1"].log.wait("origin dropped, it does not answer", 1)
	want(t, "a visitor of the first node's", n.byID["p1"].get("/"), 200, "c GET / 0")
}

// Visitors of a node that stops at once, and those of another whose C is there, are told.
func TestClusterNodeStopsAtOnce(t *testing.T) {
	n := startNodes(t, "p1 p2", nil)
	h, arrived, release := blocking()
	defer close(release)
	n.startC("p2", h, nil)
	var posts []<-chan answer
	for _, id := range []string{"p1", "p2"} {
		x := n.byID[id]
		posts = append(posts, async(deadline(t), x.transport(nil, false), "POST", x.url("/open"), strings.NewReader("body")))
		<-arrived
	}
	n.byID["p2"].cancel()
	n.byID["p2"].cancelNow()
	want(t, "a visitor of another node's", <-posts[0], 502, "")
	want(t, "a visitor of its own", <-posts[1], 503, "the proxy is stopping")
}

// The peer port takes the cluster's nodes, and nobody else.
func TestClusterPeerPort(t *testing.T) {
	n := startNodes(t, "p1 p2", func(c *proxy.Config) {
		c.ClientCAFile = c.CertFiles[0][:strings.LastIndex(c.CertFiles[0], "/")] + "/ca.pem"
	})
	n.files.leaf("client", n.files.ca, "p3") // as of --client-ca
	other := n.files.authority("other-ca.pem")
	n.files.leaf("p9", other, "p9")
	for _, name := range []string{"client", "p9", "p1", ""} {
		conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"spdy-proxy-peer/1"}}
		if name != "" {
			cert, err := tls.LoadX509KeyPair(n.files.path(name+".pem"), n.files.path(name+".key"))
			if err != nil {
				t.Fatal(err)
			}
			conf.Certificates = []tls.Certificate{cert}
		}
		conn, err := tls.Dial("tcp", n.peers["p1"], conf)
		if err == nil {
			conn.SetReadDeadline(time.Now().Add(patience))
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the certificate %q: got %v, want it refused", name, err)
		}
	}
}

// What cannot be a node says why.
func TestClusterConfig(t *testing.T) {
	f := newFiles(t)
	ca := f.authority("cluster-ca.pem")
	f.leaf("p1", ca, "p1")
	bus := registrytest.NewHub(1).Bus("p1")
	t.Cleanup(bus.Close)
	for what, edit := range map[string]func(*proxy.ClusterConfig){
		"another id":          func(c *proxy.ClusterConfig) { c.ID = "p2" },
		"no files":            func(c *proxy.ClusterConfig) { c.CertFile = "" },
		"no port":             func(c *proxy.ClusterConfig) { c.Peer = "127.0.0.1" },
		"nothing to tell":     func(c *proxy.ClusterConfig) { c.PeerAdvertise = "" },
		"a site that is none": func(c *proxy.ClusterConfig) { c.Site = "a\nb" },
		"nobody's address":    func(c *proxy.ClusterConfig) { c.PeerAdvertise = ":1447" },
		"everybody's address": func(c *proxy.ClusterConfig) { c.PeerAdvertise = "[::]:1447" },
		"any port":            func(c *proxy.ClusterConfig) { c.PeerAdvertise = "p1.example:0" },
		"no port for Cs":      func(c *proxy.ClusterConfig) { c.PublicControl = "p1.example" },
		"a URL for Cs":        func(c *proxy.ClusterConfig) { c.PublicControl = "https://p1.example:1444" },
		"no host for Cs":      func(c *proxy.ClusterConfig) { c.PublicControl = "0.0.0.0:1444" },
		"no such port for Cs": func(c *proxy.ClusterConfig) { c.PublicControl = "p1.example:99999" },
	} {
		cfg := proxy.Config{
			Front: "127.0.0.1:0", Control: "127.0.0.1:0", CertFiles: []string{f.path("p.pem")}, KeyFiles: []string{f.path("p.key")}, NoAuth: true,
			Cluster: &proxy.ClusterConfig{
				ID: "p1", Bus: bus, Peer: "127.0.0.1:0", PeerAdvertise: "127.0.0.1:1", CAFile: f.path("cluster-ca.pem"), CertFile: f.path("p1.pem"), KeyFile: f.path("p1.key"),
			},
		}
		edit(cfg.Cluster)
		_, err := proxy.New(cfg)
		if _, ok := errors.AsType[*proxy.ConfigError](err); !ok || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want a ConfigError of one line", what, err)
		}
	}
	n := startNodes(t, "p1", nil)
	if err := n.byID["p1"].HandOver(t.Context(), nil); err == nil {
		t.Error("HandOver of a node: got no error")
	}
}

// The nodes' own certificates end, too: that is said before. A node whose own is over
// goes on with what it has itself.
func TestClusterCertificateEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		ca := f.authority("cluster-ca.pem")
		f.leaf("p1", ca, "p1")
		time.Sleep(time.Until(ca.Cert.NotAfter) - time.Hour)
		bus := registrytest.NewHub(1).Bus("p1")
		defer bus.Close()
		start := func() *p {
			return startP(t, f, func(c *proxy.Config) {
				c.Cluster = &proxy.ClusterConfig{
					ID: "p1", Bus: bus, Peer: "127.0.0.1:1", PeerAdvertise: "127.0.0.1:1",
					CAFile: f.path("cluster-ca.pem"), CertFile: f.path("p1.pem"), KeyFile: f.path("p1.key"),
				}
			})
		}
		stop := func(x *p) {
			x.cancel()
			x.cancelNow()
			x.wait()
		}
		own := []string{f.path("p1.pem"), f.path("cluster-ca.pem")}
		x := start()
		synctest.Wait()
		found, faults := proxy.Check(x.cfg)
		for _, file := range own {
			if n := strings.Count(x.log.String(), "put a new one in its place and send SIGHUP\" file="+file); n != 1 {
				t.Errorf("the end of %s is said %d times, want once", file, n)
			}
			if !slices.ContainsFunc(x.Certificates(), func(c certs.Certificate) bool { return c.File == file && c.NotAfter.Equal(ca.Cert.NotAfter) }) {
				t.Errorf("%s is not among the certificates: %v", file, x.Certificates())
			}
			if !strings.Contains(fmt.Sprint(found), file+": for ") || len(faults) > 0 {
				t.Errorf("%s is not among what was looked at: %v, %v", file, found, faults)
			}
		}
		stop(x)

		time.Sleep(2 * time.Hour)
		y := start()
		synctest.Wait()
		_, faults = proxy.Check(y.cfg)
		for _, file := range own {
			if strings.Count(y.log.String(), "has ended: put a new one in its place and send SIGHUP\" file="+file) != 1 {
				t.Errorf("it is not said that %s has ended", file)
			}
			if !strings.Contains(fmt.Sprint(faults), file+": for ") {
				t.Errorf("%s is over: it is not among the faults %v", file, faults)
			}
		}
		stop(y)
	})
}

// The bus and the links have one identity: the bus reads the files again when they are
// right, and not before.
func TestClusterReload(t *testing.T) {
	f := newFiles(t)
	read := 0
	var wrong error
	n := startNodesOf(t, f, "p1", func(c *proxy.Config) {
		c.Cluster.ReloadBus = func() error { read++; return wrong }
	})
	shown := func() (serial string) {
		conf := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
			serial = s.PeerCertificates[0].SerialNumber.String()
			return nil
		}}
		if conn, err := tls.Dial("tcp", n.peers["p1"], conf); err == nil {
			conn.Close()
		}
		return serial
	}
	x, was := n.byID["p1"], read
	x.Reload()
	if read != was+1 {
		t.Errorf("the bus has read its files %d times, want once", read-was)
	}
	old := shown()
	f.leaf("p1", n.ca, "p1")
	wrong = errors.New("replaced meanwhile")
	x.Reload()
	if got := shown(); got != old || old == "" {
		t.Errorf("the bus could not read them, and the links show the certificate %s, want %s", got, old)
	}
	wrong = nil
	x.Reload()
	if got := shown(); got == old {
		t.Error("the links show the old certificate")
	}
	was = read - 1
	f.leaf("p1", n.ca, "p9")
	x.Reload()
	if x.log.wait(`is of the node \"p9\"`, 1); read != was+1 {
		t.Error("the bus has read another node's certificate")
	}
}

// What a node keeps of ten thousand origins of another is little, and is gone when they
// are; and none of it is a goroutine.
func TestClusterMemory(t *testing.T) {
	n := startNodes(t, "p1 p2", nil)
	x := n.byID["p1"]
	const many = 10_000
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	x.Learn("p2", many)
	// The name and the instance, 30 bytes, are the registry's in truth. A third is what
	// the status page remembers. Ten thousand are to cost 10 MiB.
	if each := (heap() - before) / many; each > 1048 {
		t.Errorf("got %d bytes for each, want 1048 at most", each)
	} else {
		t.Logf("%d bytes for each", each)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 20 {
		t.Errorf("got %d goroutines more, want none", more)
	}
	if !x.Connected("origin-9999") {
		t.Error("the last one is not there")
	}
	x.Unlearn("p2", many)
	if x.Connected("origin-9999") {
		t.Error("the last one is still there")
	}
}

// The other node of two with one id has started later, and this one ends.
func TestClusterSameID(t *testing.T) {
	n := startNodes(t, "p1 p2", nil)
	first := n.byID["p1"]
	delete(n.byID, "p1")
	second := n.start("p1", nil)
	first.wait()
	if first.err == nil || !strings.Contains(first.err.Error(), `"p1"`) {
		t.Errorf("Run: got %v, want an error that names p1", first.err)
	}
	n.linked(1)
	n.startC("p2", hello("c"), nil)
	want(t, "the second one", second.get("/"), 200, "c GET / 0")
}

func TestToShed(t *testing.T) {
	for _, test := range []struct {
		own    int
		others []int
		want   int
	}{
		{1000, nil, 0},                  // alone
		{1000, []int{1000, 1000}, 0},    // equal
		{1000, []int{700}, 0},           // 1.18 of the mean
		{1000, []int{600}, 0},           // 1.25
		{1000, []int{590}, 5},           // more
		{1000, []int{1000, 0}, 5},       // one has just started
		{99, []int{0, 0}, 0},            // too few to matter
		{100, []int{0}, 1},              // one at least
		{199, []int{199, 0}, 1},         // the same
		{10_000, []int{0, 0, 0, 0}, 50}, // 0.5 %
	} {
		if got := proxy.ToShed(test.own, test.others...); got != test.want {
			t.Errorf("%d beside %v: got %d, want %d", test.own, test.others, got, test.want)
		}
	}
}

// still is a session with a C on which nothing happens.
type still struct {
	origin.Session
	end chan struct{}
	one sync.Once
}

func (s *still) GoingAway() <-chan struct{}     { return s.end }
func (s *still) AfterGoingAway(f func())        { go func() { <-s.end; f() }() } // ends with the session
func (s *still) Done() <-chan struct{}          { return s.end }
func (s *still) Close()                         { s.one.Do(func() { close(s.end) }) }
func (s *still) Shutdown(context.Context) error { s.Close(); return nil }
func (s *still) Err() error                     { return nil }
func (s *still) Available() int                 { return 100 }
func (s *still) MaxStreams() int                { return 100 }
func (s *still) InFlight() int                  { return 0 }
func (s *still) Stats() spdy.Stats              { return spdy.Stats{} }

func (s *still) PingContext(context.Context) (time.Duration, error) { return time.Millisecond, nil }

// A node with too many Cs sends some away, and those that are back at once stay.
func TestClusterSheds(t *testing.T) {
	inBubble(t, func(t *testing.T, f *files) {
		f.leaf("p1", f.authority("cluster-ca.pem"), "p1")
		bus := registrytest.NewHub(1).Bus("p1")
		defer bus.Close()
		x := startP(t, f, func(c *proxy.Config) {
			c.Cluster = &proxy.ClusterConfig{
				ID: "p1", Bus: bus, Peer: "127.0.0.1:1", PeerAdvertise: "127.0.0.1:1",
				CAFile: f.path("cluster-ca.pem"), CertFile: f.path("p1.pem"), KeyFile: f.path("p1.key"),
			}
		})
		const many = 1000
		register := func(i int) {
			if err := x.Register(fmt.Sprint("o", i), fmt.Sprint("x.", i), &still{end: make(chan struct{})}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range many {
			register(i)
		}
		if n := x.Shed(0); n != 0 {
			t.Errorf("those that have just come: got %d sent away, want none", n)
		}
		time.Sleep(2 * time.Minute)
		gone := func() (list []int) {
			synctest.Wait()
			for i := range many {
				if !x.Connected(fmt.Sprint("o", i)) {
					list = append(list, i)
				}
			}
			return list
		}
		if n := x.Shed(1000); n != 0 || len(gone()) != 0 {
			t.Errorf("equal nodes: got %d sent away, want none", n)
		}
		if n, list := x.Shed(0), gone(); n != 5 || len(list) != 5 {
			t.Errorf("got %d sent away, %v, want 5", n, list)
		}
		for _, i := range gone() {
			register(i) // they are back
		}
		time.Sleep(2 * time.Minute)
		sent := 0
		for n := 1; n > 0; {
			n = x.Shed(0)
			sent += n
		}
		if left := many - len(gone()); sent != many-left || left < 99 {
			t.Errorf("again and again: got %d sent away and %d left", sent, left)
		}
		x.cancel()
		x.cancelNow()
		x.wait()
	})
}

// An answer over a hop is what it would be without.
func TestClusterAnswersAlike(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"film.mp4": 300_000, "empty.txt": 0, "index.txt": 20} {
		if err := os.WriteFile(filepath.Join(dir, name), pattern(size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := serveFolder(t, dir)
	n := startNodes(t, "p1 p2", nil)
	n.startC("p2", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bare":
			w.Header()["Content-Type"], w.Header()["Date"] = nil, nil
			w.WriteHeader(299)
			io.WriteString(w, "<html>")
		case "/nothing":
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "b=2")
			w.WriteHeader(http.StatusNoContent)
		case "/upgrade":
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusUpgradeRequired)
		case "/large":
			w.Header().Set("X-Large", strings.Repeat("x", 200<<10))
		case "/many":
			for i := range 3000 {
				w.Header().Add("X-Many", fmt.Sprint(i))
			}
		case "/panic":
			panic(http.ErrAbortHandler)
		case "/short":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "not so many")
		default:
			files.ServeHTTP(w, r)
		}
	}), nil)
	etag := n.byID["p2"].get("/film.mp4").header.Get("Etag")
	ask := func(x *p, method, path string, header http.Header) string {
		a := fetch(deadline(t), x.transport(nil, false), method, x.url(path), nil, func(r *http.Request) {
			if header != nil {
				r.Header = header.Clone()
			}
		})
		if strings.HasPrefix(a.header.Get("Content-Type"), "multipart/byteranges") {
			a.header.Set("Content-Type", "multipart/byteranges") // the boundary is drawn each time
		}
		for _, name := range []string{"Date", "X-Request-Id"} {
			a.header.Del(name)
		}
		return fmt.Sprintf("%d %v, %d bytes, failed: %v", a.status, a.header, len(a.body), a.err != nil)
	}
	for _, c := range []struct {
		method, path string
		header       http.Header
	}{
		{"GET", "/film.mp4", nil}, {"HEAD", "/film.mp4", nil}, {"POST", "/film.mp4", nil}, {"PUT", "/film.mp4", nil}, {"OPTIONS", "/film.mp4", nil},
		{"GET", "/film.mp4", http.Header{"Range": {"bytes=10-19"}}}, {"GET", "/film.mp4", http.Header{"Range": {"bytes=1-2,5-6"}}},
		{"GET", "/film.mp4", http.Header{"Range": {"bytes=900000-"}}}, {"GET", "/film.mp4", http.Header{"If-None-Match": {etag}}},
		{"GET", "/empty.txt", nil}, {"HEAD", "/empty.txt", nil}, {"GET", "/index.txt", nil}, {"GET", "/", nil}, {"GET", "/?sort=name&x=%zz", nil},
		{"GET", "/missing", nil}, {"HEAD", "/missing", nil}, {"GET", "//index.txt", nil}, {"GET", "/bare", nil}, {"HEAD", "/bare", nil},
		{"GET", "/nothing", nil}, {"GET", "/upgrade", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}}, {"GET", "/upgrade", nil},
		{"GET", "/large", nil}, {"GET", "/many", nil}, {"GET", "/panic", nil}, {"GET", "/short", nil}, {"FOO", "/film.mp4", nil},
	} {
		far, near := ask(n.byID["p1"], c.method, c.path, c.header), ask(n.byID["p2"], c.method, c.path, c.header)
		if len(near) > 2000 || far != near {
			t.Errorf("%s %s %v:\n got %.600s\nwant %.600s", c.method, c.path, c.header, far, near)
		}
	}
}
