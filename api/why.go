package api

import (
	"context"

	"github.com/gofiber/fiber/v2"
)

// getWhy serves GET /v1/users/:id/why.
func (s *Server) getWhy(c *fiber.Ctx) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.WorkTimeout)
	defer cancel()
	w, err := s.cfg.Node.Why(ctx, id)
	if err != nil {
		return err
	}
	return sendValue(c, fiber.StatusOK, w)
}
