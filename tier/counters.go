package tier

import (
	"sync/atomic"
	"unsafe"
)

// counterStripes is 2^6: stripe takes the top 6 bits.
const counterStripes = 64

// stripe is one goroutine's share of the counters of lookups, alone in its cache lines.
//
// Close waits until all that entered have left. A lookup enters, asks the engine, and leaves at
// once. Anything but a plain hit enters and leaves a second time; again counts those, so the hits
// are left - again - misses.
type stripe struct {
	entered, left atomic.Uint64
	// again is how many have left twice.
	again atomic.Uint64
	// misses is how many lookups were not answered by L1, the rest of those that left.
	misses atomic.Uint64
	_      [128 - 32]byte
}

// leave counts n lookups as left, missed of them as misses. Misses follow, so that nobody sees more
// of them than have left.
func (s *stripe) leave(n, missed int) {
	s.left.Add(uint64(n))
	s.misses.Add(uint64(missed))
}

func (s *stripe) leaveAgain() {
	s.left.Add(1)
	s.again.Add(1)
}

// counters count lookups without making processors share a cache line.
type counters struct {
	stripes [counterStripes]stripe

	negativeHits, l2Hits, absent, stale    atomic.Uint64
	storeHits, storeStale, vouched         atomic.Uint64
	originLoads, originCalls, originErrors atomic.Uint64
	originUnanswered                       atomic.Uint64
	joined, leaseWaits, refused, behind    atomic.Uint64
	unleased                               atomic.Uint64
	l2Errors, malformed, panics            atomic.Uint64
	hints, foreignRecords, partialRecords  atomic.Uint64
	reasked                                atomic.Uint64
	invalidations, refreshes, flushes      atomic.Uint64
	refreshAheads, unadmitted              atomic.Uint64
}

// stripe returns the caller's stripe. Any would be right; one that follows from where the
// goroutine's stack lies is seldom another processor's, and costs nothing to find.
func (c *counters) stripe() *stripe {
	var here byte
	return &c.stripes[uint64(uintptr(unsafe.Pointer(&here))>>10)*0x9e3779b97f4a7c15>>58]
}

// idle reports whether no lookup is under way. Those that left are counted before those that
// entered: a lookup that ends in between makes the sums differ, never agree too early.
func (c *counters) idle() bool {
	left, entered := uint64(0), uint64(0)
	for i := range c.stripes {
		left += c.stripes[i].left.Load()
	}
	for i := range c.stripes {
		entered += c.stripes[i].entered.Load()
	}
	return entered == left
}

// lookups returns how many L1 answered and how many it did not.
func (c *counters) lookups() (hits, misses uint64) {
	for i := range c.stripes {
		s := &c.stripes[i]
		missed, again := s.misses.Load(), s.again.Load() // before left, which is above their sum
		misses += missed
		hits += s.left.Load() - again - missed
	}
	return hits, misses
}

// Stats is a snapshot of a cache's counters since it was made, and of its state.
type Stats struct {
	// L1Hits and L1Misses count lookups of single ids, those of batches included.
	L1Hits   uint64 `json:"l1Hits"`
	L1Misses uint64 `json:"l1Misses"`
	// NegativeHits is how many of L1Hits said that the user does not exist.
	NegativeHits uint64 `json:"negativeHits"`
	// StoreHits counts profiles that the store on disk answered, StoreStale those among Stale that
	// it had, and Vouched entries of the store from before a gap whose version Redis still had.
	StoreHits  uint64 `json:"storeHits"`
	StoreStale uint64 `json:"storeStale"`
	Vouched    uint64 `json:"vouched"`
	// L2Hits counts profiles that Redis answered.
	L2Hits uint64 `json:"l2Hits"`
	// OriginLoads counts ids that the origin was asked for, in OriginCalls calls, of which
	// OriginErrors failed, for some of their ids at least: for OriginUnanswered in all.
	OriginLoads      uint64 `json:"originLoads"`
	OriginCalls      uint64 `json:"originCalls"`
	OriginErrors     uint64 `json:"originErrors"`
	OriginUnanswered uint64 `json:"originUnanswered"`
	// Absent counts loads that ended in "no such user".
	Absent uint64 `json:"absent"`
	// Stale counts answers marked stale.
	Stale uint64 `json:"stale"`
	// Joined counts readers who waited for a load that another had begun.
	Joined uint64 `json:"joined"`
	// LeaseWaits counts polls while another node had the lease.
	LeaseWaits uint64 `json:"leaseWaits"`
	// Unleased counts users who were asked of the origin although another node has the lease, for
	// too long: what it answers does not fill Redis.
	Unleased uint64 `json:"unleased"`
	// FillsRefused counts fills that lost their lease or were older than what was known.
	FillsRefused uint64 `json:"fillsRefused"`
	// Behind counts answers of the origin that were older than what was known.
	Behind uint64 `json:"behind"`
	// L2Errors counts ids that Redis failed to serve; Malformed those whose record did not decode.
	L2Errors  uint64 `json:"l2Errors"`
	Malformed uint64 `json:"malformed"`
	// Hints counts events of other services, ForeignRecords and PartialRecords what they wrote into
	// Redis, whole or not, as reads met it. Reasked counts answers of the origin that contradicted
	// a hint, so that it was asked once more.
	Hints          uint64 `json:"hints"`
	ForeignRecords uint64 `json:"foreignRecords"`
	PartialRecords uint64 `json:"partialRecords"`
	Reasked        uint64 `json:"reasked"`
	// Panics counts loads that panicked.
	Panics uint64 `json:"panics"`
	// Invalidations, Refreshes (in place, by an event) and Flushes of L1; RefreshAheads are loads
	// before expiry.
	Invalidations uint64 `json:"invalidations"`
	Refreshes     uint64 `json:"refreshes"`
	RefreshAheads uint64 `json:"refreshAheads"`
	Flushes       uint64 `json:"flushes"`
	// Unadmitted counts answers of Redis that were not offered to L1, because it was full and they
	// were asked for once.
	Unadmitted uint64 `json:"unadmitted"`
	// L1Bytes of L1Capacity bytes are in use, by L1Entries; L1Evictions counts those that had to
	// make room for others.
	L1Bytes     int64  `json:"l1Bytes"`
	L1Capacity  int64  `json:"l1Capacity"`
	L1Entries   int64  `json:"l1Entries"`
	L1Evictions uint64 `json:"l1Evictions"`
	// Fenced says that L1 does not answer as fresh, because the stream has been silent for
	// FenceAfter.
	Fenced bool `json:"fenced"`
	// TotalCached is the number of profiles in Redis when last counted, CountedAt milliseconds
	// since 1970; -1 and 0 before the first count.
	TotalCached int64 `json:"totalCached"`
	CountedAt   int64 `json:"countedAt"`
	// RedisUsed of RedisLimit bytes were in use then; of a cluster, on the fullest master. 0 when
	// it does not tell, or has no limit.
	RedisUsed  int64 `json:"redisUsed"`
	RedisLimit int64 `json:"redisLimit"`
	// ViewBytes is about what is kept by Keep, that of answers which are gone included until their
	// turn comes.
	ViewBytes int64 `json:"-"`
}

// Stats returns a snapshot. The counters are read one after another, so sums over them may be off
// by what happens meanwhile.
func (c *Cache) Stats() Stats {
	n := &c.counters
	hits, misses := n.lookups()
	s := Stats{
		L1Hits: hits, L1Misses: misses,
		NegativeHits: n.negativeHits.Load(), L2Hits: n.l2Hits.Load(),
		StoreHits: n.storeHits.Load(), StoreStale: n.storeStale.Load(), Vouched: n.vouched.Load(),
		OriginLoads: n.originLoads.Load(), OriginCalls: n.originCalls.Load(),
		OriginErrors: n.originErrors.Load(), OriginUnanswered: n.originUnanswered.Load(), Absent: n.absent.Load(), Stale: n.stale.Load(),
		Joined: n.joined.Load(), LeaseWaits: n.leaseWaits.Load(), Unleased: n.unleased.Load(),
		FillsRefused: n.refused.Load(), Behind: n.behind.Load(),
		L2Errors: n.l2Errors.Load(), Malformed: n.malformed.Load(),
		Hints: n.hints.Load(), ForeignRecords: n.foreignRecords.Load(),
		PartialRecords: n.partialRecords.Load(), Reasked: n.reasked.Load(), Panics: n.panics.Load(),
		Invalidations: n.invalidations.Load(), Refreshes: n.refreshes.Load(),
		RefreshAheads: n.refreshAheads.Load(), Flushes: n.flushes.Load(),
		Unadmitted: n.unadmitted.Load(), L1Bytes: c.l1.used(), L1Capacity: c.conf.L1Bytes,
		L1Entries: max(0, c.l1.entries.Load()), L1Evictions: c.l1.evicted.Load(),
		Fenced: !c.alive(c.clock.tick()), TotalCached: -1, ViewBytes: c.views.bytes(),
	}
	if t := c.total.Load(); t != nil {
		s.TotalCached, s.CountedAt = t.count, t.at.UnixMilli()
		s.RedisUsed, s.RedisLimit = t.memory.Used, t.memory.Limit
	}
	return s
}
