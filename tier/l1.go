package tier

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
)

// l1 is the node's memory: ristretto for room and recency, stamps for validity. What ristretto
// returns is a candidate, no more: it keeps the older of two queued Sets, shows a value after Del
// returned, and drops Sets under load. The pair that each entry carries decides.
type l1 struct {
	engine    *ristretto.Cache[uint64, *entry]
	stamps    *stamps
	admission *admission
	seeds     [2]maphash.Seed
	// open is held for reading by writers to the engine, which panics when it is closed under them.
	open   sync.RWMutex
	closed bool

	// entries is how many are held, or wait in the engine's queue. evicted counts those that had to
	// make room, ages how long ago they were loaded, by the clock now.
	entries  atomic.Int64
	evicted  atomic.Uint64
	ages     histo.Histogram
	now      func() int64
	clearing atomic.Bool
}

// meanEntry is the size that the number of ristretto's counters is chosen for, in bytes.
const meanEntry = 512

func newL1(bytes int64) (*l1, error) {
	l := &l1{
		stamps: new(stamps), admission: newAdmission(bytes / meanEntry), now: func() int64 { return 0 },
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
	var err error
	l.engine, err = ristretto.NewCache(&ristretto.Config[uint64, *entry]{
		NumCounters:        max(1024, 4*bytes/meanEntry),
		MaxCost:            bytes,
		BufferItems:        64,
		IgnoreInternalCost: true,
		// The key is half of the id's hash; the other half is in the entry. Two ids that share the
		// first half evict each other and never answer for each other.
		KeyToHash: func(hash uint64) (uint64, uint64) { return hash, 0 },
		OnEvict:   l.noteEviction,
		OnExit:    l.noteExit,
	})
	if err != nil {
		return nil, fmt.Errorf("tier: L1 of %d bytes: %w", bytes, err)
	}
	return l, nil
}

// noteEviction is called for each entry that makes room for another, and for all of them when the
// engine is cleared.
func (l *l1) noteEviction(item *ristretto.Item[*entry]) {
	if l.clearing.Load() {
		return
	}
	l.admission.note(true)
	l.evicted.Add(1)
	if e := item.Value; e != nil {
		l.ages.Observe(time.Duration(l.now()-e.loaded), 1)
	}
}

// noteExit is called for each entry that the engine no longer holds, or has not taken; nil stands
// for one that was not there.
func (l *l1) noteExit(e *entry) {
	if e != nil {
		l.entries.Add(-1)
	}
}

// hash identifies an id within this process: 128 bits under seeds that nobody outside knows, so
// that no two ids share one, by chance or by design. key chooses the engine's place and the stamp.
type hash struct{ key, check uint64 }

func (l *l1) hash(id string) hash {
	return hash{maphash.String(l.seeds[0], id), maphash.String(l.seeds[1], id)}
}

// candidate returns what the engine has in an id's place. It is an answer only if it is valid.
func (l *l1) candidate(h hash) *entry {
	e, _ := l.engine.Get(h.key)
	return e
}

// valid reports whether e is the entry of the id with this hash, and nothing has invalidated it; it
// may have expired. now is the id's pair, read at any time after the lookup began.
func (l *l1) valid(e *entry, h hash, now pair) bool {
	return e != nil && e.check == h.check && e.pair == now
}

// peek returns the entry of an id, valid or not.
func (l *l1) peek(h hash) *entry {
	l.open.RLock()
	defer l.open.RUnlock()
	if l.closed {
		return nil
	}
	if e, ok := l.engine.Get(h.key); ok && e.check == h.check {
		return e
	}
	return nil
}

// holds reports whether there is an entry, without counting as a use of it.
func (l *l1) holds(h hash) bool {
	l.open.RLock()
	defer l.open.RUnlock()
	if l.closed {
		return false
	}
	_, ok := l.engine.GetTTL(h.key)
	return ok
}

// set offers an entry, which must carry the pair captured before its load, and reports whether it
// is shown or queued. The engine may refuse it still.
func (l *l1) set(h hash, e *entry) bool {
	l.open.RLock()
	defer l.open.RUnlock()
	if l.closed {
		return false
	}
	l.entries.Add(1) // before the engine can give it up
	taken := l.engine.Set(h.key, e, e.cost())
	if !taken {
		l.entries.Add(-1)
	}
	return taken
}

// drain waits until the engine has come to everything that was set before.
func (l *l1) drain() {
	l.open.RLock()
	defer l.open.RUnlock()
	if !l.closed {
		l.engine.Wait()
	}
}

// invalidate ends the validity of what is held about an id, then frees it.
func (l *l1) invalidate(h hash) {
	l.stamps.bump(h)
	l.free(h)
}

// free frees what is held about an id.
func (l *l1) free(h hash) {
	l.open.RLock()
	defer l.open.RUnlock()
	if !l.closed {
		l.engine.Del(h.key)
		l.admission.note(false)
	}
}

// clear frees everything, whose validity the caller has ended.
func (l *l1) clear() {
	l.open.Lock()
	defer l.open.Unlock()
	if !l.closed {
		l.clearing.Store(true)
		l.engine.Clear()
		l.clearing.Store(false)
		l.admission.note(false)
	}
}

// used returns the bytes in use by the engine's account.
func (l *l1) used() int64 { return l.engine.MaxCost() - l.engine.RemainingCost() }

// close frees everything. No lookup may be under way or follow.
func (l *l1) close() {
	l.open.Lock()
	defer l.open.Unlock()
	if !l.closed {
		l.closed = true
		l.engine.Close()
	}
}
