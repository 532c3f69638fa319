package proxy_test

import (
	"fmt"
	"testing"

	"github.com/amahi/spdy-proxy/internal/agent"
	"github.com/amahi/spdy-proxy/internal/cluster/peer"
	"github.com/amahi/spdy-proxy/internal/control"
	"github.com/amahi/spdy-proxy/internal/proxy"
)

// A token that is gone from one node's file is taken at no other, until that has read its
// own: not even at a node that comes later.
func TestClusterRevokes(t *testing.T) {
	f := newFiles(t)
	ownTokens := func(c *proxy.Config) { c.Tokens.File = f.path("tokens of " + c.Cluster.ID) }
	all := "good-token *\nfilm-token film\n"
	for i := range peer.MaxRevoked + 200 { // more than one message is about
		all += fmt.Sprintf("token-%d other\n", i)
	}
	for _, id := range []string{"p1", "p2", "p3"} {
		f.write("tokens of "+id, all)
	}
	n := startNodesOf(t, f, "p1 p2", ownTokens)
	film := func(c *agent.Config) {
		c.Name = "film"
		c.Load = func() (agent.Identity, error) {
			conf, err := control.ClientTLS{CAFile: f.path("ca.pem"), ServerName: "localhost"}.Load()
			return agent.Identity{Token: "film-token", TLS: conf}, err
		}
	}
	p1, p2 := n.byID["p1"], n.byID["p2"]
	stays := n.startC("p2", hello("stays"), nil)
	gone := startC(t, p2, hello("film"), film)

	f.write("tokens of p1", "good-token *\n")
	p1.Reload()
	p2.log.wait("tokens are gone at another node", 1)
	p2.log.wait("its token is gone", 1)
	gone.log.wait("answered 401 ", 1)
	if dials := stays.wire.dials(); dials != 1 {
		t.Errorf("the C whose token stays dialled %d times, want once", dials)
	}

	f.leaf("p3", n.ca, "p3")
	p3 := n.start("p3", ownTokens)
	p3.log.wait("tokens are gone at another node", 1)
	launchC(t, p3, hello("film"), film).log.wait("answered 401 ", 1)

	// What a node's own file says holds when it is read.
	p2.Reload()
	startC(t, p2, hello("film"), film)
	// And one that is back is no more among those that are gone.
	f.write("tokens of p1", all)
	p1.Reload()
	if got := p1.Revoked(); got != 0 {
		t.Errorf("got %d tokens that others are told of, want none", got)
	}
}
