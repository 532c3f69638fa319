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

	"github.com/amahi/spdy-proxy/internal/inspect"
)

// otherOrigin is the label of all origins without one of their own: there is a limit,
// for A writes the Host header and C its name, and neither may grow the metrics without
// end. It is not a DNS label, so that no origin can have this name.
const otherOrigin = "_other"

// timeBounds are the upper bounds in seconds of what histograms show. They are bounds
// of inspect's histograms, too.
var timeBounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}

// Metrics is what Prometheus is told, in a registry of its own: what the Board has
// counted, what the Source says, and some counts of its own. Its methods may be called
// at once.
type Metrics struct {
	registry  *prometheus.Registry
	codes     [600]atomic.Uint64 // requests by the status sent
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
			Name: "spdy_proxy_hold_duration_seconds", Help: "How long requests that waited for an origin waited.", Buckets: timeBounds[:13],
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
	m.registry.MustRegister(m.wait, m.stalled, m.overShare, m.lifetime, build, &state{source: source, board: board, codes: &m.codes},
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
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

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 8})
}

// Request counts a request that has ended, beside what the Board counts of it.
func (m *Metrics) Request(r *inspect.Request) {
	if r.Status > 0 && r.Status < len(m.codes) {
		m.codes[r.Status].Add(1)
	}
	if r.Held > 0 {
		m.wait.Observe(r.Held.Seconds())
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

// state collects what the board and the source say.
type state struct {
	source Source
	board  *inspect.Board
	codes  *[600]atomic.Uint64
}

var (
	descRequests = desc("requests_total", "Requests of visitors that ended, by origin and class of the status; aborted: broken off after the headers, or left by the visitor.", "origin", "class")
	descErrors   = desc("request_errors_total", "Requests that came to nothing, or not to their end, and not for the visitor's sake.", "origin")
	descCodes    = desc("responses_total", "Requests of visitors that ended, by the status sent.", "code")
	descDuration = desc("request_duration_seconds", "From a request's headers to the end of its response.", "origin")
	descHeaders  = desc("response_header_seconds", "From a request's headers to those of its response.", "origin")
	descReplayed = desc("replayed_total", "Requests sent again, because the session before ended or refused them.", "origin")
	descResumed  = desc("resumed_total", "Downloads that went on over another session, each time one did.", "origin")
	descStarted  = desc("sessions_started_total", "Sessions that registered.", "origin")
	descEnded    = desc("sessions_ended_total", "Sessions that ended.", "origin")
	descBytes    = desc("body_bytes_total", "Bytes of bodies carried, by direction.", "origin", "direction")

	descOrigins  = desc("origins", "Origins with a session.")
	descByState  = desc("origins_by_state", "Origins that are known, by their state.", "state")
	descState    = desc("origin_state", "1 for the state that the origin is in, 0 for the others.", "origin", "state")
	descSessions = desc("sessions", "Connected sessions.", "origin")
	descOldest   = desc("session_age_seconds_max", "Age of the origin's oldest session.", "origin")
	descYoungest = desc("session_age_seconds_min", "Age of the origin's youngest session.", "origin")
	descOpen     = desc("streams_in_flight", "Streams open, and requests that wait for one, on the origin's sessions.", "origin")
	descRTT      = desc("ping_round_trip_seconds", "Last PING's round trip, of the origin's slowest session.", "origin")

	descInFlight = desc("requests_in_flight", "Requests of visitors that have not ended.")
	descHeld     = desc("requests_held", "Requests that wait for an origin.")
	descConns    = desc("front_connections", "Open connections of visitors.")
	descRefused  = desc("front_connections_refused_total", "Connections of visitors that were closed because there were as many as there may be: new ones, of their address or in total, and for a new one those that were silent or idle.", "reason")
	descControl  = desc("control_refusals_total", "Attempts at the control port that came to nothing.", "reason")
	descReady    = desc("ready", "1 while listening and not stopping.")
	descResets   = desc("stream_resets_total", "Streams reset, by who did it and the status.", "by", "status")
	descDropped  = desc("access_log_dropped_total", "Lines of the access log that could not be written.")
	descReload   = desc("config_last_reload_successful", "1 if the last reading of certificates, tokens and passwords went well.")
	descReloaded = desc("config_last_reload_success_timestamp_seconds", "When they were last read and all went well.")
	descExpiry   = desc("certificate_expiry_timestamp_seconds", "When a certificate ends; 0: there is none yet.", "name")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("spdy_proxy_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRequests, descErrors, descCodes, descDuration, descHeaders, descReplayed, descResumed, descStarted, descEnded, descBytes,
		descOrigins, descByState, descState, descSessions, descOldest, descYoungest, descOpen, descRTT,
		descInFlight, descHeld, descConns, descRefused, descControl, descReady, descResets, descDropped, descReload, descReloaded, descExpiry,
	} {
		ch <- d
	}
}

// sink takes metrics.
type sink chan<- prometheus.Metric

func (ch sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (ch sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (ch sink) histogram(d *prometheus.Desc, h *inspect.Histogram, labels ...string) {
	buckets := make(map[float64]uint64, len(timeBounds))
	all := uint64(0)
	for _, b := range timeBounds {
		buckets[b], all = h.Below(time.Duration(b * float64(time.Second)))
	}
	if all > 0 {
		ch <- prometheus.MustNewConstHistogram(d, all, h.Sum.Seconds(), buckets, labels...)
	}
}

// Collect implements prometheus.Collector.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	s.collectCounts(sink(ch))
	s.collectOrigins(sink(ch))
	s.collectProxy(sink(ch))
}

// collectCounts sends what requests have come to.
func (s *state) collectCounts(ch sink) {
	labelled, rest := s.board.Figures()
	labelled[otherOrigin] = rest
	for origin, c := range labelled {
		for i, class := range inspect.Classes {
			ch.counter(descRequests, c.Requests[i], origin, class)
		}
		ch.counter(descErrors, c.Errors, origin)
		ch.counter(descReplayed, c.Replayed, origin)
		ch.counter(descResumed, c.Resumed, origin)
		ch.counter(descStarted, c.Started, origin)
		ch.counter(descEnded, c.Ended, origin)
		ch.counter(descBytes, c.In, origin, "to_origin")
		ch.counter(descBytes, c.Out, origin, "from_origin")
		ch.histogram(descDuration, &c.Duration, origin)
		ch.histogram(descHeaders, &c.Headers, origin)
	}
	for code := range s.codes {
		if n := s.codes[code].Load(); n > 0 {
			ch.counter(descCodes, n, strconv.Itoa(code))
		}
	}
}

// sums are what the sessions of one label come to.
type sums struct {
	sessions, open        int
	oldest, youngest, rtt time.Duration
}

// collectOrigins sends how the origins are.
func (s *state) collectOrigins(ch sink) {
	l := s.board.ListingNow()
	connected := 0
	byLabel := map[string]*sums{otherOrigin: {}}
	for i := range l.Origins {
		o := &l.Origins[i]
		label := otherOrigin
		if o.Labelled() {
			label = o.Name
			byLabel[label] = &sums{}
			for _, state := range inspect.States {
				v := 0.0
				if o.State == state {
					v = 1
				}
				ch.gauge(descState, v, label, state)
			}
		}
		if len(o.Sessions) > 0 {
			connected++
		}
		t := byLabel[label]
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
	for _, label := range slices.Sorted(maps.Keys(byLabel)) {
		t := byLabel[label]
		ch.gauge(descSessions, float64(t.sessions), label)
		ch.gauge(descOpen, float64(t.open), label)
		if t.sessions > 0 {
			ch.gauge(descOldest, t.oldest.Seconds(), label)
			ch.gauge(descYoungest, t.youngest.Seconds(), label)
		}
		if t.rtt > 0 {
			ch.gauge(descRTT, t.rtt.Seconds(), label)
		}
	}
	ch.gauge(descOrigins, float64(connected))
	for state, n := range l.States {
		ch.gauge(descByState, float64(n), state)
	}
}

// collectProxy sends how the proxy itself is.
func (s *state) collectProxy(ch sink) {
	f := s.source.Figures()
	ready := 0.0
	if s.source.Ready() {
		ready = 1
	}
	ch.gauge(descReady, ready)
	ch.gauge(descInFlight, float64(f.Incoming))
	ch.gauge(descHeld, float64(f.Held))
	ch.gauge(descConns, float64(f.Connections.Open))
	ch.counter(descRefused, f.Connections.RefusedAddress, "address")
	ch.counter(descRefused, f.Connections.RefusedTotal, "total")
	ch.counter(descRefused, f.Connections.DroppedSilent, "silent")
	ch.counter(descRefused, f.Connections.DroppedIdle, "idle")
	for i, n := range s.board.RefusalCounts() {
		ch.counter(descControl, n, inspect.RefusalKinds[i])
	}
	ch.counter(descDropped, f.AccessLogDropped)
	failed := 1.0
	if f.ReloadFailed {
		failed = 0
	}
	ch.gauge(descReload, failed)
	ch.gauge(descReloaded, seconds(f.Reloaded))
	ends := map[string]float64{} // of several of one name, the first that ends
	for _, c := range s.source.Certificates() {
		name := strings.ToValidUTF8(c.Name, "?")
		at := max(0, seconds(c.NotAfter)) // 0: there is none yet
		if first, ok := ends[name]; !ok || at < first {
			ends[name] = at
		}
	}
	for name, at := range ends {
		ch.gauge(descExpiry, at, name)
	}
	for _, r := range s.source.Resets() {
		by := "origin"
		if r.Sent {
			by = "proxy"
		}
		ch.counter(descResets, r.Count, by, r.Status)
	}
}

// seconds is a time as Prometheus has it: seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
