package ui

import (
	"testing"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
)

func TestAges(t *testing.T) {
	if agesOf(nil) != nil {
		t.Error("no histogram has ages")
	}
	var h histo.Histogram
	h.Observe(700*time.Microsecond, 90)
	h.Observe(40*time.Millisecond, 9)
	h.Observe(2*time.Hour, 1)
	a := agesOf(h.Snapshot())
	if a.Count != 100 || a.P50 < 0.7 || a.P50 > 0.9 || a.P99 < 40 || a.P99 > 50 || len(a.Counts) != len(a.Bounds)+1 {
		t.Errorf("%+v", a)
	}
	sum := uint64(0)
	for i, n := range a.Counts {
		if sum += n; i < len(a.Bounds) && a.Bounds[i] == 50 && n != 9 {
			t.Errorf("up to 50 ms are %d; want 9", n)
		}
	}
	if sum != 100 || a.Counts[0] != 90 || a.Counts[len(a.Counts)-1] != 1 {
		t.Errorf("the cells are %v", a.Counts)
	}
	if none := agesOf(new(histo.Histogram).Snapshot()); none.Count != 0 || none.Max != 0 {
		t.Errorf("nothing was seen: %+v", none)
	}
}
