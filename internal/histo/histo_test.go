package histo

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// Every duration is in the bucket whose bounds it lies between.
func TestBounds(t *testing.T) {
	for range 10_000 {
		d := time.Duration(math.Exp2(rand.Float64()*29 + 10.1)) // 1.1 µs to 590 s
		i := index(d)
		if s := d.Seconds(); s > Bound(i)*(1+1e-12) || s <= Bound(i-1)*(1-1e-12) {
			t.Fatalf("%v is in bucket %d, from %g to %g", d, i, Bound(i-1), Bound(i))
		}
	}
	for d, want := range map[time.Duration]int{-1: First, 0: First, 1: First, time.Second: 0, 2 * time.Second: 4, 1 << 62: Last} {
		if got := index(d); got != want {
			t.Errorf("%v is in bucket %d; want %d", d, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	var h Histogram
	if s := h.Snapshot(); s.Quantile(0.5) != 0 || s.Count != 0 {
		t.Errorf("nothing was counted, and it has %+v", s)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				h.Observe(time.Millisecond, 2)
				h.Observe(time.Second, 1)
			}
		})
	}
	all.Wait()
	s := h.Snapshot()
	if s.Count != 1200 || math.Abs(s.Sum-400.8) > 1e-6 {
		t.Errorf("%d durations of %g s; want 1200 of 400.8 s", s.Count, s.Sum)
	}
	if below := s.Below(0.5); below != 800 {
		t.Errorf("%d below half a second; want 800", below)
	}
	if below := s.Below(1); below != 1200 {
		t.Errorf("%d up to a second; want 1200", below)
	}
	if p50, p99 := s.Quantile(0.5), s.Quantile(0.99); p50 < 0.001 || p50 > 0.0012 || p99 != 1 {
		t.Errorf("p50 %g, p99 %g; want 1 ms and 1 s", p50, p99)
	}
}

func TestExemplars(t *testing.T) {
	var h Histogram
	h.ObserveTraced(time.Millisecond, "")
	if s := h.Snapshot(); s.Count != 1 || s.Exemplars != nil {
		t.Errorf("without a trace: %+v", s)
	}
	h.ObserveTraced(time.Second, "slow")
	h.ObserveTraced(time.Millisecond, "first")
	h.ObserveTraced(time.Millisecond, "last")
	s := h.Snapshot()
	if s.Count != 4 || len(s.Exemplars) != 2 || s.Exemplars[0].Trace != "last" || s.Exemplars[1].Trace != "slow" || s.Exemplars[1].Took != time.Second || s.Exemplars[0].At.IsZero() {
		t.Errorf("%+v", s.Exemplars)
	}
}
