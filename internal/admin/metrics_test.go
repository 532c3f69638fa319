package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func contextWith(ctx context.Context, local net.Addr) context.Context {
	return context.WithValue(ctx, http.LocalAddrContextKey, local)
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	res := ask(m.handler(), "GET", "http://localhost/metrics")
	if res.StatusCode != 200 {
		t.Fatalf("status: got %d, want 200", res.StatusCode)
	}
	return body(t, res)
}

func wantLine(t *testing.T, text, line string) {
	t.Helper()
	if !strings.Contains("\n"+text, "\n"+line+"\n") {
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		t.Errorf("no line %q; lines of that name: %q", line, regexp.MustCompile(`(?m)^`+name+`[ {].*$`).FindAllString(text, -1))
	}
}

func TestMetrics(t *testing.T) {
	m := NewMetrics(busy(), "v1")
	m.SessionStarted("@")
	m.SessionStarted("film")
	m.SessionEnded("film", 90*time.Second)
	m.Request(Request{Origin: "@", Status: 200, Headers: 20 * time.Millisecond, Duration: 2 * time.Second, Held: 3 * time.Second, Replayed: 2, Resumed: 1})
	m.Request(Request{Status: 200, Aborted: true, Stalled: true})
	for range 2 {
		m.Request(Request{Status: 429, OverShare: true})
	}
	m.Request(Request{Origin: "@", Status: 404, Duration: time.Second})
	m.Request(Request{Origin: "@", Status: 200, Aborted: true})
	m.Request(Request{Origin: "@"})
	m.Request(Request{Origin: "@", Status: 99999})
	m.Request(Request{Origin: "invented-by-a-visitor", Status: 503})
	m.Request(Request{Origin: "early", Known: true, Status: 200})
	m.SessionStarted("early")

	text := scrape(t, m)
	for _, line := range []string{
		`spdy_proxy_requests_total{class="2xx",origin="@"} 1`,
		`spdy_proxy_requests_total{class="4xx",origin="@"} 1`,
		`spdy_proxy_requests_total{class="aborted",origin="@"} 3`,
		`spdy_proxy_requests_total{class="5xx",origin="_other"} 1`,
		`spdy_proxy_requests_total{class="2xx",origin="early"} 1`,
		`spdy_proxy_request_duration_seconds_bucket{origin="@",le="1"} 4`,
		`spdy_proxy_request_duration_seconds_count{origin="@"} 5`,
		`spdy_proxy_response_header_seconds_count{origin="@"} 1`,
		`spdy_proxy_hold_duration_seconds_sum 3`,
		`spdy_proxy_replayed_total{origin="@"} 2`,
		`spdy_proxy_resumed_total{origin="@"} 1`,
		`spdy_proxy_stalled_total 1`,
		`spdy_proxy_over_share_total 2`,
		`spdy_proxy_sessions_started_total{origin="film"} 1`,
		`spdy_proxy_sessions_ended_total{origin="film"} 1`,
		`spdy_proxy_session_duration_seconds_bucket{le="600"} 1`,
		`spdy_proxy_origins 2`,
		`spdy_proxy_sessions{origin="film"} 2`,
		`spdy_proxy_streams_in_flight{origin="@"} 3`,
		`spdy_proxy_ping_round_trip_seconds{origin="film"} 0.005`,
		`spdy_proxy_requests_in_flight 7`,
		`spdy_proxy_requests_held 2`,
		`spdy_proxy_front_connections 12`,
		`spdy_proxy_front_connections_refused_total{reason="address"} 34`,
		`spdy_proxy_front_connections_refused_total{reason="total"} 5`,
		`spdy_proxy_front_connections_refused_total{reason="silent"} 67`,
		`spdy_proxy_front_connections_refused_total{reason="idle"} 8`,
		`spdy_proxy_ready 1`,
		`spdy_proxy_body_bytes_total{direction="to_origin"} 4096`,
		`spdy_proxy_body_bytes_total{direction="from_origin"} 5.24288e+06`,
		`spdy_proxy_stream_resets_total{by="proxy",status="CANCEL"} 4`,
		`spdy_proxy_stream_resets_total{by="origin",status="REFUSED_STREAM"} 1`,
		`spdy_proxy_access_log_dropped_total 12`,
		`spdy_proxy_build_info{version="v1"} 1`,
	} {
		wantLine(t, text, line)
	}
	for line := range strings.Lines(text) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if !strings.HasPrefix(name, "spdy_proxy_") {
			t.Errorf("a name that does not begin with spdy_proxy_: %q", line)
		}
	}
}

// Names are C's to choose, and hosts A's: neither makes labels without end.
func TestMetricsBounded(t *testing.T) {
	f := &fake{}
	m := NewMetrics(f, "v1")
	for i := range 3 * maxOriginLabels {
		name := fmt.Sprintf("n%d", i)
		m.Request(Request{Origin: "never-" + name, Status: 503})
		m.SessionStarted(name)
		m.Request(Request{Origin: name, Known: i%2 == 0, Status: 200})
		f.snapshot.Origins = append(f.snapshot.Origins, Origin{Name: name, Sessions: []Session{{InFlight: 1}}})
	}
	text := scrape(t, m)
	labels := map[string]bool{}
	for _, l := range regexp.MustCompile(`origin="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		labels[l[1]] = true
	}
	if got, want := len(labels), maxOriginLabels+1; got != want {
		t.Errorf("labels: got %d, want %d", got, want)
	}
	wantLine(t, text, fmt.Sprintf(`spdy_proxy_sessions{origin="_other"} %d`, 2*maxOriginLabels))
	wantLine(t, text, fmt.Sprintf(`spdy_proxy_requests_total{class="2xx",origin="_other"} %d`, 2*maxOriginLabels))
	wantLine(t, text, fmt.Sprintf(`spdy_proxy_requests_total{class="5xx",origin="_other"} %d`, 3*maxOriginLabels))
}
