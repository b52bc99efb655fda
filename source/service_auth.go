package source

import (
	"errors"
	"fmt"

	"github.com/chatapp-ngomna/edgecache/auth"
	"github.com/gofiber/fiber/v2"
)

// allow lets those through who have at least the role. Without a secret everybody is: the service is then reachable from
// this machine only.
func (s *Service) allow(need auth.Role, handler fiber.Handler) fiber.Handler {
	if s.tokens == nil {
		return handler
	}
	return func(c *fiber.Ctx) error {
		role, err := s.tokens.Role(c.Get(fiber.HeaderAuthorization))
		if err == nil && role < need {
			err = fmt.Errorf("%w: it needs the role %s, and the token has %s", auth.ErrForbidden, need, role)
		}
		if err != nil {
			c.Set(fiber.HeaderWWWAuthenticate, challenge(err, need))
			return err
		}
		return handler(c)
	}
}

// tokenRealm names the service in its challenges.
const tokenRealm = "edgecache origin"

// challenge is the WWW-Authenticate header for an error (RFC 6750, section 3).
func challenge(err error, need auth.Role) string {
	text := fmt.Sprintf("Bearer realm=%q", tokenRealm)
	switch {
	case errors.Is(err, auth.ErrForbidden):
		text += fmt.Sprintf(`, error="insufficient_scope", scope=%q`, need)
	case errors.Is(err, auth.ErrBadToken):
		text += `, error="invalid_token"`
	}
	return text
}
