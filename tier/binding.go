package tier

// What a node has answered binds it: who begins to read after an answer gets nothing older,
// whatever became of the pair that the answer was loaded under. Redis, and the origin behind it, do
// not go back: a load that begins after an answer brings nothing older (what only the origin knows,
// because Redis was not told, is in recent). So what could be older is what loads bring that were
// under way at the time of the answer, and what they have left in L1:
//
//	load A begins · an invalidation · load B begins, reads 1 · change to 2 · A reads and answers 2 · B answers 1
//
// Before an answer is shown, the pair ends under which anything older could be found: then no later
// reader joins B, and what B brings does not count. Loads of an id are in one list, so that each
// hears of the others, and a load that nobody overtook ends nothing. This holds in all orders:
//
//   - All that counts under the valid pair was put there, or is being loaded, by a load that was in the list together with the
//     one that answers, if its own pair has ended; else that pair is the valid one, and what counts under it is what the
//     load found in L1, or took the place of, and what others in the list load.
//   - An answer that one of them gave before has ended what was older than it, so only a newer answer has to.
//
// An absent user has no version: an absence after a version, and a version after an absence, count
// as newer.

// beyond reports whether e says more than held did. Everything is more than nil.
func (e *entry) beyond(held *entry) bool {
	return held == nil || e.absent != held.absent || e.profile.UpdatedAt > held.profile.UpdatedAt
}

// hear notes an answer that another load of the same id gave; nil is none.
func (c *call) hear(e *entry) {
	if e != nil && e.beyond(c.heard) {
		c.heard = e
	}
}

// tellLocked has the other loads of c's id hear of its answer.
func (s *flightShard) tellLocked(c *call, e *entry) {
	for o := s.calls[c.hash]; o != nil; o = o.next {
		if o != c {
			o.hear(e)
		}
	}
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

// bind is called before c answers e, and ends the validity of all that is older. It reports whether
// e may be kept, and sets the pair under which it may.
func (f *flights) bind(c *call, e *entry, stamps *stamps) (valid bool) {
	s := f.shard(c.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellLocked(c, e)
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

// unkept ends what L1 shows in e's place, if that is older. A reader who was held up between its look at L1 and its load does
// not know of what L1 took meanwhile.
func (l *l1) unkept(h hash, e *entry) {
	if held := l.peek(h); l.counts(held, h, l.stamps.of(h)) && e.beyond(held) {
		l.stamps.bump(h)
	}
}
