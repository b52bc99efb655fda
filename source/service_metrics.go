package source

import (
	"context"

	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/origin"
	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

// newMetrics returns the handler of GET /metrics. The registry is the service's own, so that several can live in one
// process; what it exports is read when Prometheus asks.
func newMetrics(s *Service) fiber.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), serviceCollector{s}, gate.LimitsCollector{Gate: s.gate})
	handler := fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return func(c *fiber.Ctx) error {
		handler(c.Context())
		return nil
	}
}

// serviceCollector exports what waits to be announced and what the relay did.
type serviceCollector struct{ service *Service }

// serviceRows are what it exports; names get the prefix edgecache_. Never changed.
var serviceRows = []struct {
	name, help string
	kind       prometheus.ValueType
	value      func(Backlog, origin.RelayStats) float64
}{
	{"outbox_changes", "Changes that are committed and not yet announced.", prometheus.GaugeValue,
		func(b Backlog, _ origin.RelayStats) float64 { return float64(b.Rows) }},
	{"outbox_oldest_seconds", "How long the oldest of them has waited.", prometheus.GaugeValue,
		func(b Backlog, _ origin.RelayStats) float64 { return b.Oldest.Seconds() }},
	{"relay_announced_total", "Changes that this process announced.", prometheus.CounterValue,
		func(_ Backlog, r origin.RelayStats) float64 { return float64(r.Announced) }},
	{"relay_failures_total", "Announcements that failed; they are tried again.", prometheus.CounterValue,
		func(_ Backlog, r origin.RelayStats) float64 { return float64(r.Failures) }},
	{"relay_blocked_users", "Users whose next change waits after a failure.", prometheus.GaugeValue,
		func(_ Backlog, r origin.RelayStats) float64 { return float64(r.Blocked) }},
	{"relay_down", "1 while nobody can be announced.", prometheus.GaugeValue,
		func(_ Backlog, r origin.RelayStats) float64 {
			if r.Down {
				return 1
			}
			return 0
		}},
}

func rowDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("edgecache_"+name, help, nil, nil)
}

// Describe implements prometheus.Collector.
func (serviceCollector) Describe(out chan<- *prometheus.Desc) {
	for _, r := range serviceRows {
		out <- rowDesc(r.name, r.help)
	}
}

// Collect implements prometheus.Collector. While the store does not answer the rows are missing, and the scrape fails.
func (c serviceCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(c.service.ctx, requestTimeout)
	defer cancel()
	backlog, err := c.service.cfg.Store.Backlog(ctx)
	var relay origin.RelayStats
	if c.service.cfg.Relay != nil {
		relay = c.service.cfg.Relay.Stats()
	}
	for _, r := range serviceRows {
		if desc := rowDesc(r.name, r.help); err != nil {
			out <- prometheus.NewInvalidMetric(desc, err)
		} else {
			out <- prometheus.MustNewConstMetric(desc, r.kind, r.value(backlog, relay))
		}
	}
}
