package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Cluster is what a P that is one of several knows of the others.
type Cluster struct {
	ID       string `json:"id"`
	Site     string `json:"site,omitempty"`
	Addr     string `json:"addr"`     // of the peer port
	Sessions int    `json:"sessions"` // that this node has
	Nodes    []Node `json:"nodes"`    // the others, by id

	Hops      uint64 `json:"hops"`       // requests sent to another node
	Taken     uint64 `json:"taken"`      // requests that came from another node
	Stale     uint64 `json:"stale"`      // requests that another node refused, mostly for a session that it has no more
	Snapshots uint64 `json:"snapshots"`  // tables of other nodes that were asked for
	Sent      uint64 `json:"sent_bytes"` // of bodies, to other nodes
	Got       uint64 `json:"got_bytes"`  // of bodies, from other nodes
}

// Node is one P of a cluster.
type Node struct {
	ID       string `json:"id"`
	Site     string `json:"site,omitempty"`
	Version  string `json:"version,omitempty"`
	Addr     string `json:"addr"`  // of its peer port
	State    string `json:"state"` // ready, draining
	Linked   bool   `json:"linked"`
	Synced   bool   `json:"synced"`   // our copy of its table is equal
	Sessions int    `json:"sessions"` // that it has
	Load     int    `json:"load"`     // streams open there
	// RoundTrip is the link's, 0 if it was not measured.
	RoundTrip time.Duration `json:"-"`     // shown in milliseconds
	Heard     time.Time     `json:"heard"` // its last hello
}

// Shown is the node's state in the words that an origin's has.
func (n *Node) Shown() string {
	switch {
	case !n.Linked:
		return "absent"
	case n.State == "draining":
		return "leaving"
	}
	return "connected"
}

// shownNode is a node on the status page.
type shownNode struct {
	Node
	Self bool
}

// nodes returns those of the cluster, this one first; none if there is no cluster.
func (p *Port) nodes() []shownNode {
	if p.Config.Cluster == nil {
		return nil
	}
	c := p.Config.Cluster()
	list := []shownNode{{Node{ID: c.ID, Site: c.Site, Addr: c.Addr, Linked: true, Sessions: c.Sessions}, true}}
	for _, n := range c.Nodes {
		list = append(list, shownNode{Node: n})
	}
	return list
}

type clusterJSON struct {
	Cluster
	Nodes []peerJSON `json:"nodes"`
}

type peerJSON struct {
	Node
	RoundTrip float64 `json:"round_trip_ms,omitempty"`
}

// apiNodes answers with the cluster as JSON.
func (p *Port) apiNodes(w http.ResponseWriter, _ *http.Request) {
	shown := clusterJSON{Cluster: p.Config.Cluster(), Nodes: []peerJSON{}}
	for _, n := range shown.Cluster.Nodes {
		shown.Nodes = append(shown.Nodes, peerJSON{n, ms(n.RoundTrip)})
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(shown) // A write fails when the asker left.
}

// Cluster has the metrics show what source says, too. It is called before there is a
// handler, once.
func (m *Metrics) Cluster(source func() Cluster) {
	m.registry.MustRegister(&clusterState{source})
}

// clusterState collects what a source says. A cluster has 64 nodes at most.
type clusterState struct{ source func() Cluster }

var (
	descNodes     = desc("cluster_nodes", "Other nodes of the cluster, by what they say of themselves.", "state")
	descLinked    = desc("cluster_node_linked", "1 while there is a link to the node.", "node", "site")
	descSynced    = desc("cluster_node_synced", "1 while this node's copy of the node's table is up to date.", "node", "site")
	descHello     = desc("cluster_node_hello_age_seconds", "Since the node's last hello.", "node", "site")
	descNodeRTT   = desc("cluster_node_round_trip_seconds", "Last PING's round trip on the link to the node.", "node", "site")
	descThere     = desc("cluster_node_sessions", "Sessions that the node says it has.", "node", "site")
	descHops      = desc("cluster_hops_total", "Requests between this node and others: sent to them, taken from them.", "direction")
	descForwarded = desc("cluster_forwarded_bytes_total", "Bytes of bodies that were sent to other nodes, and got from them.", "direction")
	descStale     = desc("cluster_stale_total", "Requests that another node refused, mostly for sessions that it has no more.")
	descSnapshots = desc("cluster_snapshots_total", "Tables of other nodes that were asked for.")
)

// Describe implements prometheus.Collector.
func (s *clusterState) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descNodes, descLinked, descSynced, descHello, descNodeRTT, descThere, descHops, descForwarded, descStale, descSnapshots} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *clusterState) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	flag := map[bool]float64{true: 1}
	c := s.source()
	states := map[string]int{"ready": 0, "draining": 0}
	for _, n := range c.Nodes {
		states[n.State]++
		gauge(descLinked, flag[n.Linked], n.ID, n.Site)
		gauge(descSynced, flag[n.Synced], n.ID, n.Site)
		gauge(descHello, time.Since(n.Heard).Seconds(), n.ID, n.Site)
		gauge(descThere, float64(n.Sessions), n.ID, n.Site)
		if n.RoundTrip > 0 {
			gauge(descNodeRTT, n.RoundTrip.Seconds(), n.ID, n.Site)
		}
	}
	for state, n := range states {
		gauge(descNodes, float64(n), state)
	}
	counter(descHops, c.Hops, "sent")
	counter(descHops, c.Taken, "taken")
	counter(descForwarded, c.Sent, "sent")
	counter(descForwarded, c.Got, "got")
	counter(descStale, c.Stale)
	counter(descSnapshots, c.Snapshots)
}
