package api

import (
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/chatapp-ngomna/edgecache/auth/gate"
	"github.com/chatapp-ngomna/edgecache/internal/routecount"
	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// metrics is a registry of this server's own, so that several can live in one process. What it
// exports is read from the node when Prometheus asks: nothing is counted twice, and the hit path
// pays nothing.
type metrics struct {
	registry *prometheus.Registry
	failures *prometheus.CounterVec // answers of 400 and above
	routes   *routecount.Router
}

func newMetrics(n Node, k *conns, g *gate.Gate) metrics {
	m := metrics{prometheus.NewRegistry(), prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edgecache_http_failures_total", Help: "Requests answered with a problem, by status."}, []string{"status"}),
		routecount.New(func(err error) int { return problemOf(err).status })}
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "edgecache_http_connections", Help: "Open HTTP connections."},
		func() float64 { return float64(k.len()) })
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newNodeCollector(n), timesCollector{n}, m.routes, open, m.failures, gate.LimitsCollector{Gate: g})
	return m
}

func (m metrics) failed(status int) { m.failures.WithLabelValues(strconv.Itoa(status)).Inc() }

// handler serves GET /metrics.
func (m metrics) handler() fiber.Handler {
	h := fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return func(c *fiber.Ctx) error {
		h(c.Context())
		return nil
	}
}

// nodeCollector exports one snapshot of a node's counters per scrape.
type nodeCollector struct {
	node      Node
	rows      []row
	functions []functionRow
}

type row struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*node.Stats) float64
	// origin says that the value is there only when the node knows about its calls of the origin.
	origin bool
}

func newNodeCollector(n Node) *nodeCollector {
	c := &nodeCollector{node: n, functions: functionMetrics()}
	for _, r := range counterRows {
		c.add(r.name+"_total", r.help, prometheus.CounterValue, func(s *node.Stats) float64 { return float64(r.value(s)) })
	}
	for _, r := range gaugeRows {
		c.add(r.name, r.help, prometheus.GaugeValue, r.value)
	}
	c.addStore()
	c.addOrigin()
	return c
}

func (c *nodeCollector) add(name, help string, kind prometheus.ValueType, value func(*node.Stats) float64) {
	c.rows = append(c.rows, row{prometheus.NewDesc("edgecache_"+name, help, nil, nil), kind, value, false})
}

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, r := range c.rows {
		out <- r.desc
	}
	for _, r := range c.functions {
		out <- r.desc
	}
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(out chan<- prometheus.Metric) {
	s := c.node.Stats()
	c.collectFunctions(out, s.Functions)
	for _, r := range c.rows {
		if r.origin && s.Origin == nil {
			continue
		}
		out <- prometheus.MustNewConstMetric(r.desc, r.kind, r.value(&s))
	}
}

// counterRows are the counters of a node; their names get the prefix edgecache_ and the suffix
// _total. Never changed.
var counterRows = []struct {
	name, help string
	value      func(*node.Stats) uint64
}{
	{"l1_hits", "Lookups answered by this node's memory.", func(s *node.Stats) uint64 { return s.Cache.L1Hits }},
	{"l1_misses", "Lookups that this node's memory could not answer.", func(s *node.Stats) uint64 { return s.Cache.L1Misses }},
	{"l1_negative_hits", "L1 hits that said that the user does not exist.", func(s *node.Stats) uint64 { return s.Cache.NegativeHits }},
	{"l2_hits", "Profiles answered by Redis.", func(s *node.Stats) uint64 { return s.Cache.L2Hits }},
	{"l2_errors", "Ids that Redis failed to serve.", func(s *node.Stats) uint64 { return s.Cache.L2Errors }},
	{"l2_malformed", "Records in Redis that did not decode.", func(s *node.Stats) uint64 { return s.Cache.Malformed }},
	{"origin_loads", "Ids that the origin was asked for.", func(s *node.Stats) uint64 { return s.Cache.OriginLoads }},
	{"origin_calls", "Calls to the origin.", func(s *node.Stats) uint64 { return s.Cache.OriginCalls }},
	{"origin_errors", "Calls to the origin that failed, for some of their ids at least.", func(s *node.Stats) uint64 { return s.Cache.OriginErrors }},
	{"origin_unanswered", "Ids that the origin failed to answer.", func(s *node.Stats) uint64 { return s.Cache.OriginUnanswered }},
	{"origin_behind", "Answers of the origin older than what was known.", func(s *node.Stats) uint64 { return s.Cache.Behind }},
	{"loads_absent", "Loads that found no such user.", func(s *node.Stats) uint64 { return s.Cache.Absent }},
	{"loads_joined", "Readers who waited for a load that another had begun.", func(s *node.Stats) uint64 { return s.Cache.Joined }},
	{"loads_panicked", "Loads that panicked.", func(s *node.Stats) uint64 { return s.Cache.Panics }},
	{"lease_waits", "Polls while another node had the lease of a key.", func(s *node.Stats) uint64 { return s.Cache.LeaseWaits }},
	{"fills_refused", "Fills refused for a lost lease or an old version.", func(s *node.Stats) uint64 { return s.Cache.FillsRefused }},
	{"stale_answers", "Answers marked stale.", func(s *node.Stats) uint64 { return s.Cache.Stale }},
	{"l1_invalidations", "Entries invalidated in L1.", func(s *node.Stats) uint64 { return s.Cache.Invalidations }},
	{"l1_refreshes", "Entries refreshed in place by an event.", func(s *node.Stats) uint64 { return s.Cache.Refreshes }},
	{"l1_unadmitted", "Answers of Redis not offered to a full L1.", func(s *node.Stats) uint64 { return s.Cache.Unadmitted }},
	{"l1_refresh_aheads", "Loads of hot entries before their expiry.", func(s *node.Stats) uint64 { return s.Cache.RefreshAheads }},
	{"l1_flushes", "Flushes of L1.", func(s *node.Stats) uint64 { return s.Cache.Flushes }},
	{"stream_entries", "Entries of the stream that were handled.", func(s *node.Stats) uint64 { return s.Stream.Entries }},
	{"l1_evictions", "Entries that had to make room in L1.", func(s *node.Stats) uint64 { return s.Cache.L1Evictions }},
	{"prewarm_hits", "Lookups of prewarms that L1 answered; l1_hits does not count them.", func(s *node.Stats) uint64 { return s.PrewarmHits }},
	{"prewarm_misses", "Lookups of prewarms that L1 could not answer; l1_misses does not count them.", func(s *node.Stats) uint64 { return s.PrewarmMisses }},
	{"redis_losses", "Times at which Redis was lost.", func(s *node.Stats) uint64 { return s.Redis.Losses }},
	{"hot_noted", "Visits noted for the list of active users.", func(s *node.Stats) uint64 { return s.Hot.Noted }},
	{"hot_dropped", "Visits not noted, for want of room or a valid id.", func(s *node.Stats) uint64 { return s.Hot.Dropped }},
	{"stream_reconnects", "Connections to the stream after the first.", func(s *node.Stats) uint64 { return s.Stream.Reconnects }},
}

// gaugeRows are the states of a node. Never changed.
var gaugeRows = []struct {
	name, help string
	value      func(*node.Stats) float64
}{
	{"l1_bytes", "Bytes of L1 in use.", func(s *node.Stats) float64 { return float64(s.Cache.L1Bytes) }},
	{"l1_capacity_bytes", "Bytes that L1 may use.", func(s *node.Stats) float64 { return float64(s.Cache.L1Capacity) }},
	{"l2_profiles", "Profiles in Redis when last counted; -1 before.", func(s *node.Stats) float64 { return float64(s.Cache.TotalCached) }},
	{"fenced", "1 while L1 does not answer as fresh, because the stream is silent.", func(s *node.Stats) float64 { return flag(s.Cache.Fenced) }},
	{"cluster_members", "Nodes of the cluster that this one knows to be alive, itself included.", members},
	{"l1_entries", "Entries in L1.", func(s *node.Stats) float64 { return float64(s.Cache.L1Entries) }},
	{"redis_memory_bytes", "Memory that Redis used when profiles were last counted; of a cluster, its fullest master.",
		func(s *node.Stats) float64 { return float64(s.Cache.RedisUsed) }},
	{"redis_memory_limit_bytes", "Memory that Redis may use; 0 for no limit.", func(s *node.Stats) float64 { return float64(s.Cache.RedisLimit) }},
	{"redis_up", "1 while Redis answers this node.", func(s *node.Stats) float64 { return flag(!s.Redis.Down) }},
	{"troubles", "How many things keep this node from answering as it should; /health names them.",
		func(s *node.Stats) float64 { return float64(len(s.Troubles(time.Now()))) }},
	{"stream_silence_seconds", "How long ago the stream last proved that this node has caught up; 0 before it did.",
		func(s *node.Stats) float64 { return s.Silence(time.Now()).Seconds() }},
	{"worker_pending", "Entries that the workers of the cluster were given and have not done, as this node counted last.",
		func(s *node.Stats) float64 { return float64(workerStats(s).Pending) }},
	{"dead_letters", "Entries in the dead-letter stream, as this node counted last.",
		func(s *node.Stats) float64 { return float64(workerStats(s).Letters) }},
	{"memory_warmth", "How much of what the latest prewarm planned is in L1, 0 to 1.", func(s *node.Stats) float64 { return s.MemoryWarmth }},
	{"warmth", "How much of the active users in this node's ranges is loaded, 0 to 1.", func(s *node.Stats) float64 { return s.Warmth }},
	{"prewarm_processed", "Users whose turn has come in this node's part of the latest prewarm.", func(s *node.Stats) float64 { return float64(s.Prewarm.TotalProcessed) }},
	{"prewarm_errors", "Users who could not be loaded in this node's part of the latest prewarm.", func(s *node.Stats) float64 { return float64(s.Prewarm.Errors) }},
	{"prewarm_asked", "Users asked of the origin in this node's part of the latest prewarm.", func(s *node.Stats) float64 { return float64(s.Prewarm.Asked) }},
	{"stream_lag_seconds", "Age of the stream's last entry when it was handled.", func(s *node.Stats) float64 { return s.Stream.Lag.Duration().Seconds() }},
}

func members(s *node.Stats) float64 {
	if s.Gossip == nil {
		return 1
	}
	return float64(s.Gossip.Members)
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// workerStats are those of the node's worker, zero without one.
func workerStats(s *node.Stats) stream.WorkerStats {
	if s.Worker == nil {
		return stream.WorkerStats{}
	}
	return *s.Worker
}
