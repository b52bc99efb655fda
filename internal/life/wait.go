package life

import (
	"context"
	"math/rand/v2"
	"time"
)

// Wait waits for d or for the end of ctx, and reports whether it was d.
func Wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Backoff is the pause after the n-th failure in a row, n from 1: first doubled each time, at most
// most, less a random half, so that those who failed together do not come back together.
func Backoff(n int, first, most time.Duration) time.Duration {
	d := most
	if n < 32 {
		d = min(most, first<<(n-1))
	}
	return Jitter(d)
}

// Jitter returns d less a random half.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
