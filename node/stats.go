package node

import (
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/gossip"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/chatapp-ngomna/edgecache/prewarm"
	"github.com/chatapp-ngomna/edgecache/prewarm/hot"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/watch"
)

// Stats is a snapshot of the node's counters.
type Stats struct {
	// Cache counts by tier.
	Cache tier.Stats `json:"cache"`
	// Store tells of the store on disk; nil without Config.Store.
	Store *StoreStats `json:"store,omitempty"`
	// Stream tells how the tail of the stream does.
	Stream stream.TailStats `json:"stream"`
	// Worker tells what this node applied to Redis from the stream; nil with NoWorker.
	Worker *stream.WorkerStats `json:"worker,omitempty"`
	// Watch tells about writes to Redis that bypass the stream; nil with NoWatch.
	Watch *watch.Stats `json:"watch,omitempty"`
	// Origin tells about the calls of the source of truth, its circuit breaker for one; nil when
	// Config.Origin does not say.
	Origin *origin.ClientStats `json:"origin,omitempty"`
	// Gossip tells how the node does among the others; nil without Config.Cluster.
	Gossip *gossip.Stats `json:"gossip,omitempty"`
	// Hot tells of the list of users that the nodes have shown, Prewarm of this node's part in the
	// run that is under way, or was the last, and Warmth is 0 to 1.
	Hot     hot.Stats      `json:"hot"`
	Prewarm prewarm.Status `json:"prewarm"`
	Warmth  float64        `json:"warmth"`
	// MemoryWarmth is how many users this node's memory holds, of those that the run has planned:
	// 0 to 1. MemoryShort says in words that its memory is too small for them; "" when it is not.
	MemoryWarmth float64 `json:"memoryWarmth"`
	MemoryShort  string  `json:"memoryShort,omitempty"`
	// PrewarmHits and PrewarmMisses are the lookups of prewarms, which Cache does not count.
	PrewarmHits   uint64 `json:"prewarmHits"`
	PrewarmMisses uint64 `json:"prewarmMisses"`
	// Redis tells whether Redis answers.
	Redis RedisStats `json:"redis"`
	// Functions tells of each edge function, and ViewBytes about what their kept answers take; nil
	// and 0 without Config.Functions.
	Functions []edge.FunctionStats `json:"functions,omitempty"`
	ViewBytes int64                `json:"viewBytes,omitempty"`
	// Version is the build, as Config.Version tells it.
	Version string `json:"version,omitempty"`
	// L2TTL is how long a profile stays in Redis.
	L2TTL profile.Millis `json:"l2TTLMs"`
}

// Stats returns a snapshot.
func (n *Node) Stats() Stats {
	hits, misses := n.lookups.counts() // before the cache's, which hold them
	s := Stats{Cache: n.cache.Stats(), Stream: n.tail.Stats(), L2TTL: profile.Millis(n.conf.Tier.L2.TTL()), Warmth: n.warmth(),
		PrewarmHits: hits, PrewarmMisses: misses, Redis: n.states.redisStats(), Version: n.conf.Version}
	s.Cache.L1Hits, s.Cache.L1Misses = s.Cache.L1Hits-hits, s.Cache.L1Misses-misses
	s.Store = n.storeStats(s.Stream.CaughtUp)
	if n.functions != nil {
		s.Functions, s.ViewBytes = n.functions.Stats(), s.Cache.ViewBytes
	}
	if n.runner != nil {
		s.Hot, s.Prewarm = n.hot.Stats(), n.runner.Status()
		s.MemoryWarmth, s.MemoryShort = memoryWarmth(&s.Prewarm, &s.Cache)
	}
	if n.gossip != nil {
		g := n.gossip.Stats()
		s.Gossip = &g
	}
	if n.worker != nil {
		w := n.worker.Stats()
		s.Worker = &w
	}
	if n.watch != nil {
		w := n.watch.Stats()
		s.Watch = &w
	}
	if counting, ok := n.conf.Origin.(interface{ Stats() origin.ClientStats }); ok {
		o := counting.Stats()
		s.Origin = &o
	}
	return s
}
