// Package histo counts durations in the buckets of a native histogram of Prometheus, without
// Prometheus: what counts links no library of metrics.
package histo

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// Schema is that of the native histogram: each bucket is 2^(1/4) = 1.19 times the one before.
	Schema = 2
	// First is the index of the first bucket, whose upper bound is 2^(First/4) s: what is shorter
	// is in it as well. Last is that of the last, for what is longer.
	First = -80 // 0.95 µs
	Last  = 40  // 1024 s
)

// Histogram counts durations. The zero value is ready; its methods may be called concurrently.
type Histogram struct {
	buckets [Last - First + 1]atomic.Uint64
	sum     atomic.Int64 // in nanoseconds
	// exemplars is nil until there is one.
	exemplars atomic.Pointer[exemplars]
}

// Observe counts a duration n times; one below 0 counts as 0.
func (h *Histogram) Observe(d time.Duration, n uint64) {
	d = max(d, 0)
	h.buckets[index(d)-First].Add(n)
	h.sum.Add(int64(d) * int64(n))
}

// index returns the bucket of d: i holds what is above 2^((i-1)/4) s and at most 2^(i/4) s.
func index(d time.Duration) int {
	if d <= 0 {
		return First
	}
	i := int(math.Ceil(4 * math.Log2(d.Seconds())))
	return min(max(i, First), Last)
}

// Bound returns the upper bound of a bucket in seconds.
func Bound(i int) float64 { return math.Exp2(float64(i) / 4) }

// Snapshot is what a Histogram has counted.
type Snapshot struct {
	// Count is how many durations there were, Sum theirs in seconds.
	Count uint64
	Sum   float64
	// Buckets are how many fell into each, beginning with First.
	Buckets [Last - First + 1]uint64
	// Exemplars has at most one of each bucket, the shortest first; none where nothing is traced.
	Exemplars []Exemplar
}

// Snapshot returns what was counted so far.
func (h *Histogram) Snapshot() *Snapshot {
	s := &Snapshot{Sum: time.Duration(h.sum.Load()).Seconds(), Exemplars: h.exemplars.Load().snapshot()}
	for i := range h.buckets {
		s.Buckets[i] = h.buckets[i].Load()
		s.Count += s.Buckets[i]
	}
	return s
}

// Below returns how many durations were at most so many seconds, rounded down to a bound.
func (s *Snapshot) Below(seconds float64) (n uint64) {
	for i, count := range s.Buckets {
		if Bound(First+i) > seconds*(1+1e-9) {
			break
		}
		n += count
	}
	return n
}

// Quantile returns the bound, in seconds, that a share q of the durations does not exceed; 0 for
// none counted.
func (s *Snapshot) Quantile(q float64) float64 {
	need, n := uint64(math.Ceil(q*float64(s.Count))), uint64(0)
	for i, count := range s.Buckets {
		if n += count; n >= need && n > 0 {
			return Bound(First + i)
		}
	}
	return 0
}
