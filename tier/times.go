package tier

import (
	"errors"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
)

// sampleEvery is of how many lookups that memory answers one is timed, and counts for all of them:
// to ask for the time twice takes longer than the answer.
const sampleEvery = 1 << 10

// times are how long things took.
type times struct {
	lookups        [FromStale + 1]histo.Histogram // by who answered
	origin, failed histo.Histogram
}

// Times are how long lookups and what they waited for have taken, since the cache was made.
type Times struct {
	// Lookups are those of single users, by who answered: "L1", "L2", "origin", "stale", and "none"
	// for those that failed. Of those that L1 answers one in 1,024 is timed, and counts as so many.
	Lookups map[string]*histo.Snapshot
	// Origin are the calls of the Loader that it answered, OriginFailed the others.
	Origin, OriginFailed *histo.Snapshot
	// Redis are the round trips.
	Redis *histo.Snapshot
	// Evicted are the ages of the entries that had to leave L1 to make room.
	Evicted *histo.Snapshot
}

// Times returns a snapshot.
func (c *Cache) Times() Times {
	t := Times{
		Lookups: map[string]*histo.Snapshot{}, Origin: c.times.origin.Snapshot(),
		OriginFailed: c.times.failed.Snapshot(), Redis: c.l2.Times(), Evicted: c.l1.ages.Snapshot(),
	}
	for from := FromNone; from <= FromStale; from++ {
		t.Lookups[from.String()] = c.times.lookups[from].Snapshot()
	}
	return t
}

// timeHit counts a lookup that memory has answered, for all that are not timed.
func (c *Cache) timeHit(began int64) {
	c.times.lookups[FromL1].Observe(time.Duration(c.clock.tick()-began), sampleEvery)
}

// timeLoad counts a lookup that has waited for a load, or given up.
func (c *Cache) timeLoad(load *call, part role, began int64) {
	from := FromNone
	switch {
	case load == nil || load.err != nil:
	case part == late:
		from = FromL1
	default:
		from = load.tier
	}
	c.times.lookups[from].Observe(time.Duration(c.clock.tick()-began), 1)
}

// timeOrigin counts a call of the Loader for several users.
func (c *Cache) timeOrigin(began time.Time, errs []error) {
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrNotFound) {
			c.times.failed.Observe(time.Since(began), 1)
			return
		}
	}
	c.times.origin.Observe(time.Since(began), 1)
}
