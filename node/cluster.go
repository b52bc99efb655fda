package node

import (
	"time"

	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// Member is one node of the cluster, as this one knows it.
type Member struct {
	Name string `json:"name"`
	// Addr is where its gossip listens, HTTP where its API does; empty for a node on its own.
	Addr string `json:"addr,omitempty"`
	HTTP string `json:"http,omitempty"`
	// State is "alive", or "gone" for a node that left or died in the last ten minutes.
	State string `json:"state"`
	// Since is when this node learned of State.
	Since time.Time `json:"since,omitzero"`
	// Weight is its part of the ranges relative to the others', Ranges how many of the
	// profile.Ranges it owns.
	Weight int `json:"weight"`
	Ranges int `json:"ranges"`
	// Warmth is how much of the users that are active in its ranges it has loaded into Redis, and
	// MemoryWarmth how much of what the last prewarm planned is in its memory: 0 to 1.
	Warmth       float64 `json:"warmth"`
	MemoryWarmth float64 `json:"memoryWarmth"`
	// Left says of a node that is gone that it took its leave; else it died, or was cut off.
	Left bool `json:"left,omitempty"`
	// Fenced says that its memory does not answer as fresh. Redis is "ok" or "lost", Origin "ok",
	// "trying" or "failing". Lag is how long ago its stream proved that it has caught up, in whole
	// seconds, in milliseconds. None of these, and nothing below, of a node that tells nothing.
	Fenced bool   `json:"fenced,omitempty"`
	Redis  string `json:"redis,omitempty"`
	Origin string `json:"origin,omitempty"`
	Lag    int64  `json:"lagMs,omitempty"`
	// Memory is how much of MemoryMiB its profiles take, 0 to 1.
	Memory    float64 `json:"memory,omitempty"`
	MemoryMiB uint32  `json:"memoryMiB,omitempty"`
	// Store is "ok" for a store on disk in use, "alone" while its node has not found Redis since
	// its start, "off" for one that could not be opened or was given up, empty without one.
	// StoreEntries is about how many users it holds.
	Store        string `json:"store,omitempty"`
	StoreEntries uint32 `json:"storeEntries,omitempty"`
	// Functions is how many edge functions it serves, Version its build.
	Functions int    `json:"functions,omitempty"`
	Version   string `json:"version,omitempty"`
	// Key is the fingerprint of the key with which it encrypts, Keys those of all that it
	// understands.
	Key  string   `json:"key,omitempty"`
	Keys []string `json:"keys,omitempty"`
}

// Cluster is what a node knows of all nodes.
type Cluster struct {
	// Self is this node's name.
	Self string `json:"self"`
	// Members are alive, sorted by name; Gone are not any more, the latest first.
	Members []Member `json:"members"`
	Gone    []Member `json:"gone,omitempty"`
	// Owners says whose each of the profile.Ranges is, by its owner's place in Members.
	Owners []int `json:"-"`
}

// alone is the name of a node without Config.Cluster.
const alone = "alone"

// Cluster returns the nodes that this one knows: itself alone without Config.Cluster.
func (n *Node) Cluster() Cluster {
	if n.gossip == nil {
		now, s := time.Now(), n.Stats()
		m := gossip.Member{Name: alone, Weight: 1, Warmth: s.Warmth, Report: n.report(&s, now)}
		return Cluster{Self: alone, Members: []Member{memberOf(m, profile.Ranges)}, Owners: make([]int, profile.Ranges)}
	}
	alive := n.gossip.Members()
	owners := gossip.Owners(alive)
	c := Cluster{Self: n.gossip.Self().Name, Members: make([]Member, 0, len(alive)), Owners: make([]int, profile.Ranges)}
	for i, m := range alive {
		owned := owners.Owned(m.Name)
		c.Members = append(c.Members, memberOf(m, len(owned)))
		for _, r := range owned {
			c.Owners[r] = i
		}
	}
	for _, m := range n.gossip.Gone() {
		c.Gone = append(c.Gone, memberOf(m, 0))
	}
	return c
}

func memberOf(m gossip.Member, ranges int) Member {
	r := m.Report
	out := Member{Name: m.Name, Addr: m.Addr, HTTP: m.HTTP, State: m.State.String(), Since: m.Since, Weight: m.Weight,
		Ranges: ranges, Warmth: m.Warmth, Key: m.KeyID, Keys: m.Keys, MemoryWarmth: r.MemoryWarmth, Fenced: r.Fenced,
		Lag: r.Lag.Milliseconds(), Memory: r.Memory, MemoryMiB: r.Capacity, Functions: int(r.Functions), Version: r.Version,
		Store: r.Store.String(), StoreEntries: r.StoreEntries}
	out.Left = r.Leaving && m.State == gossip.Gone
	if r.Capacity > 0 { // it tells how it does
		out.Redis, out.Origin = "ok", [...]string{"ok", "trying", "failing", "ok"}[r.Origin&3]
	}
	if r.RedisLost {
		out.Redis = "lost"
	}
	return out
}

// membership tells a prewarm which ranges are this node's.
type membership struct{ *gossip.Cluster }

// Owned implements prewarm.Membership.
func (m membership) Owned() (ranges *[profile.Ranges]bool, live int) {
	alive := m.Members()
	ranges = new([profile.Ranges]bool)
	for _, r := range gossip.Owners(alive).Owned(m.Self().Name) {
		ranges[r] = true
	}
	return ranges, len(alive)
}
