package growth

import (
	"runtime/metrics"
	"strings"
	"testing"
)

func TestTheTableDividesByTheFewest(t *testing.T) {
	text := table([]result{{users: 10_000, edgecache: 100, bare: 50, bytes: 600}, {users: 1_000_000, edgecache: 300, bare: 100, bytes: 500}})
	if !strings.Contains(text, "| 1000000 | 300 ns | 0-0 ns | 100 ns | 3.00 | 3.00 | 1.50 | 500 |") {
		t.Errorf("the table is\n%s", text)
	}
}

func TestQuantileCountsWhatCameAfter(t *testing.T) {
	before := &metrics.Float64Histogram{Counts: []uint64{100, 0, 0}, Buckets: []float64{0, 1, 2, 3}}
	now := &metrics.Float64Histogram{Counts: []uint64{100, 98, 2}, Buckets: before.Buckets}
	if got := quantile(now, before, 0.99); got != 3 {
		t.Errorf("the 99th of 100 is %v; want 3", got)
	}
	if got := quantile(now, before, 0.5); got != 2 {
		t.Errorf("the median is %v; want 2", got)
	}
}
