package admin

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/amahi/spdy-proxy/internal/inspect"
)

// families are metrics as Prometheus' encoder takes them. A registry would make each of
// them from a description, check it against all others and sort them, which for a
// thousand origins took a second of CPU at each look; here they come sorted, and a
// series is an element of a slice.
type families struct {
	list   []*dto.MetricFamily
	series []series // not handed out yet
}

// series is a metric with its value, allocated together.
type series struct {
	metric  dto.Metric
	counter dto.Counter
	gauge   dto.Gauge
	value   float64
}

// labels are those of one series, by the label's name. They may be shared.
type labels []*dto.LabelPair

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// family is a metric, to which series are added.
type family struct {
	in *families
	of *dto.MetricFamily
}

func (fs *families) add(name, help string, kind dto.MetricType) family {
	name = "spdy_proxy_" + name
	f := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
	fs.list = append(fs.list, f)
	return family{fs, f}
}

func (fs *families) counter(name, help string) family {
	return fs.add(name, help, dto.MetricType_COUNTER)
}
func (fs *families) gauge(name, help string) family { return fs.add(name, help, dto.MetricType_GAUGE) }
func (fs *families) histogram(name, help string) family {
	return fs.add(name, help, dto.MetricType_HISTOGRAM)
}

// one is a gauge without labels.
func (fs *families) one(name, help string, v float64) { fs.gauge(name, help).set(v, nil) }

// set adds a series of a counter or a gauge.
func (f family) set(v float64, l labels) {
	if len(f.in.series) == 0 {
		f.in.series = make([]series, 256)
	}
	s := &f.in.series[0]
	f.in.series = f.in.series[1:]
	s.value, s.metric.Label = v, l
	if f.of.GetType() == dto.MetricType_COUNTER {
		s.counter.Value, s.metric.Counter = &s.value, &s.counter
	} else {
		s.gauge.Value, s.metric.Gauge = &s.value, &s.gauge
	}
	f.of.Metric = append(f.of.Metric, &s.metric)
}

// observed adds a series of a histogram, whose classes end at bounds, in seconds: some of
// those of inspect's.
func (f family) observed(h *inspect.Histogram, bounds []float64, l labels) {
	made := struct {
		buckets []dto.Bucket
		below   []uint64
		list    []*dto.Bucket
	}{make([]dto.Bucket, len(bounds)), make([]uint64, len(bounds)), make([]*dto.Bucket, len(bounds))}
	all := uint64(0)
	for i := range bounds {
		made.below[i], all = h.Below(time.Duration(bounds[i] * float64(time.Second)))
		made.buckets[i].UpperBound, made.buckets[i].CumulativeCount, made.list[i] = &bounds[i], &made.below[i], &made.buckets[i]
	}
	sum := h.Sum.Seconds()
	f.of.Metric = append(f.of.Metric, &dto.Metric{Label: l, Histogram: &dto.Histogram{SampleCount: &all, SampleSum: &sum, Bucket: made.list}})
}

// gatherer has the metrics of a registry, and those of state.
type gatherer struct {
	registry prometheus.Gatherer
	state    *state
}

// Gather implements prometheus.Gatherer. Families come by name.
func (g gatherer) Gather() ([]*dto.MetricFamily, error) {
	list, err := g.registry.Gather()
	fs := families{list: list}
	g.state.gather(&fs)
	// The encoder takes none without a series.
	fs.list = slices.DeleteFunc(fs.list, func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 })
	slices.SortFunc(fs.list, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return fs.list, err
}
