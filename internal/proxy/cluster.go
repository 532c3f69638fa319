package proxy

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/amahi/spdy-proxy/internal/certs"
	"github.com/amahi/spdy-proxy/internal/cluster/peer"
	"github.com/amahi/spdy-proxy/internal/cluster/registry"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/origin"
)

const (
	// settingsTime is how long the others are not told of a session whose C has not
	// answered a PING: with the answer it is known how many streams it takes.
	settingsTime = 2 * time.Second

	// tellAfter is how long changes of the cluster are collected before Cs are told of
	// them. That takes tellSpread at most: it is no news to those that came since, and the
	// others need it when they next lose a node. All have answered after tellTime.
	tellAfter  = time.Second
	tellSpread = 20 * time.Second
	tellTime   = 25 * time.Second

	// drainNotice is how long before its Cs are sent away the others, and whoever asks
	// for readiness, know that this node stops; drainSpread over how long they are sent.
	drainNotice = 2 * time.Second
	drainSpread = 2 * time.Second
	drainLook   = 50 * time.Millisecond
)

// ClusterConfig makes P a node of a cluster: several Ps that are one. ID, Bus, Peer,
// PeerAdvertise and the files are needed.
type ClusterConfig struct {
	ID            string       // of this node: the first DNS name of its certificate
	Bus           registry.Bus // whose end is the caller's affair, after Run
	ReloadBus     func() error // has it read the files again, when they are right; nil: it does not
	Peer          string       // HOST:PORT for the other nodes
	PeerAdvertise string       // HOST:PORT by which they reach it
	Site          string       // where this node is
	PublicControl string       // HOST:PORT by which Cs reach the control port; "": they are not told of it

	CAFile, CertFile, KeyFile string // PEM; the CA is the cluster's own
}

// CheckAddrs finds what is no address, or none by which others reach this node. Its error
// is a *ConfigError.
func (c *ClusterConfig) CheckAddrs() error {
	if err := checkAddr(c.Peer); err != nil {
		return configErrorf("--peer %q: %w; give HOST:PORT, such as 10.0.0.1:1447", c.Peer, err)
	}
	if err := checkReached(c.PeerAdvertise); err != nil {
		return configErrorf("--peer-advertise %q: %w; give the peer port's HOST:PORT as the other nodes reach it", c.PeerAdvertise, err)
	}
	if c.PublicControl == "" {
		return nil
	}
	if err := checkReached(c.PublicControl); err != nil {
		return configErrorf("--public-control %q: %w; give the control port's HOST:PORT as origin servers reach it", c.PublicControl, err)
	}
	return nil
}

func (c *ClusterConfig) files() peer.Files {
	return peer.Files{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
}

// cluster joins what the nodes know of each other with what P has.
type cluster struct {
	// Fixed by newCluster.
	p        *Proxy
	cfg      ClusterConfig
	log      *slog.Logger
	registry *registry.Registry
	links    *peer.Links
	changed  chan struct{} // has room for one: Cs are to be told of other nodes

	identity atomic.Pointer[peer.Identity]

	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines that end with ctx

	mu sync.Mutex
	// Guarded by mu.
	own    map[uint64]*origin.Member // sessions with Cs here that take requests, by ID
	remote map[remoteID]remoteSession
	sent   map[string]time.Time // instances that shed has sent away, and when
	back   map[string]struct{}  // those that were back at once
	gone   []peer.Digest        // tokens that were taken out here, and are not back; the last control.MaxRevoked
}

// remoteID is a session of another node.
type remoteID struct {
	node string
	sid  uint64
}

type remoteSession struct {
	*peer.Remote
	member *origin.Member
}

// newCluster returns P's part in a cluster, nil without Config.Cluster.
func (p *Proxy) newCluster() (*cluster, error) {
	if p.cfg.Cluster == nil {
		return nil, nil
	}
	c := &cluster{
		p: p, cfg: *p.cfg.Cluster, log: p.log, changed: make(chan struct{}, 1),
		own: make(map[uint64]*origin.Member), remote: make(map[remoteID]remoteSession),
		sent: make(map[string]time.Time), back: make(map[string]struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.cfg.CheckAddrs(); err != nil {
		return nil, err
	}
	if err := c.reload(); err != nil {
		return nil, &ConfigError{err}
	}
	session := p.session
	session.Trace = nil
	if p.cfg.Trace != nil {
		session.Trace = p.tracer("peer")
	}
	// A request has two headers more on a link than on a session with a C.
	session.MaxHeaderBytes += 1 << 10
	session.MaxPeerFrameSize += 1 << 10
	dialer := net.Dialer{Control: limitUnsent}
	c.links = peer.New(peer.Config{
		Identity: c.identity.Load, Local: p.origins, Session: session, Logger: p.log,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) },
		Up:   func(id string) { c.registry.LinkUp(id); c.change(); c.tellGone(id) },
		Down: func(id string, _ error) { c.registry.LinkDown(id); c.change() },
		Gone: func(id string) { c.registry.Stale(id) }, Revoked: c.revoked,
	})
	var err error
	c.registry, err = registry.New(registry.Config{
		ID: c.cfg.ID, PeerAddr: c.cfg.PeerAdvertise, ControlAddr: c.cfg.PublicControl, Site: c.cfg.Site, Version: p.cfg.Version,
		Bus: c.cfg.Bus, Events: c, Load: c.loads, Logger: p.log,
	})
	if err != nil {
		return nil, &ConfigError{err}
	}
	return c, nil
}

// reload reads the files again. Links that there are stay.
func (c *cluster) reload() error {
	if c == nil {
		return nil
	}
	id, err := c.cfg.files().Load()
	if err != nil {
		return err
	}
	if id.ID() != c.cfg.ID {
		return fmt.Errorf("the cluster's certificate %s is of the node %q, and this is %q", c.cfg.CertFile, id.ID(), c.cfg.ID)
	}
	// The bus first: it reads them itself, and what it cannot take the links do not either.
	if c.cfg.ReloadBus != nil {
		if err := c.cfg.ReloadBus(); err != nil {
			return err
		}
	}
	c.identity.Store(id)
	return nil
}

// certificates returns those of the nodes' own that this one depends on.
func (c *cluster) certificates() []certs.Certificate {
	if c == nil {
		return nil
	}
	return c.cfg.certificates(c.identity.Load())
}

func (c *ClusterConfig) certificates(id *peer.Identity) []certs.Certificate {
	ca := id.CA()
	return []certs.Certificate{
		certs.OfFile(c.CertFile, []string{id.ID()}, id.Leaf()),
		certs.OfFile(c.CAFile, []string{cmp.Or(ca.Subject.CommonName, "CA")}, ca),
	}
}

// run takes part until close, and returns an error if this node cannot.
func (c *cluster) run() error {
	ctx, cancel := context.WithCancel(c.ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	// Both end with ctx; waited for above.
	beside.Go(func() { c.tellCs(ctx) })
	beside.Go(func() { c.balance(ctx) })
	return c.registry.Run(ctx)
}

// heard reports whether what the others have is known, or P does not wait for it any
// more.
func (c *cluster) heard() bool {
	if c == nil {
		return true
	}
	select {
	case <-c.registry.Heard():
		return true
	default:
		return false
	}
}

// change has the Cs told of the other nodes soon.
func (c *cluster) change() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// peers returns what Cs are told: this node, and those that requests can be sent to.
func (c *cluster) peers() []control.Peer {
	var list []control.Peer
	if c.cfg.PublicControl != "" {
		list = append(list, control.Peer{ID: c.cfg.ID, Addr: c.cfg.PublicControl, Site: c.cfg.Site})
	}
	for _, n := range c.registry.Nodes() {
		if n.Linked && !n.Draining && n.ControlAddr != "" {
			list = append(list, control.Peer{ID: n.ID, Addr: n.ControlAddr, Site: n.Site})
		}
	}
	return list
}

// tellCs tells the Cs of the other nodes when something has changed, until ctx ends.
func (c *cluster) tellCs(ctx context.Context) {
	var told []control.Peer
	for {
		select {
		case <-c.changed:
		case <-ctx.Done():
			return
		}
		timer := time.NewTimer(tellAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if list := c.peers(); !slices.Equal(list, told) {
			told = list
			limited, cancel := context.WithTimeout(ctx, tellTime)
			var asking sync.WaitGroup
			for _, byFront := range []bool{false, true} {
				// Whose turn comes late gets what is known then.
				asking.Go(func() {
					c.p.origins.Ask(limited, byFront, tellSpread, func(ctx context.Context) *http.Request { return control.TellPeers(ctx, c.peers()) })
				})
			}
			asking.Wait()
			cancel()
			if len(c.changed) > 0 {
				told = nil // who came meanwhile may know of what was between, though all is as before
			}
		}
	}
}

// originEvent is told of each change of a session here.
func (c *cluster) originEvent(e origin.Event) {
	m := e.Member
	if e.Kind != origin.Connected {
		c.mu.Lock()
		delete(c.own, m.ID())
		c.registry.Remove(m.ID())
		c.mu.Unlock()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	c.own[m.ID()] = m
	c.cameLocked(m)
	// Ends within settingsTime; close waits for it.
	c.running.Go(func() { c.announce(m) })
}

// announce tells the others of a session when it is known how many streams it takes.
func (c *cluster) announce(m *origin.Member) {
	ctx, cancel := context.WithTimeout(c.ctx, settingsTime)
	m.PingContext(ctx) // C has sent its SETTINGS before it answers
	cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own[m.ID()] != m {
		return // it has gone meanwhile
	}
	c.registry.Add(registry.Own{SID: m.ID(), Name: m.Name(), Instance: m.Instance(), Max: m.MaxStreams(), Since: m.Since()})
}

// loads returns how many streams are open on each session here.
func (c *cluster) loads() iter.Seq2[uint64, int] {
	return func(yield func(uint64, int) bool) {
		for _, m := range c.members() {
			if !yield(m.ID(), m.InFlight()) {
				return
			}
		}
	}
}

// members returns the sessions here.
func (c *cluster) members() []*origin.Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*origin.Member, 0, len(c.own))
	for _, m := range c.own {
		list = append(list, m)
	}
	return list
}

// NodeUp implements registry.Events.
func (c *cluster) NodeUp(n registry.Node) {
	c.links.Connect(n.ID, n.PeerAddr)
	c.change()
}

// NodeDown implements registry.Events.
func (c *cluster) NodeDown(id string) {
	c.links.Forget(id)
	c.change()
}

// EntryUp implements registry.Events.
func (c *cluster) EntryUp(e registry.Entry) {
	c.EntryDown(e.Node, e.SID)
	r := c.links.Remote(e.Node, e.SID, e.Name, e.Max)
	m, err := c.p.origins.Register(origin.Registration{
		Name: e.Name, Instance: e.Instance, Remote: e.Node, Since: e.Since, Session: r,
	})
	if err != nil {
		return // this node stops
	}
	c.mu.Lock()
	c.remote[remoteID{e.Node, e.SID}] = remoteSession{r, m}
	c.mu.Unlock()
	if e.New {
		c.p.origins.Probe(e.Name)
	}
	c.p.board.Attached(e.Name.String())
	c.p.certs.Changed()
}

// EntryDown implements registry.Events.
func (c *cluster) EntryDown(node string, sid uint64) {
	id := remoteID{node, sid}
	c.mu.Lock()
	r, there := c.remote[id]
	delete(c.remote, id)
	c.mu.Unlock()
	if there {
		c.p.origins.Withdraw(r.member)
		r.Withdraw()
		name := r.member.Name()
		c.p.board.Detached(name.String(), c.p.origins.Connected(name))
		c.p.certs.Changed()
	}
}

// Load implements registry.Events.
func (c *cluster) Load(node string, sid uint64, streams int) {
	c.mu.Lock()
	r, there := c.remote[remoteID{node, sid}]
	c.mu.Unlock()
	if there {
		r.SetLoad(streams)
	}
}

// Yield implements registry.Events.
func (c *cluster) Yield(sid uint64) {
	c.mu.Lock()
	m := c.own[sid]
	c.mu.Unlock()
	if m != nil {
		c.p.origins.Retire(m)
	}
}

// drain sends the Cs to other nodes, and returns when what they serve is served there,
// or when limit is over or ctx ends. All is served meanwhile.
func (c *cluster) drain(ctx context.Context, limit time.Duration) {
	c.registry.Drain()
	if !slices.ContainsFunc(c.registry.Nodes(), func(n registry.Node) bool { return n.Linked && !n.Draining }) {
		return // there is nobody who could serve them
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if !wait(ctx, min(drainNotice, limit/4)) {
		return
	}
	c.p.control.Stop()
	members := c.members()
	c.log.Info("p sends its origins to the other nodes", "sessions", len(members), "limit", limit.Round(time.Millisecond))
	names := make(map[origin.Name]bool)
	begun, spread := time.Now(), min(drainSpread, limit/4)
	for i, m := range members {
		names[m.Name()] = true
		if due := begun.Add(spread * time.Duration(i) / time.Duration(len(members))); !wait(ctx, time.Until(due)) {
			return
		}
		c.p.origins.Retire(m)
	}
	for {
		for name := range names {
			if c.p.origins.Connected(name) {
				delete(names, name)
			}
		}
		if len(names) == 0 {
			return
		}
		if !wait(ctx, drainLook) {
			c.log.Warn("origins that no other node has", "names", len(names))
			return
		}
	}
}

// wait reports false if ctx ends before d is over.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// close leaves the bus, when nothing is served any more.
func (c *cluster) close() {
	c.mu.Lock()
	c.cancel() // under mu: nothing is begun after it
	c.mu.Unlock()
	c.running.Wait()
}
