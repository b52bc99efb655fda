package ui

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/node"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// States of a Check, from good to bad.
const (
	OK   = "ok"
	Warn = "warn"
	Bad  = "bad"
)

// Check says how one part of a node does.
type Check struct {
	// Name is "freshness", "redis", "stream", "origin", "cluster", "memory", "outside writes" or
	// "functions".
	Name string `json:"name"`
	// State is OK, Warn or Bad.
	State string `json:"state"`
	// Says is a sentence.
	Says string `json:"says"`
}

const (
	// silence is how old the last proof of the stream may be before Redis counts as silent: three
	// reads that found nothing new.
	silence = 1500 * time.Millisecond
	// slowOrigin is the median of the origin's answers above which it is called slow, and
	// slowWithin how old those may be.
	slowOrigin = 500 * time.Millisecond
	slowWithin = 15 * time.Second
	// sweeping is the way of a watch that the server tells nothing.
	sweeping = "sweep"
	// lateEvents is the lag of the stream above which it is named: what the bound allows.
	lateEvents = 250 * time.Millisecond
)

// view is what checks look at.
type view struct {
	now     moment
	past    []moment
	cluster node.Cluster
	lookups []look.Lookup
}

// grown returns how much a counter has grown in the time before now. What is older than the first
// look is not known, and does not count.
func (v view) grown(within time.Duration, counter func(*node.Stats) uint64) uint64 {
	now := counter(&v.now.stats)
	for i := range v.past {
		if v.now.at.Sub(v.past[i].at) <= within {
			return now - min(now, counter(&v.past[i].stats))
		}
	}
	return 0
}

// lately is grown in the last minute.
func (v view) lately(counter func(*node.Stats) uint64) uint64 { return v.grown(remembered, counter) }

// checks returns what there is to say, in a fixed order.
func checks(v view) []Check {
	list := []Check{v.freshness(), v.redis(), v.stream(), v.origin(), v.members(), v.memory()}
	if v.now.stats.Watch != nil {
		list = append(list, v.outside())
	}
	if len(v.now.stats.Functions) > 0 {
		list = append(list, v.functions())
	}
	return list
}

// proved returns how long ago the stream last proved that all changes were heard.
func (v view) proved() time.Duration {
	if v.now.stats.Stream.LastAlive.IsZero() {
		return 0
	}
	return max(0, v.now.at.Sub(v.now.stats.Stream.LastAlive))
}

func (v view) freshness() Check {
	c := Check{Name: "freshness", State: OK}
	switch {
	case v.now.stats.Cache.Fenced && v.proved() < silence:
		c.State = Warn
		c.Says = "Fenced for a moment: the process was held up, and the next proof ends it."
	case v.now.stats.Cache.Fenced:
		c.State = Bad
		c.Says = fmt.Sprintf("Fenced: for %s nothing has proved that memory is up to date. Redis or the origin "+
			"answer instead; where they cannot, answers are marked stale.", span(v.proved()))
	case v.proved() > silence:
		c.State = Warn
		c.Says = fmt.Sprintf("The last proof that memory is up to date is %s old.", span(v.proved()))
	default:
		c.Says = fmt.Sprintf("Memory answers, and was proved up to date %s ago.", span(v.proved()))
	}
	if n := v.lately(func(s *node.Stats) uint64 { return s.Cache.Stale }); n > 0 {
		c.State = worse(c.State, Warn)
		c.Says += fmt.Sprintf(" %s marked stale in the last minute.", plural(n, "answer was", "answers were"))
	}
	return c
}

func (v view) redis() Check {
	failed := v.lately(func(s *node.Stats) uint64 { return s.Cache.L2Errors })
	lost := v.lately(func(s *node.Stats) uint64 { return s.Stream.Lost })
	c := Check{Name: "redis", State: OK}
	switch {
	case v.proved() > silence:
		c.State = Bad
		c.Says = fmt.Sprintf("Redis does not answer: last heard of %s ago.", span(v.proved()))
	case failed+lost > 0:
		c.State, c.Says = Warn, "Redis answers again."
	default:
		c.Says = fmt.Sprintf("Redis answers; heard of %s ago.", span(v.proved()))
		if n := v.now.stats.Cache.TotalCached; n >= 0 {
			c.Says += fmt.Sprintf(" When last counted it held %s.", plural(uint64(n), "profile", "profiles"))
		}
	}
	if failed > 0 {
		c.Says += fmt.Sprintf(" %s not served by it in the last minute.", plural(failed, "user was", "users were"))
	}
	return c
}

func (v view) stream() Check {
	t := v.now.stats.Stream
	c := Check{Name: "stream", State: OK, Says: fmt.Sprintf("%s heard", plural(t.Entries, "change", "changes"))}
	if t.Lag > 0 {
		c.Says += fmt.Sprintf(", the last one %s after it was made", span(t.Lag.Duration()))
	}
	c.Says += "."
	if t.Lag.Duration() > lateEvents && v.lately(func(s *node.Stats) uint64 { return s.Stream.Entries }) > 0 {
		c.State = Warn
	}
	refused := v.lately(func(s *node.Stats) uint64 { return total(s.Stream.Refused) })
	if refused > 0 {
		c.State = Warn
		c.Says += fmt.Sprintf(" %s no good event in the last minute: %s.", plural(refused, "entry was", "entries were"), reasons(t.Refused))
	}
	if n := v.lately(func(s *node.Stats) uint64 { return total(s.Stream.Gaps) }); n > 0 {
		c.State = Warn
		c.Says += fmt.Sprintf(" Memory was emptied %s in the last minute, because changes may have been missed: %s.",
			plural(n, "time", "times"), reasons(t.Gaps))
	}
	if w := v.now.stats.Worker; w != nil && total(w.Dead) > 0 {
		c.State = Warn
		c.Says += fmt.Sprintf(" This node put %s to the dead letters: edgecache events dead lists them.",
			plural(total(w.Dead), "entry", "entries"))
	}
	return c
}

func (v view) origin() Check {
	c := Check{Name: "origin", State: OK, Says: "The origin was not asked lately."}
	calls := v.lately(func(s *node.Stats) uint64 { return s.Cache.OriginCalls })
	failed := v.lately(func(s *node.Stats) uint64 { return s.Cache.OriginErrors })
	median, asked := v.originTime()
	if calls > 0 {
		c.Says = fmt.Sprintf("The origin answers; %s in the last minute.", plural(calls, "call", "calls"))
	}
	if failed > 0 {
		c.State = Warn
		c.Says = fmt.Sprintf("%d of %s of the origin failed in the last minute.", failed, plural(calls, "call", "calls"))
	}
	if asked > 0 && median > slowOrigin {
		c.State = Warn
		c.Says += fmt.Sprintf(" The origin is slow: half of %s took %s or more.", plural(uint64(asked), "lookup", "lookups"), span(median))
	}
	if o := v.now.stats.Origin; o != nil && o.Breaker != "closed" {
		c.State = Bad
		c.Says = fmt.Sprintf("The circuit breaker of the origin is %s: calls are refused until it answers. %s", o.Breaker, c.Says)
	}
	return c
}

// originTime returns the median of the lookups that the origin answered, or that nobody did, in the
// last seconds, and how many they are.
func (v view) originTime() (median time.Duration, n int) {
	var took []time.Duration
	for i := len(v.lookups) - 1; i >= 0; i-- {
		l := &v.lookups[i]
		if v.now.at.Sub(l.At) > slowWithin {
			break
		}
		if o := Outcome(l); o == "origin" || o == "failed" {
			took = append(took, l.Took)
		}
	}
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return quantile(took, 0.5), len(took)
}

func (v view) members() Check {
	c := Check{Name: "cluster", State: OK, Says: "This node is on its own."}
	if n := len(v.cluster.Members); n > 1 || len(v.cluster.Gone) > 0 {
		c.Says = fmt.Sprintf("%s of the cluster: %s.", plural(uint64(n), "node", "nodes"), names(v.cluster.Members))
	}
	if list := v.inTrouble(); len(list) > 0 {
		c.State = Warn
		c.Says += " In trouble: " + strings.Join(list, ", ") + "."
	}
	if len(v.cluster.Gone) > 0 {
		latest := v.cluster.Gone[0]
		c.State = Warn
		c.Says += fmt.Sprintf(" Gone in the last ten minutes: %s, the last %s ago.", names(v.cluster.Gone), span(v.now.at.Sub(latest.Since)))
	}
	return c
}

// inTrouble lists the other members that told of something bad, and what.
func (v view) inTrouble() (list []string) {
	for _, m := range v.cluster.Members {
		var bad []string
		if m.Fenced && m.Lag > 0 { // else it was held up for a moment
			bad = append(bad, "fenced")
		}
		if m.Redis == "lost" {
			bad = append(bad, "Redis lost")
		}
		if m.Origin == "failing" {
			bad = append(bad, "origin failing")
		}
		if len(bad) > 0 && m.Name != v.cluster.Self {
			list = append(list, m.Name+" ("+strings.Join(bad, ", ")+")")
		}
	}
	return list
}

// names lists the first members.
func names(members []node.Member) string {
	const most = 5
	var list []string
	for _, m := range members[:min(len(members), most)] {
		list = append(list, m.Name)
	}
	if more := len(members) - most; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}

func (v view) memory() Check {
	s := v.now.stats.Cache
	c := Check{Name: "memory", State: OK, Says: fmt.Sprintf("%s of %s in use.", size(s.L1Bytes), size(s.L1Capacity))}
	unadmitted := v.lately(func(s *node.Stats) uint64 { return s.Cache.Unadmitted })
	if unadmitted > 0 && s.L1Bytes > s.L1Capacity*9/10 {
		c.State = Warn
		c.Says = fmt.Sprintf("Memory is too small: %s of %s are in use, and in the last minute %s of Redis found no room. --l1-mib makes it larger.",
			size(s.L1Bytes), size(s.L1Capacity), plural(unadmitted, "answer", "answers"))
	}
	return c
}

func (v view) outside() Check {
	w := v.now.stats.Watch
	c := Check{Name: "outside writes", State: OK,
		Says: fmt.Sprintf("Redis tells which keys others write (by %s); %s so far changed what this node held.",
			w.Way, plural(uint64(w.Outside), "write", "writes"))}
	switch {
	case w.Way == sweeping:
		c.State = Warn
		c.Says = "Redis does not tell what others write to it: this node compares its hottest users, and sees the others when their time in memory ends."
	case w.Links == 0:
		c.State, c.Says = Warn, "No server of Redis is watched now: what others write to it is not seen."
	}
	return c
}

func (v view) functions() Check {
	var fenced []string
	for _, f := range v.now.stats.Functions {
		if f.Fenced {
			fenced = append(fenced, f.Name)
		}
	}
	if len(fenced) > 0 {
		return Check{"functions", Warn, "Not called at present, because they failed: " + strings.Join(fenced, ", ") + "."}
	}
	return Check{"functions", OK, fmt.Sprintf("%s.", plural(uint64(len(v.now.stats.Functions)), "function serves", "functions serve"))}
}

// worse returns the worse of two states.
func worse(a, b string) string {
	if a == Bad || b == Bad {
		return Bad
	}
	if a == Warn || b == Warn {
		return Warn
	}
	return OK
}

func total(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func reasons(counts map[string]uint64) string {
	return strings.Join(slices.Sorted(maps.Keys(counts)), ", ")
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// span is a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}

// size is a number of bytes as people say it.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	case n < 10<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
}
