package tier

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// samples are the lookups that were timed last. The zero value is ready for use.
type samples struct {
	watchers atomic.Int64
	mu       sync.Mutex
	ring     []look.Lookup // guarded by mu; up to look.MaxLookups
	next     int           // guarded by mu: where the next one goes
}

// SampleLookups has lookups timed until stop is called: each that L1 did not answer, and one in
// look.SampleHits of the hits. stop may be called twice. What was timed before is forgotten by the
// first of those who have it done.
func (c *Cache) SampleLookups() (stop func()) {
	if c.samples.watchers.Add(1) == 1 {
		c.samples.clear()
	}
	return sync.OnceFunc(func() { c.samples.watchers.Add(-1) })
}

// Lookups returns the lookups that were timed last, look.MaxLookups at most, the oldest first.
func (c *Cache) Lookups() []look.Lookup {
	s := &c.samples
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(append(make([]look.Lookup, 0, len(s.ring)), s.ring[s.next:]...), s.ring[:s.next]...)
}

func (s *samples) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring, s.next = nil, 0
}

func (s *samples) watched() bool { return s.watchers.Load() > 0 }

func (s *samples) add(l look.Lookup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ring) < look.MaxLookups {
		s.ring = append(s.ring, l)
		return
	}
	s.ring[s.next] = l
	s.next = (s.next + 1) % look.MaxLookups
}

// timed is GetWith of a lookup that entered s, with a look at the clock before and after. It notes
// hits, and has them counted for all that are not timed; a miss is timed where it is found.
func (c *Cache) timed(ctx context.Context, s *stripe, id string, w Want, counts bool) (Result, error) {
	defer s.leaveAgain()
	began := c.clock.tick()
	r, err := c.GetWith(ctx, id, w)
	if err != nil || r.Tier != look.FromL1 {
		return r, err
	}
	if counts {
		c.timeHit(began)
	}
	if c.samples.watched() {
		now := c.clock.tick()
		c.samples.add(look.Lookup{At: c.clock.at(now), ID: id, Tier: look.FromL1, Took: time.Duration(now - began)})
	}
	return r, err
}

// noteMiss notes a lookup that L1 did not answer, and that began at began on the node's clock; 0 is
// that of a lookup that was refused.
func (c *Cache) noteMiss(id string, began int64, r Result, err error) {
	if began == 0 || !c.samples.watched() || r.Tier == look.FromL1 {
		return
	}
	now := c.clock.tick()
	c.samples.add(look.Lookup{At: c.clock.at(now), ID: id, Tier: r.Tier,
		Absent: errors.Is(err, profile.ErrNotFound), Took: time.Duration(now - began)})
}
