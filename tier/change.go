package tier

import (
	"context"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// Put tells the cache what the truth already says: it stores p in Redis, then in this node's L1.
// The event that tells the other nodes comes after it. p needs a version (UpdatedAt); it is not
// kept.
//
// Errors wrap ErrConflict when as new a version is known, those of profile.Check, or Redis's.
func (c *Cache) Put(ctx context.Context, p *profile.Profile) error {
	if c.closed.Load() {
		return ErrClosed
	}
	whole := *p
	whole.Complete()
	stored, err := c.l2.Apply(ctx, &whole)
	if err != nil {
		return err
	}
	if !stored {
		return fmt.Errorf("tier: put %q: %w: %d is not above it", p.ID, ErrConflict, p.UpdatedAt)
	}
	c.Refresh(&whole)
	return nil
}

// Invalidate makes Redis and this node forget id, so that the next read asks the origin. The event
// that tells the other nodes comes after it. Errors wrap profile.ErrInvalidID, or are Redis's.
func (c *Cache) Invalidate(ctx context.Context, id string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if err := c.l2.Invalidate(ctx, id); err != nil {
		return err
	}
	c.Forget(id, 0)
	return nil
}

// Forget ends the validity of what this node holds of id, and of every load of it under way.
// version is the one that made it so, 0 when unknown: for a minute no record below it is taken from
// Redis.
func (c *Cache) Forget(id string, version int64) {
	c.counters.invalidations.Add(1)
	c.recent.learn(id, version, c.clock.tick())
	c.drop(id, c.l1.hash(id))
}

// drop ends the validity of what is held of id, and of every load of it under way.
func (c *Cache) drop(id string, h hash) {
	// Together: what loads under way bring into the store does not count, and those that begin
	// under the new stamp do not find what was in it.
	c.store.DeleteAs(id, func() { c.l1.stamps.bump(h) })
	c.l1.free(h)
}

// Remind is Forget for what this node has been told before it was restarted: what its store holds
// has been through it.
func (c *Cache) Remind(id string, version int64) {
	c.recent.learn(id, version, c.clock.tick())
	c.l1.invalidate(c.l1.hash(id))
}

// Refresh is Forget for a change that carries the whole profile: if this node holds id, the new
// profile takes the old one's place, in L1 or in the store. p is not kept; it must have passed
// profile.Check.
func (c *Cache) Refresh(p *profile.Profile) {
	h, now := c.l1.hash(p.ID), c.clock.tick()
	c.counters.invalidations.Add(1)
	c.recent.learn(p.ID, p.UpdatedAt, now)
	before := c.l1.stamps.of(h)
	held := c.l1.peek(h)
	// The event may be a late one. What is known absent has no version, and what an invalidation
	// has ended is older than the truth, so neither shows that the event is news: the next read
	// asks Redis, which knows.
	if c.l1.valid(held, h, before) && !held.absent && held.profile.UpdatedAt <= p.UpdatedAt &&
		p.UpdatedAt >= c.recent.floor(p.ID, now) {
		e := newEntry(p)
		e.check = h.check
		e.keepFor(now, c.conf.L1TTL)
		c.store.Delete(p.ID) // before readers find e and nothing else
		if c.replace(h, e, before) {
			c.record(h, e, true)
			return
		}
	}
	if c.l1.valid(held, h, before) || !c.renew(p, h, before) {
		c.drop(p.ID, h)
	}
}

// replace ends the validity of what is held in e's place under the pair from, and puts e there. It
// reports false, and has done nothing, when another change of the same user comes between.
func (c *Cache) replace(h hash, e *entry, from pair) bool {
	e.pair = pair{from.epoch, from.stamp + 1}
	// Nobody has seen that pair yet, so nobody begins a load under it before it finds this one.
	load := &call{id: e.profile.ID, hash: h, pair: e.pair, began: e.loaded, entry: e, tier: look.FromL1}
	if !c.flights.addEnded(load, func() bool { _, ok := c.l1.stamps.advance(h, from); return ok }) {
		return false
	}
	c.counters.refreshes.Add(1)
	c.l1.free(h)
	if c.l1.set(h, e) {
		c.pending.add(load)
	} else {
		c.flights.forget(load)
	}
	return true
}

// Flush ends the validity of everything that this node holds, and of every load under way:
// something may have been missed.
func (c *Cache) Flush() {
	c.counters.flushes.Add(1)
	c.store.flush(c.l1.stamps.flush)
	c.l1.clear()
	c.flushed.Store(c.clock.tick())
}
