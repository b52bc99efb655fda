package report

import (
	"fmt"
	"strings"
)

// DefaultTolerance is the share by which figures may differ beyond their bands.
const DefaultTolerance = 0.10

// Change is what became of one figure between two results.
type Change struct {
	Suite, Contender, Load, Name, Unit string
	A, B                               float64
	BandA, BandB                       Band
	// Ratio is B divided by A.
	Ratio float64
	// Worse and Better are set when the bands are apart by more than the tolerance.
	Worse, Better bool
}

// Comparison is two results side by side.
type Comparison struct {
	Changes []Change
	// Missing are the figures that only one of them has.
	Missing []string
	// Notes say why the two may not be comparable.
	Notes []string
	// FailedB says that the second result is marked as failed.
	FailedB bool
}

// Compare puts b beside a. A figure of edgecache is worse when its whole noise band in b is beyond
// the one in a, and by more than tolerance, 0.1 for a tenth. The figures of others are shown, and
// judged by nobody: what they did is the machine's.
func Compare(a, b *Result, tolerance float64) *Comparison {
	c := &Comparison{FailedB: b.Failed, Notes: notes(a, b)}
	before := map[string]Change{}
	for _, f := range flat(a) {
		before[f.key()] = f
	}
	for _, f := range flat(b) {
		old, ok := before[f.key()]
		if !ok {
			c.Missing = append(c.Missing, f.key()+" (only in B)")
			continue
		}
		delete(before, f.key())
		c.Changes = append(c.Changes, judge(old, f, tolerance))
	}
	for _, f := range flat(a) {
		if _, left := before[f.key()]; left {
			c.Missing = append(c.Missing, f.key()+" (only in A)")
		}
	}
	return c
}

func (c *Change) key() string {
	return strings.Join([]string{c.Suite, c.Contender, c.Load, c.Name}, " | ")
}

// flat lists what a result has to compare, in A and BandA.
func flat(r *Result) (all []Change) {
	for _, s := range r.Suites {
		for i := range s.Rows {
			row := &s.Rows[i]
			for _, one := range []struct {
				name  string
				value int64
				band  Band
			}{{"p50", row.At(50), row.P50}, {"p99", row.At(99), row.P99}} {
				all = append(all, Change{Suite: s.Name, Contender: row.Contender, Load: row.Load, Name: one.name, Unit: "ns",
					A: float64(one.value), BandA: one.band})
			}
		}
		for _, f := range s.Figures {
			name := f.Name
			unit := f.Unit
			if f.MoreIsBetter {
				unit = more + unit
			}
			all = append(all, Change{Suite: s.Name, Contender: f.Contender, Name: name, Unit: unit, A: f.Value, BandA: f.Band})
		}
	}
	return all
}

// more begins the unit of a figure of which more is better.
const more = "+"

func judge(a, b Change, tolerance float64) Change {
	c := a
	c.B, c.BandB = b.A, b.BandA
	if a.A > 0 {
		c.Ratio = c.B / c.A
	}
	higher := c.BandB.Low > c.BandA.High*(1+tolerance)
	lower := c.BandB.High < c.BandA.Low/(1+tolerance)
	if strings.HasPrefix(c.Unit, more) {
		higher, lower = lower, higher
	}
	if strings.HasPrefix(c.Contender, Subject) {
		c.Worse, c.Better = higher, lower
	}
	return c
}

// notes says in what the circumstances differ.
func notes(a, b *Result) (all []string) {
	for _, one := range []struct{ what, a, b string }{
		{"the processor", fmt.Sprint(a.Machine.CPU, ", ", a.Machine.Cores, " cores"), fmt.Sprint(b.Machine.CPU, ", ", b.Machine.Cores, " cores")},
		{"Redis", a.Machine.Redis, b.Machine.Redis}, {"the origin", a.Machine.Origin, b.Machine.Origin},
		{"what was asked for", fmt.Sprintf("%+v", a.Parameters), fmt.Sprintf("%+v", b.Parameters)},
	} {
		if one.a != one.b {
			all = append(all, one.what+" differs: "+one.a+"; "+one.b)
		}
	}
	for i, r := range []*Result{a, b} {
		if r.Failed || r.Interrupted {
			all = append(all, string(rune('A'+i))+" is marked as failed or interrupted")
		}
	}
	return all
}

// Worse counts the figures that are.
func (c *Comparison) Worse() (n int) {
	for _, one := range c.Changes {
		if one.Worse {
			n++
		}
	}
	return n
}

// Text returns the comparison for a terminal.
func (c *Comparison) Text() string {
	var b strings.Builder
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	lines := [][]string{{"suite", "contender", "load", "figure", "A", "band of A", "B", "band of B", "B/A", ""}}
	for _, one := range c.Changes {
		lines = append(lines, one.cells())
	}
	grid(&b, lines, 4)
	for _, m := range c.Missing {
		fmt.Fprintf(&b, "not in both: %s\n", m)
	}
	return b.String()
}

func (c *Change) cells() []string {
	write, unit := Count, strings.TrimPrefix(c.Unit, more)
	if unit == "ns" {
		write, unit = Nanos, ""
	}
	word := "same"
	switch {
	case c.Worse:
		word = "WORSE"
	case c.Better:
		word = "better"
	case !strings.HasPrefix(c.Contender, Subject):
		word = ""
	}
	band := func(b Band) string { return write(b.Low) + " - " + write(b.High) }
	return []string{c.Suite, c.Contender, c.Load, strings.TrimSpace(c.Name + " " + unit), write(c.A), band(c.BandA), write(c.B), band(c.BandB),
		fmt.Sprintf("%.2f", c.Ratio), word}
}
