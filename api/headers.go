package api

import (
	"bytes"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
)

// The headers of the hit path in canonical form, so that their spelling is not worked out for each
// request. Never changed.
var (
	headerAccept       = []byte(fiber.HeaderAccept)
	headerAge          = []byte(fiber.HeaderAge)
	headerCacheControl = []byte(fiber.HeaderCacheControl)
	headerCacheStatus  = []byte("Cache-Status")
	headerETag         = []byte(fiber.HeaderETag)
	headerIfNoneMatch  = []byte(fiber.HeaderIfNoneMatch)
	headerVary         = []byte(fiber.HeaderVary)

	// valueRevalidate lets a client keep a profile for itself if it asks each time whether it still
	// holds (If-None-Match).
	valueRevalidate = []byte("private, no-cache")
	valueNoStore    = []byte("no-store")
)

// headerValue returns a request header that is a list, its lines joined; empty when there is none.
// The string is valid until the handler returns.
func headerValue(c *fiber.Ctx, name []byte) string {
	h := &c.Request().Header
	first := h.PeekCanonical(name)
	if len(first) == 0 {
		return ""
	}
	if lines := h.PeekAll(string(name)); len(lines) > 1 {
		return string(bytes.Join(lines, []byte(", ")))
	}
	return utils.UnsafeString(first)
}
