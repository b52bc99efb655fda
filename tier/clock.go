package tier

import (
	"context"
	"sync/atomic"
	"time"
)

// clockStep is how far the coarse clock may lag: a hit would spend more on time.Now than on all its
// other checks.
const clockStep = 5 * time.Millisecond

// clockJump is how far the clock moves at once only when the process did not run in between.
const clockJump = 100 * time.Millisecond

// clock is a monotonic clock that is read by one atomic load.
type clock struct {
	base time.Time
	now  atomic.Int64
	// jumped is called before the clock moves from old by more than clockJump, maybe more than
	// once, so that nobody reads the new time before it has returned.
	jumped func(old, now int64)
}

// start sets the clock to the present, 1.
func (c *clock) start(jumped func(old, now int64)) {
	c.base, c.jumped = time.Now(), jumped
	c.tick()
}

// nanos returns nanoseconds since the clock was started, at most clockStep and a scheduling delay
// ago.
func (c *clock) nanos() int64 { return c.now.Load() }

// tick sets the clock to the exact time, and returns it. It never moves back.
func (c *clock) tick() int64 {
	now := int64(time.Since(c.base)) + 1 // 0 means never
	for {
		old := c.now.Load()
		if old >= now {
			return old
		}
		if now-old > int64(clockJump) {
			c.jumped(old, now)
		}
		if c.now.CompareAndSwap(old, now) {
			return now
		}
	}
}

// at returns the time at which nanos or tick returned n.
func (c *clock) at(n int64) time.Time { return c.base.Add(time.Duration(n - 1)) }

// run ticks until ctx ends.
func (c *clock) run(ctx context.Context) {
	t := time.NewTicker(clockStep)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.tick()
		case <-ctx.Done():
			return
		}
	}
}
