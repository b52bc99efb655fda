package tier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// maxAsk is how many ids one call asks of the origin.
	maxAsk = 500
	// tries is how often a load begins, at most, when its fill is refused or its answer is too old.
	tries = 2
	// pollFirst and pollMost bound the pauses between two looks while another node has the lease, or while the origin is
	// behind; each pause is 1.5 times the one before, of which at random at most half is cut.
	pollFirst = 4 * time.Millisecond
	pollMost  = 100 * time.Millisecond
)

var (
	errLoadPanic = errors.New("the load panicked")
	errNoAnswer  = errors.New("the origin answered without it")
)

// run loads calls, all of which this caller leads. A caller whose context can end does not run them itself: it must be
// able to leave while others wait on.
func (c *Cache) run(ctx context.Context, calls []*call) {
	if ctx.Done() == nil {
		c.load(calls)
		return
	}
	c.background.Go(func() { c.load(calls) })
}

// load brings every call to its end: from Redis, else from the origin, else from what is held.
func (c *Cache) load(calls []*call) {
	defer func() {
		if err := c.recovered(recover()); err != nil {
			c.fail(calls, err)
		}
	}()
	rest, look := calls, c.shares.from(calls[0].began)
	if !c.lately.cold(len(calls)) {
		rest = c.fromL2(look, calls)
		c.lately.read(len(calls), len(rest))
	}
	if len(rest) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(c.base, c.clock.at(calls[0].began).Add(c.conf.LoadDeadline))
	defer cancel()
	looks, end := context.WithTimeout(ctx, time.Until(deadline(ctx))-c.conf.LoadDeadline/originShare)
	defer end()
	if look.Err() == nil { // else Redis has had its time, and is not asked for leases
		look = c.share(looks)
	}
	c.fromOrigin(ctx, looks, look, rest)
}

// fromL2 finishes the calls that Redis answers and returns the others.
func (c *Cache) fromL2(ctx context.Context, calls []*call) (rest []*call) {
	if len(calls) == 1 { // by far the most frequent: no slices for it
		if e, err := c.l2.getOne(ctx, calls[0].id); !c.take(calls[0], e, err) {
			return calls
		}
		return nil
	}
	ids := make([]string, len(calls))
	for i, call := range calls {
		ids[i] = call.id
	}
	found, errs := c.l2.get(ctx, ids)
	for i, call := range calls {
		if !c.take(call, found[i], errs[i]) {
			rest = append(rest, call)
		}
	}
	return rest
}

// take finishes a call with what Redis answered, if that will do. A record that does not decode is a miss.
func (c *Cache) take(call *call, e *entry, err error) bool {
	if err != nil {
		call.repair = c.countL2(err)
		return false
	}
	if e == nil || c.outdated(call, e) {
		return false
	}
	c.finishFound(call, e, FromL2, true)
	return true
}

// outdated reports whether what Redis answered is older than what this node knows by now. Another load of the same id may have
// brought a newer version while this one waited for Redis, and readers that came after that may have joined this one.
func (c *Cache) outdated(call *call, e *entry) bool {
	call.news = max(call.news, c.recent.floor(call.id, c.clock.nanos()))
	return e.profile.UpdatedAt < call.known()
}

// countL2 counts a failure of Redis and reports whether it was one to decode the record.
func (c *Cache) countL2(err error) (malformed bool) {
	if undecodable(err) {
		c.counters.malformed.Add(1)
		return true
	}
	c.counters.l2Errors.Add(1)
	return false
}

// undecodable reports whether Redis answered with what is no profile.
func undecodable(err error) bool {
	return errors.Is(err, profile.ErrMalformed) || errors.Is(err, profile.ErrTooLarge)
}

// fromOrigin finishes calls that Redis did not answer: with a lease it asks the origin and fills Redis, without one it
// waits for the node that has it, and asks all the same when the time of looks is over. look bounds
// the first look at the leases.
func (c *Cache) fromOrigin(ctx, looks, look context.Context, calls []*call) {
	pause := pollFirst
	for try := 1; len(calls) > 0; look = c.share(looks) {
		asks, waits := c.lease(look, calls)
		again := c.ask(ctx, asks, try == tries)
		if len(again) > 0 {
			try++
		}
		if calls = append(waits, again...); len(calls) == 0 {
			return
		}
		c.counters.leaseWaits.Add(uint64(len(waits)))
		select {
		case <-time.After(pause - time.Duration(rand.Int64N(int64(pause)/2))):
			pause = min(pause*3/2, pollMost)
		case <-ctx.Done():
			c.fail(calls, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx)))
			return
		}
	}
}

// asking is a call with its lease; the token is empty when Redis gave none.
type asking struct {
	*call
	token string
}

// lease finishes the calls that Redis can answer after all, and splits the others.
func (c *Cache) lease(ctx context.Context, calls []*call) (asks []asking, waits []*call) {
	ids, known := make([]string, len(calls)), make([]int64, len(calls))
	for i, call := range calls {
		ids[i], known[i] = call.id, call.known()
	}
	there := 0
	defer func() { c.lately.began(len(calls), there) }()
	for i, v := range c.l2.begin(ctx, ids, known) {
		switch {
		case v.err != nil:
			if c.countL2(v.err) {
				there = len(calls) // fromL2 sees to it that a record that does not decode is repaired
			}
			asks = append(asks, asking{calls[i], ""})
		case v.kind == leased:
			asks = append(asks, asking{calls[i], v.token})
		case v.kind == present && c.outdated(calls[i], v.entry):
			waits = append(waits, calls[i]) // and asks again, for what is known now
		case v.kind == present:
			there++
			c.finishFound(calls[i], v.entry, FromL2, true)
		case v.kind == absent:
			c.finishAbsent(calls[i], FromL2, true)
		case c.overdue(v.wait):
			asks = append(asks, asking{calls[i], ""})
		default:
			waits = append(waits, calls[i])
		}
	}
	return asks, waits
}

// overdue reports whether the node that has a lease for another wait has had it for so long that it
// is likely dead, or does not know that it has it, and a reader who waits on would fail.
func (c *Cache) overdue(wait time.Duration) bool {
	return c.l2.conf.Lease-wait > c.conf.LoadDeadline-c.conf.LoadDeadline/originShare
}

// ask asks the origin, at most maxAsk ids a call, and returns the calls to begin again.
func (c *Cache) ask(ctx context.Context, asks []asking, last bool) (again []*call) {
	if len(asks) <= maxAsk {
		return c.askPart(ctx, asks, last)
	}
	var parts sync.WaitGroup
	var mu sync.Mutex
	for len(asks) > 0 {
		part := asks[:min(maxAsk, len(asks))]
		asks = asks[len(part):]
		parts.Go(func() {
			more := c.askPart(ctx, part, last)
			mu.Lock()
			defer mu.Unlock()
			again = append(again, more...)
		})
	}
	parts.Wait()
	return again
}

func (c *Cache) askPart(ctx context.Context, asks []asking, last bool) (again []*call) {
	if len(asks) == 0 {
		return nil
	}
	found, errs := c.origin(ctx, asks)
	for i, filled := range c.fill(ctx, asks, found, errs) {
		if c.settle(asks[i].call, found[i], errs[i], filled, last) {
			again = append(again, asks[i].call)
		}
	}
	return again
}

// fill tells Redis what the origin answered to the asks that have a lease. An answer that failed only ends the lease. The origin
// may have taken all the time of the load, so this has its own.
func (c *Cache) fill(load context.Context, asks []asking, found []*profile.Profile, errs []error) (filled []error) {
	var fills []filling
	var places []int
	for i, a := range asks {
		if a.token != "" {
			failed := errs[i] != nil && !errors.Is(errs[i], ErrNotFound)
			fills = append(fills, filling{id: a.id, token: a.token, profile: found[i], failed: failed})
			places = append(places, i)
		}
	}
	filled = make([]error, len(asks))
	for n, err := range c.tell(load, fills) {
		filled[places[n]] = err
	}
	for i, a := range asks {
		// What Redis was not told is news to it: the older record that it may have must not be shown after this. When it knows
		// of more, there is none.
		if p := found[i]; p != nil && (a.token == "" || filled[i] != nil) && !errors.Is(filled[i], errOlder) {
			c.recent.learn(a.id, p.UpdatedAt, c.clock.tick())
		}
	}
	return filled
}

// settle finishes a call whose origin has answered, or reports that it has to begin again.
func (c *Cache) settle(load *call, p *profile.Profile, err, filled error, last bool) (again bool) {
	lost := errors.Is(filled, errRefused)
	if lost {
		c.counters.refused.Add(1)
	} else if filled != nil {
		c.countL2(filled)
	}
	// Another load of the same user may have been answered more, meanwhile.
	load.news = max(load.news, c.recent.floor(load.id, c.clock.nanos()))
	// "No such user" about one whom an event told of is old as well, or the news of a deletion: asked again to tell.
	old := load.news > 0 && (p == nil || p.UpdatedAt < load.news) || errors.Is(filled, errOlder)
	behind := old || p != nil && p.UpdatedAt < load.demand
	if behind {
		c.counters.behind.Add(1)
	}
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		c.fail([]*call{load}, err)
	case (lost || behind) && !last:
		return true
	case err != nil:
		c.counters.absent.Add(1)
		c.finishAbsent(load, FromOrigin, !lost)
	case old:
		c.finishFound(load, newEntry(p), FromStale, false)
	default:
		c.finishFound(load, newEntry(p), FromOrigin, !lost)
	}
	return false
}

// origin makes one call, when its turn comes; found[i] and errs[i] answer asks[i].
func (c *Cache) origin(ctx context.Context, asks []asking) (found []*profile.Profile, errs []error) {
	found, errs = make([]*profile.Profile, len(asks)), make([]error, len(asks))
	if err := c.awaitTurn(ctx); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return found, errs
	}
	defer func() { <-c.loads }()
	c.counters.originCalls.Add(1)
	c.counters.originLoads.Add(uint64(len(asks)))
	c.callOrigin(ctx, asks, found, errs)
	for i, a := range asks {
		found[i], errs[i] = trusted(a.id, found[i], errs[i])
		if errs[i] != nil && !errors.Is(errs[i], ErrNotFound) {
			c.counters.originErrors.Add(1)
		}
	}
	return found, errs
}

// awaitTurn takes one of the places for calls to the origin, which its caller gives back.
func (c *Cache) awaitTurn(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: Redis took all the time: %w", ErrUnavailable, context.Cause(ctx))
	}
	select {
	case c.loads <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: in the queue behind %d calls to the origin: %w", ErrUnavailable, cap(c.loads), context.Cause(ctx))
	}
}

// callOrigin runs the Loader. Its panic is an answer like any other failure, so that leases end and waiters hear of it.
func (c *Cache) callOrigin(ctx context.Context, asks []asking, found []*profile.Profile, errs []error) {
	defer func() {
		if err := c.recovered(recover()); err != nil {
			for i := range errs {
				found[i], errs[i] = nil, err
			}
		}
	}()
	if len(asks) == 1 {
		found[0], errs[0] = c.conf.Origin.Load(ctx, asks[0].id)
		return
	}
	c.originBatch(ctx, asks, found, errs)
}

// recovered counts and logs what recover returned, and makes it an error; nil when there was no panic.
func (c *Cache) recovered(r any) error {
	if r == nil {
		return nil
	}
	c.counters.panics.Add(1)
	c.conf.Logger.Error("load panicked", "panic", r, "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %w: %v", ErrUnavailable, errLoadPanic, r)
}

func (c *Cache) originBatch(ctx context.Context, asks []asking, found []*profile.Profile, errs []error) {
	ids := make([]string, len(asks))
	for i, a := range asks {
		ids[i] = a.id
	}
	b, err := c.conf.Origin.LoadBatch(ctx, ids)
	missing := make(map[string]bool, len(b.Missing))
	for _, id := range b.Missing {
		missing[id] = true
	}
	for i, id := range ids {
		switch found[i] = b.Found[id]; {
		case err != nil:
			found[i], errs[i] = nil, err
		case found[i] != nil:
		case missing[id]:
			errs[i] = ErrNotFound
		case b.Errors[id] != nil:
			errs[i] = b.Errors[id]
		default:
			errs[i] = errNoAnswer
		}
	}
}

// trusted checks an answer of the origin before it is kept under id. Any failure but "no such user" counts as the origin
// being unavailable.
func trusted(id string, p *profile.Profile, err error) (*profile.Profile, error) {
	if err == nil && p == nil {
		err = errNoAnswer
	}
	if err == nil && p.ID != id {
		err = fmt.Errorf("%w: asked for %q, the origin answered %q", profile.ErrMalformed, id, p.ID)
	}
	if err == nil {
		p.Complete()
		err = p.Check()
	}
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrUnavailable):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// finishFound ends a call with e; keep says that it may stay in L1.
func (c *Cache) finishFound(call *call, e *entry, from Tier, keep bool) {
	e.origin = from == FromOrigin
	e.keepFor(call.began, c.conf.L1TTL)
	if from == FromL2 {
		c.counters.l2Hits.Add(1)
	}
	c.finish(call, e, from, keep)
}

func (c *Cache) finishAbsent(call *call, from Tier, keep bool) {
	e := &entry{absent: true, origin: from == FromOrigin, loaded: call.began}
	e.profile.ID = call.id
	c.finish(call, e, from, keep)
}

func (c *Cache) finish(call *call, e *entry, from Tier, keep bool) {
	e.pair, e.check = call.pair, call.hash.check
	binds := from != FromStale
	lingers := binds && c.flights.bind(call, e, c.l1.stamps) && keep && c.keep(call, e)
	if binds && !lingers {
		c.l1.unkept(call.hash, e)
	}
	c.flights.finish(call, e, from, nil, lingers)
	if lingers {
		c.lingerers.add(call)
	}
}

// fail ends calls that nobody answered: with the copy still held, marked stale, if nothing has invalidated it and it is
// young enough; else with err.
func (c *Cache) fail(calls []*call, err error) {
	now := c.clock.tick()
	for _, call := range calls {
		e := call.held
		if e != nil && !e.absent && e.pair == c.l1.stamps.of(call.hash) && now-e.loaded <= int64(c.conf.MaxStale) {
			c.flights.finish(call, e, FromStale, nil, false)
		} else {
			c.flights.finish(call, nil, FromNone, err, false)
		}
	}
}
