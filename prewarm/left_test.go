package prewarm

import (
	"testing"
	"time"
)

// The time left follows the pace that a run has now, and is not told while it waits.
func TestTimeLeftFollowsThePace(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		asked int64
		rate  float64
		left  int64 // ms
	}{
		"as fast as before":    {asked: 1000, rate: 100, left: 90_000},
		"slowed down 10 times": {asked: 1000, rate: 10, left: 900_000},
		"it waits":             {asked: 1000, rate: 0, left: 0},
		"half were in Redis":   {asked: 500, rate: 100, left: 45_000},
		"all were in Redis":    {asked: 0, rate: 0, left: 90_000},
	} {
		s := Status{State: Running, Planned: 10_000, Started: now.Add(-10 * time.Second), Rate: tt.rate,
			Counts: Counts{TotalProcessed: 1000, Asked: tt.asked}}
		if s.complete(now); s.ETA != tt.left {
			t.Errorf("%s: %d ms left; want %d", name, s.ETA, tt.left)
		}
	}
}
