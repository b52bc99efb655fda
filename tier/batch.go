package tier

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Batch answers a BatchGet: every distinct id asked for is in exactly one of the three.
type Batch struct {
	// Found holds the answers by id.
	Found map[string]Result
	// Missing lists the users who do not exist.
	Missing []string
	// Errors holds, by id, why one could not be answered; the errors are those of GetWith.
	Errors map[string]error
}

// BatchGet is GetWith for up to MaxBatch ids at once: one pass over L1, one pipeline to Redis,
// calls of at most 500 ids to the origin. An id that another caller is already loading is joined.
// One bad id does not fail the others.
//
// Errors of the whole wrap ErrTooMany or ErrClosed.
func (c *Cache) BatchGet(ctx context.Context, ids []string, w Want) (Batch, error) {
	if len(ids) > MaxBatch {
		return Batch{}, fmt.Errorf("%w: %d; at most %d a batch", ErrTooMany, len(ids), MaxBatch)
	}
	s := c.counters.stripe()
	s.entered.Add(uint64(len(ids)))
	missed := len(ids)
	defer func() { s.leave(len(ids), missed) }()
	if c.closed.Load() {
		return Batch{}, ErrClosed
	}
	b := Batch{Found: make(map[string]Result, len(ids))}
	misses := c.fromL1(ids, w, &b)
	missed = len(misses)
	if len(misses) > 0 {
		c.missBatch(ctx, misses, w, &b)
	}
	b.Missing = distinct(b.Missing)
	return b, nil
}

// fromL1 answers what it can and returns the rest as loads not yet begun. Ids and stamps lie all
// over the memory: they are read in loops of their own, so that the processor waits for many at a
// time, which the engine's locks would prevent.
func (c *Cache) fromL1(ids []string, w Want, b *Batch) (misses []call) {
	now := c.clock.tick()
	hashes, valid := make([]hash, len(ids)), make([]pair, len(ids))
	for i, id := range ids {
		hashes[i] = c.l1.hash(id)
	}
	for i, h := range hashes {
		valid[i] = c.l1.stamps.of(h)
	}
	for i, id := range ids {
		h := hashes[i]
		e := c.l1.candidate(h)
		if !c.l1.valid(e, h, valid[i]) {
			e = nil
		}
		if e != nil && c.fresh(e, now) && w.accepts(e, now) {
			r, err := c.hit(e, h, now)
			b.add(id, r, err)
			continue
		}
		if misses == nil {
			misses = make([]call, 0, len(ids)-i)
		}
		misses = append(misses, call{id: id, hash: h, held: e})
	}
	return misses
}

// missBatch runs the loads that nobody else runs in one go, then collects them and those that it
// joined.
func (c *Cache) missBatch(ctx context.Context, misses []call, w Want, b *Batch) {
	began := c.clock.tick()
	loads, parts := make([]*call, 0, len(misses)), make([]role, 0, len(misses))
	leads := make([]*call, 0, len(misses))
	for i := range misses {
		mine := &misses[i]
		if err := profile.CheckID(mine.id); err != nil {
			b.add(mine.id, Result{}, fmt.Errorf("tier: get: %w", err))
			continue
		}
		c.traced(mine, ctx)
		load, part := c.join(mine, w)
		loads, parts = append(loads, load), append(parts, part)
		if part == lead {
			leads = append(leads, load)
		}
	}
	if len(leads) > 0 {
		c.run(ctx, leads)
	}
	for i, load := range loads {
		if err := c.flights.wait(ctx, load); err != nil {
			b.add(load.id, Result{}, err)
			continue
		}
		if c.short(load, w) {
			// Rare: a load that was joined answers below this caller's demand.
			ctx, leave := c.within(ctx, began, w)
			r, err := c.miss(ctx, &call{id: load.id, hash: load.hash, held: load.held}, w)
			leave()
			b.add(load.id, r, err)
			continue
		}
		r, err := c.answer(load, parts[i], w)
		b.add(load.id, r, err)
		c.noteMiss(load.id, began, r, err)
	}
}

func (b *Batch) add(id string, r Result, err error) {
	switch {
	case err == nil:
		b.Found[id] = r
	case errors.Is(err, profile.ErrNotFound):
		b.Missing = append(b.Missing, id)
	default:
		if b.Errors == nil {
			b.Errors = make(map[string]error)
		}
		b.Errors[id] = err
	}
}

// distinct removes repetitions in place.
func distinct(ids []string) []string {
	if len(ids) < 2 {
		return ids
	}
	seen := make(map[string]bool, len(ids))
	return slices.DeleteFunc(ids, func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}
