package tier

import (
	"context"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// Warm brings profiles from Redis into L1, where they are not there yet, and returns how many of
// ids L1 was given or had. It never asks the origin: a user that Redis does not have is passed
// over. At most MaxBatch ids a call.
//
// Errors wrap ErrTooMany or ErrClosed, or are Redis's.
func (c *Cache) Warm(ctx context.Context, ids []string) (warm int, err error) {
	if len(ids) > MaxBatch {
		return 0, fmt.Errorf("%w: %d; at most %d a batch", ErrTooMany, len(ids), MaxBatch)
	}
	s := c.counters.stripe()
	s.entered.Add(1)
	defer s.leaveAgain()
	if c.closed.Load() {
		return 0, ErrClosed
	}
	cold, warm := c.cold(ids)
	if len(cold) == 0 {
		return warm, nil
	}
	for i := range cold {
		c.flights.watch(&cold[i])
	}
	defer c.unwatch(cold)
	left := c.warmFromStore(cold)
	warm += len(cold) - len(left)
	names := make([]string, len(left))
	for i, mine := range left {
		names[i] = mine.id
	}
	found := make(entries, len(names))
	worth, fails := c.l2.Read(ctx, names, found.room)
	for i, e := range found {
		switch {
		case fails[i] != nil:
			if !c.countL2(fails[i]) {
				err = fails[i]
			}
		case e != nil && worth[i].Trust == profile.Sealed && c.warmOne(left[i], e, look.FromL2):
			warm++
		}
	}
	// The engine takes what is set in its own time, and drops it when there is too much.
	c.l1.drain()
	return warm, err
}

// cold returns a load for each id that L1 does not answer, and how many it does; ids that cannot be
// any are in neither.
func (c *Cache) cold(ids []string) (calls []call, warm int) {
	now := c.clock.tick()
	for _, id := range ids {
		h := c.l1.hash(id)
		mine := call{
			id: id, hash: h, began: now, pair: c.l1.stamps.of(h), news: c.recent.floor(id, now),
			hint: c.hints.last(id, now),
		}
		e := c.l1.peek(h)
		switch {
		case c.l1.valid(e, h, mine.pair) && c.fresh(e, now):
			warm++
		case profile.CheckID(id) == nil && mine.hint == nil:
			calls = append(calls, mine)
		}
	}
	return calls, warm
}

// unwatch frees what was watched and does not linger.
func (c *Cache) unwatch(cold []call) {
	for i := range cold {
		if !cold[i].finished {
			c.flights.forget(&cold[i])
		}
	}
}

// warmOne shows what Redis answered as the outcome of a load that has ended and lingers, and offers
// it to the engine; see pending.go for why. A load of the same key that is under way, or lingers
// itself, has an answer as good.
func (c *Cache) warmOne(mine *call, e *entry, from look.Tier) bool {
	if c.outdated(mine, e) {
		return false
	}
	held := c.l1.peek(mine.hash)
	if c.l1.valid(held, mine.hash, mine.pair) && held.profile.UpdatedAt != e.profile.UpdatedAt {
		return false // readers may have seen it: a load has to settle which of the two is valid
	}
	if held == nil && !c.l1.admission.admit(mine.hash) {
		c.counters.unadmitted.Add(1)
		return false
	}
	e.pair, e.check = mine.pair, mine.hash.check
	if from == look.FromL2 {
		e.keepFor(mine.began, c.conf.L1TTL)
		e.pack()
		c.record(mine.hash, e, true)
	}
	mine.entry, mine.tier = e, from
	if !c.flights.addEnded(mine, func() bool { return c.l1.stamps.of(mine.hash) == mine.pair }) {
		return true
	}
	// From here on nobody begins a load under this pair; one that had ended before shows in the
	// engine by now.
	if c.l1.peek(mine.hash) != held || !c.l1.set(mine.hash, e) {
		c.flights.forget(mine)
		return false
	}
	if from == look.FromL2 {
		c.counters.l2Hits.Add(1)
	} else {
		c.counters.storeHits.Add(1)
	}
	c.pending.add(mine)
	return true
}

// warmFromStore brings what the store has into L1, and returns the others.
func (c *Cache) warmFromStore(cold []call) (rest []*call) {
	use := c.storeCounts()
	for i := range cold {
		mine := &cold[i]
		if use {
			if e := c.freshStored(mine); e != nil && c.warmOne(mine, e, look.FromStore) {
				continue
			}
		}
		rest = append(rest, mine)
	}
	return rest
}
