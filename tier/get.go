package tier

import (
	"context"
	"fmt"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// Get is GetWith without demands.
func (c *Cache) Get(ctx context.Context, id string) (Result, error) {
	return c.GetWith(ctx, id, Want{})
}

// GetWith returns the profile of id from the first tier that has it. ctx bounds this caller's wait,
// not the load, which others may have joined. The cache keeps id: a caller whose strings are reused
// buffers passes a copy.
//
// Errors wrap profile.ErrInvalidID, profile.ErrNotFound, profile.ErrUnavailable, ErrBehind,
// ErrClosed, or the cause of ctx.
func (c *Cache) GetWith(ctx context.Context, id string, w Want) (Result, error) {
	s := c.counters.stripe()
	if n := s.entered.Add(1); n%look.SampleHits == 0 && (n%sampleEvery == 0 || c.samples.watched()) {
		return c.timed(ctx, s, id, w, n%sampleEvery == 0)
	}
	if c.closed.Load() {
		s.leave(1, 1)
		return Result{}, ErrClosed
	}
	h := c.l1.hash(id)
	e := c.l1.candidate(h)
	// It leaves now: after the reads below, an atomic write would wait for their cache misses.
	s.left.Add(1)
	if now := c.clock.nanos(); c.l1.valid(e, h, c.l1.stamps.of(h)) {
		if now < e.refreshAt && now <= c.fence.until.Load() && w == (Want{}) {
			return e.result(look.FromL1, time.Duration(now-e.loaded)), nil
		}
	} else {
		e = nil
	}
	return c.getSlowly(ctx, s, &call{id: id, hash: h, held: e}, w)
}

// getSlowly answers what is more than a plain hit. mine is the load that a miss begins; it holds
// the entry found, if any.
func (c *Cache) getSlowly(ctx context.Context, s *stripe, mine *call, w Want) (Result, error) {
	s.entered.Add(1)
	defer s.leaveAgain()
	if c.closed.Load() {
		s.misses.Add(1)
		return Result{}, ErrClosed
	}
	now := c.clock.nanos()
	if w.MaxAge > 0 {
		now = c.clock.tick() // an age is worth the exact time
	}
	if e := mine.held; e != nil && c.fresh(e, now) && w.accepts(e, now) {
		return c.hit(e, mine.hash, now)
	}
	s.misses.Add(1)
	c.traced(mine, ctx)
	r, err := c.miss(ctx, mine, w)
	c.noteMiss(mine.id, mine.began, r, err)
	return r, err
}

// hit answers from a fresh entry that is absent, due for a refresh, or asked for with demands.
func (c *Cache) hit(e *entry, h hash, now int64) (Result, error) {
	if e.absent {
		c.counters.negativeHits.Add(1)
		return Result{}, notFound(e.profile.ID)
	}
	if now >= e.refreshAt {
		c.refreshAhead(e, h)
	}
	return e.result(look.FromL1, time.Duration(max(0, now-e.loaded))), nil
}

// refreshAhead loads an entry again while it still answers. One reader per entry starts it.
func (c *Cache) refreshAhead(e *entry, h hash) {
	if !e.refreshing.CompareAndSwap(false, true) {
		return
	}
	if !c.ahead(&call{id: e.profile.ID, hash: h, held: e}) {
		e.refreshing.Store(false) // a later reader's turn
		return
	}
	c.counters.refreshAheads.Add(1)
}

// ahead has a load run for which nobody waits, unless maxAheads are under way.
func (c *Cache) ahead(mine *call) bool {
	select {
	case c.aheads <- struct{}{}:
	default:
		return false
	}
	load, part := c.join(mine, Want{})
	c.background.Go(func() {
		defer func() { <-c.aheads }()
		if part == lead {
			c.load([]*call{load})
		}
	})
	return true
}

// joins is how many loads a reader goes through, at most, that others began without its demand.
const joins = 3

// miss answers from a load: one that is under way, or its own. mine is that own load, not yet
// begun.
func (c *Cache) miss(ctx context.Context, mine *call, w Want) (Result, error) {
	if err := profile.CheckID(mine.id); err != nil {
		return Result{}, fmt.Errorf("tier: get: %w", err)
	}
	var began int64
	for i := range joins {
		if i > 0 {
			if i == 1 {
				var leave context.CancelFunc
				ctx, leave = c.within(ctx, mine.began, w)
				defer leave()
			}
			mine = &call{id: mine.id, hash: mine.hash, held: mine.held, reader: mine.reader}
		}
		load, part := c.join(mine, w)
		if began == 0 {
			began = mine.began
		}
		if part == lead {
			c.run(ctx, []*call{load})
		}
		if err := c.flights.wait(ctx, load); err != nil {
			c.timeLoad(ctx, nil, part, began)
			return Result{}, err
		}
		if !c.short(load, w) {
			c.timeLoad(ctx, load, part, began)
			return c.answer(load, part, w)
		}
		if part == lead {
			break // the load knew of the demand; nobody has the version
		}
	}
	c.timeLoad(ctx, nil, lead, began)
	return Result{}, fmt.Errorf("tier: get %q: %w", mine.id, behind(w))
}

// within bounds the wait of a reader that began at began and goes through several loads.
func (c *Cache) within(
	ctx context.Context, began int64, w Want,
) (context.Context, context.CancelFunc) {
	return context.WithDeadlineCause(ctx, c.clock.at(began).Add(c.conf.LoadDeadline), behind(w))
}

// short reports whether a load that was joined has brought less than w demands: a lower version, or
// what the store has for longer.
func (c *Cache) short(load *call, w Want) bool {
	e := load.entry
	if load.err != nil || e.absent {
		return false
	}
	return e.profile.UpdatedAt < w.MinVersion ||
		load.tier == look.FromStore && w.MaxAge > 0 && c.clock.tick()-e.loaded > int64(w.MaxAge)
}

func behind(w Want) error { return fmt.Errorf("%w: want %d", ErrBehind, w.MinVersion) }

// join captures what vouches for the load before anything is read, then joins the flight of that
// key or begins mine.
func (c *Cache) join(mine *call, w Want) (*call, role) {
	mine.began = c.clock.tick()
	mine.pair = c.l1.stamps.of(mine.hash)
	mine.news, mine.demand = c.recent.floor(mine.id, mine.began), w.MinVersion
	mine.hint = c.hints.last(mine.id, mine.began)
	oldest := c.fence.resumed.Load() // what was read before a pause is not what is there after it
	if w.MaxAge > 0 {
		mine.oldest = mine.began - int64(w.MaxAge)
		oldest = max(oldest, mine.oldest)
	}
	load, part := c.flights.join(mine, oldest, c.alive(mine.began))
	if part != lead {
		c.counters.joined.Add(1)
	}
	return load, part
}

// answer turns the outcome of a load into the result of a reader who had this part in it.
func (c *Cache) answer(load *call, part role, w Want) (Result, error) {
	e := load.entry
	switch {
	case load.err != nil:
		return Result{}, fmt.Errorf("tier: get %q: %w", load.id, load.err)
	case e.absent:
		return Result{}, notFound(load.id)
	}
	r := e.result(load.tier, 0)
	switch {
	case part == late:
		r.Tier, r.Age = look.FromL1, time.Duration(c.clock.tick()-e.loaded)
	case load.tier == look.FromStore:
		r.Age = time.Duration(c.clock.tick() - e.loaded)
	}
	if load.tier == look.FromStale {
		c.counters.stale.Add(1)
		r.Age = time.Duration(c.clock.tick() - e.loaded)
		if w.MaxAge > 0 && r.Age > w.MaxAge {
			return Result{}, fmt.Errorf("tier: get %q: %w: only a copy of %v ago is held",
				load.id, profile.ErrUnavailable, r.Age)
		}
	}
	return r, nil
}

func notFound(id string) error { return fmt.Errorf("tier: get %q: %w", id, profile.ErrNotFound) }
