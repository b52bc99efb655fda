package source

import (
	_ "embed" // of openapi.json

	"github.com/gofiber/fiber/v2"
)

// openAPIDocument describes the service (OpenAPI 3.1).
//
//go:embed openapi.json
var openAPIDocument []byte

func (s *Service) openAPI(c *fiber.Ctx) error { return sendJSON(c, openAPIDocument) }
