package look

import "time"

const (
	// MaxLookups is how many timed lookups are kept.
	MaxLookups = 10_000
	// SampleHits says that one in so many hits of L1 is timed; a power of 2.
	SampleHits = 64
)

// Lookup is one lookup that was timed.
type Lookup struct {
	// At is when it ended.
	At time.Time
	// ID is the user asked for.
	ID string
	// Tier says who answered, FromNone when nobody did or there is no such user.
	Tier Tier
	// Absent says that there is no such user.
	Absent bool
	// Took is how long the caller waited. That of a hit includes a reading of the clock.
	Took time.Duration
}
