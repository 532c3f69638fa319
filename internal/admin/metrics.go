package admin

import (
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/amahi/spdy-proxy/internal/inspect"
)

// otherOrigin is the label of all origins without one of their own: there is a limit,
// for A writes the Host header and C its name, and neither may grow the metrics without
// end. It is not a DNS label, so that no origin can have this name.
const otherOrigin = "_other"

// The upper bounds in seconds of what histograms show of each origin: few, for each is a
// series of each of a thousand. They are bounds of inspect's histograms, too.
var (
	headerBounds   = []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 60}
	durationBounds = []float64{.025, .1, .5, 1, 2.5, 10, 60, 600}
)

// usualCodes are counted from 0 on, so that the first of a kind is seen to come.
var usualCodes = []int{101, 200, 204, 206, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 408, 413, 416, 429, 431, 499, 500, 501, 502, 503, 504}

// Metrics is what Prometheus is told, in a registry of its own: what the Board has
// counted, what the Source says, and some counts of its own. Its methods may be called
// at once.
type Metrics struct {
	registry  *prometheus.Registry
	state     state
	codes     [600]atomic.Uint64 // requests by the status sent
	refusals  [len(inspect.RequestRefusals)]atomic.Uint64
	wait      prometheus.Histogram
	stalled   prometheus.Counter
	overShare prometheus.Counter
	lifetime  prometheus.Histogram
}

// NewMetrics returns metrics that show what board and source know, and the process.
func NewMetrics(source Source, board *inspect.Board, version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "spdy_proxy_hold_duration_seconds", Help: "How long requests that waited for an origin waited.", Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		stalled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "spdy_proxy_stalled_total", Help: "Responses broken off because the visitor read nothing of them.",
		}),
		overShare: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "spdy_proxy_over_share_total", Help: "Requests refused because their visitor's address had its share of requests open.",
		}),
		lifetime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "spdy_proxy_session_duration_seconds", Help: "How long sessions that ended had lasted.",
			Buckets: []float64{1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400},
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "spdy_proxy_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision(), "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.wait, m.stalled, m.overShare, m.lifetime, build,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	m.state = state{source: source, board: board, metrics: m}
	return m
}

// revision returns the commit that the program was built from, "unknown" if it does
// not say.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

// maxScrapes is how many may be answered at once, each of which takes some 10 MB with
// many origins; one more is 503.
const maxScrapes = 4

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(gatherer{m.registry, &m.state}, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

// Request counts a request that has ended, beside what the Board counts of it.
func (m *Metrics) Request(r *inspect.Request) {
	if r.Status > 0 && r.Status < len(m.codes) {
		m.codes[r.Status].Add(1)
	}
	if r.Held > 0 {
		m.wait.Observe(r.Held.Seconds())
	}
	if i := slices.Index(inspect.RequestRefusals[:], r.Refused); i >= 0 {
		m.refusals[i].Add(1)
	}
	if r.Stalled {
		m.stalled.Inc()
	}
	if r.OverShare {
		m.overShare.Inc()
	}
}

// SessionEnded counts a session that ended after d.
func (m *Metrics) SessionEnded(d time.Duration) { m.lifetime.Observe(d.Seconds()) }

// state is what the board and the source say.
type state struct {
	source  Source
	board   *inspect.Board
	metrics *Metrics // its counts
}

// desc describes what a Collector sends.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("spdy_proxy_"+name, help, labels, nil)
}

func (s *state) gather(fs *families) {
	s.gatherCounts(fs)
	s.gatherOrigins(fs)
	s.gatherProxy(fs)
}

// gatherCounts adds what requests have come to.
func (s *state) gatherCounts(fs *families) {
	requests := fs.counter("requests_total", "Requests of visitors that ended, by origin and class of the status; aborted: broken off after the headers, or left by the visitor.")
	errors := fs.counter("request_errors_total", "Requests that came to nothing, or not to their end, and not for the visitor's sake.")
	replayed := fs.counter("replayed_total", "Requests sent again, because the session before ended or refused them.")
	resumed := fs.counter("resumed_total", "Downloads that went on over another session, each time one did.")
	started := fs.counter("sessions_started_total", "Sessions that registered.")
	ended := fs.counter("sessions_ended_total", "Sessions that ended.")
	bytes := fs.counter("body_bytes_total", "Bytes of bodies carried, by direction.")
	duration := fs.histogram("request_duration_seconds", "From a request's headers to the end of its response.")
	headers := fs.histogram("response_header_seconds", "From a request's headers to those of its response.")

	toOrigin, fromOrigin := label("direction", "to_origin"), label("direction", "from_origin")
	var classes [len(inspect.Classes)]*dto.LabelPair
	for i, class := range inspect.Classes {
		classes[i] = label("class", class)
	}
	labelled, rest := s.board.Figures()
	labelled[otherOrigin] = rest
	for _, name := range slices.Sorted(maps.Keys(labelled)) {
		c, origin := labelled[name], label("origin", name)
		only := labels{origin}
		for i, class := range classes {
			requests.set(float64(c.Requests[i]), labels{class, origin})
		}
		errors.set(float64(c.Errors), only)
		replayed.set(float64(c.Replayed), only)
		resumed.set(float64(c.Resumed), only)
		started.set(float64(c.Started), only)
		ended.set(float64(c.Ended), only)
		bytes.set(float64(c.In), labels{toOrigin, origin})
		bytes.set(float64(c.Out), labels{fromOrigin, origin})
		duration.observed(&c.Duration, durationBounds, only)
		headers.observed(&c.Headers, headerBounds, only)
	}
	codes := fs.counter("responses_total", "Requests of visitors that ended, by the status sent.")
	for code := range s.metrics.codes {
		if n := s.metrics.codes[code].Load(); n > 0 || slices.Contains(usualCodes, code) {
			codes.set(float64(n), labels{label("code", strconv.Itoa(code))})
		}
	}
}

// sums are what the sessions of one label come to.
type sums struct {
	sessions, open        int
	oldest, youngest, rtt time.Duration
}

// gatherOrigins adds how the origins are.
func (s *state) gatherOrigins(fs *families) {
	l := s.board.ListingNow()
	connected := 0
	state := fs.gauge("origin_state", "1 for the state that the origin is in, 0 for the others.")
	byState := fs.gauge("origins_by_state", "Origins that are known, by their state.")
	states := make(map[string]*dto.LabelPair, len(inspect.States))
	for _, name := range inspect.States {
		states[name] = label("state", name)
		byState.set(float64(l.States[name]), labels{states[name]})
	}
	byLabel := map[string]*sums{otherOrigin: {}}
	for i := range l.Origins {
		o := &l.Origins[i]
		name := otherOrigin
		if o.Labelled() {
			name = o.Name
			byLabel[name] = &sums{}
			origin := label("origin", name)
			for _, one := range inspect.States {
				v := 0.0
				if o.State == one {
					v = 1
				}
				state.set(v, labels{origin, states[one]})
			}
		}
		if len(o.Sessions) > 0 {
			connected++
		}
		t := byLabel[name]
		for _, c := range o.Sessions {
			age := l.At.Sub(c.Since)
			if t.sessions == 0 {
				t.youngest = age
			}
			t.sessions++
			t.open += c.InFlight
			t.oldest, t.youngest = max(t.oldest, age), min(t.youngest, age)
			t.rtt = max(t.rtt, c.RoundTrip)
		}
	}
	sessions := fs.gauge("sessions", "Connected sessions.")
	open := fs.gauge("streams_in_flight", "Streams open, and requests that wait for one, on the origin's sessions.")
	oldest := fs.gauge("session_age_seconds_max", "Age of the origin's oldest session.")
	youngest := fs.gauge("session_age_seconds_min", "Age of the origin's youngest session.")
	rtt := fs.gauge("ping_round_trip_seconds", "Last PING's round trip, of the origin's slowest session.")
	for _, name := range slices.Sorted(maps.Keys(byLabel)) {
		t, only := byLabel[name], labels{label("origin", name)}
		sessions.set(float64(t.sessions), only)
		open.set(float64(t.open), only)
		if t.sessions > 0 {
			oldest.set(t.oldest.Seconds(), only)
			youngest.set(t.youngest.Seconds(), only)
		}
		if t.rtt > 0 {
			rtt.set(t.rtt.Seconds(), only)
		}
	}
	fs.one("origins", "Origins with a session.", float64(connected))
}

// gatherProxy adds how the proxy itself is.
func (s *state) gatherProxy(fs *families) {
	f := s.source.Figures()
	flag := map[bool]float64{true: 1}
	fs.one("ready", "1 while listening and not stopping.", flag[s.source.Ready()])
	fs.one("requests_in_flight", "Requests of visitors that have not ended.", float64(f.Incoming))
	fs.one("requests_held", "Requests that wait for an origin.", float64(f.Held))
	fs.one("front_connections", "Open connections of visitors.", float64(f.Connections.Open))
	refused := fs.counter("front_connections_refused_total", "Connections of visitors that were closed because there were as many as there may be: new ones, of their address or in total, and for a new one those that were silent or idle.")
	reason := func(of family, n uint64, why string) { of.set(float64(n), labels{label("reason", why)}) }
	reason(refused, f.Connections.RefusedAddress, "address")
	reason(refused, f.Connections.DroppedIdle, "idle")
	reason(refused, f.Connections.DroppedSilent, "silent")
	reason(refused, f.Connections.RefusedTotal, "total")
	control := fs.counter("control_refusals_total", "Attempts at the control port that came to nothing.")
	for i, n := range s.board.RefusalCounts() {
		reason(control, n, inspect.RefusalKinds[i])
	}
	requests := fs.counter("request_refusals_total", "Requests that were not let through to an origin: of an address that may not, without the password, above a rate of one visitor or of all, above what may be in flight of the origin, or above the visitor's share of that.")
	for i, why := range inspect.RequestRefusals {
		reason(requests, s.metrics.refusals[i].Load(), why)
	}
	fs.counter("access_log_dropped_total", "Lines of the access log that could not be written.").set(float64(f.AccessLogDropped), nil)
	dropped := fs.counter("log_dropped_total", "Lines for standard error that were left out because it did not take them: of the log, and of frames with --spdy-debug that had no room.")
	dropped.set(float64(f.LogDropped), labels{label("kind", "log")})
	dropped.set(float64(f.TraceDropped), labels{label("kind", "trace")})
	fs.one("config_last_reload_successful", "1 if the last reading of certificates, tokens and passwords went well.", flag[!f.ReloadFailed])
	fs.one("config_last_reload_success_timestamp_seconds", "When they were last read and all went well.", seconds(f.Reloaded))
	ends, soon := map[string]float64{}, map[string]bool{} // of several of one name, one that ends soon, else the first that ends
	for _, c := range s.source.Certificates() {
		name := strings.ToValidUTF8(c.Name, "?")
		at := max(0, seconds(c.NotAfter)) // 0: there is none yet
		first, ok := ends[name]
		if !ok || c.EndsSoon && !soon[name] || c.EndsSoon == soon[name] && at < first {
			ends[name], soon[name] = at, c.EndsSoon
		}
	}
	expiry := fs.gauge("certificate_expiry_timestamp_seconds", "When a certificate ends; 0: there is none yet.")
	renew := fs.gauge("certificate_ends_soon", "1 where a certificate should have been renewed: 14 days before its end, or a sixth of its time if that is less.")
	for _, name := range slices.Sorted(maps.Keys(ends)) {
		only := labels{label("name", name)}
		expiry.set(ends[name], only)
		renew.set(flag[soon[name]], only)
	}
	resets := fs.counter("stream_resets_total", "Streams reset, by who did it and the status.")
	for _, r := range s.source.Resets() {
		by := "origin"
		if r.Sent {
			by = "proxy"
		}
		resets.set(float64(r.Count), labels{label("by", by), label("status", r.Status)})
	}
}

// seconds is a time as Prometheus has it: seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
