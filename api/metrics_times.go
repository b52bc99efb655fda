package api

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatapp-ngomna/edgecache/internal/histo"
	"github.com/chatapp-ngomna/edgecache/internal/promhisto"
	"github.com/chatapp-ngomna/edgecache/node"
)

// timesCollector exports how long things take, the counts by reason, and what build it is.
type timesCollector struct{ node Node }

// The histograms of a node, the counts that have a label, and its build. Never changed.
var (
	lookupTimes = prometheus.NewDesc("edgecache_lookup_seconds",
		"Lookups of single users by who answered; of those of L1 one in 1,024 is timed, and counts as so many.", []string{"tier"}, nil)
	originTimes = prometheus.NewDesc("edgecache_origin_call_seconds",
		"Calls to the origin, for one user or many, by outcome: answered or failed.", []string{"outcome"}, nil)
	redisTimes   = prometheus.NewDesc("edgecache_redis_seconds", "Round trips to Redis for profiles, those that failed included.", nil, nil)
	eventAges    = prometheus.NewDesc("edgecache_event_age_seconds", "Age of the stream's entries when they had been handled.", nil, nil)
	evictedAges  = prometheus.NewDesc("edgecache_l1_eviction_age_seconds", "Age of the entries that had to make room in L1.", nil, nil)
	streamGaps   = prometheus.NewDesc("edgecache_stream_gaps_total", "Times at which entries may have been missed, by reason.", []string{"reason"}, nil)
	streamBad    = prometheus.NewDesc("edgecache_stream_refused_total", "Entries that were no good event, by reason.", []string{"reason"}, nil)
	workerDead   = prometheus.NewDesc("edgecache_worker_dead_total", "Entries that this node moved to the dead letters, by reason.", []string{"reason"}, nil)
	buildInfo    = prometheus.NewDesc("edgecache_build_info", "1, with the build and the Go that built it.", []string{"version", "goversion"}, nil)
	gapReasons   = []string{"trimmed", "deleted", "backwards", "rewritten", "failover", "unproven", "panic"}
	badReasons   = []string{"malformed", "too large", "unknown kind", "broken profile"}
	deathReasons = []string{"malformed", "too large", "unknown kind", "failed"}
)

// Describe implements prometheus.Collector.
func (c timesCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lookupTimes, originTimes, redisTimes, eventAges, evictedAges, streamGaps, streamBad, workerDead, buildInfo} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c timesCollector) Collect(out chan<- prometheus.Metric) {
	t, s := c.node.Times(), c.node.Stats()
	for tier, times := range t.Lookups {
		sendTimes(out, lookupTimes, times, promhisto.Fast(), tier)
	}
	sendTimes(out, originTimes, t.Origin, promhisto.Fast(), "answered")
	sendTimes(out, originTimes, t.OriginFailed, promhisto.Fast(), "failed")
	sendTimes(out, redisTimes, t.Redis, promhisto.Fast())
	sendTimes(out, eventAges, t.Events, promhisto.Slow())
	sendTimes(out, evictedAges, t.Evicted, promhisto.Slow())
	byReason(out, streamGaps, s.Stream.Gaps, gapReasons)
	byReason(out, streamBad, s.Stream.Refused, badReasons)
	if s.Worker != nil {
		byReason(out, workerDead, s.Worker.Dead, deathReasons)
	}
	out <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, versionOf(&s), runtime.Version())
}

// sendTimes sends a histogram; nil is one that a node does not have.
func sendTimes(out chan<- prometheus.Metric, desc *prometheus.Desc, of *histo.Snapshot, bounds []float64, values ...string) {
	if of != nil {
		out <- promhisto.New(desc, of, bounds, values...)
	}
}

// byReason sends the counts by reason, those that are known also when there was none.
func byReason(out chan<- prometheus.Metric, desc *prometheus.Desc, counts map[string]uint64, known []string) {
	all := map[string]uint64{}
	for _, reason := range known {
		all[reason] = 0
	}
	for reason, n := range counts {
		all[reason] = n
	}
	for reason, n := range all {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), reason)
	}
}

func versionOf(s *node.Stats) string {
	if s.Version == "" {
		return "unknown"
	}
	return s.Version
}
