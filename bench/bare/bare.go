// Package bare is the server beside which edgecache's HTTP is measured: Fiber, and the answers in a
// map.
package bare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
)

// Name is what the server is called in results.
const Name = "bare Fiber handler"

// Serve answers GET /v1/users/ID on a free port of loopback with the body of that id, 404 for
// others, until stop is called. bodies must not change meanwhile.
func Serve(ctx context.Context, bodies map[string][]byte) (addr string, stop func() error, err error) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Get("/v1/users/:id", func(c *fiber.Ctx) error {
		body := bodies[c.Params("id")]
		if body == nil {
			return fiber.ErrNotFound
		}
		c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
		c.Response().SetBodyRaw(body)
		return nil
	})
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("bare server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(l) }()
	return l.Addr().String(), func() error {
		return errors.Join(app.ShutdownWithTimeout(time.Second), <-ended)
	}, nil
}
