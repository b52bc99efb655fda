package api

import (
	"fmt"
	"runtime/debug"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

func (s *Server) newApp() *fiber.App {
	app := fiber.New(fiber.Config{
		AppName:                      "edgecache",
		CaseSensitive:                true, // one user has one path
		StrictRouting:                true,
		BodyLimit:                    MaxBody,
		ReadBufferSize:               MaxHead,
		Concurrency:                  MaxConns,
		ReadTimeout:                  s.cfg.ReadTimeout,
		WriteTimeout:                 s.cfg.WriteTimeout,
		IdleTimeout:                  s.cfg.IdleTimeout,
		DisablePreParseMultipartForm: true,
		DisableStartupMessage:        true,
		ErrorHandler:                 s.handleError,
	})
	app.Get("/v1/users/:id", s.getUser)
	app.Put("/v1/users/:id", s.putUser)
	app.Post("/v1/users/batch", s.postBatch)
	app.Post("/v1/users/:id/invalidate", s.invalidateUser)
	app.Get("/v1/users", s.getUsers)
	app.Get("/v1/stats", s.getStats)
	app.Get("/v1/cluster", s.getCluster)
	app.Get("/v1/prewarm", s.getPrewarm)
	app.Post("/v1/prewarm", s.postPrewarm)
	app.Delete("/v1/prewarm", s.deletePrewarm)
	app.Get("/health", s.getHealth)
	app.Get("/livez", s.getLive)
	app.Get("/readyz", s.getReady)
	app.Get("/metrics", s.metrics.handler())

	server := app.Server()
	server.Handler = s.guard(server.Handler)
	server.ConnState = s.conns.track
	server.CloseOnShutdown = true
	server.ExpectHandler = s.expect
	return app
}

// guard keeps a panic from taking the process down, and answers the methods that Fiber would answer in plain text. It
// stands outside Fiber's router, where it costs one deferred call; as middleware it would cost a route match a request.
func (s *Server) guard(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		defer func() {
			if r := recover(); r != nil {
				s.cfg.Logger.Error("api: panic in a handler", "panic", r, "path", string(ctx.Path()), "stack", string(debug.Stack()))
				ctx.Response.Reset()
				problemInternal.write(&ctx.Response)
				ctx.SetConnectionClose()
			}
		}()
		if !knownMethod(ctx.Method()) {
			detail := fmt.Sprintf("the method %.32q is not known here", ctx.Method())
			problemMethod(fasthttp.StatusNotImplemented, detail).write(&ctx.Response)
			return
		}
		next(ctx)
	}
}

func knownMethod(m []byte) bool {
	switch string(m) {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodPost, fasthttp.MethodPut, fasthttp.MethodDelete,
		fasthttp.MethodPatch, fasthttp.MethodOptions, fasthttp.MethodTrace, fasthttp.MethodConnect:
		return true
	}
	return false
}

// expect answers "Expect: 100-continue" before the body is sent, so that a body which is too large never is.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	if ctx.Request.Header.ContentLength() <= MaxBody {
		return fasthttp.StatusContinue
	}
	problemBody.write(&ctx.Response)
	return fasthttp.StatusRequestEntityTooLarge
}
