package gossip

import (
	"sync/atomic"
)

type counters struct {
	joinAttempts, joinFailures, keyTurns, keyErrors, told, logDropped atomic.Int64
}

// Stats is what a Cluster has done so far.
type Stats struct {
	Members int `json:"members"` // alive, this node included
	// members that came, this node included; one that comes back counts again
	Joins        int64 `json:"joins"`
	Leaves       int64 `json:"leaves"`       // members that left or were declared dead
	JoinAttempts int64 `json:"joinAttempts"` // at seeds that were missing
	// attempts at which a seed did not answer or was not resolved
	JoinFailures int64 `json:"joinFailures"`
	KeyTurns     int64 `json:"keyTurns"`  // changes of keys that were taken over
	KeyErrors    int64 `json:"keyErrors"` // changes of the key file that were not
	Updates      int64 `json:"updates"`   // times that this node told something new of itself
	OddMeta      int64 `json:"oddMeta"`   // times that a member's metadata was not understood
	// lines of memberlist that were not logged because there were too many
	LogDropped int64 `json:"logDropped"`
	// 0 when well, up to 7 when this node is so slow that it distrusts its own suspicions
	Health int `json:"health"`
}

// Stats returns what the Cluster has done so far.
func (c *Cluster) Stats() Stats {
	s := Stats{
		JoinAttempts: c.counters.joinAttempts.Load(), JoinFailures: c.counters.joinFailures.Load(),
		KeyTurns: c.counters.keyTurns.Load(), KeyErrors: c.counters.keyErrors.Load(), Updates: c.counters.told.Load(),
		LogDropped: c.counters.logDropped.Load(),
	}
	r := c.roster
	r.mu.Lock()
	s.Members, s.Joins, s.Leaves, s.OddMeta = len(r.alive), r.joins, r.leaves, r.odd
	r.mu.Unlock()
	if list := c.health.Load(); list != nil {
		s.Health = list.GetHealthScore()
	}
	return s
}
