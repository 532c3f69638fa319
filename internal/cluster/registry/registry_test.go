package registry_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy-proxy/internal/cluster/registry"
	"github.com/amahi/spdy-proxy/internal/cluster/registry/registrytest"
	"github.com/amahi/spdy-proxy/internal/originname"
	"github.com/amahi/spdy-proxy/internal/testlog"
)

// cluster is some nodes on a hub, in a bubble.
type cluster struct {
	t     *testing.T
	hub   *registrytest.Hub
	nodes map[string]*member

	mu    sync.Mutex
	links func(from, to string) bool // guarded by mu; which links can be had, nil: all
}

// member is one node, with what it was told.
type member struct {
	*registry.Registry
	c      *cluster
	id     string
	bus    *registrytest.Bus
	log    testlog.Buffer
	cancel context.CancelFunc
	ended  chan error
	own    map[uint64]registry.Own // by the test's goroutine alone
	lastID uint64

	mu      sync.Mutex
	entries map[string]registry.Entry // guarded by mu, as all that follows
	loads   map[string]int
	streams map[uint64]int // its own
	yielded map[uint64]int
	linked  map[string]bool
	ups     int
	fresh   int // of those
	wrong   []string
}

func inCluster(t *testing.T, seed uint64, f func(c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, hub: registrytest.NewHub(seed), nodes: make(map[string]*member)}
		f(c)
		for id := range c.nodes {
			c.stop(id)
		}
	})
}

// start adds a node, or starts it anew.
func (c *cluster) start(id string) *member {
	c.t.Helper()
	m := &member{
		c: c, id: id, bus: c.hub.Bus(id), ended: make(chan error, 1), own: make(map[uint64]registry.Own),
		entries: make(map[string]registry.Entry), loads: make(map[string]int), streams: make(map[uint64]int),
		yielded: make(map[uint64]int), linked: make(map[string]bool),
	}
	var err error
	m.Registry, err = registry.New(registry.Config{
		ID: id, PeerAddr: id + ".example:1446", ControlAddr: id + ".example:1444", Site: "eu", Version: "v1 (test)", Bus: m.bus, Events: m,
		Load: m.load, Logger: m.log.Logger(slog.LevelInfo),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	m.cancel = cancel
	c.nodes[id] = m
	// Ends in stop or kill.
	go func() { m.ended <- m.Run(ctx) }()
	return m
}

// stop ends a node in good order.
func (c *cluster) stop(id string) {
	c.t.Helper()
	m := c.nodes[id]
	delete(c.nodes, id)
	m.cancel()
	if err := <-m.ended; err != nil {
		c.t.Errorf("%s ended with %v", id, err)
	}
	m.bus.Close()
	for _, o := range c.nodes {
		o.unlink(id)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.wrong {
		c.t.Errorf("%s: %s", id, w)
	}
}

// kill ends it without a word.
func (c *cluster) kill(id string) {
	c.nodes[id].bus.Close()
	c.stop(id)
}

// NodeUp implements registry.Events: there is a link a moment later.
func (m *member) NodeUp(n registry.Node) {
	time.AfterFunc(5*time.Millisecond, func() { m.link(n.ID) })
}

func (m *member) link(id string) {
	m.c.mu.Lock()
	can := m.c.links == nil || m.c.links(m.id, id)
	m.c.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if can && !m.linked[id] {
		m.linked[id] = true
		m.LinkUp(id)
	}
}

func (m *member) unlink(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.linked[id] {
		m.linked[id] = false
		m.LinkDown(id)
	}
}

// NodeDown implements registry.Events.
func (m *member) NodeDown(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.linked[id] = false
	for _, e := range m.entries {
		if e.Node == id {
			m.wrong = append(m.wrong, "an entry is still up when its node is down")
		}
	}
}

func key(node string, sid uint64) string { return fmt.Sprintf("%s/%d", node, sid) }

// EntryUp implements registry.Events.
func (m *member) EntryUp(e registry.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(e.Node, e.SID)
	if _, there := m.entries[k]; there {
		m.wrong = append(m.wrong, k+" is up twice")
	}
	if e.Node == m.id {
		m.wrong = append(m.wrong, k+" is its own")
	}
	m.entries[k] = e
	m.ups++
	if e.New {
		m.fresh++
	}
}

// EntryDown implements registry.Events.
func (m *member) EntryDown(node string, sid uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(node, sid)
	if _, there := m.entries[k]; !there {
		m.wrong = append(m.wrong, k+" is down and was not up")
	}
	delete(m.entries, k)
	delete(m.loads, k)
}

// Load implements registry.Events.
func (m *member) Load(node string, sid uint64, streams int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(node, sid)
	if _, there := m.entries[k]; !there {
		m.wrong = append(m.wrong, k+" has a load and is not up")
	}
	m.loads[k] = streams
}

// Yield implements registry.Events.
func (m *member) Yield(sid uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.yielded[sid]++
}

// load is Config.Load.
func (m *member) load() iter.Seq2[uint64, int] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.All(maps.Clone(m.streams))
}

// add gives m a session, and returns its SID.
func (m *member) add(name, instance string) uint64 {
	m.lastID++
	o := registry.Own{SID: m.lastID, Name: originname.Name(name), Instance: instance, Max: 100, Since: time.Now().Round(time.Microsecond)}
	m.own[o.SID] = o
	m.Add(o)
	return o.SID
}

func (m *member) remove(sid uint64) {
	delete(m.own, sid)
	m.Remove(sid)
}

// wantAll holds that each node has exactly what the others have, as m.own has it.
func (c *cluster) wantAll(when string) {
	c.t.Helper()
	synctest.Wait()
	for id, m := range c.nodes {
		want := make(map[string]registry.Entry)
		for other, o := range c.nodes {
			if other == id {
				continue
			}
			for sid, own := range o.own {
				want[key(other, sid)] = registry.Entry{Node: other, SID: sid, Name: own.Name, Instance: own.Instance, Max: own.Max, Since: own.Since}
			}
		}
		m.mu.Lock()
		missing, extra := 0, 0
		for k, w := range want {
			if got, there := m.entries[k]; !there || !got.Since.Equal(w.Since) || got.Name != w.Name || got.Instance != w.Instance || got.Max != w.Max {
				missing++
			}
		}
		for k := range m.entries {
			if _, there := want[k]; !there {
				extra++
			}
		}
		m.mu.Unlock()
		if missing+extra > 0 {
			c.t.Errorf("%s: %s lacks %d of %d entries, and has %d that are not", when, id, missing, len(want), extra)
		}
		nodes := m.Nodes()
		if len(nodes) != len(c.nodes)-1 {
			c.t.Errorf("%s: %s sees the nodes %v", when, id, nodes)
		}
	}
}

// churn has sessions come and go at all nodes for a while.
func (c *cluster) churn(d time.Duration, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	ids := []string{"p1", "p2", "p3", "p4", "p5"}
	for end := time.Now().Add(d); time.Now().Before(end); {
		m := c.nodes[ids[random.IntN(len(ids))]]
		if m == nil {
			continue
		}
		for range random.IntN(20) {
			m.add(fmt.Sprintf("n%d", random.IntN(50)), fmt.Sprintf("%s.%d", m.id, m.lastID))
		}
		for sid := range m.own {
			if random.IntN(4) == 0 {
				m.remove(sid)
			}
		}
		time.Sleep(time.Duration(random.IntN(10)) * time.Millisecond) // of the bubble
	}
}

// What one node has is known to the others a moment later, and that it is gone.
func TestEntries(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		time.Sleep(time.Second)
		sid := p1.add("films", "a.0")
		began := time.Now()
		for {
			p2.mu.Lock()
			n := len(p2.entries)
			p2.mu.Unlock()
			if n == 1 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		c.wantAll("up")
		p1.remove(sid)
		p1.remove(sid) // nothing
		time.Sleep(10 * time.Millisecond)
		c.wantAll("down")
	})
}

// A bus that loses, repeats and mixes up what it carries: all that is needed is that
// it gets better some time.
func TestBadBus(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inCluster(t, seed, func(c *cluster) {
				for _, id := range []string{"p1", "p2", "p3", "p4", "p5"} {
					c.start(id)
				}
				c.hub.Set(registrytest.Faults{Loss: 0.2, Twice: 0.2, Delay: 100 * time.Millisecond})
				c.churn(5*time.Second, seed)
				c.hub.Set(registrytest.Faults{Delay: 10 * time.Millisecond})
				time.Sleep(15 * time.Second)
				c.wantAll("afterwards")
				for id, m := range c.nodes {
					for _, n := range m.Nodes() {
						if !n.Synced {
							t.Errorf("%s does not know %s to be equal", id, n.ID)
						}
					}
				}
			})
		})
	}
}

// Without faults nothing but the table of a new node is ever asked for.
func TestEventsAlone(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		for _, id := range []string{"p1", "p2", "p3"} {
			c.start(id)
		}
		time.Sleep(time.Second)
		c.churn(5*time.Second, 1)
		time.Sleep(2 * time.Second)
		c.wantAll("afterwards")
		if sent, _ := c.hub.Sent(); sent["spx.1.snap"] != 6 {
			t.Errorf("%d pages were asked for, want one of each node by each other", sent["spx.1.snap"])
		}
		for id, m := range c.nodes {
			if n := m.Asked(); n != 2 {
				t.Errorf("%s asked for %d tables, want one of each", id, n)
			}
			if s := m.log.String(); strings.Contains(s, "WARN") {
				t.Errorf("%s:\n%s", id, s)
			}
		}
	})
}

// A table larger than a page comes whole, though it changes meanwhile.
func TestPages(t *testing.T) {
	for seed := range uint64(3) {
		inCluster(t, seed, func(c *cluster) {
			p1 := c.start("p1")
			for i := range 5000 {
				p1.add(fmt.Sprintf("n%d", i), fmt.Sprint("a.", i))
			}
			time.Sleep(4 * time.Second)
			c.hub.Set(registrytest.Faults{Delay: 20 * time.Millisecond})
			c.start("p2")
			for i := range 100 {
				p1.add(fmt.Sprintf("m%d", i), fmt.Sprint("b.", i))
				for sid := range p1.own {
					p1.remove(sid)
					break
				}
				time.Sleep(2 * time.Millisecond)
			}
			time.Sleep(3 * time.Second)
			c.wantAll("afterwards")
		})
	}
}

// One that is killed and starts again has none of what it had; those that it has now
// are known, whatever is still on its way of before.
func TestNewEpoch(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, _, _ := c.start("p1"), c.start("p2"), c.start("p3")
		for range 10 {
			p1.add("films", fmt.Sprint("a.", p1.lastID))
		}
		time.Sleep(time.Second)
		c.wantAll("before")
		c.hub.Set(registrytest.Faults{Delay: 50 * time.Millisecond})
		p1.add("late", "a")
		c.kill("p1")
		p1 = c.start("p1")
		p1.add("music", "b.0")
		time.Sleep(3 * time.Second)
		c.wantAll("after")
		if n := c.nodes["p2"].log.Count("has started anew"); n != 1 {
			t.Errorf("the new start is said %d times", n)
		}
	})
}

// One that leaves in good order is forgotten at once, and what comes late of it
// changes nothing.
func TestGoodbye(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		p1.add("films", "a.0")
		time.Sleep(time.Second)
		c.hub.Set(registrytest.Faults{Twice: 1, Delay: 500 * time.Millisecond})
		time.Sleep(3 * time.Second)
		c.nodes["p1"].cancel()
		time.Sleep(time.Second)
		c.wantNodes(p2, 0)
		p2.mu.Lock()
		if len(p2.entries) > 0 {
			t.Errorf("there are entries of one that has left: %v", p2.entries)
		}
		p2.mu.Unlock()
	})
}

func (c *cluster) wantNodes(m *member, n int) {
	c.t.Helper()
	if got := m.Nodes(); len(got) != n {
		c.t.Errorf("%s sees %v, want %d nodes", m.id, got, n)
	}
}

// A session that has come is told from one that is learned of late, or again.
func TestNew(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		fresh := func(when string, m *member, ups, fresh int) {
			t.Helper()
			time.Sleep(time.Second)
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.ups != ups || m.fresh != fresh {
				t.Errorf("%s: %d were up, %d of them new; want %d and %d", when, m.ups, m.fresh, ups, fresh)
			}
		}
		time.Sleep(time.Second)
		p1.add("films", "a.0")
		fresh("one has come", p2, 1, 1)
		fresh("one was there", c.start("p3"), 1, 0)
		p2.unlink("p1")
		p2.link("p1")
		fresh("the link was lost", p2, 2, 1)
	})
}

// One that is killed has no entries when the link is down; without a word it is
// forgotten, with one line.
func TestSilence(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		p1.add("films", "a.0")
		time.Sleep(time.Second)
		c.kill("p1")
		synctest.Wait()
		p2.mu.Lock()
		if len(p2.entries) > 0 {
			t.Error("there are entries without a link")
		}
		p2.mu.Unlock()
		c.wantNodes(p2, 1)
		time.Sleep(time.Minute)
		c.wantNodes(p2, 0)
		if n := p2.log.Count("it is forgotten"); n != 1 {
			t.Errorf("it is said %d times", n)
		}
	})
}

// While the bus is down and links are up, the last tables stay.
func TestBusDown(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		p1.add("films", "a.0")
		time.Sleep(time.Second)
		c.hub.Cut(func(string, string) bool { return true })
		time.Sleep(time.Hour)
		c.wantAll("an hour later")
		p2.mu.Lock()
		if p2.ups != 1 {
			t.Errorf("the entry was up %d times", p2.ups)
		}
		p2.mu.Unlock()
		if p1 := p2.Nodes()[0]; p1.Synced || !p1.Linked || p2.log.Count("nothing is heard of a node by the bus") != 1 {
			t.Errorf("it counts as up to date: %v, linked: %v; the log:\n%s", p1.Synced, p1.Linked, p2.log.String())
		}
		c.hub.Cut(nil)
		time.Sleep(2 * time.Second)
		if !p2.Nodes()[0].Synced {
			t.Error("with the bus back it does not count as up to date")
		}
	})
}

// While the bus is down, a link that is lost and made again a moment later is no reason
// to forget the node: nothing else would say that it is there.
func TestBusDownAndLinkBack(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		p1.add("films", "a.0")
		time.Sleep(time.Second)
		c.hub.Cut(func(string, string) bool { return true })
		time.Sleep(5 * time.Minute)
		p2.unlink("p1")
		time.Sleep(10 * time.Second)
		p2.mu.Lock()
		if len(p2.entries) > 0 {
			t.Error("there are entries without a link")
		}
		p2.mu.Unlock()
		p2.link("p1")
		c.wantAll("with the link back")
		p2.unlink("p1")
		time.Sleep(time.Minute)
		c.wantNodes(p2, 0)
		c.hub.Cut(nil)
		time.Sleep(2 * time.Second)
		c.wantAll("with the bus back")
	})
}

// However often a table was asked for in vain while the bus was down, it is here soon
// after.
func TestBusDownAndAsked(t *testing.T) {
	for away := range 12 {
		inCluster(t, 1, func(c *cluster) {
			p1, p2 := c.start("p1"), c.start("p2")
			time.Sleep(time.Second)
			c.hub.Cut(func(string, string) bool { return true })
			p1.add("films", "a.0")
			p2.Stale("p1")
			time.Sleep(5*time.Minute + time.Duration(away)*time.Second)
			c.hub.Cut(nil)
			time.Sleep(4 * time.Second) // a hello, and the end of an attempt that was under way
			c.wantAll(fmt.Sprintf("with the bus back after %d s more", away))
		})
	}
}

// Sites that were parted serve their own, and have one table soon after they meet.
func TestPartedSites(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		for _, id := range []string{"p1", "p2", "p3", "p4", "p5"} {
			c.start(id)
		}
		c.churn(time.Second, 1)
		east := func(id string) bool { return id >= "p3" }
		parted := func(a, b string) bool { return east(a) != east(b) }
		c.hub.Cut(parted)
		c.mu.Lock()
		c.links = func(a, b string) bool { return !parted(a, b) }
		c.mu.Unlock()
		for a, m := range c.nodes {
			for b := range c.nodes {
				if parted(a, b) {
					m.unlink(b)
				}
			}
		}
		c.churn(3*time.Second, 2)
		time.Sleep(time.Minute) // until each has forgotten the other site
		c.churn(3*time.Second, 3)
		for id, m := range c.nodes {
			m.mu.Lock()
			for k, e := range m.entries {
				if parted(id, e.Node) {
					t.Errorf("%s has %s of the other site", id, k)
				}
			}
			m.mu.Unlock()
		}
		c.hub.Cut(nil)
		c.mu.Lock()
		c.links = nil
		c.mu.Unlock()
		time.Sleep(2 * time.Second)
		c.wantAll("2 s after they meet")
	})
}

// No entry of a node counts without a link to it.
func TestNoLink(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		c.links = func(string, string) bool { return false }
		p1, p2 := c.start("p1"), c.start("p2")
		p1.add("films", "a.0")
		time.Sleep(time.Second)
		p2.mu.Lock()
		if p2.ups != 0 {
			t.Error("an entry is up without a link")
		}
		p2.mu.Unlock()
		select {
		case <-p2.Heard():
			t.Error("p2 counts as having heard of a node without a link")
		default:
		}
		time.Sleep(3 * time.Second)
		<-p2.Heard()
		p2.LinkUp("p1")
		p2.LinkUp("p1")
		p2.LinkUp("nobody")
		synctest.Wait()
		p2.mu.Lock()
		if p2.ups != 1 {
			t.Errorf("the entry is up %d times, want once", p2.ups)
		}
		p2.mu.Unlock()
	})
}

// One that is alone counts as ready after 3 s, one that is not when it has the tables.
func TestHeard(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		began := time.Now()
		<-c.start("p1").Heard()
		if took := time.Since(began); took < 3*time.Second || took > 3200*time.Millisecond {
			t.Errorf("alone: %v", took)
		}
		for i := range 2000 {
			c.nodes["p1"].add(fmt.Sprintf("n%d", i), "")
		}
		time.Sleep(time.Second)
		began = time.Now()
		<-c.start("p2").Heard()
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("with another: %v", took)
		}
		c.wantAll("then")
	})
}

// A node that has the table of one other knows by it that there are more, and is not ready
// before it has theirs.
func TestHeardOfOthers(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		for _, id := range []string{"p1", "p2", "p3"} {
			c.start(id).add("of-"+id, "")
		}
		time.Sleep(4 * time.Second)
		// The routes to the other two come up later.
		c.hub.Cut(func(from, to string) bool { return from+to == "p2p4" || from+to == "p3p4" })
		began := time.Now()
		p4 := c.start("p4")
		time.Sleep(time.Second)
		c.hub.Cut(nil)
		<-p4.Heard()
		if took := time.Since(began); took < time.Second || took > 2200*time.Millisecond {
			t.Errorf("got ready after %v, want it when the others are heard", took)
		}
		c.wantAll("when it is ready")

		// Who is not to be heard does not keep it back for long.
		c.hub.Cut(func(from, to string) bool { return from+to == "p2p5" || from+to == "p5p2" })
		began = time.Now()
		<-c.start("p5").Heard()
		if took := time.Since(began); took < 3*time.Second || took > 3200*time.Millisecond {
			t.Errorf("with one that is not heard: %v, want 3s", took)
		}
		c.hub.Cut(nil)
	})
}

// The same instance, or none, at two nodes: the later one stays.
func TestYield(t *testing.T) {
	for _, row := range []struct {
		first, second string
		yields        bool
	}{{"a.0", "a.0", true}, {"a.0", "", true}, {"", "a.0", true}, {"", "", true}, {"a.0", "a.1", false}} {
		inCluster(t, 1, func(c *cluster) {
			p1, p2 := c.start("p1"), c.start("p2")
			time.Sleep(time.Second)
			first := p1.add("films", row.first)
			p1.add("music", row.first)
			time.Sleep(time.Second)
			second := p2.add("films", row.second)
			time.Sleep(time.Second)
			p1.mu.Lock()
			p2.mu.Lock()
			if got := p1.yielded[first] > 0; got != row.yields {
				t.Errorf("%q, then %q: the first yields: %v", row.first, row.second, got)
			}
			if p2.yielded[second] > 0 || len(p1.yielded) > 1 {
				t.Errorf("%q, then %q: another yields", row.first, row.second)
			}
			p2.mu.Unlock()
			p1.mu.Unlock()
		})
	}
	// At the same time, the node's id decides.
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		time.Sleep(time.Second)
		p1.add("films", "a.0")
		p2.add("films", "a.0")
		time.Sleep(time.Second)
		p1.mu.Lock()
		p2.mu.Lock()
		if len(p1.yielded) != 1 || len(p2.yielded) != 0 {
			t.Errorf("at the same time: p1 yields %v, p2 %v, want p1 alone", p1.yielded, p2.yielded)
		}
		p2.mu.Unlock()
		p1.mu.Unlock()
	})
}

// What a node has beyond what others learn of is said, and is not sent away for it.
func TestTooMany(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		p2.add("", "")
		time.Sleep(time.Second)
		for i := range 1 << 16 {
			p1.add(fmt.Sprint("o", i), "")
		}
		time.Sleep(time.Minute)
		p2.mu.Lock()
		n := len(p2.entries)
		p2.mu.Unlock()
		if n != 1<<16 || p1.log.Count("too many sessions") != 0 {
			t.Errorf("p2 has %d entries; the log of p1:\n%s", n, p1.log.String())
		}
		p1.add("more", "")
		time.Sleep(time.Second)
		p1.mu.Lock()
		defer p1.mu.Unlock()
		if p1.log.Count("level=WARN msg=\"cluster: a node has too many sessions, the last ones are left out\" node=p1 limit=65536") != 1 || len(p1.yielded) > 0 {
			t.Errorf("p1 yields %v; its log:\n%s", p1.yielded, p1.log.String())
		}
	})
}

// Of two nodes with one id the one that started first ends, and says why.
func TestSameID(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		first := c.start("p1")
		c.start("p2")
		time.Sleep(10 * time.Second)
		delete(c.nodes, "p1")
		second := c.start("p1")
		err := <-first.ended
		if err == nil || !strings.Contains(err.Error(), `"p1"`) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the first ended with %v", err)
		}
		first.bus.Close()
		time.Sleep(time.Second)
		if len(second.ended) > 0 {
			t.Error("the second ended, too")
		}
		second.add("films", "a.0")
		time.Sleep(time.Second)
		c.wantAll("then")
	})
}

// Open streams are told, to those who come later too.
func TestLoads(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		sid := p1.add("films", "a.0")
		p1.add("music", "a.1")
		time.Sleep(time.Second)
		set := func(n int) {
			p1.mu.Lock()
			p1.streams[sid] = n
			p1.mu.Unlock()
			time.Sleep(1100 * time.Millisecond)
		}
		want := func(m *member, n int) {
			t.Helper()
			m.mu.Lock()
			defer m.mu.Unlock()
			if got := m.loads[key("p1", sid)]; got != n {
				t.Errorf("%s has a load of %d, want %d", m.id, got, n)
			}
		}
		set(7)
		want(p2, 7)
		p3 := c.start("p3")
		time.Sleep(time.Second)
		want(p3, 7)
		set(0)
		want(p2, 0)
		want(p3, 0)
		if load := p2.Nodes()[0].Load; load != 0 {
			t.Errorf("p1 says a load of %d", load)
		}
	})
}

// One that says that it stops is seen to.
func TestDrain(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		p1.add("films", "a.0")
		time.Sleep(time.Second)
		p1.Drain()
		time.Sleep(100 * time.Millisecond)
		if n := p2.Nodes(); len(n) != 1 || !n[0].Draining {
			t.Errorf("p2 sees %v", n)
		}
		c.wantAll("while it drains")
	})
}

// What is not of this protocol is left out, and there is a line about it.
func TestWrongMessages(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1, p2 := c.start("p1"), c.start("p2")
		p1.add("films", "a.0")
		time.Sleep(time.Second)
		epoch := p2.Nodes()[0].Epoch
		x := c.hub.Bus("x")
		defer x.Close()
		for _, m := range [][2]string{
			{"spx.1.hello.x", ""}, {"spx.1.hello.x", "[]"}, {"spx.1.hello.x", "{}"}, {"spx.1.hello.x", `{"epoch":"1"}`},
			{"spx.1.hello.x", `{"epoch":"000000000000000000000000","peer":"a b"}`},
			{"spx.1.hello.x", `{"epoch":"000000000000000000000000","peer":"a:1","site":"a\nb"}`},
			{"spx.1.hello.x", `{"epoch":"000000000000000000000000","peer":"a:1","entries":-1}`},
			{"spx.1.hello.-", `{"epoch":"000000000000000000000000","peer":"a:1"}`},
			{"spx.1.hello." + strings.Repeat("x", 65), `{"epoch":"000000000000000000000000","peer":"a:1"}`},
			{"spx.1.ev.x", `{"seq":1}`}, {"spx.1.ev.p1", "{"}, {"spx.1.load.p1", "7"}, {"spx.1.snap.p1", "7"}, {"spx.1.hello", ""}, {"", ""},
			{"spx.1.ev.p1", fmt.Sprintf(`{"epoch":%q,"seq":2,"up":[{"sid":9,"name":"A","max":1}]}`, epoch)},
			{"spx.1.ev.p1", fmt.Sprintf(`{"epoch":%q,"seq":2,"up":[{"sid":0,"name":"a","max":1}]}`, epoch)},
			{"spx.1.ev.p1", fmt.Sprintf(`{"epoch":%q,"seq":2,"up":[{"sid":9,"name":"a","max":-1}]}`, epoch)},
			{"spx.1.ev.p1", fmt.Sprintf(`{"epoch":%q,"seq":2,"up":[{"sid":9,"name":"a","instance":"a b"}]}`, epoch)},
			{"spx.1.ev.p1", fmt.Sprintf(`{"epoch":%q,"seq":2,"down":[1%s]}`, epoch, strings.Repeat(",1", 500))},
			{"spx.1.load.p1", fmt.Sprintf(`{"epoch":%q,"loads":{"1":-1,"77":1}}`, epoch)},
		} {
			x.Publish(m[0], []byte(m[1]))
		}
		time.Sleep(time.Second)
		c.wantAll("then")
		if n := p2.log.Count("a message that is not one"); n == 0 || n > 5 {
			t.Errorf("%d lines", n)
		}
		// A forged entry is gone when the node's own sum is heard.
		x.Publish("spx.1.ev.p1", fmt.Appendf(nil, `{"epoch":%q,"seq":2,"up":[{"sid":9,"name":"a","max":1}]}`, epoch))
		time.Sleep(2 * time.Second)
		c.wantAll("after a forged one")
	})
}

// Nodes beyond the limit are left out.
func TestManyNodes(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		c.links = func(string, string) bool { return false }
		p1 := c.start("p1")
		time.Sleep(time.Second)
		x := c.hub.Bus("x")
		defer x.Close()
		for i := range 200 {
			x.Publish(fmt.Sprintf("spx.1.hello.x%d", i), fmt.Appendf(nil, `{"epoch":"%024d","peer":"a:1"}`, 1))
		}
		time.Sleep(time.Second)
		c.wantNodes(p1, 64)
		time.Sleep(time.Minute)
		c.wantNodes(p1, 0)
	})
}

// Two clocks that differ are said once.
func TestSkew(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		p1 := c.start("p1")
		x := c.hub.Bus("x")
		defer x.Close()
		hello := func(ahead time.Duration) {
			x.Publish("spx.1.hello.x", fmt.Appendf(nil, `{"epoch":"%024d","peer":"a:1","now":%d}`, 1, time.Now().Add(ahead).UnixMicro()))
			time.Sleep(time.Second)
		}
		for range 10 {
			hello(1500 * time.Millisecond)
		}
		if p1.log.Count("clocks") != 0 {
			t.Error("1.5 s are said")
		}
		for range 10 {
			hello(-3 * time.Second)
		}
		if n := p1.log.Count("clocks"); n != 1 || p1.log.Count("ahead=-3s") != 1 {
			t.Errorf("it is said %d times:\n%s", n, p1.log.String())
		}
		// Nor does one that comes and goes fill the log.
		p1.log.Take()
		for range 100 {
			for _, ahead := range []time.Duration{-3 * time.Second, -3 * time.Second, -3 * time.Second, -time.Second} {
				hello(ahead)
			}
		}
		if n := p1.log.Count("clocks"); n > 10 {
			t.Errorf("one that comes and goes is said %d times in seven minutes", n)
		}
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []registry.Config{
		{PeerAddr: "a:1"}, {ID: "a b", PeerAddr: "a:1"}, {ID: ".a", PeerAddr: "a:1"}, {ID: "a..b", PeerAddr: "a:1"}, {ID: "a"},
		{ID: "a", PeerAddr: "a 1"}, {ID: "a", PeerAddr: "a:1", Site: "e u"}, {ID: "a", PeerAddr: "a:1", ControlAddr: "a;b"},
	} {
		if _, err := registry.New(c); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want an error of one line", c, err)
		}
	}
}
