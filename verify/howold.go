package verify

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// howOldBounds are the upper bounds of the buckets of howOld; what is above the last is in one
// more.
var howOldBounds = [...]time.Duration{300 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second}

// LagBucket counts violations by for how long the change had been known that they contradicted:
// longer than the bucket before, and up to UpTo. The last has UpTo 0, which is no bound.
type LagBucket struct {
	UpTo  profile.Millis `json:"upToMs"`
	Count uint64         `json:"count"`
}

// howOld is a histogram of violations.
type howOld [len(howOldBounds) + 1]uint64

func (h *howOld) add(d time.Duration) {
	for i, bound := range howOldBounds {
		if d <= bound {
			h[i]++
			return
		}
	}
	h[len(howOldBounds)]++
}

// since returns the buckets with what was added after before.
func (h howOld) since(before howOld) []LagBucket {
	out := make([]LagBucket, len(h))
	for i := range h {
		out[i].Count = h[i] - before[i]
		if i < len(howOldBounds) {
			out[i].UpTo = profile.Millis(howOldBounds[i])
		}
	}
	return out
}

// metric returns the histogram; sum is of all that was added.
func (h howOld) metric(desc *prometheus.Desc, sum time.Duration) prometheus.Metric {
	below, n := map[float64]uint64{}, uint64(0)
	for i, bound := range howOldBounds {
		n += h[i]
		below[bound.Seconds()] = n
	}
	return prometheus.MustNewConstHistogram(desc, n+h[len(howOldBounds)], sum.Seconds(), below)
}

// lagsInWords names the buckets that hold something.
func lagsInWords(buckets []LagBucket) string {
	var parts []string
	for i, b := range buckets {
		switch {
		case b.Count == 0:
		case b.UpTo == 0 && i > 0:
			parts = append(parts, fmt.Sprintf("%s above %v", grouped(b.Count), buckets[i-1].UpTo))
		default:
			parts = append(parts, fmt.Sprintf("%s up to %v", grouped(b.Count), b.UpTo))
		}
	}
	return strings.Join(parts, ", ")
}
