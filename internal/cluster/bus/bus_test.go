//go:build !nocluster

package bus

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/amahi/spdy-proxy/internal/cluster/registry"
	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// These tests have real sockets, because NATS does.

// patience is how long what must happen may take on a busy machine.
const patience = time.Minute

// nodes makes buses of one CA.
type nodes struct {
	t   *testing.T
	ca  *controltest.CA
	dir string
	log testlog.Buffer
}

func newNodes(t *testing.T) *nodes {
	n := &nodes{t: t, ca: controltest.NewCA(t), dir: t.TempDir()}
	n.ca.WriteCA(t, n.dir, "ca.pem")
	return n
}

// config is that of a node, which joins others.
func (n *nodes) config(id string, join ...string) Config {
	n.t.Helper()
	cert, key := controltest.Write(n.t, n.ca.Issue(n.t, id), n.dir, id)
	return Config{
		Addr: "127.0.0.1:0", Advertise: "127.0.0.1", Join: join,
		CAFile: filepath.Join(n.dir, "ca.pem"), CertFile: cert, KeyFile: key, Logger: n.log.Logger(slog.LevelDebug),
	}
}

func (n *nodes) open(c Config) *Bus {
	n.t.Helper()
	b, err := Open(c)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(b.Close)
	return b
}

// wait returns when ok does what is wanted.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// Three nodes of which two know the first form a mesh; what one says the others hear,
// in order, and itself not; a request is answered. One that ends is gone soon.
func TestMesh(t *testing.T) {
	n := newNodes(t)
	p1 := n.open(n.config("p1"))
	seed := p1.Addr().String()
	p2, p3 := n.open(n.config("p2", seed)), n.open(n.config("p3", seed))
	all := []*Bus{p1, p2, p3}
	var mu sync.Mutex
	heard := make(map[string][]string)
	for i, b := range all {
		if err := b.Subscribe("spx.1.>", func(m registry.Message) {
			mu.Lock()
			defer mu.Unlock()
			heard[fmt.Sprint("p", i+1)] = append(heard[fmt.Sprint("p", i+1)], m.Subject+" "+string(m.Data))
		}); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "a mesh", func() bool {
		return p1.server.NumRoutes() == 2 && p2.server.NumRoutes() == 2 && p3.server.NumRoutes() == 2
	})
	// A route is there before its interest is known.
	wait(t, "all hear p2", func() bool {
		p2.Publish("spx.1.hello.p2", []byte("probe"))
		mu.Lock()
		defer mu.Unlock()
		return len(heard["p1"]) > 0 && len(heard["p3"]) > 0
	})
	for i := range 100 {
		p2.Publish("spx.1.ev.p2", fmt.Append(nil, i))
	}
	wait(t, "p3 hears all", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(heard["p3"]) > 0 && heard["p3"][len(heard["p3"])-1] == "spx.1.ev.p2 99"
	})
	mu.Lock()
	if len(heard["p2"]) > 0 {
		t.Errorf("p2 hears itself: %v", heard["p2"])
	}
	events := 0
	for _, m := range heard["p3"] {
		if strings.HasPrefix(m, "spx.1.ev.p2 ") {
			if m != fmt.Sprint("spx.1.ev.p2 ", events) {
				t.Fatalf("the %d. event is %q", events, m)
			}
			events++
		}
	}
	mu.Unlock()

	if err := p3.Subscribe("other.p3", func(m registry.Message) { m.Answer(bytes.ToUpper(m.Data)) }); err != nil {
		t.Fatal(err)
	}
	wait(t, "an answer", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a, err := p1.Request(ctx, "other.p3", []byte("hello"))
		return err == nil && string(a) == "HELLO"
	})
	if _, err := p1.Request(t.Context(), "other.p4", nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a request that nobody hears: got %v, want that, at once", err)
	}

	p1.Close()
	wait(t, "the others without it", func() bool { return p2.server.NumRoutes() == 1 && p3.server.NumRoutes() == 1 })
}

// Only who has a certificate of the cluster's CA is let in.
func TestWrongCA(t *testing.T) {
	n, other := newNodes(t), newNodes(t)
	p1 := n.open(n.config("p1"))
	x := other.open(other.config("x", p1.Addr().String()))
	wait(t, "a refusal", func() bool { return n.log.Count("TLS") > 0 && other.log.Count("TLS") > 0 })
	if p1.server.NumRoutes()+x.server.NumRoutes() != 0 {
		t.Error("there is a route")
	}
	// Nor who shows none.
	conn, err := net.Dial("tcp", p1.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err = tc.Handshake(); err == nil {
		_, err = tc.Read(buf)
	}
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a peer without a certificate was told %q, %v", buf, err)
	}
}

// Who finds the loopback port for clients cannot do anything there.
func TestClientPortWantsThePassword(t *testing.T) {
	n := newNodes(t)
	p1 := n.open(n.config("p1"))
	addr := p1.server.Addr().(*net.TCPAddr)
	if !addr.IP.IsLoopback() {
		t.Errorf("it listens on %v", addr)
	}
	for _, options := range [][]nats.Option{nil, {nats.UserInfo("", "")}, {nats.UserInfo("p1", "p1")}, {nats.Token("x")}} {
		if nc, err := nats.Connect("nats://"+addr.String(), options...); err == nil {
			nc.Close()
			t.Error("somebody without the password is in")
		}
	}
}

// Certificates that were read again are for the connections to come.
func TestReload(t *testing.T) {
	n := newNodes(t)
	c1 := n.config("p1")
	p1 := n.open(c1)
	next := newNodes(t)
	c2 := next.config("p2", p1.Addr().String())
	p2 := next.open(c2)
	wait(t, "a refusal", func() bool { return n.log.Count("TLS") > 0 })
	next.config("p1")
	for from, to := range map[string]string{"ca.pem": c1.CAFile, "p1.pem": c1.CertFile, "p1.key": c1.KeyFile} {
		b, err := os.ReadFile(filepath.Join(next.dir, from))
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p1.Reload(); err != nil {
		t.Fatal(err)
	}
	wait(t, "a route", func() bool { return p1.server.NumRoutes() == 1 && p2.server.NumRoutes() == 1 })
	if err := os.Remove(c1.KeyFile); err != nil {
		t.Fatal(err)
	}
	if err := p1.Reload(); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("without a key: %v", err)
	}
}

// A name that stands for several nodes.
func TestJoinByName(t *testing.T) {
	n := newNodes(t)
	p1 := n.open(n.config("p1"))
	_, port, _ := net.SplitHostPort(p1.Addr().String())
	c := n.config("p2", "dns:localhost:"+port)
	p2 := n.open(c)
	wait(t, "a route", func() bool { return p2.server.NumRoutes() == 1 })
	now := time.Now()
	seen := map[string]time.Time{
		"127.0.0.1:" + port: now.Add(-time.Hour), "192.0.2.1:1": now.Add(-time.Hour), "192.0.2.2:1": now.Add(-time.Minute), "192.0.2.3:1": now,
	}
	if got := fmt.Sprint(p2.keep(seen)); got != "[127.0.0.1:"+port+" 192.0.2.2:1 192.0.2.3:1]" {
		t.Errorf("of those that names had, with a route to the first, %s stay", got)
	}
}

// The operator's own NATS: here it is another node's, whose password is known.
func TestURL(t *testing.T) {
	n := newNodes(t)
	s := n.open(n.config("s"))
	u := fmt.Sprintf("nats://%s:%s@%s", s.options.Username, s.options.Password, s.server.Addr())
	a, b := n.at("a", u), n.at("b", u)
	if id, err := a.cfg.ID(); id != "a" || err != nil || a.Addr() != nil {
		t.Errorf("it is %q, %v, and listens on %v", id, err, a.Addr())
	}
	got := make(chan string, 100)
	if err := b.Subscribe("spx.1.>", func(m registry.Message) { got <- string(m.Data) }); err != nil {
		t.Fatal(err)
	}
	wait(t, "a message", func() bool {
		a.Publish("spx.1.hello.a", []byte("hello"))
		return len(got) > 0
	})
}

// natsServer is one that an operator runs, on a port, 0: any, with a password.
func natsServer(t *testing.T, port int, password string) *natsserver.Server {
	t.Helper()
	return startNATS(t, &natsserver.Options{Port: port, Username: "p", Password: password})
}

func startNATS(t *testing.T, o *natsserver.Options) *natsserver.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	s, err := natsserver.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("it does not start")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

// at opens the bus of a node at the operator's server.
func (n *nodes) at(id, url string) *Bus {
	n.t.Helper()
	c := n.config(id)
	c.Addr, c.Advertise, c.URL = "", "", url
	return n.open(c)
}

// One that cannot be reached from the beginning is said, and waited for.
func TestURLUnreached(t *testing.T) {
	s := natsServer(t, 0, "right")
	for what, url := range map[string]string{"a dead port": "nats://127.0.0.1:1", "a wrong password": fmt.Sprintf("nats://p:wrong@%s", s.Addr())} {
		n := newNodes(t)
		b := n.at("a", url)
		wait(t, what, func() bool {
			return n.log.Count("level=WARN msg=\"cluster: the bus cannot be reached, trying on\" err=") > 0
		})
		if err := b.Publish("spx.1.hello.a", nil); err == nil || b.client.IsClosed() {
			t.Errorf("%s: a message is taken, %v, or it is not tried on: %v", what, err, b.client.IsClosed())
		}
		if n.log.Count("wrong") > 0 {
			t.Errorf("the password is in the log:\n%s", n.log.String())
		}
		b.Close()
		if n.log.Count("level=ERROR") > 0 {
			t.Errorf("%s: its end is an error:\n%s", what, n.log.String())
		}
	}
}

// A server that is away, and then refuses everybody for a while, is tried on. What was
// said meanwhile is not kept.
func TestURLRefusesForAWhile(t *testing.T) {
	n := newNodes(t)
	s := natsServer(t, 0, "right")
	port := s.Addr().(*net.TCPAddr).Port
	url := fmt.Sprintf("nats://p:right@%s", s.Addr())
	a, b := n.at("a", url), n.at("b", url)
	var got testlog.Buffer
	if err := b.Subscribe("spx.1.>", func(m registry.Message) { got.Write(m.Data) }); err != nil {
		t.Fatal(err)
	}
	said := func(what string) func() bool {
		return func() bool {
			a.Publish("spx.1.hello.a", []byte(what))
			return got.Count(what) > 0
		}
	}
	wait(t, "a message", said("before"))
	restart := func(password string) {
		s.Shutdown()
		s.WaitForShutdown()
		s = natsServer(t, port, password)
	}
	restart("another")
	wait(t, "refusals", func() bool { return n.log.Count("authorization violation") >= 6 || a.client.IsClosed() })
	if err := a.Publish("spx.1.hello.a", []byte("while")); err == nil || a.client.IsClosed() {
		t.Errorf("a message is taken, %v, or it is not tried on: %v", err, a.client.IsClosed())
	}
	restart("right")
	wait(t, "a message again", said("after"))
	if got.Count("while") > 0 {
		t.Error("what was said while it was away comes late")
	}
	if n.log.Count("level=ERROR") > 0 {
		t.Errorf("an error:\n%s", n.log.String())
	}
}

// The operator's NATS has a certificate of anybody's whom the system trusts, or of the
// cluster's CA. It is shown the node's.
func TestURLOverTLS(t *testing.T) {
	n := newNodes(t)
	public, other := controltest.NewCA(t), controltest.NewCA(t)
	for what, ca := range map[string]*controltest.CA{"one of the system's": public, "the cluster's": n.ca, "another's": other} {
		s := startNATS(t, &natsserver.Options{
			Port: natsserver.RANDOM_PORT, TLS: true, TLSVerify: true, TLSTimeout: patience.Seconds(),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: n.ca.Pool()},
		})
		n.log.Take()
		c := n.config("p1")
		c.Addr, c.Advertise, c.URL = "", "", "tls://"+s.Addr().String()
		c.system = func() (*x509.CertPool, error) { return public.Pool(), nil }
		b := n.open(c)
		if ca == other {
			wait(t, what, func() bool {
				return n.log.Count("level=WARN msg=\"cluster: the bus cannot be reached, trying on\" err=") > 0
			})
		} else {
			wait(t, what, func() bool { return n.log.Count("there is a connection to the bus") > 0 })
		}
		if b.client.IsConnected() != (ca != other) {
			t.Errorf("%s: it is connected: %v", what, b.client.IsConnected())
		}
		b.Close()
	}
}

// fakeNATS takes connections, and says to each what lets a client in, and then what
// more there is. The channel has one for each.
func fakeNATS(t *testing.T, more string) (url string, taken chan struct{}) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken = make(chan struct{}, 100)
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(func() { ln.Close() })
	// Ends with ln; its connections with the bus, which is closed before.
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			taken <- struct{}{}
			running.Go(func() {
				defer conn.Close()
				fmt.Fprint(conn, "INFO {\"server_id\":\"x\",\"max_payload\":1048576,\"proto\":1}\r\n")
				for in := bufio.NewScanner(conn); in.Scan(); {
					if in.Text() == "PING" {
						fmt.Fprint(conn, "PONG\r\n"+more)
						break
					}
				}
				io.Copy(io.Discard, conn)
			})
		}
	})
	return "nats://" + ln.Addr().String(), taken
}

// A server that is silent, as behind a firewall that has forgotten the connection, is
// left within seconds.
func TestURLSilent(t *testing.T) {
	n := newNodes(t)
	url, taken := fakeNATS(t, "")
	n.at("a", url)
	wait(t, "another connection", func() bool { return len(taken) >= 2 })
}

// What the client ends for good is said.
func TestURLEndsForGood(t *testing.T) {
	n := newNodes(t)
	url, _ := fakeNATS(t, "-ERR 'Something New'\r\n")
	n.at("a", url)
	wait(t, "an error", func() bool {
		return n.log.Count("level=ERROR") == 1 && n.log.Count("restart this p\" err=\"nats: Something New\"") == 1
	})
}

func TestErrors(t *testing.T) {
	n := newNodes(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for what, change := range map[string]func(c *Config){
		"a port in use":      func(c *Config) { c.Addr = ln.Addr().String() },
		"no CA":              func(c *Config) { c.CAFile = filepath.Join(n.dir, "missing") },
		"a CA that is none":  func(c *Config) { c.CAFile = c.KeyFile },
		"no key":             func(c *Config) { c.KeyFile = filepath.Join(n.dir, "missing") },
		"another's key":      func(c *Config) { c.KeyFile = n.config("p2").KeyFile },
		"a URL that is none": func(c *Config) { c.URL = "nats://%zz" },
	} {
		c := n.config("p1")
		change(&c)
		if b, err := Open(c); err == nil {
			b.Close()
			t.Errorf("%s: no error", what)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q is not one line", what, err)
		}
	}
	for in, ok := range map[string]bool{
		"a:1": true, "dns:a.b:1446": true, "[::1]:1": true, "a": false, "a:": false, ":1": false, "dns:a": false, "a:b": false, "a:70000": false, "": false,
	} {
		if err := CheckJoin(in); (err == nil) != ok {
			t.Errorf("CheckJoin(%q): %v", in, err)
		}
	}
}

// Whoever does not open a bus has nothing of it, and who has closed it has nothing
// left.
func TestNothingLeft(t *testing.T) {
	n := newNodes(t)
	before := runtime.NumGoroutine()
	b := n.open(n.config("p1", "127.0.0.1:1", "dns:localhost:1"))
	b.Close()
	b.Close()
	wait(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}
