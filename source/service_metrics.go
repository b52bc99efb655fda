package source

import (
	"cmp"
	"context"
	"runtime"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/origin"
)

// newMetrics returns the handler of GET /metrics. The registry is the service's own, so that
// several can live in one process; what it exports is read when Prometheus asks.
func newMetrics(s *Service) fiber.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), serviceCollector{s}, s.counts, gate.LimitsCollector{Gate: s.gate})
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
	stored     bool // the store knows it
	value      func(Backlog, origin.RelayStats) float64
}{
	{"outbox_changes", "Changes that are committed and not yet announced.", prometheus.GaugeValue, true,
		func(b Backlog, _ origin.RelayStats) float64 { return float64(b.Rows) }},
	{"outbox_oldest_seconds", "How long the oldest of them has waited.", prometheus.GaugeValue, true,
		func(b Backlog, _ origin.RelayStats) float64 { return b.Oldest.Duration().Seconds() }},
	{"relay_announced_total", "Changes that this process announced.", prometheus.CounterValue, false,
		func(_ Backlog, r origin.RelayStats) float64 { return float64(r.Announced) }},
	{"relay_failures_total", "Announcements that failed; they are tried again.", prometheus.CounterValue, false,
		func(_ Backlog, r origin.RelayStats) float64 { return float64(r.Failures) }},
	{"relay_blocked_users", "Users whose next change waits after a failure.", prometheus.GaugeValue, false,
		func(_ Backlog, r origin.RelayStats) float64 { return float64(r.Blocked) }},
	{"relay_down", "1 while nobody can be announced.", prometheus.GaugeValue, false,
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
	out <- databaseUp
	out <- buildInfo
	for _, r := range serviceRows {
		out <- rowDesc(r.name, r.help)
	}
}

// metricsTimeout bounds what the metrics wait for the store: less than a scrape may take.
const metricsTimeout = 2 * time.Second

var (
	databaseUp = rowDesc("database_up", "1 when the database has told what waits to be announced.")
	buildInfo  = prometheus.NewDesc("edgecache_build_info", "1, with the build and the Go that built it.", []string{"version", "goversion"}, nil)
)

// Collect implements prometheus.Collector. While the store does not answer, what only it knows is
// missing, and database_up is 0.
func (c serviceCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(c.service.ctx, metricsTimeout)
	defer cancel()
	backlog, err := c.service.cfg.Store.Backlog(ctx)
	var relay origin.RelayStats
	if c.service.cfg.Relay != nil {
		relay = c.service.cfg.Relay.Stats()
	}
	up := 1.0
	if err != nil {
		up = 0
	}
	out <- prometheus.MustNewConstMetric(databaseUp, prometheus.GaugeValue, up)
	out <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, cmp.Or(c.service.cfg.Version, "unknown"), runtime.Version())
	for _, r := range serviceRows {
		if err == nil || !r.stored {
			out <- prometheus.MustNewConstMetric(rowDesc(r.name, r.help), r.kind, r.value(backlog, relay))
		}
	}
}
