package load

import (
	"context"
	"time"
)

// maxNap bounds one sleep, so that a run that is called off ends soon.
const maxNap = 50 * time.Millisecond

// waitUntil returns once due has passed since began, or ctx has ended.
func waitUntil(ctx context.Context, began time.Time, due time.Duration) {
	for {
		left := due - time.Since(began)
		if left <= 0 || ctx.Err() != nil {
			return
		}
		if left > wakeEarly {
			nap(min(left-wakeEarly, maxNap))
		}
	}
}
