package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatapp-ngomna/edgecache/edge"
)

// functionRow is a metric of each edge function.
type functionRow struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(edge.FunctionStats) float64
}

// functionMetrics are those of edge functions; their names get the prefix edgecache_function_.
func functionMetrics() (rows []functionRow) {
	for _, r := range []struct {
		name, help string
		kind       prometheus.ValueType
		value      func(edge.FunctionStats) float64
	}{
		{"calls_total", "Calls of an edge function; answers that were kept are none.", prometheus.CounterValue,
			func(s edge.FunctionStats) float64 { return float64(s.Calls) }},
		{"refused_total", "Calls that refused to show the user.", prometheus.CounterValue,
			func(s edge.FunctionStats) float64 { return float64(s.Refused) }},
		{"failed_total", "Calls that brought neither a profile nor a refusal.", prometheus.CounterValue,
			func(s edge.FunctionStats) float64 { return float64(s.Failed) }},
		{"fences_total", "How often the function was fenced for its failures.", prometheus.CounterValue,
			func(s edge.FunctionStats) float64 { return float64(s.Fences) }},
		{"fenced", "1 while the function is not called, because it fails.", prometheus.GaugeValue,
			func(s edge.FunctionStats) float64 { return flag(s.Fenced) }},
		{"loaded", "1 when the version that serves is compiled.", prometheus.GaugeValue,
			func(s edge.FunctionStats) float64 { return flag(s.Loaded) }},
		{"version", "Number of the version that serves.", prometheus.GaugeValue,
			func(s edge.FunctionStats) float64 { return float64(s.Version) }},
		{"fuel_p50", "Fuel that half of the calls needed at most.", prometheus.GaugeValue,
			func(s edge.FunctionStats) float64 { return float64(s.FuelP50) }},
		{"fuel_p99", "Fuel that 99 % of the calls needed at most.", prometheus.GaugeValue,
			func(s edge.FunctionStats) float64 { return float64(s.FuelP99) }},
		{"instances", "Instances of the module.", prometheus.GaugeValue,
			func(s edge.FunctionStats) float64 { return float64(s.Instances) }},
		{"bytes", "Bytes of the instances' memories.", prometheus.GaugeValue,
			func(s edge.FunctionStats) float64 { return float64(s.Bytes) }},
	} {
		desc := prometheus.NewDesc("edgecache_function_"+r.name, r.help, []string{"function"}, nil)
		rows = append(rows, functionRow{desc, r.kind, r.value})
	}
	return rows
}

// collectFunctions sends the metrics of all functions. A version on trial has the label NAME:trial.
func (c *nodeCollector) collectFunctions(out chan<- prometheus.Metric, all []edge.FunctionStats) {
	for _, s := range all {
		label := s.Name
		if s.Share > 0 {
			label += ":trial"
		}
		for _, r := range c.functions {
			out <- prometheus.MustNewConstMetric(r.desc, r.kind, r.value(s), label)
		}
	}
}
