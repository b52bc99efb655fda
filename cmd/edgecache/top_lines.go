package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/ui"
)

// answerers are who answers lookups, in the order in which they are asked. Never changed.
var answerers = []struct {
	name    string
	counter func(*node.Stats) uint64
}{
	{"L1", func(s *node.Stats) uint64 { return s.Cache.L1Hits - min(s.Cache.L1Hits, s.Cache.NegativeHits) }},
	{"L1.5", func(s *node.Stats) uint64 { return s.Cache.StoreHits }},
	{"L2", func(s *node.Stats) uint64 { return s.Cache.L2Hits }},
	{"origin", func(s *node.Stats) uint64 {
		return s.Cache.OriginLoads - min(s.Cache.OriginLoads, s.Cache.OriginErrors)
	}},
	{"stale", func(s *node.Stats) uint64 { return s.Cache.Stale }},
	{"absent", func(s *node.Stats) uint64 { return s.Cache.NegativeHits + s.Cache.Absent }},
	{"failed", nil},
}

// rates are answers a second, by place in answerers.
type rates struct {
	by  []float64
	all float64
}

func ratesOf(before, now ui.Snapshot) rates {
	r := rates{by: make([]float64, len(answerers))}
	seconds := float64(now.At-before.At) / 1000
	if before.At == 0 || seconds <= 0 {
		return r
	}
	for i, a := range answerers {
		if a.counter == nil {
			continue
		}
		from, to := a.counter(&before.Stats), a.counter(&now.Stats)
		r.by[i] = float64(to-min(to, from)) / seconds
		r.all += r.by[i]
	}
	return r
}

// head says how many lookups there are, and how many memory answers.
func (r rates) head() string {
	if r.all == 0 {
		return "no lookups"
	}
	return fmt.Sprintf("%.0f lookups/s, %.1f %% from memory", r.all, 100*r.by[0]/r.all)
}

// tierLines are a table of who answers, how often and how fast.
func tierLines(r rates, now ui.Snapshot, paint func(state, text string) string) []string {
	lines := []string{paint("head", fmt.Sprintf("%-8s%12s%9s%10s%10s  %s", "TIER", "RATE", "SHARE", "HALF IN", "99 % IN", "100 ns to 10 s"))}
	for i, a := range answerers {
		d := now.Latency[a.name]
		if r.by[i] == 0 && d.Lookups == 0 {
			continue
		}
		share := 0.0
		if r.all > 0 {
			share = 100 * r.by[i] / r.all
		}
		lines = append(lines, fmt.Sprintf("%-8s%10.0f/s%7.1f %%%10s%10s  %s", a.name, r.by[i], share, took(d.P50), took(d.P99), spark(d.Counts)))
	}
	return lines
}

// took is a time with three digits.
func took(m profile.Millis) string {
	d := m.Duration()
	if d == 0 {
		return "-"
	}
	round := time.Duration(1)
	for d/round >= 1000 {
		round *= 10
	}
	return d.Round(round).String()
}

// spark draws a distribution with a block for each bucket.
func spark(counts []int) string {
	blocks := []rune(" ▁▂▃▄▅▆▇█")
	most := slices.Max(append([]int{1}, counts...))
	var b strings.Builder
	for _, n := range counts {
		at := n * (len(blocks) - 1) / most
		if n > 0 {
			at = max(at, 1)
		}
		b.WriteRune(blocks[at])
	}
	return strings.TrimRight(b.String(), " ")
}

func hottestLine(s ui.Snapshot) string {
	var parts []string
	for _, u := range s.Hottest[:min(5, len(s.Hottest))] {
		parts = append(parts, fmt.Sprintf("%s %.1f %%", printable(u.ID), 100*u.Share))
	}
	if len(parts) == 0 {
		return "nobody was looked up"
	}
	return strings.Join(parts, ", ")
}

func nodesLine(s ui.Snapshot) string {
	var parts []string
	for _, m := range append(slices.Clone(s.Cluster.Members), s.Cluster.Gone...) {
		part := fmt.Sprintf("%s %d ranges", printable(m.Name), m.Ranges)
		if m.State == "gone" {
			part = printable(m.Name) + " gone"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
