package ui

import (
	"github.com/chatapp-ngomna/edgecache/internal/histo"
)

// ageBounds are the upper bounds of the cells of an Ages, in seconds; the last cell has no
// bound. That of the promise, 250 ms, is among them, and about the longest time without an
// unmarked answer, 3.25 s.
var ageBounds = []float64{0.001, 0.002, 0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 1, 3.25, 60, 600}

// Ages is a distribution of how old things were, since the node's start.
type Ages struct {
	// Count is how many there were.
	Count uint64 `json:"count"`
	// P50, P99 and Max are in milliseconds, to about a fifth; 0 when there were none. Max is that
	// of the longest 1 in 10,000.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Bounds are the upper bounds of the cells in milliseconds, Counts how many are in each: one
	// more than Bounds, for what is older than all.
	Bounds []float64 `json:"bounds"`
	Counts []uint64  `json:"counts"`
}

// agesOf makes one of a histogram; nil for none.
func agesOf(h *histo.Snapshot) *Ages {
	if h == nil {
		return nil
	}
	a := &Ages{Count: h.Count, P50: 1000 * h.Quantile(0.5), P99: 1000 * h.Quantile(0.99), Max: 1000 * h.Quantile(0.9999)}
	below := uint64(0)
	for _, bound := range ageBounds {
		n := h.Below(bound)
		a.Bounds, a.Counts = append(a.Bounds, 1000*bound), append(a.Counts, n-below)
		below = n
	}
	a.Counts = append(a.Counts, h.Count-below)
	return a
}
