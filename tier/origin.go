package tier

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

const (
	// maxAsk is how many ids one call asks of the origin.
	maxAsk = 500
	// tries is how often a load begins, at most, when its fill is refused or its answer is too old.
	tries = 2
	// pollFirst and pollMost bound the pauses between two looks while another node has the lease,
	// or while the origin is behind; each pause is 1.5 times the one before, of which at random at
	// most half is cut.
	pollFirst = 4 * time.Millisecond
	pollMost  = 100 * time.Millisecond
)

// errNoAnswer reports an answer that does not name one of the users asked for.
var errNoAnswer = errors.New("the origin answered without it")

// fromOrigin finishes calls that Redis did not answer: with a lease it asks the origin and fills
// Redis, without one it waits for the node that has it, and asks all the same when the time of
// looks is over. look bounds the first look at the leases.
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
			c.fail(calls, c.waited(ctx, "another node had the lease of the user"))
			return
		}
	}
}

// leased is a call with its lease; the token is empty when Redis gave none.
type leased struct {
	*call
	token string
}

// lease finishes the calls that Redis can answer after all, and splits the others.
func (c *Cache) lease(ctx context.Context, calls []*call) (asks []leased, waits []*call) {
	questions := make([]l2.Ask, len(calls))
	for i, call := range calls {
		questions[i] = call.question()
	}
	there := 0
	if len(calls) >= largeBatch {
		defer func() { c.coldReads.began(len(calls), there) }()
	}
	found := make(entries, len(calls))
	ctx, begun := c.step(ctx, calls[0], "redis begin")
	verdicts := c.l2.Begin(ctx, questions, found.room)
	begun(nil)
	for i, v := range verdicts {
		switch {
		case v.Err != nil:
			if c.countL2(v.Err) {
				there = len(calls) // only a read has a record that does not decode repaired
			}
			asks = append(asks, leased{calls[i], ""})
		case v.Kind == l2.Leased:
			asks = append(asks, leased{calls[i], v.Token})
		case v.Kind == l2.Present && c.take(calls[i], found[i], v.Worth):
			there++
		case v.Kind == l2.Absent && !c.hinted(calls[i]):
			c.hints.answered(calls[i].id, calls[i].hint)
			c.finishAbsent(calls[i], look.FromL2, true)
		case c.overdue(v.Wait):
			c.counters.unleased.Add(1)
			asks = append(asks, leased{calls[i], ""})
		default:
			waits = append(waits, calls[i]) // and asks again, for what is known then
		}
	}
	return asks, waits
}

// overdue reports whether the node that has a lease for another wait has had it for so long that it
// is likely dead, or does not know that it has it, and a reader that waits on would fail.
func (c *Cache) overdue(wait time.Duration) bool {
	return c.l2.Lease()-wait > c.conf.LoadDeadline-c.conf.LoadDeadline/originShare
}

// ask asks the origin, at most maxAsk ids a call, and returns the calls to begin again.
func (c *Cache) ask(ctx context.Context, asks []leased, last bool) (again []*call) {
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

func (c *Cache) askPart(ctx context.Context, asks []leased, last bool) (again []*call) {
	if len(asks) == 0 {
		return nil
	}
	found, errs := c.origin(ctx, asks)
	for i, filled := range c.fill(ctx, asks, found, errs) {
		if c.decide(asks[i].call, found[i], errs[i], filled, last) {
			again = append(again, asks[i].call)
		}
	}
	return again
}

// origin makes one call, when its turn comes; found[i] and errs[i] answer asks[i].
func (c *Cache) origin(
	ctx context.Context, asks []leased,
) (found []*profile.Profile, errs []error) {
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
	began := time.Now()
	c.callOrigin(ctx, asks, found, errs)
	failed := uint64(0)
	for i, a := range asks {
		found[i], errs[i] = trusted(a.id, found[i], errs[i])
		if errs[i] != nil && !errors.Is(errs[i], profile.ErrNotFound) {
			failed++
		}
	}
	c.timeOrigin(began, errs)
	if c.counters.originUnanswered.Add(failed); failed > 0 {
		c.counters.originErrors.Add(1)
	}
	return found, errs
}

// awaitTurn takes one of the places for calls to the origin, which its caller gives back.
func (c *Cache) awaitTurn(ctx context.Context) error {
	if ctx.Err() != nil {
		return c.waited(ctx, "Redis took all the time")
	}
	select {
	case c.loads <- struct{}{}:
		return nil
	case <-ctx.Done():
		return c.waited(ctx, fmt.Sprintf("it was in the queue behind %d calls to the origin", cap(c.loads)))
	}
}

// callOrigin runs the Loader. Its panic is an answer like any other failure, so that leases end and
// waiters hear of it.
func (c *Cache) callOrigin(
	ctx context.Context, asks []leased, found []*profile.Profile, errs []error,
) {
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

func (c *Cache) originBatch(
	ctx context.Context, asks []leased, found []*profile.Profile, errs []error,
) {
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
			errs[i] = profile.ErrNotFound
		case b.Errors[id] != nil:
			errs[i] = b.Errors[id]
		default:
			errs[i] = errNoAnswer
		}
	}
}

// trusted checks an answer of the origin before it is kept under id. Any failure but "no such user"
// counts as the origin being unavailable.
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
	case errors.Is(err, profile.ErrNotFound), errors.Is(err, profile.ErrUnavailable):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", profile.ErrUnavailable, err)
}

// fill tells Redis what the origin answered to the asks that have a lease. An answer that failed
// only ends the lease. The origin may have taken all the time of the load, so this has its own.
func (c *Cache) fill(
	load context.Context, asks []leased, found []*profile.Profile, errs []error,
) (filled []error) {
	var fills []l2.Fill
	var places []int
	now := c.clock.tick()
	toldAll := c.toldAll(now)
	for i, a := range asks {
		if p := found[i]; a.token != "" {
			failed := errs[i] != nil && !errors.Is(errs[i], profile.ErrNotFound)
			fills = append(fills, l2.Fill{
				ID: a.id, Token: a.token, Profile: p, Failed: failed,
				Vouched: toldAll && p != nil && c.recent.floor(a.id, now) <= p.UpdatedAt,
			})
			places = append(places, i)
		}
	}
	filled = make([]error, len(asks))
	for n, err := range c.tell(load, fills) {
		filled[places[n]] = err
	}
	for i, a := range asks {
		if a.token != "" && filled[i] == nil && (errs[i] == nil || errors.Is(errs[i], profile.ErrNotFound)) {
			c.hints.answered(a.id, a.hint)
		}
		// What Redis was not told is news to it: the older record that it may have must not be
		// shown after this. When it knows of more, there is none.
		told := a.token != "" && filled[i] == nil || errors.Is(filled[i], l2.ErrOlder)
		if p := found[i]; p != nil && !told {
			c.recent.learn(a.id, p.UpdatedAt, c.clock.tick())
		}
	}
	return filled
}

const (
	// fillWithin bounds what Redis is told after the origin has answered, or has not.
	fillWithin = time.Second
	// fillGrace is how long past its deadline a load waits to hear what became of that, fillShare
	// how much of its time it waits at most: one part in so many.
	fillGrace = 50 * time.Millisecond
	fillShare = 4
)

// errUntold reports a fill that Redis had not confirmed when the load had to end.
var errUntold = errors.New("tier: Redis has not confirmed the fill in time")

// tell has Redis told of fills, and returns what became of each. The answers are right by
// themselves, so readers do not wait longer than their load may take; Redis is told all the same.
func (c *Cache) tell(load context.Context, fills []l2.Fill) []error {
	if len(fills) == 0 {
		return nil
	}
	told := make(chan []error, 1)
	c.background.Go(func() {
		errs := make([]error, len(fills))
		defer func() {
			if err := c.recovered(recover()); err != nil {
				setAll(errs, err)
			}
			told <- errs
		}()
		ctx, cancel := context.WithTimeout(c.base, fillWithin)
		defer cancel()
		ctx, filled := c.stepOf(ctx, load, "redis fill")
		errs = c.l2.Fill(ctx, fills)
		filled(errors.Join(errs...))
	})
	late := time.NewTimer(min(c.conf.LoadDeadline/fillShare, time.Until(deadline(load))+fillGrace))
	defer late.Stop()
	select {
	case errs := <-told:
		return errs
	case <-late.C:
		return setAll(make([]error, len(fills)), errUntold)
	}
}

// setAll sets every error to err.
func setAll(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

func (c *Cache) waited(ctx context.Context, what string) error {
	return &look.Waited{For: what, Limit: c.conf.LoadDeadline, Cause: context.Cause(ctx)}
}
