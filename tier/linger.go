package tier

import (
	"context"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/life"
)

// The engine shows a new entry only when its own goroutine has come to it, and of two that wait for that it keeps the older.
// So a load that has ended lingers in the flight table until the engine has worked off everything before it. Readers find
// its outcome there, no second load of the key begins, and a node does not go back to an older version:
//
//	load of v1 ends, Set queued · change to v2 in Redis · reader: L1 shows nothing, a load of v2, Set queued ·
//	the engine keeps v1 · reader: v1 after v2
//
// What a change puts in the place of an entry waits in the same queue, so it lingers as a load that has ended would.
//
// Only a reader with demands begins another load meanwhile; its answer advances the stamp (binding.go).

// settlePause lets ends of loads gather, so that the engine is waited for once for many.
const settlePause = 20 * time.Millisecond

// lingerers are the calls whose entries the engine may not show yet.
type lingerers struct {
	mu    sync.Mutex
	calls []*call
	some  chan struct{} // holds one element while calls is not empty
}

func (l *lingerers) add(c *call) {
	l.mu.Lock()
	l.calls = append(l.calls, c)
	l.mu.Unlock()
	select {
	case l.some <- struct{}{}:
	default:
	}
}

func (l *lingerers) take() (calls []*call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls, l.calls = l.calls, nil
	return calls
}

// settleForEver frees the keys of loads once the engine has come to their entries.
func (c *Cache) settleForEver(ctx context.Context) {
	for {
		select {
		case <-c.lingerers.some:
		case <-ctx.Done():
			return
		}
		life.Wait(ctx, settlePause)
		calls := c.lingerers.take()
		c.l1.settle()
		for _, call := range calls {
			c.flights.forget(call)
		}
	}
}

// keep offers the entry of a load to L1 and reports whether it may show up there.
func (c *Cache) keep(call *call, e *entry) bool {
	held := call.held
	if held != nil && held.pair == e.pair && held.profile.UpdatedAt > e.profile.UpdatedAt && !e.absent {
		return false
	}
	if held == nil && !e.origin && !c.l1.admission.admit(call.hash) {
		c.counters.unadmitted.Add(1)
		return false
	}
	if e.packed == nil && !e.absent {
		e.pack()
	}
	return c.l1.set(call.hash, e)
}

// replace ends the validity of what is held in e's place under the pair from, and puts e there. It reports false, and has
// done nothing, when another change of the same user comes between.
func (c *Cache) replace(h hash, e *entry, from pair) bool {
	e.pair = pair{from.epoch, from.stamp + 1}
	// Nobody has seen that pair yet, so nobody begins a load under it before it finds this one.
	load := &call{id: e.profile.ID, hash: h, pair: e.pair, began: e.loaded, entry: e, tier: FromL1}
	if !c.flights.settled(load, func() bool { _, ok := c.l1.stamps.advance(h, from); return ok }) {
		return false
	}
	c.counters.refreshes.Add(1)
	c.l1.free(h)
	if c.l1.set(h, e) {
		c.lingerers.add(load)
	} else {
		c.flights.forget(load)
	}
	return true
}
