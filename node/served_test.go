package node

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestHitsAreSampledEvenly looks at many users over many moves of the clock: each is sampled about as often as it should be.
func TestHitsAreSampledEvenly(t *testing.T) {
	const users, ticks = 50, 64 * 400
	rnd := rand.New(rand.NewPCG(1, 2))
	for range users {
		loaded, now, hits := rnd.Int64N(1e15), int64(1e15), 0
		for range ticks {
			now += int64(time.Millisecond) + rnd.Int64N(int64(50*time.Microsecond))
			if sampled(time.Duration(now - loaded)) {
				hits++
			}
		}
		if hits < ticks/sampleHits*7/10 || hits > ticks/sampleHits*13/10 {
			t.Errorf("a user loaded at %d was sampled %d times in %d; want about %d", loaded, hits, ticks, ticks/sampleHits)
		}
	}
}
