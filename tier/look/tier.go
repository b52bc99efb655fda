// Package look is what a tier.Cache says of itself: which tier has answered, why an answer is what
// it is, which lookups were timed and how long they took. It does nothing; package tier fills it
// in.
package look

import "fmt"

// Tier says who answered.
type Tier uint8

const (
	// FromNone is the zero value: nobody answered.
	FromNone Tier = iota
	// FromL1 is the node's memory.
	FromL1
	// FromStore is the node's store on disk, L1.5.
	FromStore
	// FromL2 is Redis.
	FromL2
	// FromOrigin is the source of truth.
	FromOrigin
	// FromStale is a copy that may be older than the published bounds, used because nobody else
	// could answer.
	FromStale
)

// String returns "none", "L1", "L1.5", "L2", "origin" or "stale", and "tier(n)" for any other
// value.
func (t Tier) String() string {
	if names := [...]string{"none", "L1", "L1.5", "L2", "origin", "stale"}; int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("tier(%d)", uint8(t))
}
