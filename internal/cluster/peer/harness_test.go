package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
	"github.com/amahi/spdy/spdytest"

	"github.com/amahi/spdy-proxy/internal/control/controltest"
	"github.com/amahi/spdy-proxy/internal/origin"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// Nodes in one bubble: real tables, sessions and TLS, on connections in memory.

// cluster is what some nodes have in common.
type cluster struct {
	*testing.T
	ca    *controltest.CA
	dir   string
	nodes map[string]*testNode // by address; changed under mu

	mu    sync.Mutex
	lines []*spdytest.Conn // of all links, both ends; guarded by mu
}

// testNode is one node.
type testNode struct {
	c     *cluster
	id    string
	table *origin.Table
	links *Links
	ln    *controltest.Listener
	log   testlog.Buffer

	mu     sync.Mutex
	events []string // guarded by mu
	gone   int      // calls of Config.Gone; guarded by mu
	told   []told   // guarded by mu
}

// told is a call of Config.Revoked.
type told struct {
	node   string
	tokens []Digest
}

// took returns the calls of Config.Revoked since it was last called.
func (n *testNode) took() []told {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.told
	n.told = nil
	return list
}

// inCluster runs f with nodes of those ids, each with links to all others, and ends
// all afterwards.
func inCluster(t *testing.T, ids string, f func(c *cluster)) {
	t.Helper()
	ca, dir := controltest.NewCA(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{T: t, ca: ca, dir: dir, nodes: make(map[string]*testNode)}
		for id := range strings.FieldsSeq(ids) {
			c.add(id, ca)
		}
		for _, n := range c.nodes {
			for id := range c.nodes {
				if id != n.id {
					n.links.Connect(id, id)
				}
			}
		}
		c.settle()
		f(c)
		for _, n := range c.nodes {
			n.end()
		}
	})
}

// settle waits until the links stand, and nothing else is going on.
func (c *cluster) settle() {
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

// files writes a certificate of ca for a node.
func (c *cluster) files(ca *controltest.CA, id string) Files {
	dir, err := os.MkdirTemp(c.dir, "")
	if err != nil {
		c.Fatal(err)
	}
	cert, key := controltest.Write(c, ca.Issue(c, id), dir, id)
	return Files{CAFile: ca.WriteCA(c, dir, "ca.pem"), CertFile: cert, KeyFile: key}
}

func (c *cluster) add(id string, ca *controltest.CA) *testNode {
	c.Helper()
	identity, err := c.files(ca, id).Load()
	if err != nil {
		c.Fatal(err)
	}
	n := &testNode{c: c, id: id, table: origin.NewTable(origin.Config{}), ln: controltest.NewListener()}
	n.links = New(Config{
		Identity: func() *Identity { return identity }, Local: n.table,
		Session: spdy.Config{MaxHeaderBytes: 1 << 20, MaxPeerFrameSize: 1 << 21},
		Dial:    func(_ context.Context, addr string) (net.Conn, error) { return c.dial(addr) },
		Up:      func(id string) { n.note("up " + id) },
		Down: func(id string, err error) {
			if err == nil {
				n.note("down " + id)
			} else {
				n.note("lost " + id)
			}
		},
		Gone: func(string) { n.mu.Lock(); n.gone++; n.mu.Unlock() },
		Revoked: func(id string, tokens []Digest) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.told = append(n.told, told{id, tokens})
		},
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(c.Output(), &n.log), nil)),
	})
	// Ends with Shutdown, in end.
	go n.links.Serve(n.ln)
	c.reachable(id, n)
	return n
}

// reachable has a node be at an address.
func (c *cluster) reachable(addr string, n *testNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[addr] = n
}

// dial connects to the node whose id is the address.
func (c *cluster) dial(addr string) (net.Conn, error) {
	c.mu.Lock()
	n := c.nodes[addr]
	here, there := spdytest.Pipe(spdytest.PipeConfig{})
	c.lines = append(c.lines, here, there)
	c.mu.Unlock()
	if n == nil {
		return nil, errors.New("there is no such node")
	}
	return here, n.ln.Take(there)
}

// eachLine does something to both ends of each connection between nodes.
func (c *cluster) eachLine(f func(*spdytest.Conn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.lines {
		f(line)
	}
}

func (n *testNode) note(event string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, event)
}

// wantEvents fails unless those have come since it was last called.
func (n *testNode) wantEvents(want ...string) {
	n.c.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if fmt.Sprint(n.events) != fmt.Sprint(want) {
		n.c.Errorf("%s: got events %q, want %q", n.id, n.events, want)
	}
	n.events = nil
}

// end stops the node at once.
func (n *testNode) end() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.links.Shutdown(ctx)
	n.table.Shutdown(ctx)
}

// testC is a C that is connected to a node.
type testC struct {
	member  *origin.Member
	session *spdy.Session // the node's
	server  *spdy.Session
	line    *spdytest.Conn
}

// serve connects a C to the node.
func (n *testNode) serve(name origin.Name, instance string, cfg spdy.Config, h http.HandlerFunc) *testC {
	n.c.Helper()
	here, there := spdytest.Pipe(spdytest.PipeConfig{})
	x := &testC{line: here}
	x.session = (&spdy.Config{MaxHeaderBytes: 1 << 20}).NewClientSession(here)
	x.server = cfg.NewServerSession(there, &http.Server{Handler: h})
	// Both end with the connection, which end closes by the table.
	go x.session.Serve()
	go x.server.Serve()
	var err error
	x.member, err = n.table.Register(origin.Registration{Name: name, Instance: instance, Session: x.session})
	if err != nil {
		n.c.Fatal(err)
	}
	synctest.Wait() // its SETTINGS
	return x
}

// know has the node know of a session of another's, as its registry would.
func (n *testNode) know(node string, x *testC) (*Remote, *origin.Member) {
	n.c.Helper()
	r := n.links.Remote(node, x.member.ID(), x.member.Name(), x.member.MaxStreams())
	m, err := n.table.Register(origin.Registration{Name: x.member.Name(), Remote: node, Session: r})
	if err != nil {
		n.c.Fatal(err)
	}
	return r, m
}

// request makes a request as the front does.
func (c *cluster) request(method, path string, body io.Reader) *http.Request {
	c.Helper()
	r, err := http.NewRequest(method, "http://films.example"+path, body)
	if err != nil {
		c.Fatal(err)
	}
	return r
}

// answer is what a response came to.
type answer struct {
	status int
	body   string
	err    error // of the reading of the body
	resp   *http.Response
}

func (c *cluster) read(resp *http.Response, err error) answer {
	c.Helper()
	if err != nil {
		c.Fatalf("RoundTrip: %v", err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	return answer{resp.StatusCode, string(b), err, resp}
}
