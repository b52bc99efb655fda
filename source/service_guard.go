package source

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/profile"
)

const (
	// heldPerUser is what a user of an answer to many is held to take before it is known, in bytes.
	heldPerUser = 512
	// maxWork is how many users requests for many read from the store, and write into their
	// answers, at the same time; further requests wait.
	maxWork = 2000
)

// read waits until n more users may be read for an answer to many, or returns web.ErrBusy when ctx
// ends before. What it returns is called when they are let go.
func (s *Service) read(ctx context.Context, n int) (leave func(), err error) {
	weight := int64(min(n, maxWork))
	if err := s.work.Acquire(ctx, weight); err != nil {
		return nil, fmt.Errorf("%w: waited to read %d users", web.ErrBusy, n)
	}
	return func() { s.work.Release(weight) }, nil
}

// answerSize is about how many bytes users take in an answer, before any escapes.
func answerSize(users iter.Seq[*profile.Profile]) (size int) {
	for p := range users {
		size += len(p.ID) + len(`"":,`) + p.JSONSize()
	}
	return size
}

// errClosing is what /health says once Close began.
var errClosing = errors.New("source: the service is closing")

// guard bounds what requests and answers hold, and ends connections once the service closes.
func (s *Service) guard(server *fasthttp.Server) {
	web.Stream(server, maxBody)
	server.CloseOnShutdown = true // keep-alive connections end with their next answer
	server.ExpectHandler = func(ctx *fasthttp.RequestCtx) int {
		err := web.Unwanted(ctx)
		if err == nil && ctx.Request.Header.ContentLength() > maxBody {
			err = web.ErrTooLarge
		}
		if err == nil {
			return fasthttp.StatusContinue
		}
		return writeProblem(&ctx.Response, err)
	}
	next := server.Handler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		if err := cmp.Or(web.Unwanted(ctx), s.gate.Screen(ctx)); err != nil {
			writeProblem(&ctx.Response, err)
		} else if !s.gate.Preflight(ctx) {
			next(ctx)
		}
		if err := s.budget.Count(&ctx.Response); err != nil {
			ctx.Response.Reset()
			writeProblem(&ctx.Response, err)
		}
		s.gate.Protect(ctx)
		web.EndUnread(ctx)
		if s.closing.Load() {
			ctx.SetConnectionClose()
		}
	}
}

// writeProblem makes the problem of err the response, outside of Fiber, and returns its status.
func writeProblem(r *fasthttp.Response, err error) int {
	p := problemOf(err)
	body, _ := json.Marshal(p) // of texts and a number
	r.SetStatusCode(p.Status)
	r.Header.SetContentType("application/problem+json")
	if p.Status == fasthttp.StatusServiceUnavailable {
		r.Header.Set(fasthttp.HeaderRetryAfter, "1")
	}
	r.SetBody(body)
	return p.Status
}

// body reads the body of a request. Release it.
func (s *Service) body(c *fiber.Ctx) (*web.Body, error) {
	return s.budget.ReadBody(c.Context(), maxBody)
}

// ownSite keeps pages of other sites from making changes through the browser of somebody who may.
func (s *Service) ownSite(next fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := s.gate.OwnSite(&c.Request().Header); err != nil {
			return err
		}
		return next(c)
	}
}
