package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amahi/spdy-proxy/internal/inspect"
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
	f := busy()
	f.board.Named([]string{"named"})
	// Two of one name are one series, and what there is not yet has ended long ago.
	f.certificates = append(f.certificates, Certificate{Name: "example.org", NotAfter: time.Now().Add(9000 * time.Hour)}, Certificate{Name: "new.example.org"})
	m := NewMetrics(f, f.board, "v1")
	m.SessionEnded(90 * time.Second)
	m.Request(&inspect.Request{Status: 200, Held: 3 * time.Second, Stalled: true})
	for range 2 {
		m.Request(&inspect.Request{Status: 429, OverShare: true})
	}
	m.Request(&inspect.Request{Status: 99999, Refused: "of no kind"})
	m.Request(&inspect.Request{Status: 403, Refused: "address"})
	f.board.Ended(&inspect.Request{Origin: "invented-by-a-visitor", Status: 503, Failed: true})
	f.board.Ended(&inspect.Request{Origin: "early", Known: true, Status: 200, Aborted: true})
	text := scrape(t, m)
	for _, line := range []string{
		`spdy_proxy_requests_total{class="2xx",origin="film"} 1`,
		`spdy_proxy_requests_total{class="4xx",origin="film"} 0`,
		`spdy_proxy_requests_total{class="5xx",origin="@"} 1`,
		`spdy_proxy_requests_total{class="5xx",origin="_other"} 1`,
		`spdy_proxy_requests_total{class="aborted",origin="early"} 1`,
		`spdy_proxy_requests_total{class="2xx",origin="named"} 0`,
		`spdy_proxy_requests_total{class="aborted",origin="named"} 0`,
		`spdy_proxy_request_duration_seconds_count{origin="named"} 0`,
		`spdy_proxy_response_header_seconds_bucket{origin="named",le="+Inf"} 0`,
		`spdy_proxy_responses_total{code="502"} 0`,
		`spdy_proxy_request_errors_total{origin="@"} 1`,
		`spdy_proxy_request_errors_total{origin="_other"} 1`,
		`spdy_proxy_responses_total{code="429"} 2`,
		`spdy_proxy_request_duration_seconds_bucket{origin="film",le="1"} 0`,
		`spdy_proxy_request_duration_seconds_bucket{origin="film",le="2.5"} 1`,
		`spdy_proxy_request_duration_seconds_sum{origin="film"} 2`,
		`spdy_proxy_response_header_seconds_count{origin="film"} 1`,
		`spdy_proxy_hold_duration_seconds_sum 3`,
		`spdy_proxy_replayed_total{origin="film"} 2`,
		`spdy_proxy_resumed_total{origin="film"} 1`,
		`spdy_proxy_stalled_total 1`,
		`spdy_proxy_over_share_total 2`,
		`spdy_proxy_sessions_started_total{origin="gone"} 1`,
		`spdy_proxy_sessions_ended_total{origin="gone"} 1`,
		`spdy_proxy_sessions_ended_total{origin="film"} 0`,
		`spdy_proxy_session_duration_seconds_bucket{le="600"} 1`,
		`spdy_proxy_origins 2`,
		`spdy_proxy_origins_by_state{state="connected"} 2`,
		`spdy_proxy_origins_by_state{state="refused"} 1`,
		`spdy_proxy_origins_by_state{state="revoked"} 0`,
		`spdy_proxy_origin_state{origin="gone",state="refused"} 1`,
		`spdy_proxy_origin_state{origin="gone",state="connected"} 0`,
		`spdy_proxy_origin_state{origin="named",state="absent"} 1`,
		`spdy_proxy_sessions{origin="film"} 2`,
		`spdy_proxy_sessions{origin="named"} 0`,
		`spdy_proxy_streams_in_flight{origin="@"} 3`,
		`spdy_proxy_ping_round_trip_seconds{origin="film"} 0.005`,
		`spdy_proxy_requests_in_flight 7`,
		`spdy_proxy_requests_held 2`,
		`spdy_proxy_front_connections 12`,
		`spdy_proxy_front_connections_refused_total{reason="address"} 34`,
		`spdy_proxy_front_connections_refused_total{reason="total"} 5`,
		`spdy_proxy_front_connections_refused_total{reason="silent"} 67`,
		`spdy_proxy_front_connections_refused_total{reason="idle"} 8`,
		`spdy_proxy_control_refusals_total{reason="token"} 1`,
		`spdy_proxy_control_refusals_total{reason="tls"} 0`,
		`spdy_proxy_ready 1`,
		`spdy_proxy_config_last_reload_successful 1`,
		`spdy_proxy_body_bytes_total{direction="to_origin",origin="@"} 4096`,
		`spdy_proxy_body_bytes_total{direction="from_origin",origin="film"} 5.24288e+06`,
		`spdy_proxy_stream_resets_total{by="proxy",status="CANCEL"} 4`,
		`spdy_proxy_stream_resets_total{by="origin",status="REFUSED_STREAM"} 1`,
		`spdy_proxy_request_refusals_total{reason="address"} 1`,
		`spdy_proxy_request_refusals_total{reason="visitor_rate"} 0`,
		`spdy_proxy_access_log_dropped_total 12`,
		`spdy_proxy_log_dropped_total{kind="log"} 3`,
		`spdy_proxy_log_dropped_total{kind="trace"} 40`,
		`spdy_proxy_certificate_expiry_timestamp_seconds{name="new.example.org"} 0`,
		`spdy_proxy_certificate_expiry_timestamp_seconds{name="two.example.org"} 2e+09`,
		`spdy_proxy_certificate_ends_soon{name="two.example.org"} 1`,
	} {
		wantLine(t, text, line)
	}
	for _, begin := range []string{
		`spdy_proxy_build_info{goversion="go1.`, `spdy_proxy_certificate_expiry_timestamp_seconds{name="example.org"} 1`, "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(text, "\n"+begin) {
			t.Errorf("no line begins with %q", begin)
		}
	}
	for line := range strings.Lines(text) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if !strings.HasPrefix(name, "spdy_proxy_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("a name that is no one's: %q", line)
		}
	}
}

// Families come by name, each once, with the series of a name once; compressed for who
// asks for that.
func TestMetricsForm(t *testing.T) {
	f := busy()
	m := NewMetrics(f, f.board, "v1")
	text := scrape(t, m)
	var families []string
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			families = append(families, name)
		}
		if i := strings.LastIndexByte(line, ' '); line[0] != '#' {
			if seen[line[:i]] {
				t.Errorf("twice: %s", line[:i])
			}
			seen[line[:i]] = true
		}
	}
	if !slices.IsSorted(families) || len(slices.Compact(families)) != len(families) {
		t.Errorf("not in order, or not once each: %q", families)
	}
	r := httptest.NewRequest("GET", "http://localhost/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, r)
	if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() > len(text)/4 {
		t.Errorf("compressed: %q, %d bytes of %d", w.Header().Get("Content-Encoding"), w.Body.Len(), len(text))
	}
}

// Names are C's to choose, and hosts A's: neither makes labels without end.
func TestMetricsBounded(t *testing.T) {
	const labels = 100
	f := newFake(&fake{})
	m := NewMetrics(f, f.board, "v1")
	for i := range 3 * labels {
		name := fmt.Sprintf("n%d", i)
		f.board.Ended(&inspect.Request{Origin: "never-" + name, Status: 503})
		f.board.SessionStarted(name)
		f.board.Ended(&inspect.Request{Origin: name, Known: true, Status: 200})
		f.sessions = append(f.sessions, inspect.Session{Origin: name, InFlight: 1})
	}
	text := scrape(t, m)
	found := map[string]bool{}
	for _, l := range regexp.MustCompile(`origin="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		found[l[1]] = true
	}
	if got, want := len(found), labels+1; got != want {
		t.Errorf("labels: got %d, want %d", got, want)
	}
	wantLine(t, text, fmt.Sprintf(`spdy_proxy_sessions{origin="_other"} %d`, 2*labels))
	wantLine(t, text, fmt.Sprintf(`spdy_proxy_requests_total{class="2xx",origin="_other"} %d`, 2*labels))
	wantLine(t, text, fmt.Sprintf(`spdy_proxy_requests_total{class="5xx",origin="_other"} %d`, 3*labels))
}
