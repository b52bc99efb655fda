package source

import (
	"context"

	"github.com/gofiber/fiber/v2"
)

// Tracer makes spans of requests.
type Tracer interface {
	// Serve begins one, a child of what the headers traceparent and tracestate name. end gets the
	// status of the answer.
	Serve(ctx context.Context, op, parent, state string) (with context.Context, end func(status int))
}

// traced makes a span of a request, unless it is one that watches over the service.
func (s *Service) traced(c *fiber.Ctx) (err error) {
	if path := c.Path(); path == "/health" || path == "/metrics" {
		return c.Next()
	}
	_, end := s.cfg.Trace.Serve(s.ctx, "origin serves "+c.Method(), c.Get("traceparent"), c.Get("tracestate"))
	if err = c.Next(); err != nil {
		err = c.App().ErrorHandler(c, err) // it sets the status
	}
	end(c.Response().StatusCode())
	return err
}
