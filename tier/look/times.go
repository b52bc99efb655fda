package look

import "github.com/chatapp-ngomna/edgecache/internal/histo"

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
