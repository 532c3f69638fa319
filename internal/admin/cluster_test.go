package admin

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// What a node of a cluster shows of the others; one that is alone has nothing of it.
func TestCluster(t *testing.T) {
	source := func() Cluster {
		return Cluster{
			ID: "p1", Site: "eu", Addr: "p1:1446", Sessions: 12, Hops: 5, Taken: 6, Stale: 7, Snapshots: 8, Sent: 9, Got: 10,
			Nodes: []Node{
				{ID: "p2", Site: "eu", Version: "v1", Addr: "p2:1446", State: "ready", Linked: true, Synced: true, Sessions: 11, RoundTrip: time.Millisecond, Heard: time.Now()},
				{ID: "p3", Site: "us", Addr: "p3:1446", State: "draining", Heard: time.Now()},
			},
		}
	}
	f := busy()
	m := NewMetrics(f, f.board, "v1.2.3")
	m.Cluster(source)
	h := Handler(Config{Source: f, Board: f.board, Metrics: m, Cluster: source, Addr: "localhost:1445"})
	text := body(t, ask(h, "GET", "http://localhost:1445/metrics"))
	for _, line := range []string{
		`spdy_proxy_cluster_nodes{state="draining"} 1`, `spdy_proxy_cluster_nodes{state="ready"} 1`,
		`spdy_proxy_cluster_node_linked{node="p2",site="eu"} 1`, `spdy_proxy_cluster_node_linked{node="p3",site="us"} 0`,
		`spdy_proxy_cluster_node_synced{node="p2",site="eu"} 1`, `spdy_proxy_cluster_node_sessions{node="p2",site="eu"} 11`,
		`spdy_proxy_cluster_node_round_trip_seconds{node="p2",site="eu"} 0.001`,
		`spdy_proxy_cluster_hops_total{direction="sent"} 5`, `spdy_proxy_cluster_hops_total{direction="taken"} 6`,
		`spdy_proxy_cluster_forwarded_bytes_total{direction="sent"} 9`, `spdy_proxy_cluster_forwarded_bytes_total{direction="got"} 10`,
		`spdy_proxy_cluster_stale_total 7`, `spdy_proxy_cluster_snapshots_total 8`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the metrics lack %q", line)
		}
	}
	if strings.Contains(text, `round_trip_seconds{node="p3"`) {
		t.Error("a round trip that was not measured is shown")
	}
	r := ask(h, "GET", "http://localhost:1445/api/v1/nodes")
	if got := body(t, r); r.StatusCode != http.StatusOK || !strings.Contains(got, `"id": "p2"`) || !strings.Contains(got, `"round_trip_ms": 1`) || !strings.Contains(got, `"sent_bytes": 9`) {
		t.Errorf("%d %s", r.StatusCode, got)
	}
	page, status := body(t, ask(h, "GET", "http://localhost:1445/")), body(t, ask(h, "GET", "http://localhost:1445/api/v1/status"))
	for _, n := range []struct{ state, shown, json string }{
		{"connected", `<b>p1</b> <small>this one</small> p1:1446 <small>12 sessions</small>`, `"id":"p1","address":"p1:1446","state":"connected","sessions":12,"self":true`},
		{"connected", `<b>p2</b> p2:1446 <small>11 sessions, 1.0 ms</small>`, `"id":"p2","address":"p2:1446","state":"connected","round_trip_ms":1,"sessions":11`},
		{"absent", `<b>p3</b> p3:1446 <small>0 sessions</small>`, `"id":"p3","address":"p3:1446","state":"absent","sessions":0`},
	} {
		if want := `<span class="state ` + n.state + `"><i></i>` + n.state + `</span> <span>` + n.shown; !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
		if !strings.Contains(strings.NewReplacer(" ", "", "\n", "").Replace(status), n.json) {
			t.Errorf("the status lacks %s", n.json)
		}
	}
	alone := newHandler(busy(), false)
	if r := ask(alone, "GET", "http://localhost:1445/api/v1/nodes"); r.StatusCode != http.StatusNotFound {
		t.Errorf("one that is alone answers %d", r.StatusCode)
	}
	if text := body(t, ask(alone, "GET", "http://localhost:1445/metrics")); strings.Contains(text, "cluster") {
		t.Error("one that is alone has metrics of a cluster")
	}
}
