package oracle

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Stats is what an oracle has counted.
type Stats struct {
	// Reads that ended, with Stale and Missing among them.
	Reads, Stale, Missing int64
	// Violations found; Violations() keeps the first of them.
	Violations int64
	// MaxLag is the longest time by which an unmarked answer had been overtaken, by an acknowledged
	// change, when its read began.
	MaxLag time.Duration
}

// String is one line for a test's log.
func (s Stats) String() string {
	return fmt.Sprintf("%d reads (%d stale, %d missing), %d violations, max lag %v",
		s.Reads, s.Stale, s.Missing, s.Violations, s.MaxLag)
}

// counters are kept per shard of a node, so that readers on several cores do not meet on one.
type counters struct {
	reads, stale, missing, maxLag atomic.Int64
}

func (c *counters) count(stale bool) {
	c.reads.Add(1)
	if stale {
		c.stale.Add(1)
	}
}

// Stats sums up all nodes. Reads that go on meanwhile may or may not be in it.
func (o *Oracle) Stats() Stats {
	s := Stats{Violations: o.violations.Load()}
	o.mu.Lock()
	nodes := o.nodes
	o.mu.Unlock()
	for _, n := range nodes {
		n.addTo(&s)
	}
	return s
}

// Stats are those of this node; Violations counts the whole oracle's.
func (n *Node) Stats() Stats {
	s := Stats{Violations: n.oracle.violations.Load()}
	n.addTo(&s)
	return s
}

func (n *Node) addTo(s *Stats) {
	for i := range n.shards {
		c := &n.shards[i].counters
		s.Reads += c.reads.Load()
		s.Stale += c.stale.Load()
		s.Missing += c.missing.Load()
		s.MaxLag = max(s.MaxLag, time.Duration(c.maxLag.Load()))
	}
}
