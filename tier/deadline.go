package tier

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A load ends within LoadDeadline, whatever hangs. Each look at Redis before the origin is asked has half of that, and the
// first that takes it is the last, so that the origin is left the other half. See docs/adr/0011-deadlines.md.

const (
	// fillWithin bounds what Redis is told after the origin has answered, or has not.
	fillWithin = time.Second
	// fillGrace is how long past its deadline a load waits to hear what became of that, fillShare how much of its time it
	// waits at most: one part in so many.
	fillGrace = 50 * time.Millisecond
	fillShare = 4
	// originShare is the part of a load's time, one in so many, in which Redis is not asked for leases
	// any more: what is left of it is the origin's.
	originShare = 4
	// shareFor is the part of its time that a shared context may lack when a load takes it: one in so many.
	shareFor = 64
)

// errUntold reports a fill that Redis had not confirmed when the load had to end.
var errUntold = errors.New("tier: Redis has not confirmed the fill in time")

// shares hands out contexts that end after a time. Loads that begin at about the same moment share one: a context of its
// own costs a load about a sixth of what it costs to read Redis.
type shares struct {
	base   context.Context
	within time.Duration
	last   atomic.Pointer[share]
}

// share is a context, and until when on the node's clock loads may take it.
type share struct {
	context.Context
	end   context.CancelFunc
	until int64
}

// from returns a context that ends within s.within of now, at most a shareFor-th of that earlier.
func (s *shares) from(now int64) context.Context {
	if last := s.last.Load(); last != nil && now <= last.until {
		return last
	}
	next := &share{until: now + int64(s.within)/shareFor}
	next.Context, next.end = context.WithTimeout(s.base, s.within)
	s.last.Store(next)
	return next
}

// share returns the context of one look at Redis within those of a load: the origin is to have its time after a look that fails.
func (c *Cache) share(load context.Context) context.Context {
	ctx := c.shares.from(c.clock.tick())
	if mine, _ := ctx.Deadline(); mine.Before(deadline(load)) {
		return ctx
	}
	return load
}

func deadline(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}

// within bounds the wait of a reader that began at began and goes through several loads.
func (c *Cache) within(ctx context.Context, began int64, w Want) (context.Context, context.CancelFunc) {
	return context.WithDeadlineCause(ctx, c.clock.at(began).Add(c.conf.LoadDeadline), behind(w))
}

func behind(w Want) error { return fmt.Errorf("%w: want %d", ErrBehind, w.MinVersion) }

// tell has Redis told of fills, and returns what became of each. The answers are right by themselves, so readers do not
// wait longer than their load may take; Redis is told all the same.
func (c *Cache) tell(load context.Context, fills []filling) []error {
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
		errs = c.l2.fill(ctx, fills)
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
