package warm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/machine"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// goal is the least share of hits among the lookups of active users, in each second after a
// prewarm.
const goal = 0.95

// hits returns how many were answered by L1, by either tier, and in all.
func hits(n [look.FromStale + 1]int64) (l1, tiers, all int64) {
	for _, k := range n {
		all += k
	}
	return n[look.FromL1], n[look.FromL1] + n[look.FromL2], all
}

// leastActive returns the lowest share of hits among the active users' lookups of one second.
func (o *outcome) leastActive() float64 {
	least := 1.0
	for _, s := range o.seconds {
		if _, tiers, all := hits(s.active); all > 0 {
			least = min(least, float64(tiers)/float64(all))
		}
	}
	return least
}

// between sums up seconds from to to, exclusive.
func (o *outcome) between(from, to int) (sum second) {
	for _, s := range o.seconds[min(from, len(o.seconds)):min(to, len(o.seconds))] {
		for t := range sum.all {
			sum.all[t] += s.all[t]
			sum.active[t] += s.active[t]
		}
		sum.calls += s.calls
		sum.failed += s.failed
	}
	return sum
}

func (o *outcome) quantile(q float64) time.Duration {
	slices.Sort(o.took)
	return o.took[int(q*float64(len(o.took)-1))].Round(time.Microsecond)
}

func share(part, all int64) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(all))
}

func report(p params, c *chat, cold, warm *outcome) string {
	here := machine.Read()
	var b strings.Builder
	fmt.Fprintf(&b, "# The first minute after a full restart\n\nWritten by `go run -C benchmarks . warm -trace FILE -out results`, %s; %s, %d processors, %s, Redis over loopback.\n\n",
		time.Now().UTC().Format(time.RFC3339), here.CPU, here.Cores, here.Go)
	fmt.Fprintf(&b, "%d nodes with nothing in memory and an empty Redis; an origin that takes %v to %v; %d lookups a second of a recorded chat, from %s on, "+
		"whether answers come or not. %d users were active in the seven days before.\n\n", p.nodes, p.least, p.most, p.rate,
		c.restart.UTC().Format("2006-01-02 15:04"), len(c.active))
	fmt.Fprintf(&b, "The prewarm before, with the contract's defaults, took %.1f s and asked the origin for %d users in %d calls.\n\n",
		warm.warming.Seconds(), warm.users, warm.calls)
	b.WriteString("| seconds | | all lookups: from L1 | from L1 or L2 | of active users: from L1 | from L1 or L2 | origin calls | failed |\n|---|---|---|---|---|---|---|---|\n")
	for _, span := range [][2]int{{0, 1}, {1, 5}, {5, 10}, {10, 30}, {30, len(cold.seconds)}, {0, len(cold.seconds)}} {
		if span[0] >= len(cold.seconds) {
			continue
		}
		for i, o := range []*outcome{cold, warm} {
			s := o.between(span[0], span[1])
			l1, tiers, all := hits(s.all)
			activeL1, active, actives := hits(s.active)
			fmt.Fprintf(&b, "| %d to %d | %s | %s | %s | %s | %s | %d | %d |\n", span[0], min(span[1], len(cold.seconds)-1), []string{"cold", "prewarmed"}[i],
				share(l1, all), share(tiers, all), share(activeL1, actives), share(active, actives), s.calls, s.failed)
		}
	}
	fmt.Fprintf(&b, "\n| | p50 | p99 | p99.9 |\n|---|---|---|---|\n| cold | %v | %v | %v |\n| prewarmed | %v | %v | %v |\n",
		cold.quantile(0.5), cold.quantile(0.99), cold.quantile(0.999), warm.quantile(0.5), warm.quantile(0.99), warm.quantile(0.999))
	fmt.Fprintf(&b, "\nThe worst second for users active in the seven days before: %.2f %% hits prewarmed, %.2f %% cold; the goal is %.0f %%.\n",
		100*warm.leastActive(), 100*cold.leastActive(), 100*goal)
	return b.String()
}
