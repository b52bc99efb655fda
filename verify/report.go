package verify

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// Report is what was found in one window, or since the start.
type Report struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Changes counts the events that the stream brought, Sampled those of them whose users were
	// asked for.
	Changes uint64 `json:"changes"`
	Sampled uint64 `json:"sampled"`
	// Gaps counts, by reason, how often entries of the stream may have been missed: what changed
	// then was not checked.
	Gaps map[string]uint64 `json:"gaps"`
	// After has the counts of all nodes by checkpoint, Nodes those of all checkpoints by node.
	After []AfterReport `json:"after"`
	Nodes []NodeReport  `json:"nodes"`
	// Content is what came of comparing answers with the truth; nil where that was not asked for.
	Content *ContentCounts `json:"content,omitempty"`
	// HowOld counts the violations by for how long the change had been known that the answer
	// contradicted.
	HowOld []LagBucket `json:"howOld"`
	// WorstLag is the longest time for which a change had been known when an answer contradicted
	// it; 0 without one.
	WorstLag profile.Millis `json:"worstLagMs"`
}

// AfterReport is what was found at one checkpoint.
type AfterReport struct {
	// After is how long after the change the nodes were asked, at the earliest, and Late how much
	// later at the latest.
	After profile.Millis `json:"afterMs"`
	Late  profile.Millis `json:"lateMs"`
	Counts
	// Nines is Counts.Nines, ProvenNines Counts.Proven.
	Nines       float64 `json:"nines"`
	ProvenNines float64 `json:"provenNines"`
}

// NodeReport is what was found on one node.
type NodeReport struct {
	Node string `json:"node"`
	// Reads counts the users asked for, each once a request; Rate is that by the second.
	Reads uint64  `json:"reads"`
	Rate  float64 `json:"rate"`
	Counts
}

// report returns what was counted between two totals.
func (v *Verifier) report(now, before total, from, to time.Time) Report {
	r := Report{From: from, To: to, Changes: now.changes - before.changes, Sampled: now.sampled - before.sampled, Gaps: map[string]uint64{}}
	for reason, n := range now.gaps {
		if n > before.gaps[reason] {
			r.Gaps[reason] = n - before.gaps[reason]
		}
	}
	r.HowOld = now.howOld.since(before.howOld)
	r.After = make([]AfterReport, len(v.cfg.After))
	for node, l := range v.lanes {
		n := NodeReport{Node: l.node.name, Reads: now.reads[node] - before.reads[node]}
		n.Rate = float64(n.Reads) / max(to.Sub(from).Seconds(), 1e-3)
		for i := range v.cfg.After {
			d := now.cells[node][i]
			d.subtract(before.cells[node][i])
			r.After[i].add(d)
			n.add(d)
		}
		r.Nodes = append(r.Nodes, n)
	}
	for i := range r.After {
		a := &r.After[i]
		a.After, a.Nines, a.ProvenNines = profile.Millis(v.cfg.After[i]), a.Counts.Nines(), a.Proven()
	}
	return r
}

// Violations returns how many checks were violated.
func (r Report) Violations() (n uint64) {
	for _, a := range r.After {
		n += a.Violations
	}
	return n
}

// String returns the report as one paragraph for people.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s changes", r.To.Format(time.TimeOnly), grouped(r.Changes))
	if r.Sampled < r.Changes {
		fmt.Fprintf(&b, ", %s sampled", grouped(r.Sampled))
	}
	if r.WorstLag > 0 {
		fmt.Fprintf(&b, ", worst lag %v", r.WorstLag.Duration().Round(time.Millisecond))
	}
	b.WriteByte('\n')
	for _, a := range r.After {
		fmt.Fprintf(&b, "  %-6v %s\n", a.After, a)
	}
	if lags := lagsInWords(r.HowOld); lags != "" {
		fmt.Fprintf(&b, "  how old  %s\n", lags)
	}
	if r.Content != nil {
		fmt.Fprintf(&b, "  content  %s\n", r.Content)
	}
	for _, n := range r.Nodes {
		fmt.Fprintf(&b, "  %s  %.0f reads/s%s\n", n.Node, n.Rate, n.others())
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Gaps)) {
		fmt.Fprintf(&b, "  stream: %s, %d times; what changed then was not checked\n", reason, r.Gaps[reason])
	}
	return b.String()
}

// String returns the result of a checkpoint in words.
func (a AfterReport) String() string {
	if a.Checks == 0 {
		return "no checks" + a.others()
	}
	late := fmt.Sprintf(" (read up to %v later)", a.Late.Duration().Round(time.Millisecond))
	if a.Violations > 0 {
		return fmt.Sprintf("%s of %s checks violated: %s nines%s%s", grouped(a.Violations), grouped(a.Checks), twoDigits(a.Nines), late, a.others())
	}
	return fmt.Sprintf("no violation in %s checks: at least %s nines, %s of them 95 %% sure%s%s",
		grouped(a.Checks), twoDigits(a.Nines), twoDigits(a.ProvenNines), late, a.others())
}

// others names what were no checks, and is empty when there was nothing of the kind.
func (c Counts) others() string {
	var b strings.Builder
	for _, o := range []struct {
		n    uint64
		name string
	}{{c.Stale, "marked stale"}, {c.Absent, "absent"}, {c.Failed, "failed"}, {c.Dropped, "dropped"}} {
		if o.n > 0 {
			fmt.Fprintf(&b, "; %s %s", grouped(o.n), o.name)
		}
	}
	return b.String()
}

// twoDigits rounds down: no figure looks better than it is.
func twoDigits(f float64) string { return fmt.Sprintf("%.2f", math.Floor(f*100+1e-9)/100) }

// grouped writes 1234567 as 1,234,567.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
