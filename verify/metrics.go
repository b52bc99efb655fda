package verify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metricDescs describe what a Verifier exports.
type metricDescs struct {
	cells                                              []cellDesc
	reads, changes, sampled, gaps, nines, lag, waiting *prometheus.Desc
	behind, compared, mismatches                       *prometheus.Desc
}

type cellDesc struct {
	desc  *prometheus.Desc
	value func(Counts) uint64
}

func newMetricDescs() metricDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("edgecache_verify_"+name, help, labels, nil)
	}
	cell := func(name, help string, value func(Counts) uint64) cellDesc {
		return cellDesc{desc(name, help, "node", "after"), value}
	}
	return metricDescs{
		cells: []cellDesc{
			cell("checks_total", "Answers that were judged.", func(c Counts) uint64 { return c.Checks }),
			cell("violations_total", "Answers that were wrong.", func(c Counts) uint64 { return c.Violations }),
			cell("stale_total", "Answers marked stale, which promise nothing.", func(c Counts) uint64 { return c.Stale }),
			cell("absent_total", "Answers that know no such user, unproven.", func(c Counts) uint64 { return c.Absent }),
			cell("failed_total", "Answers that the node did not give.", func(c Counts) uint64 { return c.Failed }),
			cell("dropped_total", "Checks that were not made in time.", func(c Counts) uint64 { return c.Dropped }),
		},
		reads:      desc("reads_total", "Users asked for.", "node"),
		changes:    desc("changes_total", "Changes that the stream brought."),
		sampled:    desc("sampled_total", "Changes that were checked."),
		gaps:       desc("stream_gaps_total", "Times at which entries may have been missed.", "reason"),
		nines:      desc("nines", "-log10 of the share of violations since the start; without one, the least that it can be.", "after"),
		lag:        desc("worst_lag_seconds", "Longest time for which a change had been known when an answer contradicted it."),
		waiting:    desc("pending", "Checks that wait.", "node"),
		behind:     desc("violation_lag_seconds", "For how long the change had been known that a wrong answer contradicted."),
		compared:   desc("content_checks_total", "Answers that were compared with the origin.", "node"),
		mismatches: desc("content_mismatches_total", "Answers that differed from an origin that had said the same for 4 s.", "node"),
	}
}

// Describe implements prometheus.Collector.
func (v *Verifier) Describe(out chan<- *prometheus.Desc) {
	for _, c := range v.counts.cells {
		out <- c.desc
	}
	d := v.counts
	for _, one := range []*prometheus.Desc{d.reads, d.changes, d.sampled, d.gaps, d.nines, d.lag, d.waiting, d.behind, d.compared, d.mismatches} {
		out <- one
	}
}

// Collect implements prometheus.Collector.
func (v *Verifier) Collect(out chan<- prometheus.Metric) {
	v.tally.mu.Lock()
	now := v.tally.total.clone()
	v.tally.mu.Unlock()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for node, l := range v.lanes {
		for i, after := range v.cfg.After {
			for _, c := range v.counts.cells {
				count(c.desc, c.value(now.cells[node][i]), l.node.name, after.String())
			}
		}
		count(v.counts.reads, now.reads[node], l.node.name)
		l.mu.Lock()
		waiting := l.waiting
		l.mu.Unlock()
		out <- prometheus.MustNewConstMetric(v.counts.waiting, prometheus.GaugeValue, float64(waiting), l.node.name)
	}
	if v.truth != nil {
		for node, c := range v.truth.byNode() {
			count(v.counts.compared, c.Checks, v.lanes[node].node.name)
			count(v.counts.mismatches, c.Mismatches, v.lanes[node].node.name)
		}
	}
	out <- now.howOld.metric(v.counts.behind, now.lagSum)
	count(v.counts.changes, now.changes)
	count(v.counts.sampled, now.sampled)
	for reason, n := range now.gaps {
		count(v.counts.gaps, n, reason)
	}
	whole := v.tally.whole(v, time.Now())
	for _, a := range whole.After {
		if a.Checks == 0 {
			continue // no figure is better than a wrong one
		}
		out <- prometheus.MustNewConstMetric(v.counts.nines, prometheus.GaugeValue, a.Nines, a.After.String())
	}
	out <- prometheus.MustNewConstMetric(v.counts.lag, prometheus.GaugeValue, whole.WorstLag.Duration().Seconds())
}
