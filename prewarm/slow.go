package prewarm

import (
	"slices"
	"time"
)

const (
	// slowSamples answers make a judgement, or as many as came in slowSpan.
	slowSamples = 20
	slowSpan    = 2 * time.Second
	// slowLeast is a p95 that is never too slow.
	slowLeast = 50 * time.Millisecond
	// slowMost is the smallest part of its share that a node goes down to.
	slowMost = 1.0 / 16
	// slowStep is what it takes back at each judgement.
	slowStep = 1.0 / 8
)

// slowdown takes rate from the budget when the origin's answers take longer: the p95 of the last
// answers is compared with a baseline, which is what the answers took before. Twice as long halves
// the rate; else it comes back step by step, so that an origin that is slow for another reason is
// not left alone for ever. Times are passed in.
type slowdown struct {
	part     float64       // of the budget, 1 for all; 0 before the first note counts as 1
	baseline time.Duration // of p95
	took     []time.Duration
	since    time.Time
}

// factor returns the part of the budget to use, 1/16 to 1.
func (s *slowdown) factor() float64 {
	if s.part == 0 {
		return 1
	}
	return s.part
}

// note takes how long a batch took that asked the origin.
func (s *slowdown) note(took time.Duration, now time.Time) {
	if len(s.took) == 0 {
		s.since = now
	}
	s.took = append(s.took, took)
	if len(s.took) >= slowSamples || now.Sub(s.since) >= slowSpan {
		s.judge(p95(s.took))
		s.took = s.took[:0]
	}
}

func (s *slowdown) judge(now time.Duration) {
	switch {
	case s.baseline == 0:
		s.baseline = now
	case now > slowLeast && now > 2*s.baseline:
		s.part = max(slowMost, s.factor()/2)
	default:
		s.part = min(1, s.factor()+slowStep)
		// Down at once, up slowly: what is called normal must not grow with a trouble that begins
		// gently.
		if s.baseline += (now - s.baseline) / 16; now < s.baseline {
			s.baseline = now
		}
	}
}

// resized forgets the baseline, when batches have become much larger or smaller.
func (s *slowdown) resized() { s.baseline, s.took = 0, s.took[:0] }

func p95(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)*95+99)/100-1]
}
