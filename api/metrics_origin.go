package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/origin"
)

// originRows are about a node's calls of the origin, as its client counts them; names as in
// counterRows. Never changed.
var originRows = []struct {
	name, help string
	value      func(*origin.ClientStats) int64
}{
	{"origin_requests", "Requests sent to the origin, retries and hedges included.", func(s *origin.ClientStats) int64 { return s.Requests }},
	{"origin_failures", "Requests to the origin that the breaker took as failures.", func(s *origin.ClientStats) int64 { return s.Failures }},
	{"origin_retries", "Requests to the origin that repeated one.", func(s *origin.ClientStats) int64 { return s.Retries }},
	{"origin_refused", "Calls not sent: the breaker was open, or the origin had asked for time.", func(s *origin.ClientStats) int64 { return s.Refused }},
	{"origin_hedges", "Second requests for lookups that were slow.", func(s *origin.ClientStats) int64 { return s.Hedges }},
	{"origin_hedges_won", "Second requests that answered before the first.", func(s *origin.ClientStats) int64 { return s.HedgesWon }},
	{"origin_malformed", "Answers of the origin that were no profile.", func(s *origin.ClientStats) int64 { return s.Malformed }},
	{"origin_shed", "Fields left out of the origin's profiles because none has room for them.", func(s *origin.ClientStats) int64 { return s.Shed }},
	{"origin_breaker_opened", "Times at which the breaker of the origin opened.", func(s *origin.ClientStats) int64 { return s.Opened }},
}

func (c *nodeCollector) addOrigin() {
	first := len(c.rows)
	c.add("origin_breaker_state", "The breaker of the origin: 0 closed, 1 half-open, 2 open.", prometheus.GaugeValue,
		func(s *node.Stats) float64 { return breakerState(s.Origin.Breaker) })
	for _, r := range originRows {
		c.add(r.name+"_total", r.help, prometheus.CounterValue, func(s *node.Stats) float64 { return float64(r.value(s.Origin)) })
	}
	for i := range c.rows[first:] {
		c.rows[first+i].origin = true
	}
}

func breakerState(name string) float64 {
	return map[string]float64{"closed": 0, "half-open": 1, "open": 2}[name]
}
