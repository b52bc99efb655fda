package api

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/chatapp-ngomna/edgecache/auth"
)

// request returns a request as clients send it: seven headers.
func request(method, uri string) *fasthttp.RequestCtx {
	ctx := new(fasthttp.RequestCtx)
	ctx.Init(new(fasthttp.Request), nil, nil)
	h := &ctx.Request.Header
	h.SetMethod(method)
	h.SetRequestURI(uri)
	h.SetHost("127.0.0.1:8003")
	h.SetUserAgent("curl/7.88.1")
	h.Set("Accept", "*/*")
	h.Set("X-Request-Id", "3f2b6c0e-6d5c-4b6f-9d55-0d2f4f4a7f1e")
	return ctx
}

// BenchmarkHit compares a lookup, without what the node takes, with a bare Fiber handler that
// returns the same bytes.
func BenchmarkHit(b *testing.B) {
	s, err := New(Config{Node: newHot("123")})
	if err != nil {
		b.Fatal(err)
	}
	ctx := request("GET", "/v1/users/123")
	s.app.Handler()
	s.app.Server().Handler(ctx)
	body := append([]byte(nil), ctx.Response.Body()...)
	bare := fiber.New()
	bare.Get("/v1/users/:id", func(c *fiber.Ctx) error {
		c.Response().Header.SetContentType("application/json")
		return c.Send(body)
	})
	bare.Handler()
	asking, err := New(Config{Node: newHot("123"), Tokens: auth.Config{Secret: testSecret}})
	if err != nil {
		b.Fatal(err)
	}
	asking.app.Handler()
	_, token, _ := strings.Cut(bearer(b, auth.RoleRead, "bench"), ": ")
	for _, bench := range []struct {
		name, token string
		handle      fasthttp.RequestHandler
	}{{"bare", "", bare.Server().Handler}, {"api", "", s.app.Server().Handler}, {"api with a token", token, asking.app.Server().Handler}} {
		b.Run(bench.name, func(b *testing.B) {
			ctx.Request.Header.Set("Authorization", bench.token)
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				bench.handle(ctx)
			}
		})
	}
}
