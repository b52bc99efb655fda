package api

import (
	_ "embed" // of openapi.json

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/internal/web"
)

// openAPIDocument describes the server (OpenAPI 3.1). The tests hold it to the routes and to what
// they answer.
//
//go:embed openapi.json
var openAPIDocument []byte

// getOpenAPI serves GET /openapi.json.
func (s *Server) getOpenAPI(c *fiber.Ctx) error {
	c.Response().Header.SetContentType(typeJSON)
	c.Response().Header.SetCanonical(headerCacheControl, valueNoStore)
	c.Response().SetBodyRaw(openAPIDocument)
	return nil
}

// getDocs serves GET /openapi.html, a page that shows /openapi.json without anything from
// elsewhere.
func (s *Server) getDocs(c *fiber.Ctx) error {
	web.SendDocs(c.Context())
	return nil
}
