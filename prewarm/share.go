package prewarm

import (
	"time"
)

// share is how many nodes divide the budget, as one node sees it. It takes a smaller part at once
// and a larger one only when the number of nodes has been lower for settle: the others may not have
// heard yet of a node that left, or of each other.
//
//	three nodes, one joins: each of the three goes from 1/3 to 1/4 when it hears of it; the new one begins settle after
//	its start, when all of them have
type share struct {
	settle time.Duration
	live   int       // the budget is divided by it; 0 before the first observe
	lower  int       // the highest number below live seen since
	since  time.Time // when it was first below live
}

// observe takes note of how many nodes are alive, and returns by how many to divide.
func (s *share) observe(live int, now time.Time) int {
	live = max(live, 1)
	switch {
	case live >= s.live:
		s.live, s.lower = live, 0
	case s.lower == 0:
		s.lower, s.since = live, now
	default:
		s.lower = max(s.lower, live)
	}
	if s.lower > 0 && now.Sub(s.since) >= s.settle {
		s.live, s.lower = s.lower, 0
	}
	return s.live
}
