package tier

import (
	"context"
	"fmt"
	"sync"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// call is one load under way for one id, and its outcome. Its callers wait for it together.
type call struct {
	id   string
	hash hash
	pair pair
	// began is the node's clock before the load. news is the highest version that an event told of, demand the lowest that
	// the reader who began the load accepts.
	began, news, demand int64
	// repair says that the record in Redis does not decode, so that whatever its version it is loaded again.
	repair bool
	// held is what L1 still has, for when nobody answers.
	held *entry
	// over says that the load took the place of another of the same key, whose answer did not do.
	over bool

	// The outcome; set together with finished.
	entry *entry
	tier  Tier
	err   error

	// Guarded by the shard's mutex. done is made by the first who waits: most loads end before anyone does.
	finished bool
	done     chan struct{}
}

// flightKey makes the pair part of a load's identity. A reader that begins after an invalidation sees another pair, and
// so never joins a load that may have read what the invalidation ended:
//
//	load begins (pair 1) · origin answers v1 · change to v2, invalidation (pair 2) · reader joins pair 2: a new load
//
// The id is there as its hash, which nobody else shares.
type flightKey struct {
	hash hash
	pair pair
}

const flightShards = 64

// flights holds the loads under way, so that each key is loaded once per node at a time.
type flights struct {
	shards [flightShards]struct {
		mu    sync.Mutex
		calls map[flightKey]*call
	}
}

func newFlights() *flights {
	f := new(flights)
	for i := range f.shards {
		f.shards[i].calls = make(map[flightKey]*call)
	}
	return f
}

// known returns the version below which a record in Redis counts as a miss.
func (c *call) known() int64 {
	if c.repair {
		return profile.MaxVersion + 1
	}
	return max(c.news, c.demand)
}

func (c *call) key() flightKey {
	return flightKey{c.hash, c.pair}
}

// role is what a reader does about the load that join gave it.
type role int

const (
	lead   role = iota // runs it
	follow             // waits for it
	late               // it has ended; L1 does not show its entry yet
)

// join returns the load to take part in: mine, unless there is one for the same key that began at oldest or later. One that
// has ended does only if it has the version that mine demands, and while ended says that such answers count.
func (f *flights) join(mine *call, oldest int64, ended bool) (*call, role) {
	s := &f.shards[mine.hash.key>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[mine.key()]
	switch {
	case c == nil || c.began < oldest || c.finished && (!ended || c.entry.profile.UpdatedAt < mine.known()):
		mine.over = c != nil
		s.calls[mine.key()] = mine
		return mine, lead
	case c.finished:
		return c, late
	}
	return c, follow
}

// finish publishes the outcome of c. Its key is free at once, unless it lingers: then later readers find the outcome until
// forget. Only the first outcome counts.
func (f *flights) finish(c *call, e *entry, from Tier, err error, lingers bool) {
	s := &f.shards[c.hash.key>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.finished {
		return
	}
	c.finished, c.entry, c.tier, c.err = true, e, from, err
	if s.calls[c.key()] == c && !lingers {
		delete(s.calls, c.key())
	}
	if c.done != nil {
		close(c.done)
	}
}

// settled adds a load that has ended and lingers, unless there is one of the same key.
func (f *flights) settled(c *call) bool {
	s := &f.shards[c.hash.key>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.key()] != nil {
		return false
	}
	s.calls[c.key()] = c
	return true
}

// forget frees the key of a call that lingered.
func (f *flights) forget(c *call) {
	s := &f.shards[c.hash.key>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.key()] == c {
		delete(s.calls, c.key())
	}
}

// wait returns nil when c is finished, else why the caller left.
func (f *flights) wait(ctx context.Context, c *call) error {
	s := &f.shards[c.hash.key>>58]
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
