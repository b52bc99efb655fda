package oracle

import (
	"sync/atomic"
	"time"
)

// Node is one cache among several that are asked. Its reads are also checked against each other,
// and against what it was told. Safe for concurrent use.
type Node struct {
	// Name stands in violations.
	Name string

	oracle *Oracle
	bound  atomic.Int64
	shards [shardCount]nodeShard
}

type nodeShard struct {
	shard[nodeKey]
	counters
}

type nodeKey struct {
	*key
	counters *counters
	seen     atomic.Int64 // the newest version that a finished read returned
	told     atomic.Int64 // the oldest version that may be returned at all
}

// SetBound changes the node's bound, longer while it is cut off; at most to Config.MaxBound. A read
// during which it changed gets the longer one.
func (n *Node) SetBound(d time.Duration) {
	n.bound.Store(int64(min(d, n.oracle.config.MaxBound)))
}

// Told records that the node itself now knows that nothing below oldest may be shown: reads that
// begin after it return nothing older, not even marked stale. Of a removal of version v, oldest is
// v+1.
func (n *Node) Told(key string, oldest int64) { raise(&n.key(key).told, oldest) }

// Begin starts a read on this node now. Call it before the read does anything.
func (n *Node) Begin(key string) Read { return n.begin(key, int64(time.Since(n.oracle.origin))) }

// BeginAt is Begin at a given time.
func (n *Node) BeginAt(key string, at time.Time) Read { return n.begin(key, n.oracle.since(at)) }

func (n *Node) begin(key string, start int64) Read {
	k := n.key(key)
	return Read{
		node: n, key: k, start: start, bound: n.bound.Load(),
		seen: k.seen.Load(), told: k.told.Load(),
	}
}

func (n *Node) key(name string) *nodeKey {
	s := &n.shards[n.oracle.shardOf(name)]
	return s.get(name, func() *nodeKey {
		return &nodeKey{key: n.oracle.key(name), counters: &s.counters}
	})
}

// Read is one read between its begin and its end. It ends once, by End or Missing; a read that
// failed is simply dropped.
type Read struct {
	node  *Node
	key   *nodeKey
	start int64
	bound int64
	seen  int64
	told  int64
}

// End judges an answer with the version that it has and whether it was marked stale. nil is right.
func (r Read) End(version int64, stale bool) *Violation {
	r.key.counters.count(stale)
	if version < r.told {
		return r.violation(Told, version, stale, r.told)
	}
	if stale {
		return nil
	}
	if lag := r.key.lag(version, r.start); lag > 0 {
		raise(&r.key.counters.maxLag, int64(lag))
	}
	// The floor is looked up now and not at the begin: an acknowledgement that was recorded since,
	// but is older than the read by more than the bound, binds it all the same.
	f := r.key.binding(r.cut())
	if f != nil && version < f.min && !r.excused(func(f floor) bool { return f.min > version }) {
		return r.violation(kindOf(f), version, false, f.min)
	}
	if r.node == r.node.oracle.all {
		return nil
	}
	if version < r.seen {
		return r.violation(Back, version, false, r.seen)
	}
	raise(&r.key.seen, version)
	return nil
}

// Missing judges the answer that there is no such key: wrong once a write of it has bound, unless a
// removal that is newer, or not finished, explains it.
func (r Read) Missing() *Violation {
	r.key.counters.count(false)
	r.key.counters.missing.Add(1)
	f := r.key.binding(r.cut())
	// In this order: Removed raises the version before it lowers the count.
	if f == nil || f.live == 0 || r.key.removing.Load() > 0 || r.key.removed.Load() >= f.live {
		return nil
	}
	if r.excused(func(f floor) bool { return f.live > r.key.removed.Load() }) {
		return nil
	}
	return r.violation(Lost, 0, false, f.live)
}

// excused asks whether the machine held up a change since the first floor that the answer broke. An
// answer that went back, or that the node knew to be wrong, has no excuse.
func (r Read) excused(broken func(floor) bool) bool {
	o := r.node.oracle
	if o.config.Excuses == nil {
		return false
	}
	from := o.origin.Add(time.Duration(r.key.first(broken)))
	bound := time.Duration(max(r.bound, r.node.bound.Load()))
	what := "key " + r.key.name + " on " + r.node.Name
	return o.config.Excuses(what, from, o.origin.Add(time.Duration(r.start)), bound)
}

// cut is the time before which an acknowledgement binds this read.
func (r Read) cut() int64 { return r.start - max(r.bound, r.node.bound.Load()) }

func (r Read) violation(k Kind, version int64, stale bool, oldest int64) *Violation {
	o := r.node.oracle
	return o.report(&Violation{
		Kind: k, Key: r.key.name, Node: r.node.Name, Version: version, Stale: stale, Oldest: oldest,
		Start: o.origin.Add(time.Duration(r.start)), Lag: r.key.lag(version, r.start), History: r.key.acks(),
	})
}

// kindOf tells a removed version from one that was overwritten.
func kindOf(f *floor) Kind {
	if f.min > f.live {
		return Resurrected
	}
	return Old
}
