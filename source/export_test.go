package source

import "github.com/gofiber/fiber/v2"

// What tests outside of the package look at.
const (
	MaxFieldErrors = maxFieldErrors
	MaxKey         = maxKey
	MaxValue       = maxValue
	MaxBody        = maxBody
	MaxHeader      = maxHeader
	MIMENDJSON     = mimeNDJSON
	PageUsers      = pageUsers
	ProbeRate      = probeRate
	MaxWork        = maxWork
)

// OpenAPIDocument is what /openapi.json answers.
var OpenAPIDocument = openAPIDocument

// StatusOf is statusOf.
var StatusOf = statusOf

// Problem is the body of an error.
type Problem = problem

// Waiting returns how many callers of Wait are remembered.
func (r *Relay) Waiting() int { return len(r.waiters.waiting) }

// Config returns the configuration with its defaults.
func (r *Relay) Config() RelayConfig { return r.cfg }

// Routes lists the routes that are served.
func (s *Service) Routes() []fiber.Route { return s.app.GetRoutes(true) }

// Conns returns how many connections are open.
func (s *Service) Conns() int {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	return len(s.conns.set)
}

// Hold has the answers of others hold n bytes.
func (s *Service) Hold(n int) error {
	_, err := s.budget.Hold(n)
	return err
}
