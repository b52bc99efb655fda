package histo

import (
	"sync/atomic"
	"time"
)

// Exemplar is one duration of those in a bucket, by whose trace one can see where the time went.
type Exemplar struct {
	Trace string
	Took  time.Duration
	At    time.Time
}

// exemplars are the last of each bucket.
type exemplars [Last - First + 1]atomic.Pointer[Exemplar]

// ObserveTraced is Observe of one duration that trace tells of; "" for none.
func (h *Histogram) ObserveTraced(d time.Duration, trace string) {
	h.Observe(d, 1)
	if trace == "" {
		return
	}
	all := h.exemplars.Load()
	if all == nil { // most histograms never have any
		h.exemplars.CompareAndSwap(nil, new(exemplars))
		all = h.exemplars.Load()
	}
	all[index(d)-First].Store(&Exemplar{trace, max(d, 0), time.Now()})
}

// snapshot returns those that there are, the shortest first.
func (e *exemplars) snapshot() (all []Exemplar) {
	if e == nil {
		return nil
	}
	for i := range e {
		if one := e[i].Load(); one != nil {
			all = append(all, *one)
		}
	}
	return all
}
