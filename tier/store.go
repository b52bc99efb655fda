package tier

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/chatapp-ngomna/edgecache/internal/life"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/kv"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// The store on disk (L1.5) has what L1 would have if it were larger and outlived the process: what
// loads have brought, until something ends it. It is asked between L1 and Redis, by a load, under
// the pair that was captured before; so all that keeps a load of Redis right keeps it right, too:
//
//   - What ends an entry of L1 ends that of the store, before its caller goes on. An outcome of a
//     load is in the store, or what the store had is gone, before anybody is shown the outcome.
//   - What a load brings is taken under its pair, and an invalidation raises the stamp and
//     deletes under the store's lock: no Put of a load from before it stays, and no load that
//     begins after it finds what was there before.
//   - Redis does not go back; the store may still have what is older than the answer that a load is
//     about to show. A load that hears of that answer does not take it.
//   - The checkpoint of the stream is in the transaction of what came before it. An entry that
//     outlives the process is therefore one that no change up to the checkpoint has ended, and
//     the changes after it are read by the tail that resumes there, before anything of the store
//     counts.

const (
	// clockSkew is how far the clock of the machine may have gone back for the ages of entries to
	// be believed.
	clockSkew = time.Second
	// vouchBatch is how many versions are asked of Redis at once, vouchPause the pause after it,
	// and vouchRetry that after a failure.
	vouchBatch = 500
	vouchPause = 5 * time.Millisecond
	vouchRetry = time.Second
)

// store is Config.Store, which may be nil, and what the cache knows of it.
type store struct {
	*kv.Store
	// caughtUp says that the stream has been followed to its end once: nothing counts before.
	caughtUp atomic.Bool
	// doubtful holds one element while there may be entries from before a gap.
	doubtful chan struct{}
	// watched says that somebody compares inherited entries with Redis.
	watched bool
	mu      sync.Mutex
	// shown has inherited entries that were shown and are to be compared. Guarded by mu.
	shown map[string]struct{}
}

func (s *store) init(on *kv.Store, watched bool) {
	s.Store, s.watched, s.doubtful, s.shown = on, watched, make(chan struct{}, 1), map[string]struct{}{}
	s.doubt() // an earlier session may have left some
}

// doubt has the entries from before a gap looked at.
func (s *store) doubt() {
	select {
	case s.doubtful <- struct{}{}:
	default:
	}
}

// flush ends what the store has, until Redis has shown that it has the same, and with it what end
// ends.
func (s *store) flush(end func()) {
	s.FlushAs(end)
	s.doubt()
}

// stored returns what the store has of id; nil for nothing that can be used.
func (c *Cache) stored(id string) (e *entry, inherited bool) {
	r, ok := c.store.Get(id)
	if !ok {
		return nil, false
	}
	age := time.Since(r.Loaded)
	if age < -clockSkew {
		return nil, false // nobody knows how old it is
	}
	e = &entry{packed: unsafe.String(unsafe.SliceData(r.Packed), len(r.Packed))}
	err := profile.DecodeMsgpackInto(&e.profile, r.Packed)
	if err != nil || e.profile.ID != id || e.profile.UpdatedAt != r.Version {
		c.store.Delete(id)
		return nil, false
	}
	e.check = c.l1.hash(id).check
	e.keepFor(c.clock.tick()-int64(max(0, age)), c.conf.L1TTL)
	return e, r.Inherited
}

// storeCounts reports whether what the store has may answer unmarked.
func (c *Cache) storeCounts() bool {
	return c.store.On() && c.store.caughtUp.Load() && c.alive(c.clock.tick())
}

// fromStore finishes the calls that the store answers and returns the others.
func (c *Cache) fromStore(calls []*call) (rest []*call) {
	if !c.storeCounts() {
		return calls
	}
	if len(calls) == 1 {
		if c.storeAnswers(calls[0]) {
			return nil
		}
		return calls
	}
	for _, call := range calls {
		if !c.storeAnswers(call) {
			rest = append(rest, call)
		}
	}
	return rest
}

// storeAnswers finishes a call with what the store has, if that will do.
func (c *Cache) storeAnswers(call *call) bool {
	if call.held != nil || call.asks() {
		return false // L1 has as much; or what Redis says is to be asked about
	}
	e := c.freshStored(call)
	if e == nil {
		return false
	}
	c.counters.storeHits.Add(1)
	c.finish(call, e, look.FromStore, true)
	return true
}

// freshStored returns what the store has for a call, if it may answer unmarked.
func (c *Cache) freshStored(call *call) *entry {
	e, inherited := c.stored(call.id)
	switch {
	case e == nil, c.clock.nanos() >= c.expires(e), call.oldest != 0 && e.loaded < call.oldest,
		c.outdated(call, e), c.flights.superseded(call, e), inherited && !c.store.show(call.id):
		return nil
	}
	return e
}

// failFromStore ends a call that nobody answered: with what the store has, marked stale, else with
// err.
func (c *Cache) failFromStore(call *call, now int64, err error) {
	e, _ := c.stored(call.id)
	if e == nil || now-e.loaded > int64(c.conf.MaxStale) ||
		e.profile.UpdatedAt < c.recent.floor(call.id, now) {
		c.flights.finish(call, nil, look.FromNone, err, false)
		return
	}
	c.counters.storeStale.Add(1)
	e.pair = call.pair
	c.flights.finish(call, e, look.FromStale, nil, false)
}

// record has the store hold e, which is about to be shown, while its pair is valid; else nothing,
// since what it has may be older than e.
func (c *Cache) record(h hash, e *entry, keep bool) {
	if !c.store.On() {
		return
	}
	id := e.profile.ID
	if keep && !e.absent {
		if e.packed == "" {
			e.pack()
		}
		valid := func() bool { return c.l1.stamps.of(h) == e.pair }
		if c.store.Put(id, c.recordOf(e), valid) {
			return
		}
	}
	c.store.Delete(id)
}

func (c *Cache) recordOf(e *entry) kv.Record {
	age := time.Duration(c.clock.tick() - e.loaded)
	return kv.Record{
		Version: e.profile.UpdatedAt, Loaded: time.Now().Add(-age), Origin: e.origin, Packed: e.bytes(),
	}
}

// renew is replace for a user that the store has and L1 does not. It reports false, and has ended
// nothing for certain, when the store has nothing older, or another change comes between.
func (c *Cache) renew(p *profile.Profile, h hash, before pair) bool {
	if !c.store.On() || p.UpdatedAt < c.recent.floor(p.ID, c.clock.nanos()) {
		return false
	}
	// From here on no load puts what it read before; those that begin now read no less than p.
	now, ok := c.l1.stamps.advance(h, before)
	if !ok {
		return false
	}
	c.l1.free(h)
	e := newEntry(p)
	e.loaded = c.clock.nanos()
	return c.store.Renew(p.ID, c.recordOf(e), func() bool { return c.l1.stamps.of(h) == now })
}

// show notes that an inherited entry is about to be shown: what was written to Redis beside the
// stream while the node was down is not known, so it is compared, as if Redis had named it. It
// reports false when there is no room to note it.
func (s *store) show(id string) bool {
	if !s.watched {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shown) >= maxShown {
		return false
	}
	s.shown[id] = struct{}{}
	return true
}

// takeShown returns the ids that were shown since the last call.
func (s *store) takeShown() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shown) == 0 {
		return nil
	}
	for id := range s.shown {
		ids = append(ids, id)
	}
	s.shown = map[string]struct{}{}
	return ids
}

// compareShown compares inherited entries that were shown with what Redis has. It forgets those
// that differ, and returns how many they were; those that Redis does not answer are looked at
// later.
func (c *Cache) compareShown(ctx context.Context) (wrong int) {
	ids := c.store.takeShown()
	for len(ids) > 0 && ctx.Err() == nil {
		part := ids[:min(maxAsk, len(ids))]
		ids = ids[len(part):]
		pairs, found := make([]pair, len(part)), make(entries, len(part))
		for i, id := range part {
			pairs[i] = c.l1.stamps.of(c.l1.hash(id))
		}
		began := c.clock.tick()
		_, errs := c.l2.Read(ctx, part, found.room)
		for i, id := range part {
			if !c.adopt(id, found[i], errs[i], pairs[i], began) {
				wrong++
			}
		}
	}
	return wrong
}

// adopt makes an inherited entry one of this session if Redis has the same, and forgets it if not.
func (c *Cache) adopt(id string, now *entry, err error, before pair, began int64) bool {
	if err != nil && !undecodable(err) {
		c.store.show(id)
		return true
	}
	h := c.l1.hash(id)
	held := c.l1.peek(h)
	e, _ := c.stored(id)
	if held != nil && c.l1.valid(held, h, before) && (err != nil || !held.says(now)) ||
		e != nil && (err != nil || !e.says(now)) {
		c.Forget(id, 0)
		return false
	}
	if e != nil {
		e.loaded = began
		c.store.Renew(id, c.recordOf(e), func() bool { return c.l1.stamps.of(h) == before })
	}
	return true
}

// vouchForEver looks at the entries from before a gap, each time that there is one: Redis is asked
// for their versions alone, and those that it has still count.
func (c *Cache) vouchForEver(ctx context.Context) {
	for {
		select {
		case <-c.store.doubtful:
		case <-ctx.Done():
			return
		}
		for next, pause := "", time.Duration(0); ; {
			if pause > 0 && !life.Wait(ctx, pause) {
				return
			}
			doubts, more := c.store.Doubtful(next, vouchBatch)
			if err := c.vouch(ctx, doubts); err != nil {
				pause = vouchRetry
				continue
			}
			if next = more; next == "" {
				break
			}
			pause = vouchPause
		}
	}
}

// vouch keeps the entries of which Redis has the same version, and deletes the others.
func (c *Cache) vouch(ctx context.Context, doubts []kv.Doubt) error {
	if len(doubts) == 0 {
		return nil
	}
	ids, pairs := make([]string, len(doubts)), make([]pair, len(doubts))
	for i, d := range doubts {
		ids[i], pairs[i] = d.ID, c.l1.stamps.of(c.l1.hash(d.ID))
	}
	versions, err := c.l2.Versions(ctx, ids)
	if err != nil {
		return err
	}
	now := c.clock.tick()
	for i, d := range doubts {
		h := c.l1.hash(d.ID)
		news := c.hints.last(d.ID, now) != nil || c.recent.floor(d.ID, now) > d.Version
		same := versions[i] > 0 && versions[i] == d.Version && !news
		if same && c.store.Vouch(d, func() bool { return c.l1.stamps.of(h) == pairs[i] }) {
			c.counters.vouched.Add(1)
			continue
		}
		c.store.Discard(d)
	}
	return nil
}
