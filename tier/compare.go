package tier

import "context"

// maxShown bounds the ids of entries from before a restart that wait to be compared.
const maxShown = 1 << 18

// Compare forgets what this node holds of ids and Redis says otherwise, and of what the store kept
// over a restart and has been shown since the last call. It returns how many that were. Package
// watch calls it; see Config.Watched.
func (c *Cache) Compare(ctx context.Context, ids map[string]struct{}) (wrong int) {
	var held []string
	for id := range ids {
		if c.l1.holds(c.l1.hash(id)) || c.store.Has(id) {
			held = append(held, id)
		}
	}
	for len(held) > 0 && ctx.Err() == nil {
		part := held[:min(maxAsk, len(held))]
		held = held[len(part):]
		wrong += c.look(ctx, part)
	}
	return wrong + c.compareShown(ctx)
}

// look forgets what is held of ids and Redis says otherwise, and returns how many that were. What
// Redis did not answer goes as well, since a write may hide behind it, and is not counted: a slow
// Redis is no write of others.
func (c *Cache) look(ctx context.Context, ids []string) (wrong int) {
	now := make(entries, len(ids))
	_, errs := c.l2.Read(ctx, ids, now.room)
	for i, id := range ids {
		e := c.l1.peek(c.l1.hash(id))
		stored, _ := c.stored(id)
		if e == nil && stored == nil || errs[i] == nil && (e == nil || e.says(now[i])) &&
			(stored == nil || stored.says(now[i])) {
			continue
		}
		c.Forget(id, 0)
		if errs[i] == nil || undecodable(errs[i]) {
			wrong++
		}
	}
	return wrong
}

// says reports whether e is what Redis has: now, or nothing.
func (e *entry) says(now *entry) bool {
	if now == nil || e.absent {
		return now == nil && e.absent
	}
	return e.packed == string(now.bytes())
}
