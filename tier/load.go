package tier

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier/l2"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// run loads calls, all of which this caller leads. A caller whose context can end does not run them
// itself: it must be able to leave while others wait on.
func (c *Cache) run(ctx context.Context, calls []*call) {
	if len(calls) == 1 { // many may take their time: load looks for them
		if calls = c.fromStore(calls); len(calls) == 0 {
			return
		}
	}
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
	if len(calls) > 1 {
		if calls = c.fromStore(calls); len(calls) == 0 {
			return
		}
	}
	look := c.shares.from(calls[0].began)
	reading, read := c.step(look, calls[0], "redis read")
	rest := c.fromL2(reading, calls)
	read(nil)
	if len(rest) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(c.base, c.clock.at(calls[0].began).Add(c.conf.LoadDeadline))
	defer cancel()
	ctx, loaded := c.step(ctx, calls[0], "load from the origin")
	defer loaded(nil)
	looks, end := context.WithTimeout(ctx, time.Until(deadline(ctx))-c.conf.LoadDeadline/originShare)
	defer end()
	if look.Err() == nil { // else Redis has had its time, and is not asked for leases
		look = c.share(looks)
	}
	c.fromOrigin(ctx, looks, look, rest)
}

// errLoadPanic reports a load that panicked, in the Loader as a rule.
var errLoadPanic = errors.New("the load panicked")

// recovered counts and logs what recover returned, and makes it an error; nil when there was no
// panic.
func (c *Cache) recovered(r any) error {
	if r == nil {
		return nil
	}
	c.counters.panics.Add(1)
	c.conf.Logger.Error("load panicked", "panic", r, "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %w: %v", profile.ErrUnavailable, errLoadPanic, r)
}

// fromL2 finishes the calls that Redis answers and returns the others.
func (c *Cache) fromL2(ctx context.Context, calls []*call) (rest []*call) {
	if len(calls) == 1 { // by far the most frequent: no slices for it
		if calls[0].asks() || !c.readOne(ctx, calls[0]) {
			return calls
		}
		return nil
	}
	if c.coldReads.cold(len(calls)) {
		return calls
	}
	all := len(calls)
	calls, rest = withoutAsks(calls)
	ids := make([]string, len(calls))
	for i, call := range calls {
		ids[i] = call.id
	}
	found := make(entries, len(ids))
	worth, errs := c.l2.Read(ctx, ids, found.room)
	for i, call := range calls {
		if errs[i] != nil {
			call.repair = c.countL2(errs[i])
		}
		if errs[i] != nil || !c.take(call, found[i], worth[i]) {
			rest = append(rest, call)
		}
	}
	c.coldReads.read(all, len(rest))
	return rest
}

// readOne finishes a call with what Redis answers, if that will do. A record that does not decode
// is a miss.
func (c *Cache) readOne(ctx context.Context, call *call) bool {
	e, worth, err := c.lookAt(ctx, call.id)
	if err != nil {
		call.repair = c.countL2(err)
		return false
	}
	return c.take(call, e, worth)
}

// lookAt reads the record of one id; the entry is nil when Redis has none.
func (c *Cache) lookAt(ctx context.Context, id string) (e *entry, worth l2.Standing, err error) {
	worth, err = c.l2.ReadOne(ctx, id, func(int) *profile.Profile {
		e = new(entry)
		return &e.profile
	})
	return e, worth, err
}

// withoutAsks splits calls into those that may take what Redis has, and the others.
func withoutAsks(calls []*call) (may, asks []*call) {
	if !slices.ContainsFunc(calls, (*call).asks) {
		return calls, nil
	}
	for _, call := range calls {
		if call.asks() {
			asks = append(asks, call)
		} else {
			may = append(may, call)
		}
	}
	return may, asks
}

// take finishes a call with the record that Redis has, if that will do.
func (c *Cache) take(call *call, e *entry, worth l2.Standing) bool {
	switch {
	case e == nil || c.outdated(call, e):
		return false
	case worth.Trust != profile.Sealed:
		return c.takeForeign(call, e, worth)
	}
	c.hints.answered(call.id, call.hint)
	c.finishFound(call, e, look.FromL2, true)
	return true
}

// outdated reports whether what Redis answered is older than what this node knows by now. Another
// load of the same id may have brought a newer version while this one waited for Redis, and readers
// that came after that may have joined this one.
func (c *Cache) outdated(call *call, e *entry) bool {
	call.news = max(call.news, c.recent.floor(call.id, c.clock.nanos()))
	return c.hinted(call) || e.profile.UpdatedAt < call.known()
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
