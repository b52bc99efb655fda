// Package promhisto shows histograms of package histo to Prometheus, as native and as classic ones.
package promhisto

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
)

// Fast are the bounds of the classic buckets of what takes up to seconds, in seconds; Slow of ages
// up to minutes.
var (
	fast = []float64{1e-6, 4e-6, 16e-6, 64e-6, 256e-6, 1e-3, 4e-3, 16e-3, 64e-3, 0.25, 0.5, 1, 2, 4, 8}
	slow = []float64{1e-3, 4e-3, 16e-3, 64e-3, 0.25, 1, 4, 16, 64, 256, 1024}
)

// Fast returns the bounds of the classic buckets of what takes up to seconds, in seconds.
func Fast() []float64 { return fast }

// Slow returns those of ages up to minutes.
func Slow() []float64 { return slow }

// metric is one histogram.
type metric struct {
	desc   *prometheus.Desc
	of     *histo.Snapshot
	bounds []float64
	labels []*dto.LabelPair
}

// New returns what was counted as a metric. The labels' values are in the order of the names that
// desc was made with; bounds are those of the classic buckets, in seconds.
func New(desc *prometheus.Desc, of *histo.Snapshot, bounds []float64, values ...string) prometheus.Metric {
	return metric{desc, of, bounds, prometheus.MakeLabelPairs(desc, values)}
}

// Desc implements prometheus.Metric.
func (m metric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m metric) Write(out *dto.Metric) error {
	h := &dto.Histogram{SampleCount: &m.of.Count, SampleSum: &m.of.Sum}
	for _, bound := range m.bounds {
		below := m.of.Below(bound)
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: &below})
	}
	native(h, m.of)
	exemplars(h, m.of.Exemplars)
	out.Histogram, out.Label = h, m.labels
	return nil
}

// native adds the buckets of the native histogram: spans of buckets, and the difference of each
// from the one before.
func native(h *dto.Histogram, of *histo.Snapshot) {
	schema, zero := int32(histo.Schema), uint64(0)
	threshold := 1e-9
	h.Schema, h.ZeroCount, h.ZeroThreshold = &schema, &zero, &threshold
	next, before := int32(0), int64(0)
	for i, count := range of.Buckets {
		if count == 0 {
			continue
		}
		index := int32(histo.First + i)
		if n := len(h.PositiveSpan); n == 0 || index != next {
			offset, length := index-next, uint32(0)
			h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: &offset, Length: &length})
		}
		*h.PositiveSpan[len(h.PositiveSpan)-1].Length++
		h.PositiveDelta = append(h.PositiveDelta, int64(count)-before)
		next, before = index+1, int64(count)
	}
	if len(h.PositiveSpan) == 0 { // or it would not be told from a classic one
		offset, length := int32(0), uint32(0)
		h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: &offset, Length: &length})
	}
}

// exemplars adds one to each classic bucket that has any, and all to the native histogram.
func exemplars(h *dto.Histogram, all []histo.Exemplar) {
	name := "trace_id"
	for _, one := range all {
		took := one.Took.Seconds()
		e := &dto.Exemplar{Label: []*dto.LabelPair{{Name: &name, Value: &one.Trace}}, Value: &took, Timestamp: timestamppb.New(one.At)}
		h.Exemplars = append(h.Exemplars, e)
		i := slices.IndexFunc(h.Bucket, func(b *dto.Bucket) bool { return took <= b.GetUpperBound() })
		if i >= 0 { // of several the longest
			h.Bucket[i].Exemplar = e
		}
	}
}
