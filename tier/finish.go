package tier

import (
	"errors"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// decide finishes a call that the origin has answered, or reports that it has to begin again.
func (c *Cache) decide(load *call, p *profile.Profile, err, filled error, last bool) (again bool) {
	lost := errors.Is(filled, l2.ErrRefused)
	if lost {
		c.counters.refused.Add(1)
	} else if filled != nil {
		c.countL2(filled)
	}
	// Another load of the same user may have been answered more, meanwhile.
	load.news = max(load.news, c.recent.floor(load.id, c.clock.nanos()))
	// An event told of a version, so "no such user" is old, or a deletion. The origin is asked once
	// more: after the last try its answer counts.
	old := load.news > 0 && (p == nil || p.UpdatedAt < load.news) ||
		errors.Is(filled, l2.ErrOlder)
	behind := old || p != nil && p.UpdatedAt < load.demand
	if behind {
		c.counters.behind.Add(1)
	}
	if filled == nil && (err == nil || errors.Is(err, profile.ErrNotFound)) {
		c.doubt(load, p)
	}
	switch {
	case err != nil && !errors.Is(err, profile.ErrNotFound):
		c.lastHint(load)
		c.fail([]*call{load}, err)
	case (lost || behind) && !last:
		return true
	case err != nil:
		c.counters.absent.Add(1)
		c.finishAbsent(load, look.FromOrigin, !lost)
	case old:
		c.finishFound(load, newEntry(p), look.FromStale, false)
	default:
		c.finishFound(load, newEntry(p), look.FromOrigin, !lost)
	}
	return false
}

// finishAbsent ends a call with "no such user".
func (c *Cache) finishAbsent(call *call, from look.Tier, keep bool) {
	e := &entry{absent: true, origin: from == look.FromOrigin, loaded: call.began}
	e.profile.ID = call.id
	c.finish(call, e, from, keep)
}

// finishFound ends a call with e; keep says that it may stay in L1.
func (c *Cache) finishFound(call *call, e *entry, from look.Tier, keep bool) {
	e.origin = from == look.FromOrigin
	e.keepFor(call.began, c.conf.L1TTL)
	if from == look.FromL2 {
		c.counters.l2Hits.Add(1)
	}
	c.finish(call, e, from, keep)
}

// finish shows an outcome to all who wait for it, and has it stay in L1 if it may. From then on no
// reader of this node is given anything older.
func (c *Cache) finish(call *call, e *entry, from look.Tier, keep bool) {
	e.pair, e.check = call.pair, call.hash.check
	binds := from != look.FromStale
	valid := binds && c.flights.bind(call, e, c.l1.stamps)
	lingers := valid && keep && c.keep(call, e)
	if binds && !lingers {
		c.l1.unkept(call.hash, e)
	}
	if binds && from != look.FromStore {
		c.record(call.hash, e, valid && keep)
	}
	c.flights.finish(call, e, from, nil, lingers)
	if lingers {
		c.pending.add(call)
	}
}

// What a node has answered binds it: who begins to read after an answer gets nothing older,
// whatever became of the pair that the answer was loaded under. Redis, and the origin behind it, do
// not go back: a load that begins after an answer brings nothing older (what only the origin knows,
// because Redis was not told, is in recent). So what could be older is what loads bring that were
// under way at the time of the answer, and what they have left in L1:
//
//	load A begins · an invalidation · load B begins, reads 1 · change to 2 ·
//	A reads and answers 2 · B answers 1
//
// Before an answer is shown, the pair ends under which anything older could be found: then no later
// reader joins B, and what B brings does not count. Loads of an id are in one list, so that each
// hears of the others, and a load that nobody overtook ends nothing. This holds in all orders:
//
//   - All that counts under the valid pair was put there, or is being loaded, by a load that was in
//     the list together with the one that answers, if its own pair has ended; else that pair is the
//     valid one, and what counts under it is what the load found in L1, or took the place of, and
//     what others in the list load.
//   - An answer that one of them gave before has ended what was older than it, so only a newer
//     answer has to.
//
// An absent user has no version: an absence after a version, and a version after an absence, count
// as newer.

// bind is called before c answers e, and ends the validity of all that is older. It reports whether
// e may be kept, and sets the pair under which it may.
func (f *flights) bind(c *call, e *entry, stamps *stamps) (valid bool) {
	s := f.shard(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellLocked(c, e)
	c.entry = e // for loads that begin before it is shown
	now := stamps.of(c.hash)
	rival := s.rivalLocked(c, now)
	if c.pair != now {
		if (rival || c.heard != nil) && e.beyond(c.heard) {
			stamps.bump(c.hash)
		}
		return false
	}
	held := c.held != nil && c.held.pair == now && e.beyond(c.held)
	valid = true
	if rival || c.over || held {
		e.pair, valid = stamps.advance(c.hash, now)
	}
	if valid {
		c.pair, c.hidden = e.pair, false // readers find it under the pair that its entry has
	}
	return valid
}

// tellLocked has the other loads of c's id hear of its answer.
func (s *flightShard) tellLocked(c *call, e *entry) {
	for o := s.calls[c.hash]; o != nil; o = o.next {
		if o != c {
			o.hear(e)
		}
	}
}

// hear notes an answer that another load of the same id gave; nil is none.
func (c *call) hear(e *entry) {
	if e != nil && e.beyond(c.heard) {
		c.heard = e
	}
}

// superseded reports whether another load of c's id has answered more than e.
func (f *flights) superseded(c *call, e *entry) bool {
	s := f.shard(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.heard != nil && c.heard.beyond(e)
}

// beyond reports whether e says more than held did. Everything is more than nil.
func (e *entry) beyond(held *entry) bool {
	return held == nil || e.absent != held.absent || e.profile.UpdatedAt > held.profile.UpdatedAt
}

// rivalLocked reports whether another load of c's id is under way under a pair.
func (s *flightShard) rivalLocked(c *call, under pair) bool {
	for o := s.calls[c.hash]; o != nil; o = o.next {
		if o != c && !o.finished && o.pair == under {
			return true
		}
	}
	return false
}

// keep offers the entry of a load to L1 and reports whether it may show up there.
func (c *Cache) keep(call *call, e *entry) bool {
	held := call.held
	if held != nil && held.pair == e.pair && !e.absent &&
		held.profile.UpdatedAt > e.profile.UpdatedAt {
		return false
	}
	if held == nil && !e.origin && !c.l1.admission.admit(call.hash) {
		c.counters.unadmitted.Add(1)
		return false
	}
	if e.packed == "" && !e.absent {
		e.pack()
	}
	return c.l1.set(call.hash, e)
}

// unkept ends what L1 shows in e's place, if that is older. A reader that was held up between its
// look at L1 and its load does not know of what L1 took meanwhile.
func (l *l1) unkept(h hash, e *entry) {
	if held := l.peek(h); l.valid(held, h, l.stamps.of(h)) && e.beyond(held) {
		l.stamps.bump(h)
	}
}

// fail ends calls that nobody answered: with what another service wrote, or with the copy still
// held, marked stale, if that is young enough; with err if there is neither, or if anything was
// told of the user since.
func (c *Cache) fail(calls []*call, err error) {
	now := c.clock.tick()
	for _, call := range calls {
		e, valid := call.held, c.l1.stamps.of(call.hash)
		switch {
		case call.fallback != nil && call.pair == valid:
			c.finishHint(call, call.fallback, call.fallbackTier)
		case e != nil && !e.absent && e.pair == valid && now-e.loaded <= int64(c.conf.MaxStale):
			c.flights.finish(call, e, look.FromStale, nil, false)
		default:
			c.failFromStore(call, now, err)
		}
	}
}
