package tier

import (
	"context"
	"sync"
	"time"
)

// The engine shows a new entry only when its own goroutine has come to it, and of two that wait for that it keeps the older.
// So a load that has ended lingers in the flight table until the engine has worked off everything before it. Readers find
// its outcome there, no second load of the key begins, and a node does not go back to an older version:
//
//	load of v1 ends, Set queued · change to v2 in Redis · reader: L1 shows nothing, a load of v2, Set queued ·
//	the engine keeps v1 · reader: v1 after v2
//
// Only a reader with demands begins another load meanwhile; its newer version advances the stamp.

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
		rest(ctx, settlePause)
		calls := c.lingerers.take()
		c.l1.settle()
		for _, call := range calls {
			c.flights.forget(call)
		}
	}
}

// keep offers the entry of a load to L1 and reports whether it may show up there. When this node may already have answered
// an older version under the same pair, the stamp is advanced, so that the older one cannot surface any more.
func (c *Cache) keep(call *call, e *entry) bool {
	held := call.held
	if held != nil && held.pair == e.pair && held.profile.UpdatedAt > e.profile.UpdatedAt && !e.absent {
		return false
	}
	if call.over || held != nil && held.pair == e.pair && held.profile.UpdatedAt < e.profile.UpdatedAt {
		var ok bool
		if e.pair, ok = c.l1.stamps.advance(call.hash, e.pair); !ok {
			return false
		}
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
