package node

import (
	"time"

	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// sampleBits make one in 64 hits of L1 noted. A user who was not in L1 is noted each time, so
	// no user who was shown is missing from the list; what is sampled is only how often.
	sampleBits = 6
	sampleHits = 1 << sampleBits
)

// sampled draws from the age of an answer, which differs by the nanosecond between users, and for
// one of them whenever the clock has moved: that costs a multiplication, where a random number
// would cost as much as all other checks of a hit.
func sampled(age time.Duration) bool {
	// 2^64 by the golden ratio: Fibonacci hashing, Knuth, TAOCP 3, 6.4
	const golden = 0x9e3779b97f4a7c15
	return uint64(age)*golden>>(64-sampleBits) == 0
}

// note notes, for the next prewarm, who was shown. Its callers ask first whether to, because a call
// costs as much as asking.
func (n *Node) note(r tier.Result) {
	if n.watch != nil {
		n.watch.Shown(r.Profile.ID)
	}
	if n.hot == nil {
		return
	}
	weight := 1.0
	if r.Tier == look.FromL1 {
		weight = sampleHits
	}
	n.hot.Note(r.Profile.ID, weight)
}

// SampleLookups has lookups timed until stop is called; see tier.Cache.SampleLookups.
func (n *Node) SampleLookups() (stop func()) { return n.cache.SampleLookups() }

// Lookups returns the lookups that were timed last, the oldest first.
func (n *Node) Lookups() []look.Lookup { return n.cache.Lookups() }
