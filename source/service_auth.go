package source

import (
	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/auth"
)

// allow lets those through who have at least the role, as many requests as ServiceConfig.Access
// allows. Without a secret everybody has it: the service is then reachable from this machine only.
func (s *Service) allow(need auth.Role, handler fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := s.gate.Admit(c.Context(), need); err != nil {
			return err
		}
		return handler(c)
	}
}

// probed is allow without a limit, for what watches over the service.
func (s *Service) probed(need auth.Role, handler fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := s.gate.Probe(c.Context(), need); err != nil {
			return err
		}
		return handler(c)
	}
}

// bulk bounds the lookups of many users that one client has under way.
func (s *Service) bulk(handler fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		leave, err := s.gate.EnterBatch(c.Context())
		if err != nil {
			return err
		}
		defer leave()
		return handler(c)
	}
}
