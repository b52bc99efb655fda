package node

import (
	"math/rand/v2"

	"github.com/chatapp-ngomna/edgecache/tier"
)

// sampleHits is one in how many hits of L1 is noted, and for how many a noted one stands. Whoever was not in L1 is noted
// each time, so no user who was shown is missing from the list; what is sampled is only how often.
const sampleHits = 64

// served notes, for the next prewarm, who was shown. An answer of L1 that is not sampled costs one random number.
func (n *Node) served(r tier.Result) {
	switch {
	case n.hot == nil:
	case r.Tier != tier.FromL1:
		n.hot.Note(r.Profile.ID, 1)
	case rand.Uint32()%sampleHits == 0:
		n.hot.Note(r.Profile.ID, sampleHits)
	}
}
