package api

import (
	"context"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
)

// Tracer makes spans of requests.
type Tracer interface {
	// Serve begins one, a child of what the headers traceparent and tracestate name. It returns ctx
	// with the span in it; end gets the status of the answer.
	Serve(ctx context.Context, op, parent, state string) (with context.Context, end func(status int))
}

// spanKey is under which a request has its context with a span.
type spanKey struct{}

// traced makes spans of the requests of a route, if spans are made.
func (s *Server) traced(op string, next fiber.Handler) fiber.Handler {
	if s.cfg.Trace == nil {
		return next
	}
	return func(c *fiber.Ctx) error {
		parent, state := utils.CopyString(c.Get("traceparent")), utils.CopyString(c.Get("tracestate"))
		ctx, end := s.cfg.Trace.Serve(s.ctx, op, parent, state)
		c.Context().SetUserValue(spanKey{}, ctx)
		err := next(c)
		status := c.Response().StatusCode()
		if err != nil {
			status = problemOf(err).status
		}
		end(status)
		return err
	}
}

// context returns the context of a request's work: the server's, with the request's span if it has
// one.
func (s *Server) context(c *fiber.Ctx) context.Context {
	if s.cfg.Trace == nil {
		return s.ctx
	}
	if ctx, ok := c.Context().UserValue(spanKey{}).(context.Context); ok {
		return ctx
	}
	return s.ctx
}
