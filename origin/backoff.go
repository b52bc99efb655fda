package origin

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the pause after the n-th failure in a row, n from 1: base doubled each time, at most limit, of which a random
// half is kept, so that those who failed together do not come back together.
func backoff(n int, base, limit time.Duration) time.Duration {
	d := limit
	if n < 32 {
		d = min(limit, base<<(n-1))
	}
	return d/2 + rand.N(d/2+1)
}

// sleep waits for d or for ctx, and reports whether it was d.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
