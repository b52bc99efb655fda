package tier

import (
	"context"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// The engine shows a new entry only when its own goroutine has come to it, and of two that wait for
// that it keeps the older. So a load that has ended lingers in the flight table until the engine
// has worked off everything before it. Readers find its outcome there, no second load of the key
// begins, and a node does not go back to an older version:
//
//	load of v1 ends, Set queued · change to v2 in Redis ·
//	reader: L1 shows nothing, a load of v2, Set queued · the engine keeps v1 · reader: v1 after v2
//
// What a change puts in the place of an entry waits in the same queue, so it lingers as a load that
// has ended would.
//
// Only a reader with demands begins another load meanwhile; its answer advances the stamp (bind, in
// finish.go).

// gatherPause lets ends of loads gather, so that the engine is waited for once for many.
const gatherPause = 20 * time.Millisecond

// pending are the loads that have ended and whose entries the engine may not show yet.
type pending struct {
	mu    sync.Mutex
	calls []*call
	some  chan struct{} // holds one element while calls is not empty
}

// finish publishes the outcome of c. Its key is free at once, unless it lingers: then later readers
// find the outcome until forget. Only the first outcome counts.
func (f *flights) finish(c *call, e *entry, from look.Tier, err error, lingers bool) {
	s := f.shard(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.finished {
		return
	}
	c.finished, c.entry, c.tier, c.err = true, e, from, err
	if !lingers {
		s.dropLocked(c)
	}
	if c.done != nil {
		close(c.done)
	}
}

func (p *pending) add(c *call) {
	p.mu.Lock()
	p.calls = append(p.calls, c)
	p.mu.Unlock()
	select {
	case p.some <- struct{}{}:
	default:
	}
}

// addEnded makes c a load that has ended and lingers, unless there is one of the same key, or its
// pair is not valid, which valid says or brings about.
func (f *flights) addEnded(c *call, valid func() bool) bool {
	s := f.shard(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openLocked(c.key()) != nil || !valid() {
		return false
	}
	s.dropLocked(c)
	s.addLocked(c)
	c.finished, c.hidden = true, false
	s.tellLocked(c, c.entry)
	return true
}

// drainPending frees the keys of loads once the engine has come to their entries.
func (c *Cache) drainPending(ctx context.Context) {
	for {
		select {
		case <-c.pending.some:
		case <-ctx.Done():
			return
		}
		life.Wait(ctx, gatherPause)
		calls := c.pending.take()
		c.l1.drain()
		for _, call := range calls {
			c.flights.forget(call)
		}
	}
}

func (p *pending) take() (calls []*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls, p.calls = p.calls, nil
	return calls
}

// forget frees the key of a call that lingered.
func (f *flights) forget(c *call) {
	s := f.shard(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(c)
}
