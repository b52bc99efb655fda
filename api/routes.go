package api

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/chatapp-ngomna/edgecache/edge"
	"github.com/chatapp-ngomna/edgecache/internal/web"
)

func (s *Server) newApp() *fiber.App {
	app := fiber.New(fiber.Config{
		AppName:                      "edgecache",
		CaseSensitive:                true, // one user has one path
		StrictRouting:                true,
		ReadBufferSize:               MaxHead,
		Concurrency:                  MaxConns,
		ReadTimeout:                  s.cfg.ReadTimeout,
		WriteTimeout:                 s.cfg.WriteTimeout,
		IdleTimeout:                  s.cfg.IdleTimeout,
		DisablePreParseMultipartForm: true,
		DisableStartupMessage:        true,
		ErrorHandler:                 s.handleError,
	})
	s.routes(app)

	server := app.Server()
	web.Stream(server, edge.MaxModule) // each handler reads what it takes
	server.Handler = s.guard(server.Handler)
	server.ConnState = s.conns.track
	server.CloseOnShutdown = true
	server.ExpectHandler = s.expect
	return app
}

// routes are what is served, and the role that each needs. Lookups come first: the router tries one
// after another.
func (s *Server) routes(router *fiber.App) {
	app := s.metrics.routes.On(router)
	app.Get("/v1/users/:id", s.allow(auth.RoleRead, s.traced("GET /v1/users/{id}", s.getUser)))
	app.Put("/v1/users/:id", s.allow(auth.RoleWrite, s.ownSite(s.putUser)))
	app.Post("/v1/users/batch", s.allow(auth.RoleRead, s.batch(s.traced("POST /v1/users/batch", s.postBatch))))
	app.Post("/v1/users/:id/invalidate", s.allow(auth.RoleInvalidate, s.ownSite(s.invalidateUser)))
	app.Get("/v1/users/:id/why", s.allow(auth.RoleAdmin, s.getWhy))
	app.Get("/v1/users", s.allow(auth.RoleRead, s.batch(s.traced("GET /v1/users", s.getUsers))))
	app.Get("/v1/stats", s.allow(auth.RoleRead, s.getStats))
	app.Get("/v1/cluster", s.allow(auth.RoleRead, s.getCluster))
	app.Get("/v1/prewarm", s.allow(auth.RoleRead, s.getPrewarm))
	app.Post("/v1/prewarm", s.allow(auth.RoleAdmin, s.ownSite(s.postPrewarm)))
	app.Delete("/v1/prewarm", s.allow(auth.RoleAdmin, s.ownSite(s.deletePrewarm)))
	app.Get("/v1/live", s.allow(auth.RoleRead, s.streamLive))
	app.Get("/v1/lookups", s.allow(auth.RoleRead, s.getLookups))
	app.Get("/v1/dead", s.allow(auth.RoleAdmin, s.getDead))
	app.Post("/v1/demo", s.allow(auth.RoleAdmin, s.ownSite(s.postDemo)))
	s.functionRoutes(app)
	app.Get("/ui", s.getUI)
	app.Get("/ui/:file", s.getUIFile)
	app.Get("/health", s.probe(auth.RoleRead, s.getHealth))
	app.Get("/livez", s.getLive)
	app.Get("/readyz", s.getReady)
	app.Get("/metrics", s.probe(auth.RoleRead, s.metrics.handler()))
	app.Get("/openapi.json", s.allow(auth.RoleRead, s.getOpenAPI))
	app.Get("/openapi.html", s.allow(auth.RoleRead, s.getDocs))
}

// allow lets requests through whose bearer has the role, as many as Config.Access allows.
func (s *Server) allow(need auth.Role, next fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := s.gate.Admit(c.Context(), need); err != nil {
			return err
		}
		return next(c)
	}
}

// probe is allow without a limit, for what watches over the node.
func (s *Server) probe(need auth.Role, next fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := s.gate.Probe(c.Context(), need); err != nil {
			return err
		}
		return next(c)
	}
}

// batch bounds the lookups of many users that one client has under way.
func (s *Server) batch(next fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		leave, err := s.gate.EnterBatch(c.Context())
		if err != nil {
			return err
		}
		defer leave()
		return next(c)
	}
}

// checkOpen refuses paths in Config.Access.Open that are none.
func (s *Server) checkOpen() error {
	var paths []string
	for _, r := range s.app.GetRoutes(true) {
		if r.Method == fiber.MethodGet && !strings.ContainsRune(r.Path, ':') {
			paths = append(paths, r.Path)
		}
	}
	for _, path := range s.cfg.Access.Open {
		if !slices.Contains(paths, path) {
			return fmt.Errorf("%w: open path %q; want some of %s", ErrConfig, path, strings.Join(paths, ", "))
		}
	}
	return nil
}

// guard keeps a panic from taking the process down, and answers the methods that Fiber would answer
// in plain text. It stands outside Fiber's router, where it costs one deferred call; as middleware
// it would cost a route match a request.
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
		if p := s.refused(ctx); p != nil {
			s.metrics.failed(p.status)
			p.write(&ctx.Response)
		} else if !s.gate.Preflight(ctx) {
			next(ctx)
		}
		s.finish(ctx)
	}
}

// refused returns why a request gets no further than here, nil for most.
func (s *Server) refused(ctx *fasthttp.RequestCtx) *problem {
	if !knownMethod(ctx.Method()) {
		return problemMethod(fasthttp.StatusNotImplemented, fmt.Sprintf("the method %.32q is not known here", ctx.Method()))
	}
	if err := web.Unwanted(ctx); err != nil {
		return problemOf(err)
	}
	if err := s.gate.Screen(ctx); err != nil {
		return problemOf(err)
	}
	return nil
}

// finish is the end of every answer: it counts until it is written, and it may be the last of its
// connection.
func (s *Server) finish(ctx *fasthttp.RequestCtx) {
	if err := s.budget.Count(&ctx.Response); err != nil {
		ctx.Response.Reset()
		problemOf(err).write(&ctx.Response)
	}
	s.gate.Protect(ctx)
	web.EndUnread(ctx)
	if s.closing.Load() {
		ctx.SetConnectionClose()
	}
}

// ownSite keeps pages of other sites from making changes through the browser of somebody who may.
func (s *Server) ownSite(next fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := s.gate.OwnSite(&c.Request().Header); err != nil {
			return err
		}
		return next(c)
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

// expect answers "Expect: 100-continue" before the body is sent, so that a body which is too large
// never is.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	err := web.Unwanted(ctx)
	if err == nil && ctx.Request.Header.ContentLength() > maxBody(ctx) {
		err = web.ErrTooLarge
	}
	if err == nil {
		return fasthttp.StatusContinue
	}
	p := problemOf(err)
	p.write(&ctx.Response)
	return p.status
}
