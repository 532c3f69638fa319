package proxy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/amahi/spdy-proxy/internal/proxy"
)

// The admin port of a node shows the others, and where an origin is.
func TestClusterIsShown(t *testing.T) {
	n := startNodes(t, "p1 p2 p3", nil)
	n.startC("p2", hello("c"), nil)
	p1 := n.byID["p1"]
	want(t, "a request", p1.get("/"), 200, "c GET / 0")
	for id, x := range n.byID {
		waitFor(t, id+" is ready", func() bool { status, _ := x.adminGet("/readyz?origin=@"); return status == 200 })
	}
	waitFor(t, "the tables", func() bool {
		_, text := p1.adminGet("/api/v1/nodes")
		return strings.Count(text, `"synced": true`) == 2
	})
	for _, c := range []struct{ path, want string }{
		{"/api/v1/nodes", `"id": "p2"`}, {"/api/v1/nodes", `"site": "here"`}, {"/api/v1/nodes", `"hops": 1`}, {"/", "at p2 (here)"},
		{"/metrics", "spdy_proxy_cluster_node_linked{node=\"p3\",site=\"here\"} 1\n"}, {"/metrics", "spdy_proxy_cluster_hops_total{direction=\"sent\"} 1\n"},
	} {
		if status, text := p1.adminGet(c.path); status != 200 || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d, without %q", c.path, status, c.want)
		}
	}
	if _, text := n.byID["p2"].adminGet("/metrics"); !strings.Contains(text, "spdy_proxy_cluster_hops_total{direction=\"taken\"} 1\n") {
		t.Error("p2 does not count what came from p1")
	}
}

// A P that is alone listens on the ports that it was told, and nothing of a cluster is
// in it.
func TestAlone(t *testing.T) {
	var asked []string
	x := startP(t, newFiles(t), func(c *proxy.Config) {
		c.Inherited = func(name string) (net.Listener, error) { asked = append(asked, name); return nil, nil }
	})
	waitFor(t, "P is ready", func() bool { status, _ := x.adminGet("/readyz"); return status == 200 })
	if got := fmt.Sprint(asked); got != "[control front admin]" {
		t.Errorf("the ports are %s", got)
	}
	if status, _ := x.adminGet("/api/v1/nodes"); status != 404 {
		t.Errorf("/api/v1/nodes: %d, want 404", status)
	}
}
