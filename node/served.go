package node

import (
	"math/rand/v2"
	"time"

	"github.com/chatapp-ngomna/edgecache/tier"
)

const (
	// sampleBits make one in 64 hits of L1 noted.
	sampleBits = 6
	sampleHits = 1 << sampleBits
	// sampleL2 makes one in 8 hits of Redis noted: noting all of them showed in what a batch from there costs. Whom the origin
	// answered is noted each time. A user whose record came to Redis in another way, by an update or another service, and who
	// is shown but a few times may be missing from the list.
	sampleL2 = 8
)

// sampled draws from the age of an answer, which differs by the nanosecond between users, and for one of them whenever the
// clock has moved: that costs a multiplication, where a random number would cost as much as all other checks of a hit.
func sampled(age time.Duration) bool {
	const golden = 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: Fibonacci hashing, Knuth, TAOCP 3, 6.4
	return uint64(age)*golden>>(64-sampleBits) == 0
}

// note notes, for the next prewarm, who was shown. Its callers ask first whether to, because a call costs as much as asking.
func (n *Node) note(r tier.Result) {
	if n.hot == nil {
		return
	}
	weight := 1.0
	switch r.Tier {
	case tier.FromL1:
		weight = sampleHits
	case tier.FromL2:
		if rand.Uint32()%sampleL2 != 0 {
			return
		}
		weight = sampleL2
	}
	n.hot.Note(r.Profile.ID, weight)
}
