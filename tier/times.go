package tier

import (
	"context"
	"errors"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// sampleEvery is of how many lookups that memory answers one is timed, and counts for all of them:
// to ask for the time twice takes longer than the answer.
const sampleEvery = 1 << 10

// times are how long things took.
type times struct {
	lookups        [look.FromStale + 1]histo.Histogram // by who answered
	origin, failed histo.Histogram
}

// Times returns a snapshot.
func (c *Cache) Times() look.Times {
	t := look.Times{
		Lookups: map[string]*histo.Snapshot{}, Origin: c.times.origin.Snapshot(),
		OriginFailed: c.times.failed.Snapshot(), Redis: c.l2.Times(), Evicted: c.l1.ages.Snapshot(),
	}
	for from := look.FromNone; from <= look.FromStale; from++ {
		t.Lookups[from.String()] = c.times.lookups[from].Snapshot()
	}
	return t
}

// timeHit counts a lookup that memory has answered, for all that are not timed.
func (c *Cache) timeHit(began int64) {
	c.times.lookups[look.FromL1].Observe(time.Duration(c.clock.tick()-began), sampleEvery)
}

// timeLoad counts a lookup that has waited for a load, or given up. ctx is its reader's.
func (c *Cache) timeLoad(ctx context.Context, load *call, part role, began int64) {
	from := look.FromNone
	switch {
	case load == nil || load.err != nil:
	case part == late:
		from = look.FromL1
	default:
		from = load.tier
	}
	trace := ""
	if c.conf.TraceID != nil {
		trace = c.conf.TraceID(ctx)
	}
	c.times.lookups[from].ObserveTraced(time.Duration(c.clock.tick()-began), trace)
}

// timeOrigin counts a call of the Loader for several users.
func (c *Cache) timeOrigin(began time.Time, errs []error) {
	for _, err := range errs {
		if err != nil && !errors.Is(err, profile.ErrNotFound) {
			c.times.failed.Observe(time.Since(began), 1)
			return
		}
	}
	c.times.origin.Observe(time.Since(began), 1)
}
