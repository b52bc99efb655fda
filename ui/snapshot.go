package ui

import (
	"cmp"
	"slices"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// Node is what is looked at; *node.Node is one.
type Node interface {
	Stats() node.Stats
	Times() node.Times
	Cluster() node.Cluster
	// SampleLookups and Lookups are those of tier.Cache.
	SampleLookups() (stop func())
	Lookups() []look.Lookup
}

// Demo breaks things on purpose and says which promises hold meanwhile.
type Demo interface {
	State() DemoState
	// Break brings on a fault, or ends it. Errors wrap ErrFault for one that there is not.
	Break(fault string, on bool) error
}

// DemoState is what is broken, and what holds.
type DemoState struct {
	Faults   []Fault   `json:"faults"`
	Promises []Promise `json:"promises"`
}

// Fault is one that can be brought on.
type Fault struct {
	Name string `json:"name"`
	// Title says what a button does, Says what is expected then.
	Title string `json:"title"`
	Says  string `json:"says"`
	On    bool   `json:"on"`
}

// Promise is one of docs/guarantees.md, and whether it holds.
type Promise struct {
	Says string `json:"says"`
	Kept bool   `json:"kept"`
	// Seen is what was measured.
	Seen string `json:"seen"`
}

// Snapshot is what is shown of a node at one moment.
type Snapshot struct {
	// At is when it was made, in milliseconds since 1970.
	At int64 `json:"at"`
	// Checks say in words how the node does, in a fixed order.
	Checks  []Check      `json:"checks"`
	Stats   node.Stats   `json:"stats"`
	Cluster node.Cluster `json:"cluster"`
	// Owners says whose each range of ids is, by its owner's place in Cluster.Members.
	Owners []int `json:"owners"`
	// Latency is how long the lookups took that were timed lately, by Outcome.
	Latency map[string]Latency `json:"latency"`
	// Hottest are the users who were looked up most among those, HottestUsers at most.
	Hottest []HotUser `json:"hottest"`
	// Heard is how old changes were when this node had heard of them and held nothing older any
	// more: the staleness that it can see itself. Evicted is how old entries were that had to make
	// room.
	Heard   *Ages `json:"heard,omitempty"`
	Evicted *Ages `json:"evicted,omitempty"`
	// Timed is how many lookups were timed and kept, up to look.MaxLookups.
	Timed int `json:"timed"`
	// Demo is nil but for a node that runs to be broken.
	Demo *DemoState `json:"demo,omitempty"`
}

// HottestUsers is how many of the hottest users are shown.
const HottestUsers = 10

// HotUser is a user who was looked up often.
type HotUser struct {
	ID string `json:"id"`
	// Share is the part of all lookups, 0 to 1.
	Share float64 `json:"share"`
}

// Outcome says who answered a lookup: "L1", "L1.5", "L2", "origin" or "stale"; "absent" that there
// is no such user, and "failed" that nobody answered.
func Outcome(l *look.Lookup) string {
	switch {
	case l.Absent:
		return "absent"
	case l.Tier == look.FromNone:
		return "failed"
	}
	return l.Tier.String()
}

// weight is how many lookups a timed one stands for.
func weight(l *look.Lookup) int {
	if l.Tier == look.FromL1 {
		return look.SampleHits
	}
	return 1
}

// hottest returns the users who were looked up most, the hottest first.
func hottest(lookups []look.Lookup) []HotUser {
	counts, all := map[string]int{}, 0
	for i := range lookups {
		w := weight(&lookups[i])
		counts[lookups[i].ID] += w
		all += w
	}
	users := make([]HotUser, 0, len(counts))
	for id, n := range counts {
		users = append(users, HotUser{id, float64(n) / float64(all)})
	}
	slices.SortFunc(users, func(a, b HotUser) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.ID, b.ID))
	})
	return users[:min(len(users), HottestUsers)]
}

// moment is what is remembered of a snapshot, to tell what has changed since.
type moment struct {
	at    time.Time
	stats node.Stats
}

// remembered is how long moments are.
const remembered = time.Minute

// snapshot looks at the node. past is what was seen in the last minute, the oldest first.
func snapshot(now moment, n Node, past []moment, lookups []look.Lookup) Snapshot {
	s := Snapshot{At: now.at.UnixMilli(), Stats: now.stats, Cluster: n.Cluster(), Latency: latency(lookups),
		Hottest: hottest(lookups), Timed: len(lookups)}
	s.Owners = s.Cluster.Owners
	times := n.Times()
	s.Heard, s.Evicted = agesOf(times.Events), agesOf(times.Evicted)
	s.Checks = checks(view{now: now, past: past, cluster: s.Cluster, lookups: lookups})
	return s
}
