package source

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/internal/plain"
	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/origin"
)

// retryAfter is what a 503 of the service asks its callers to wait.
const retryAfter = time.Second

// problem is the body of every error answer (RFC 9457, application/problem+json).
type problem struct {
	Type   string             `json:"type"`
	Title  string             `json:"title"`
	Status int                `json:"status"`
	Detail string             `json:"detail,omitempty"`
	Errors origin.FieldErrors `json:"errors,omitempty"`
}

// statusOf is the one place where errors become HTTP statuses: what the server refuses, then what
// nodes and origins answer alike, then what the truth answers.
func statusOf(err error) int {
	if fe, ok := errors.AsType[*fiber.Error](err); ok {
		return fe.Code
	}
	if errors.Is(err, errClosing) {
		return http.StatusServiceUnavailable
	}
	return cmp.Or(gate.Status(err), origin.Status(err))
}

// problemOf describes err. What is inside a broken origin is for its log, not for its callers.
func problemOf(err error) problem {
	p := problem{Type: "about:blank", Status: statusOf(err)}
	p.Title = http.StatusText(p.Status)
	switch {
	case errors.Is(err, web.ErrBusy), errors.Is(err, errClosing):
		p.Detail = plain.Text(err)
	case errors.Is(err, origin.ErrUnwritable):
		p.Detail = unwritableDetail(err)
	case p.Status >= http.StatusInternalServerError:
		p.Detail = "the origin could not answer; its log has more"
	default:
		p.Detail = plain.Text(err)
	}
	p.Errors, _ = errors.AsType[origin.FieldErrors](err)
	return p
}

// unwritableDetail is the reason why the database takes no changes, without what the database says
// of itself.
func unwritableDetail(err error) string {
	for _, reason := range []error{ErrFull, ErrReadOnly, ErrDisk} {
		if errors.Is(err, reason) {
			return plain.Text(reason)
		}
	}
	return plain.Text(origin.ErrUnwritable)
}

// answerError is the error handler of the service.
func (s *Service) answerError(c *fiber.Ctx, err error) error {
	p := problemOf(err)
	if errors.Is(err, origin.ErrUnwritable) && c.Path() != "/health" {
		s.probe.refuse(err)
	}
	if p.Status >= http.StatusInternalServerError {
		s.cfg.Logger.Error("source: service", "method", c.Method(), "path", c.Path(), "status", p.Status, "error", err)
	}
	if denied, ok := errors.AsType[*gate.Denied](err); ok {
		c.Set(fiber.HeaderWWWAuthenticate, denied.Challenge)
	}
	if limited, ok := errors.AsType[*gate.Limited](err); ok {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int((limited.Wait+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusServiceUnavailable {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int(retryAfter/time.Second)))
	}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	return c.Status(p.Status).Send(body)
}
