package tier

import (
	"sync"
	"sync/atomic"
	"time"
)

// fence says for how long L1 answers as fresh, on the node's clock.
type fence struct {
	// until is when it falls; 0 before the first proof, and after a pause of the process.
	until atomic.Int64
	// resumed is when the process ran again after its last pause. What was read before is old.
	resumed atomic.Int64
	fed     atomic.Int64 // when the first proof came; 0 before it
	mu      sync.Mutex   // orders proofs and pauses
}

// Alive tells the cache that everything is handled that was in the stream of changes age ago. After
// a pause of the process it counts only if that moment lies behind the pause.
func (c *Cache) Alive(age time.Duration) {
	if !c.store.caughtUp.Load() {
		c.store.caughtUp.Store(true)
	}
	if c.conf.FenceAfter < 0 {
		return
	}
	now := c.clock.tick()
	c.fence.fed.CompareAndSwap(0, now)
	proven := now - int64(age)
	c.fence.mu.Lock()
	defer c.fence.mu.Unlock()
	if proven > c.fence.resumed.Load() {
		c.fence.until.Store(proven + int64(c.conf.FenceAfter))
	}
}

// paused lowers the fence: what changed while the process did not run is not in L1.
func (c *Cache) paused(old, now int64) {
	c.fence.mu.Lock()
	defer c.fence.mu.Unlock()
	if c.conf.FenceAfter < 0 || c.clock.nanos() != old {
		return // nothing feeds the cache, or another saw the jump first
	}
	c.fence.resumed.Store(now)
	c.fence.until.Store(0)
}

// alive reports whether L1 answers as fresh.
func (c *Cache) alive(now int64) bool { return now <= c.fence.until.Load() }

// fresh reports whether e may answer unmarked. A fenced node trusts an entry only while it cannot
// be older than the fence: the stream may hide changes since the fence fell, but not from a load
// that began at the origin after that.
func (c *Cache) fresh(e *entry, now int64) bool {
	return now < c.expires(e) && (c.alive(now) || c.young(e, now))
}

// young reports whether e came from the origin less than FenceAfter ago, and since the last pause.
func (c *Cache) young(e *entry, now int64) bool {
	return e.origin && now-e.loaded < int64(c.conf.FenceAfter) && e.loaded >= c.fence.resumed.Load()
}

// quiet reports whether the stream, which was read before, has brought no proof for quietAfter.
// Redis is asked then whether it lives, before the fence falls and sends all readers there.
func (c *Cache) quiet() bool {
	until, after := c.fence.until.Load(), c.conf.FenceAfter
	if after <= 0 || until == 0 {
		return false
	}
	return c.clock.tick() > until-int64(after)+int64(quietAfter(after))
}

// quietAfter returns when a silent stream is a sign that Redis hangs. A calm one brings a proof
// every 0.5 s, or three times per fence where that is less; one of them may be missing.
func quietAfter(fence time.Duration) time.Duration { return min(time.Second, fence*2/3) }
