package tier

import (
	"context"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// The origin is the truth, and what other services put into Redis or on the stream is a hint: it
// ends what is held and what is being loaded, is shown, and lasts until the origin has been asked.
// Its time comes from a clock that nobody vouches for, so it outranks nothing that the origin said.

// Hint is what another service says of a user, on the stream.
type Hint struct {
	// Order is the place of its entry in the stream, which no other entry has. That of a later one
	// is greater, unless the stream has gone back.
	Order string
	// At is the time that it names, in milliseconds since 1970; 0 for none.
	At int64
	// Says holds the parts of the profile that it carries; nil for none.
	Says *profile.Patch
	// Deleted says that the user is gone.
	Deleted bool
}

// contradicts reports whether the origin's answer, nil when it knows no such user, is not what the
// hint says, and is not from after it either: the origin may lag behind who wrote the hint.
func (h *Hint) contradicts(p *profile.Profile) bool {
	switch {
	case h.Deleted:
		return p != nil && p.UpdatedAt <= h.At
	case p == nil:
		return h.Says != nil
	case h.Says == nil || p.UpdatedAt > h.At:
		return false
	}
	return !h.Says.Agrees(p)
}

const (
	// hintFor is how long a node remembers a hint that it has not seen answered. A worker has
	// brought Redis up to it long before.
	hintFor = 60 * time.Second
	// maxHints bounds the ids in one generation of hints.
	maxHints = 1 << 16
	// askAgain is when an origin whose answer contradicts a hint is asked once more.
	askAgain = 3 * time.Second
	// maxDoubts bounds the answers that wait for that.
	maxDoubts = 1024
	// lastLook bounds the look for what Redis shows of a hint when the origin has failed.
	lastLook = 200 * time.Millisecond
)

// hints remembers, by id, the last hint for which the origin may not have been asked yet. Two
// generations take turns, as in recent.
type hints struct {
	mu       sync.RWMutex
	now, old map[string]pendingHint
	turned   int64
}

// foreign is what is logged once, for each way in which others write.
type foreign struct{ event, record sync.Once }

type pendingHint struct {
	*Hint
	at int64 // when the node heard of it, by its own clock
}

// is reports whether p is this very hint.
func (p pendingHint) is(hint *Hint) bool { return p.Hint != nil && p.Order == hint.Order }

func newHints() *hints { return &hints{now: map[string]pendingHint{}} }

// learn notes a hint; at is the node's clock.
func (h *hints) learn(id string, hint *Hint, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at-h.turned > int64(hintFor) || len(h.now) >= maxHints {
		h.old, h.now, h.turned = h.now, map[string]pendingHint{}, at
	}
	h.now[id] = pendingHint{hint, at} // what was heard last, whatever its place
}

func (h *hints) lastLocked(id string) pendingHint {
	if p, ok := h.now[id]; ok {
		return p
	}
	return h.old[id]
}

// last returns the hint for which the origin may not have been asked; nil for none.
func (h *hints) last(id string, at int64) *Hint {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.now)+len(h.old) == 0 {
		return nil
	}
	if p := h.lastLocked(id); at-p.at <= int64(hintFor) {
		return p.Hint
	}
	return nil
}

// answered says that the origin has been asked since hint, which may be nil, and that Redis knows.
func (h *hints) answered(id string, hint *Hint) {
	if hint == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lastLocked(id).is(hint) {
		delete(h.now, id)
		delete(h.old, id)
	}
}

// Heed takes a hint: what this node holds of id counts no longer, no load that is under way may
// bring it back, and the next read asks the origin, unless another node has asked since.
func (c *Cache) Heed(id string, hint Hint) {
	c.counters.hints.Add(1)
	c.foreign.event.Do(func() {
		c.conf.Logger.Warn("another service announces changes: the origin is asked each time", "id", id)
	})
	if hint.Order == "" {
		c.Forget(id, 0)
		return
	}
	c.hints.learn(id, &hint, c.clock.tick())
	c.counters.invalidations.Add(1)
	c.drop(id, c.l1.hash(id))
}

// hinted notes the last hint about the user of mine, and reports whether it does not know of it
// yet.
func (c *Cache) hinted(mine *call) (news bool) {
	last := c.hints.last(mine.id, c.clock.nanos())
	if last == nil || mine.hint != nil && mine.hint.Order == last.Order {
		return false
	}
	mine.hint = last
	return true
}

// asks reports whether the load must not take what Redis has without asking there whether the
// origin was asked first.
func (c *call) asks() bool { return c.hint != nil || c.refused != "" }

// takeForeign takes a record that another service wrote. A whole one is shown, and the origin asked
// in the background; one that lacks something waits for the origin.
func (c *Cache) takeForeign(mine *call, e *entry, worth l2.Standing) bool {
	c.foreign.record.Do(func() {
		c.conf.Logger.Warn("another service writes records: the origin is asked for each", "id", mine.id)
	})
	mine.refused, mine.fallback, mine.fallbackTier = "x"+worth.Seal, e, look.FromStale
	c.store.Delete(mine.id)
	if worth.Trust == profile.Partial || mine.demand > 0 {
		c.counters.partialRecords.Add(1)
		return false
	}
	c.counters.foreignRecords.Add(1)
	c.show(mine, e)
	return true
}

// show answers a call with a whole record that another service wrote, and asks the origin in the
// background.
func (c *Cache) show(mine *call, e *entry) {
	c.counters.l2Hits.Add(1)
	c.finishHint(mine, e, look.FromL2)
	ask := &call{id: mine.id, hash: mine.hash, refused: mine.refused, fallback: e, fallbackTier: look.FromL2}
	c.ahead(ask) // else the next reader of the record tries again
}

// finishHint ends a call with a hint. It binds nothing: what the origin says comes after it,
// whatever its version.
func (c *Cache) finishHint(mine *call, e *entry, from look.Tier) {
	e.pair, e.check, e.loaded = mine.pair, mine.hash.check, mine.began
	c.flights.finish(mine, e, from, nil, false)
}

// lastHint looks for what Redis shows of a hint that the origin could not be asked about.
func (c *Cache) lastHint(mine *call) {
	if mine.hint == nil || mine.fallback != nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.base, lastLook)
	defer cancel()
	e, worth, err := c.lookAt(ctx, mine.id)
	if err == nil && e != nil && worth.Trust != profile.Sealed {
		mine.fallback, mine.fallbackTier = e, look.FromStale
	}
}

// doubt has the origin asked once more, later, when its answer to a load contradicts a hint.
func (c *Cache) doubt(mine *call, p *profile.Profile) {
	if mine.hint == nil || !mine.hint.contradicts(p) {
		return
	}
	select {
	case c.doubts <- struct{}{}:
	default:
		return
	}
	c.background.Go(func() {
		defer func() { <-c.doubts }()
		if !life.Wait(c.base, askAgain) {
			return
		}
		c.counters.reasked.Add(1)
		if err := c.Invalidate(c.base, mine.id); err == nil {
			again, part := c.join(&call{id: mine.id, hash: mine.hash}, Want{})
			if part == lead {
				c.load([]*call{again})
			}
		}
	})
}
