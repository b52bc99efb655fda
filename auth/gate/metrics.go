package gate

import "github.com/prometheus/client_golang/prometheus"

// LimitsCollector exports what one client was refused because it asked for too much.
type LimitsCollector struct{ Gate *Gate }

var limitsDesc = prometheus.NewDesc("edgecache_http_limited_total", "Refused for a limit of one client, by what is limited.", []string{"limit"}, nil)

// Describe implements prometheus.Collector.
func (LimitsCollector) Describe(out chan<- *prometheus.Desc) { out <- limitsDesc }

// Collect implements prometheus.Collector.
func (l LimitsCollector) Collect(out chan<- prometheus.Metric) {
	for i, n := range l.Gate.Limited() {
		out <- prometheus.MustNewConstMetric(limitsDesc, prometheus.CounterValue, float64(n), Limits[i])
	}
}
