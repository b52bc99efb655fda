package tier

import (
	"context"
	"fmt"
	"sync"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// call is one load under way for one id, and its outcome. Its callers wait for it together.
type call struct {
	id   string
	hash hash
	pair pair
	// began is the node's clock before the load. news is the highest version that an event told of,
	// demand the lowest that the reader who began the load accepts.
	began, news, demand int64
	// oldest is the earliest load that the reader accepts an answer of; 0 for any.
	oldest int64
	// repair says that the record in Redis does not decode, so that whatever its version it is
	// loaded again.
	repair bool
	// hint is the last hint that the load knows of, refused tells begin of the record that it does
	// not take: see l2.Ask. fallback is what answers it, as from fallbackTier, when the origin does
	// not.
	hint         *Hint
	refused      string
	fallback     *entry
	fallbackTier look.Tier
	// held is what L1 still has, for when nobody answers.
	held *entry
	// reader is the context of who began the load, for its spans; nil when none are made.
	reader context.Context
	// over says that the load took the place of another of the same key, whose answer did not do.
	over bool

	// Guarded by the shard's mutex, as pair is once readers may join. hidden says that nobody joins
	// the load, heard is the newest answer of other loads of the id of which this one need not
	// know. next is another load of the id.
	hidden bool
	heard  *entry
	next   *call

	// The outcome; set together with finished, but entry, which bind sets: an answer about to be
	// shown.
	entry *entry
	tier  look.Tier
	err   error

	// Guarded by the shard's mutex. done is made by the first who waits: most loads end before
	// anyone does.
	finished bool
	done     chan struct{}
}

// known returns the version below which a record in Redis counts as a miss.
func (c *call) known() int64 {
	if c.repair {
		return profile.MaxVersion + 1
	}
	return max(c.news, c.demand)
}

// question is what Redis is asked about the load.
func (c *call) question() l2.Ask {
	ask := l2.Ask{ID: c.id, MinVersion: c.known(), Refused: c.refused}
	if c.hint != nil {
		ask.Hint = c.hint.Order
	}
	return ask
}

func (c *call) key() flightKey {
	return flightKey{c.hash, c.pair}
}

// flightKey makes the pair part of a load's identity. A reader that begins after an invalidation
// sees another pair, and so never joins a load that may have read what the invalidation ended:
//
//	load begins (pair 1) · origin answers v1 · change to v2, invalidation (pair 2) ·
//	reader joins pair 2: a new load
//
// The id is there as its hash, which nobody else shares.
type flightKey struct {
	hash hash
	pair pair
}

const flightShards = 64

// flights holds the loads under way, so that each key is loaded once per node at a time.
type flights struct {
	shards [flightShards]flightShard
}

type flightShard struct {
	mu sync.Mutex
	// calls holds, by id, the first of its loads, which leads to the others.
	calls map[hash]*call
}

func newFlights() *flights {
	f := new(flights)
	for i := range f.shards {
		f.shards[i].calls = make(map[hash]*call)
	}
	return f
}

func (f *flights) shard(h hash) *flightShard { return &f.shards[h.key>>58] }

// role is what a reader does about the load that join gave it.
type role int

const (
	lead   role = iota // runs it
	follow             // waits for it
	late               // it has ended; L1 does not show its entry yet
)

// join returns the load to take part in: one for the same key that began at oldest or later, else
// mine. A load that has ended is joined only if ended is true and its version satisfies mine.
func (f *flights) join(mine *call, oldest int64, ended bool) (*call, role) {
	s := f.shard(mine.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.openLocked(mine.key())
	switch {
	case c == nil || c.began < oldest || c.finished && !(ended && c.satisfies(mine)):
		if mine.over = c != nil; mine.over {
			c.hidden = true
		}
		s.addLocked(mine)
		return mine, lead
	case c.finished:
		return c, late
	}
	return c, follow
}

// satisfies reports whether c, which has ended, has the version that mine is to reach, and is as
// new.
func (c *call) satisfies(mine *call) bool {
	return c.entry.profile.UpdatedAt >= mine.known() &&
		(mine.oldest == 0 || c.entry.loaded >= mine.oldest)
}

// watch adds a load that nobody joins.
func (f *flights) watch(c *call) {
	s := f.shard(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.hidden = true
	s.addLocked(c)
}

// wait returns nil when c is finished, else why the caller left.
func (f *flights) wait(ctx context.Context, c *call) error {
	s := f.shard(c.hash)
	s.mu.Lock()
	if c.finished {
		s.mu.Unlock()
		return nil
	}
	if c.done == nil {
		c.done = make(chan struct{})
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("tier: wait for %q: %w", c.id, context.Cause(ctx))
	}
}

// openLocked returns the load that readers of a key join.
func (s *flightShard) openLocked(k flightKey) *call {
	for c := s.calls[k.hash]; c != nil; c = c.next {
		if !c.hidden && c.key() == k {
			return c
		}
	}
	return nil
}

func (s *flightShard) addLocked(c *call) {
	c.next = s.calls[c.hash]
	s.calls[c.hash] = c
	for o := c.next; o != nil; o = o.next {
		c.hear(o.heard)
		c.hear(o.entry)
	}
}

func (s *flightShard) dropLocked(c *call) {
	first := s.calls[c.hash]
	switch {
	case first == c && c.next == nil:
		delete(s.calls, c.hash)
	case first == c:
		s.calls[c.hash] = c.next
	default:
		for o := first; o != nil; o = o.next {
			if o.next == c {
				o.next = c.next
			}
		}
	}
	c.next = nil
}
