package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/chatapp-ngomna/edgecache/node"
)

// getStats serves GET /v1/stats.
func (s *Server) getStats(c *fiber.Ctx) error {
	return sendValue(c, fiber.StatusOK, s.cfg.Node.Stats())
}

// health is the answer of GET /health. The old system's monitors read its cache object.
type health struct {
	// Status is "ok"; "degraded" for a node that answers, and not as it should; or "down" for one
	// that should get no requests. Reasons say why.
	Status  string      `json:"status"`
	Service string      `json:"service"`
	Reasons []string    `json:"reasons,omitempty"`
	Cache   healthCache `json:"cache"`
}

type healthCache struct {
	TotalCached int64   `json:"totalCached"` // profiles in Redis, when last counted
	TTL         int64   `json:"ttl"`         // of a profile in Redis, in seconds
	TTLHours    float64 `json:"ttlHours"`
	L1Bytes     int64   `json:"l1Bytes"` // in use by this node's memory tier
	// whether that tier does not answer as fresh, for want of the stream
	Fenced bool `json:"fenced"`
}

func newHealthCache(s node.Stats) healthCache {
	return healthCache{TotalCached: max(s.Cache.TotalCached, 0), TTL: int64(s.L2TTL.Duration().Seconds()), TTLHours: s.L2TTL.Duration().Hours(),
		L1Bytes: s.Cache.L1Bytes, Fenced: s.Cache.Fenced}
}

// getHealth serves GET /health: 200 when the node is ready, degraded or not, else 503, with the
// same fields.
func (s *Server) getHealth(c *fiber.Ctx) error {
	stats := s.cfg.Node.Stats()
	h := health{Status: "ok", Service: "edgecache", Cache: newHealthCache(stats), Reasons: stats.Troubles(time.Now())}
	status := fiber.StatusOK
	if len(h.Reasons) > 0 {
		h.Status = "degraded"
	}
	if err := s.ready(); err != nil {
		h.Status, h.Reasons, status = "down", append([]string{err.Error()}, h.Reasons...), fiber.StatusServiceUnavailable
	}
	return sendValue(c, status, h)
}

// getLive serves GET /livez: that the process answers is all it says.
func (s *Server) getLive(c *fiber.Ctx) error {
	return sendValue(c, fiber.StatusOK, fiber.Map{"status": "ok"})
}

// getReady serves GET /readyz: 503 until the node may have requests, and again once Close began.
func (s *Server) getReady(c *fiber.Ctx) error {
	if err := s.ready(); err != nil {
		return &problem{status: 503, name: "not-ready", title: "Not ready", detail: err.Error()}
	}
	return sendValue(c, fiber.StatusOK, fiber.Map{"status": "ok"})
}

func (s *Server) ready() error {
	if s.closing.Load() {
		return errClosing
	}
	return s.cfg.Node.Ready()
}

func sendValue(c *fiber.Ctx, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("api: encode the answer: %w", err)
	}
	c.Response().Header.SetContentType(typeJSON)
	c.Response().Header.SetCanonical(headerCacheControl, valueNoStore)
	return c.Status(status).Send(append(body, '\n'))
}
