package tier

import "context"

func endNothing(error) {}

// traced makes the load's spans children of that in its reader's context, if spans are made.
func (c *Cache) traced(mine *call, reader context.Context) {
	if c.conf.Trace != nil {
		mine.reader = reader
	}
}

// step begins the span of a step of a load that began with of.
func (c *Cache) step(ctx context.Context, of *call, op string) (context.Context, func(error)) {
	if of.reader == nil {
		return ctx, endNothing
	}
	return c.conf.Trace(ctx, of.reader, op)
}

// stepOf is step of what no call tells: a child of the span in the load's context.
func (c *Cache) stepOf(ctx, load context.Context, op string) (context.Context, func(error)) {
	if c.conf.Trace == nil {
		return ctx, endNothing
	}
	return c.conf.Trace(ctx, load, op)
}
