package promhisto

import (
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
)

// collector shows one histogram.
type collector struct {
	desc *prometheus.Desc
	of   *histo.Snapshot
}

func (c collector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }
func (c collector) Collect(out chan<- prometheus.Metric) { out <- New(c.desc, c.of, Fast(), "L1") }

func TestHistogramsAreNativeAndClassic(t *testing.T) {
	var h histo.Histogram
	for d, n := range map[time.Duration]uint64{time.Microsecond: 5, 900 * time.Microsecond: 2, time.Second: 1, time.Hour: 1} {
		h.Observe(d, n)
	}
	c := collector{prometheus.NewDesc("x_seconds", "How long.", []string{"tier"}, nil), h.Snapshot()}
	registry, page := prometheus.NewRegistry(), httptest.NewRecorder()
	registry.MustRegister(c)
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	text := page.Body.String()
	for _, want := range []string{`x_seconds_bucket{tier="L1",le="0.001"} 7`, `x_seconds_bucket{tier="L1",le="8"} 8`, `x_seconds_bucket{tier="L1",le="+Inf"} 9`,
		`x_seconds_count{tier="L1"} 9`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	var out dto.Metric
	if err := New(c.desc, c.of, Fast(), "L1").Write(&out); err != nil {
		t.Fatal(err)
	}
	// The native buckets hold what was observed, where it belongs.
	index, count, delta := int32(0), int64(0), 0
	sum := 0.0
	for _, span := range out.Histogram.PositiveSpan {
		index += span.GetOffset()
		for range span.GetLength() {
			count += out.Histogram.PositiveDelta[delta]
			sum += float64(count) * math.Exp2(float64(index)/4)
			index, delta = index+1, delta+1
		}
	}
	if delta != len(out.Histogram.PositiveDelta) || out.Histogram.GetSchema() != histo.Schema || sum < 1025 || sum > 1026 {
		t.Errorf("%d buckets, of which the spans name %d; the bounds sum up to %g", len(out.Histogram.PositiveDelta), delta, sum)
	}
}

// TestExemplarsNameTraces reads them from the protobuf that Prometheus asks for.
func TestExemplarsNameTraces(t *testing.T) {
	var h histo.Histogram
	h.ObserveTraced(900*time.Microsecond, "a")
	h.ObserveTraced(700*time.Microsecond, "b")
	h.ObserveTraced(time.Hour, "c")
	var out dto.Metric
	desc := prometheus.NewDesc("x_seconds", "How long.", []string{"tier"}, nil)
	if err := New(desc, h.Snapshot(), Fast(), "L1").Write(&out); err != nil {
		t.Fatal(err)
	}
	if n := len(out.Histogram.Exemplars); n != 3 {
		t.Errorf("the native histogram has %d exemplars; want 3", n)
	}
	named := map[float64]string{}
	for _, b := range out.Histogram.Bucket {
		if e := b.GetExemplar(); e != nil {
			named[b.GetUpperBound()] = e.Label[0].GetName() + "=" + e.Label[0].GetValue()
			if e.GetTimestamp().AsTime().IsZero() || e.GetValue() > b.GetUpperBound() {
				t.Errorf("the exemplar of %g is %v", b.GetUpperBound(), e)
			}
		}
	}
	if len(named) != 1 || named[1e-3] != "trace_id=a" {
		t.Errorf("the buckets name %v", named)
	}
}
