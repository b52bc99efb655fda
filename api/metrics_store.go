package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatapp-ngomna/edgecache/node"
)

// addStore adds the metrics of the store on disk, which are 0 without one.
func (c *nodeCollector) addStore() {
	of := func(f func(*node.StoreStats) float64) func(*node.Stats) float64 {
		return func(s *node.Stats) float64 {
			if s.Store == nil {
				return 0
			}
			return f(s.Store)
		}
	}
	counter, gauge := prometheus.CounterValue, prometheus.GaugeValue
	c.add("store_hits_total", "Lookups answered by the store on disk.", counter,
		func(s *node.Stats) float64 { return float64(s.Cache.StoreHits) })
	c.add("store_vouched_total", "Profiles of the store that count again after a gap.", counter,
		func(s *node.Stats) float64 { return float64(s.Cache.Vouched) })
	c.add("store_entries", "Profiles in the store on disk.", gauge,
		of(func(s *node.StoreStats) float64 { return float64(s.Entries) }))
	c.add("store_bytes", "Bytes that the profiles in the store take.", gauge,
		of(func(s *node.StoreStats) float64 { return float64(s.Bytes) }))
	c.add("store_off", "1 when the store was given up, or could not be opened.", gauge,
		of(func(s *node.StoreStats) float64 { return flag(s.Off != "") }))
	c.add("store_alone", "1 while the node has started without Redis.", gauge,
		of(func(s *node.StoreStats) float64 { return flag(s.Alone) }))
	c.add("store_commit_age_seconds", "For how long changes have waited for the store's disk.", gauge,
		of(commitAge))
	c.add("store_replayed_events", "Events read at the start to catch up with the stream.", gauge,
		of(func(s *node.StoreStats) float64 { return float64(s.Replayed) }))
}

// commitAge is how long ago the last transaction was, while changes wait for the next.
func commitAge(s *node.StoreStats) float64 {
	if s.Pending == 0 || s.CommittedAt.IsZero() {
		return 0
	}
	return time.Since(s.CommittedAt).Seconds()
}
