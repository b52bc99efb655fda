package source

import (
	_ "embed" // of openapi.json

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/internal/web"
)

// openAPIDocument describes the service (OpenAPI 3.1).
//
//go:embed openapi.json
var openAPIDocument []byte

// docs shows the document to people.
func (s *Service) docs(c *fiber.Ctx) error {
	web.SendDocs(c.Context())
	return nil
}

func (s *Service) openAPI(c *fiber.Ctx) error { return sendJSON(c, openAPIDocument) }
