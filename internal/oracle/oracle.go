// Package oracle checks reads of a cache against what its writers were told, after CacheLib's
// ValueHistory: once a change is acknowledged, a bound starts to run, and no read that starts after
// it may return anything older.
//
// Writers call Acked, Removing and Removed with the time at which the change was acknowledged to
// them. Readers call Begin before and one of Read's ends after each read, for the node that they
// ask. A check finds its key by one map lookup under a shard's read lock, and the version that
// binds by looking at the newest acknowledgement, or by a binary search where it is too young to
// bind; it allocates nothing unless it has found a violation.
//
// Three things are checked. A read that starts more than the bound after an acknowledgement returns
// that version or a newer one, unless the answer is marked stale. A read on one node never returns
// an older version than an earlier one there, unless marked stale. And nothing is below what the
// node itself was told (Node.Told), not even stale.
package oracle

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultHistory is how many acknowledgements of a key are kept at least.
	DefaultHistory = 16
	// MaxKept is how many violations are kept whole; the rest are only counted.
	MaxKept = 32

	shardCount = 256
	// slack is how long, beyond the bound, acknowledgements are kept: a read may last as long
	// before an older floor than its own is applied to it.
	slack = 10 * time.Second
)

// ErrViolated is what Err wraps.
var ErrViolated = errors.New("oracle: consistency violated")

// Config says how strict an Oracle is. The zero value allows no delay at all.
type Config struct {
	// Bound is how long after its acknowledgement a change may still be unseen. Default 0. A
	// node's own may differ: see Node.SetBound.
	Bound time.Duration
	// MaxBound is the longest that any node's bound will be. Default Bound.
	MaxBound time.Duration
	// History is how many acknowledgements a violation shows at least, where there were as many.
	// Default DefaultHistory.
	History int
	// Excuses says whether the machine, and not the cache, held up what was to be seen within bound
	// of from and was not seen at to. It is asked of breaches of the bound alone. Default never.
	Excuses func(what string, from, to time.Time, bound time.Duration) bool
}

func (c Config) withDefaults() Config {
	c.MaxBound = max(c.MaxBound, c.Bound)
	if c.History <= 0 {
		c.History = DefaultHistory
	}
	return c
}

// Oracle knows what was acknowledged for every key, and judges reads. Its methods, and those of
// its nodes, may be called concurrently; acknowledgements may come in any order. It keeps every
// key that it has ever seen.
type Oracle struct {
	config Config
	origin time.Time // times are nanoseconds since then
	keep   int64
	seed   maphash.Seed
	shards [shardCount]shard[key]
	all    *Node

	violations atomic.Int64
	mu         sync.Mutex
	kept       []*Violation
	nodes      []*Node
}

// New returns an oracle that knows of no key.
func New(c Config) *Oracle {
	c = c.withDefaults()
	o := &Oracle{config: c, origin: time.Now(), keep: int64(c.MaxBound + slack), seed: maphash.MakeSeed()}
	o.all = o.Node("")
	return o
}

// Acked records that the writer of version was told, at the given time, that it holds. Versions are
// positive; a later write of the same key has a higher one. The same version may be recorded again.
// An invalidation without a version of its own is recorded as the version that the truth had then.
func (o *Oracle) Acked(key string, version int64, at time.Time) {
	o.key(key).record(Ack{Version: version, At: at}, o.since(at), o)
}

// Removing records that a removal of the key is about to be tried: until Removed, and for good if
// that never comes because the outcome is unknown, a read may find nothing.
func (o *Oracle) Removing(key string) { o.key(key).removing.Add(1) }

// Removed records that a removal announced by Removing was acknowledged at the given time: reads
// that start more than the bound after it must not return version or any older one.
func (o *Oracle) Removed(key string, version int64, at time.Time) {
	k := o.key(key)
	raise(&k.removed, version) // before the count goes down: see Read.missing
	k.record(Ack{Version: version, Removed: true, At: at}, o.since(at), o)
	k.removing.Add(-1)
}

// Begin starts a read that belongs to no node: it is checked against acknowledgements alone.
func (o *Oracle) Begin(key string) Read { return o.all.Begin(key) }

// BeginAt is Begin at a given time.
func (o *Oracle) BeginAt(key string, at time.Time) Read { return o.all.BeginAt(key, at) }

// Node returns a new node: a name for violations and what was seen and told there. It is kept for
// as long as the oracle.
func (o *Oracle) Node(name string) *Node {
	n := &Node{Name: name, oracle: o}
	n.bound.Store(int64(o.config.Bound))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nodes = append(o.nodes, n)
	return n
}

// Violations returns the first violations, at most MaxKept.
func (o *Oracle) Violations() []*Violation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*Violation(nil), o.kept...)
}

// Err is nil while nothing was violated. Otherwise it wraps ErrViolated, counts the violations and
// prints the first.
func (o *Oracle) Err() error {
	kept := o.Violations()
	if len(kept) == 0 {
		return nil
	}
	return fmt.Errorf("%w %d times, first: %v", ErrViolated, o.violations.Load(), kept[0])
}

func (o *Oracle) key(name string) *key {
	return o.shards[o.shardOf(name)].get(name, func() *key { return &key{name: name} })
}

func (o *Oracle) shardOf(name string) uint64 { return maphash.String(o.seed, name) % shardCount }

func (o *Oracle) since(at time.Time) int64 { return int64(at.Sub(o.origin)) }

func (o *Oracle) report(v *Violation) *Violation {
	o.violations.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.kept) < MaxKept {
		o.kept = append(o.kept, v)
	}
	return v
}

// shard is one part of a map that only grows.
type shard[T any] struct {
	mu sync.RWMutex
	m  map[string]*T
	_  [32]byte // neighbours do not share a cache line
}

func (s *shard[T]) get(name string, create func() *T) *T {
	s.mu.RLock()
	v := s.m[name]
	s.mu.RUnlock()
	if v != nil {
		return v
	}
	return s.add(name, create)
}

func (s *shard[T]) add(name string, create func() *T) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.m[name]; v != nil {
		return v
	}
	if s.m == nil {
		s.m = make(map[string]*T)
	}
	v := create()
	s.m[name] = v
	return v
}

// raise sets a to v unless it is higher already.
func raise(a *atomic.Int64, v int64) {
	for old := a.Load(); v > old; old = a.Load() {
		if a.CompareAndSwap(old, v) {
			return
		}
	}
}
