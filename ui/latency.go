package ui

import (
	"math"
	"slices"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// Buckets is how many a Latency has.
	Buckets = 40
	// PerDecade is how many of them lie between one power of ten and the next.
	PerDecade = 5
	// shortest is where the first bucket begins.
	shortest = 100 * time.Nanosecond
)

// Latency is a distribution of durations.
type Latency struct {
	// Lookups is how many it stands for: a timed hit stands for look.SampleHits.
	Lookups int `json:"lookups"`
	// P50 and P99 are quantiles.
	P50 profile.Millis `json:"p50Ms"`
	P99 profile.Millis `json:"p99Ms"`
	// Counts are by bucket. The i-th begins at 0.1 µs times 10^(i/PerDecade); the first and the
	// last hold what is beyond them too.
	Counts []int `json:"counts"`
}

// bucket returns the bucket of a duration.
func bucket(d time.Duration) int {
	if d <= shortest {
		return 0
	}
	return min(Buckets-1, int(PerDecade*math.Log10(float64(d)/float64(shortest))))
}

// latency returns the distributions by Outcome.
func latency(lookups []look.Lookup) map[string]Latency {
	took := map[string][]time.Duration{}
	out := map[string]Latency{}
	for i := range lookups {
		l := &lookups[i]
		name := Outcome(l)
		d, known := out[name]
		if !known {
			d.Counts = make([]int, Buckets)
		}
		d.Counts[bucket(l.Took)] += weight(l)
		d.Lookups += weight(l)
		out[name], took[name] = d, append(took[name], l.Took)
	}
	for name, d := range out {
		slices.Sort(took[name])
		d.P50, d.P99 = profile.Millis(quantile(took[name], 0.5)), profile.Millis(quantile(took[name], 0.99))
		out[name] = d
	}
	return out
}

// quantile returns one of sorted durations, which are not empty.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
