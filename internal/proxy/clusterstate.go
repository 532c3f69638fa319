package proxy

import (
	"github.com/amahi/spdy-proxy/internal/admin"
	"github.com/amahi/spdy-proxy/internal/cluster/peer"
)

// state shows the cluster to the admin port.
func (c *cluster) state() admin.Cluster {
	t := c.links.Totals()
	s := admin.Cluster{
		ID: c.cfg.ID, Site: c.cfg.Site, Addr: c.p.peerLn.Addr().String(), Sessions: len(c.members()), Hops: t.Requests, Taken: t.Taken, Stale: t.Gone, Sent: t.Sent, Got: t.Received, Snapshots: c.registry.Asked(),
	}
	links := make(map[string]peer.Info)
	for _, l := range c.links.Nodes() {
		links[l.ID] = l
	}
	for _, n := range c.registry.Nodes() {
		state := "ready"
		if n.Draining {
			state = "draining"
		}
		s.Nodes = append(s.Nodes, admin.Node{
			ID: n.ID, Site: n.Site, Version: n.Version, Addr: n.PeerAddr, State: state, Linked: n.Linked, Synced: n.Synced,
			Sessions: n.Sessions, Load: n.Load, RoundTrip: links[n.ID].RoundTrip, Heard: n.Heard,
		})
	}
	return s
}

// places says where each node with a site is, for people.
func (c *cluster) places() map[string]string {
	places := make(map[string]string)
	for _, n := range c.registry.Nodes() {
		if n.Site != "" {
			places[n.ID] = n.ID + " (" + n.Site + ")"
		}
	}
	return places
}
