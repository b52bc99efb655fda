package api

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/internal/strictjson"
	"github.com/chatapp-ngomna/edgecache/profile"
)

// wantType refuses a body of another type, or in an encoding that would have to be unpacked. A body
// without a type passes as the first of the allowed.
func wantType(c *fiber.Ctx, allowed ...string) error {
	if encoding := c.Get(fiber.HeaderContentEncoding); encoding != "" && encoding != "identity" {
		return problemType(fmt.Sprintf("the Content-Encoding %.40q is not taken; send the body as it is", encoding))
	}
	given := bodyType(c)
	if given == "" {
		return nil
	}
	for _, t := range allowed {
		if strings.EqualFold(given, t) {
			return nil
		}
	}
	return problemType(fmt.Sprintf("the Content-Type %.60q is not taken; send %s", given, strings.Join(allowed, " or ")))
}

// bodyType returns the media type of the request body without its parameters.
func bodyType(c *fiber.Ctx) string {
	name, _, _ := strings.Cut(c.Get(fiber.HeaderContentType), ";")
	return strings.TrimSpace(name)
}

func problemType(detail string) *problem {
	return &problem{status: 415, name: "unsupported-type", title: "Unsupported media type", detail: detail}
}

// errBody reports a body that is not what it should be; the text says why.
var errBody = errors.New("api: bad body")

// decodeBody reads a body of up to limit bytes, if there is one, and decodes it. Errors of the body
// wrap errBody.
func (s *Server) decodeBody(c *fiber.Ctx, limit int, v any) error {
	body, err := s.budget.ReadBody(c.Context(), limit)
	if err != nil {
		return err
	}
	defer body.Release()
	if err := decodeStrict(body.Bytes, v); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	return nil
}

// decodeStrict is strictjson.Decode of a text that passes profile.CheckJSONText and is not empty.
func decodeStrict(b []byte, v any) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return errors.New("the body is empty")
	}
	if err := profile.CheckJSONText(b); err != nil {
		return errors.New(reason(err, profile.ErrMalformed))
	}
	return strictjson.Decode(b, v)
}
