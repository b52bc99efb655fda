package tier

import (
	"context"
	"sync/atomic"
	"time"
)

// A load ends within LoadDeadline, whatever hangs. Each look at Redis before the origin is asked
// has half of that, and the first that takes it is the last, so that the origin is left the other
// half. See docs/adr/0011-deadlines.md.

const (
	// originShare is the part of a load's time, one in so many, in which Redis is not asked for
	// leases any more: what is left of it is the origin's.
	originShare = 4
	// shareFor is the part of its time that a shared context may lack when a load takes it: one in
	// so many.
	shareFor = 64
)

// shares hands out contexts that end after a time. Loads that begin at about the same moment share
// one: a context of its own costs a load about a sixth of what it costs to read Redis.
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

// share returns the context of one look at Redis within those of a load: the origin is to have its
// time after a look that fails.
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
