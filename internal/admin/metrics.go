package admin

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxOriginLabels is how many origins have a label of their own. A name that
// came after them, or that never had a connection, counts as otherOrigin: A
// writes the Host header and C its name, and neither may grow the metrics
// without end.
const maxOriginLabels = 100

// otherOrigin is the label of all origins without one of their own. It is not
// a DNS label, so that no origin can have this name.
const otherOrigin = "_other"

// Metrics counts what Prometheus is told, in a registry of its own. Its methods
// may be called at once.
type Metrics struct {
	registry *prometheus.Registry

	requests   *prometheus.CounterVec   // by origin, class
	duration   *prometheus.HistogramVec // by origin
	headers    *prometheus.HistogramVec // by origin
	wait       prometheus.Histogram
	replayed   *prometheus.CounterVec // by origin
	resumed    *prometheus.CounterVec // by origin
	stalled    prometheus.Counter
	overShare  prometheus.Counter
	registered *prometheus.CounterVec // by origin
	ended      *prometheus.CounterVec // by origin
	lifetime   prometheus.Histogram

	// Guarded by mu.
	mu      sync.Mutex
	labels  map[string]string  // origin: its label
	counted map[string]*series // by label
}

// series are what a request of one label counts in, found in the vectors once.
// A nil field was not needed yet, and is not in what Prometheus reads.
type series struct {
	// Guarded by Metrics.mu.
	requests          [len(classes)]prometheus.Counter
	duration, headers prometheus.Observer
}

// classes are the values of the label class: of the statuses 100 to 599, and
// the last for what has none of these or was broken off.
var classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx", "aborted"}

// NewMetrics returns metrics that also show the state of source and of the
// process.
func NewMetrics(source Source, version string) *Metrics {
	seconds := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		labels:   map[string]string{},
		counted:  map[string]*series{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spdy_proxy_requests_total", Help: "Requests of visitors that ended, by origin and class of the status; aborted: broken off after the headers, or left by the visitor.",
		}, []string{"origin", "class"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spdy_proxy_request_duration_seconds", Help: "From a request's headers to the end of its response.", Buckets: seconds,
		}, []string{"origin"}),
		headers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spdy_proxy_response_header_seconds", Help: "From a request's headers to those of its response.", Buckets: seconds,
		}, []string{"origin"}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "spdy_proxy_hold_duration_seconds", Help: "How long requests that waited for an origin waited.", Buckets: seconds[:13],
		}),
		replayed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spdy_proxy_replayed_total", Help: "Requests sent again, because the session before ended or refused them.",
		}, []string{"origin"}),
		resumed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spdy_proxy_resumed_total", Help: "Downloads that went on over another session, each time one did.",
		}, []string{"origin"}),
		stalled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "spdy_proxy_stalled_total", Help: "Responses broken off because the visitor read nothing of them.",
		}),
		overShare: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "spdy_proxy_over_share_total", Help: "Requests refused because their visitor's address had its share of requests open.",
		}),
		registered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spdy_proxy_sessions_started_total", Help: "Sessions that registered.",
		}, []string{"origin"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spdy_proxy_sessions_ended_total", Help: "Sessions that ended.",
		}, []string{"origin"}),
		lifetime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "spdy_proxy_session_duration_seconds", Help: "How long sessions that ended had lasted.",
			Buckets: []float64{1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400},
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "spdy_proxy_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.headers, m.wait, m.replayed, m.resumed, m.stalled, m.overShare, m.registered, m.ended,
		m.lifetime, build, &state{source: source, label: m.label},
		// "spdy_proxy_process_...": every name here begins alike.
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{Namespace: "spdy_proxy"}))
	prometheus.WrapRegistererWithPrefix("spdy_proxy_", m.registry).MustRegister(collectors.NewGoCollector())
	return m
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 8})
}

// label returns the label of an origin that may have none.
func (m *Metrics) label(origin string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.labelLocked(origin)
}

func (m *Metrics) labelLocked(origin string) string {
	if l, ok := m.labels[origin]; ok {
		return l
	}
	return otherOrigin
}

func (m *Metrics) giveLabelLocked(origin string) {
	if _, ok := m.labels[origin]; !ok && len(m.labels) < maxOriginLabels {
		m.labels[origin] = origin
	}
}

// SessionStarted counts a session that registered. From then on its origin has
// a label, if there is one left.
func (m *Metrics) SessionStarted(origin string) {
	m.mu.Lock()
	m.giveLabelLocked(origin)
	m.mu.Unlock()
	m.registered.WithLabelValues(m.label(origin)).Inc()
}

// SessionEnded counts a session that ended after d.
func (m *Metrics) SessionEnded(origin string, d time.Duration) {
	m.ended.WithLabelValues(m.label(origin)).Inc()
	m.lifetime.Observe(d.Seconds())
}

// Request is what is counted of a request of A's that ended.
type Request struct {
	Origin string // "@" for the default one
	// Known: the origin had a session. It gets a label then, if there is one
	// left: the first request may end before SessionStarted is called.
	Known    bool
	Status   int           // 0 if none was sent
	Aborted  bool          // broken off after the headers, or A left
	Headers  time.Duration // until the response's headers, 0 if none came
	Duration time.Duration // until its end
	Held     time.Duration // how long it waited for an origin, 0 if it did not
	Replayed int           // how often it was sent again
	Resumed  int           // how often its answer went on over another session

	Stalled   bool // broken off because the visitor read nothing
	OverShare bool // refused because its address had its share
}

// Request counts r.
func (m *Metrics) Request(r Request) {
	class := len(classes) - 1
	if !r.Aborted && r.Status >= 100 && r.Status <= 599 {
		class = r.Status/100 - 1
	}
	origin, requests, duration, headers := m.find(r.Origin, r.Known, class, r.Headers > 0)
	requests.Inc()
	duration.Observe(r.Duration.Seconds())
	if headers != nil {
		headers.Observe(r.Headers.Seconds())
	}
	if r.Held > 0 {
		m.wait.Observe(r.Held.Seconds())
	}
	if r.Replayed > 0 {
		m.replayed.WithLabelValues(origin).Add(float64(r.Replayed))
	}
	if r.Stalled {
		m.stalled.Inc()
	}
	if r.OverShare {
		m.overShare.Inc()
	}
	if r.Resumed > 0 {
		m.resumed.WithLabelValues(origin).Add(float64(r.Resumed))
	}
}

// find returns the origin's label, and what every request counts in; headers
// only if its response had any.
func (m *Metrics) find(name string, known bool, class int, had bool) (origin string, requests prometheus.Counter, duration, headers prometheus.Observer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known {
		m.giveLabelLocked(name)
	}
	origin = m.labelLocked(name)
	s := m.counted[origin]
	if s == nil {
		s = &series{duration: m.duration.WithLabelValues(origin)}
		m.counted[origin] = s
	}
	if s.requests[class] == nil {
		s.requests[class] = m.requests.WithLabelValues(origin, classes[class])
	}
	if had && s.headers == nil {
		s.headers = m.headers.WithLabelValues(origin)
	}
	if had {
		headers = s.headers
	}
	return origin, s.requests[class], s.duration, headers
}

// state collects what a snapshot of the source says.
type state struct {
	source Source
	label  func(origin string) string
}

var (
	descOrigins  = desc("origins", "Origins with a session.")
	descSessions = desc("sessions", "Connected sessions.", "origin")
	descOldest   = desc("session_age_seconds_max", "Age of the origin's oldest session.", "origin")
	descYoungest = desc("session_age_seconds_min", "Age of the origin's youngest session.", "origin")
	descOpen     = desc("streams_in_flight", "Streams open, and requests that wait for one, on the origin's sessions.", "origin")
	descRTT      = desc("ping_round_trip_seconds", "Last PING's round trip, of the origin's slowest session.", "origin")
	descInFlight = desc("requests_in_flight", "Requests of visitors that have not ended.")
	descHeld     = desc("requests_held", "Requests that wait for an origin.")
	descConns    = desc("front_connections", "Open connections of visitors.")
	descRefused  = desc("front_connections_refused_total", "Connections of visitors that were closed because there were as many as there may be: new ones, of their address or in total, and for a new one those that were silent or idle.", "reason")
	descReady    = desc("ready", "1 while listening and not stopping.")
	descBytes    = desc("body_bytes_total", "Bytes of bodies carried, by direction.", "direction")
	descResets   = desc("stream_resets_total", "Streams reset, by who did it and the status.", "by", "status")
	descDropped  = desc("access_log_dropped_total", "Lines of the access log that could not be written.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("spdy_proxy_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOrigins, descSessions, descOldest, descYoungest, descOpen, descRTT,
		descInFlight, descHeld, descConns, descRefused, descReady, descBytes, descResets, descDropped} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	now, snap := time.Now(), s.source.Snapshot()
	type sums struct {
		sessions, open        int
		oldest, youngest, rtt time.Duration
	}
	byLabel := map[string]*sums{}
	for _, o := range snap.Origins {
		l := s.label(o.Name)
		for _, c := range o.Sessions {
			age := now.Sub(c.Since)
			t := byLabel[l]
			if t == nil {
				t = &sums{youngest: age}
				byLabel[l] = t
			}
			t.sessions++
			t.open += c.InFlight
			t.oldest, t.youngest = max(t.oldest, age), min(t.youngest, age)
			t.rtt = max(t.rtt, c.RoundTrip)
		}
	}
	for l, t := range byLabel {
		gauge(descSessions, float64(t.sessions), l)
		gauge(descOpen, float64(t.open), l)
		gauge(descOldest, t.oldest.Seconds(), l)
		gauge(descYoungest, t.youngest.Seconds(), l)
		if t.rtt > 0 {
			gauge(descRTT, t.rtt.Seconds(), l)
		}
	}
	ready := 0.0
	if s.source.Ready() {
		ready = 1
	}
	gauge(descReady, ready)
	gauge(descOrigins, float64(len(snap.Origins)))
	gauge(descInFlight, float64(snap.Incoming))
	gauge(descHeld, float64(snap.Held))
	gauge(descConns, float64(snap.Connections.Open))
	counter(descRefused, snap.Connections.RefusedAddress, "address")
	counter(descRefused, snap.Connections.RefusedTotal, "total")
	counter(descRefused, snap.Connections.DroppedSilent, "silent")
	counter(descRefused, snap.Connections.DroppedIdle, "idle")
	counter(descBytes, snap.Totals.ToC, "to_origin")
	counter(descBytes, snap.Totals.FromC, "from_origin")
	counter(descDropped, snap.Totals.AccessLogDropped)
	for _, r := range snap.Totals.Resets {
		by := "origin"
		if r.Sent {
			by = "proxy"
		}
		counter(descResets, r.Count, by, r.Status)
	}
}
