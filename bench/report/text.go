package report

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Nanos writes a latency with three digits: 1.23 ms.
func Nanos(v float64) string {
	switch {
	case v >= 1e9:
		return digits3(v/1e9) + " s"
	case v >= 1e6:
		return digits3(v/1e6) + " ms"
	case v >= 1e3:
		return digits3(v/1e3) + " µs"
	}
	return digits3(v) + " ns"
}

// Count writes a number with three digits: 12.3 k, 4.56 M.
func Count(v float64) string {
	switch {
	case v >= 1e6:
		return digits3(v/1e6) + " M"
	case v >= 1e4:
		return digits3(v/1e3) + " k"
	case v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return digits3(v)
}

func digits3(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// shownPercents are those with a column of their own.
var shownPercents = []float64{50, 90, 99, 99.9, 99.99, 100}

func percentName(p float64) string {
	if p == 100 {
		return "max"
	}
	return "p" + number(p)
}

// cells are the rows as text, the header first.
func (s *Suite) cells() [][]string {
	head := []string{"", "load", "offered/s", "done/s"}
	for _, p := range shownPercents {
		head = append(head, percentName(p))
	}
	lines := [][]string{append(head, "samples", "")}
	for i := range s.Rows {
		row := &s.Rows[i]
		line := []string{row.Contender, row.Load, Count(row.Offered), Count(row.Achieved)}
		for _, p := range shownPercents {
			text := Nanos(float64(row.At(p)))
			if row.Lucky(p) {
				text = "(" + text + ")"
			}
			line = append(line, text)
		}
		lines = append(lines, append(line, Count(float64(row.Samples)), row.remarks()))
	}
	return lines
}

// remarks says what went wrong in a row.
func (r *Row) remarks() string {
	var all []string
	for _, one := range []struct {
		n    uint64
		what string
	}{{r.Failed, "failed"}, {r.Unstarted, "not begun"}, {r.Strays, "from another tier"}} {
		if one.n > 0 {
			all = append(all, Count(float64(one.n))+" "+one.what)
		}
	}
	return strings.Join(all, ", ")
}

func (s *Suite) figureCells() [][]string {
	lines := [][]string{{"", "", "median", "lowest", "highest", ""}}
	for _, f := range s.Figures {
		write := Count
		unit := f.Unit
		if unit == "ns" {
			write, unit = Nanos, ""
		}
		lines = append(lines, []string{f.Contender, f.Name, write(f.Value), write(f.Band.Low), write(f.Band.High), unit})
	}
	return lines
}

// Text returns the result for a terminal.
func Text(r *Result) string {
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(r.head(), "\n"))
	for _, s := range r.Suites {
		fmt.Fprintf(&b, "\n%s: %s\n", s.Name, s.Title)
		if s.Skipped != "" {
			fmt.Fprintf(&b, "  not measured: %s\n", s.Skipped)
		}
		if s.Failure != "" {
			fmt.Fprintf(&b, "  FAILED, the rest is missing: %s\n", s.Failure)
		}
		if len(s.Rows) > 0 {
			grid(&b, s.cells(), 2)
		}
		if len(s.Figures) > 0 {
			grid(&b, s.figureCells(), 2)
		}
	}
	fmt.Fprintf(&b, "\nLatencies count from the planned start; (in brackets): fewer than %d samples lie beyond.\n%s\n", fewBeyond, r.Outcome())
	return b.String()
}

// grid writes lines in columns, the first left of them to the left.
func grid(b *strings.Builder, lines [][]string, left int) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		text := "  "
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < left || i == len(line)-1 {
				text += cell + pad + "  "
			} else {
				text += pad + cell + "  "
			}
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
}

// head says what was measured, where.
func (r *Result) head() []string {
	m, p := &r.Machine, &r.Parameters
	choice := fmt.Sprintf("Zipf %g", p.Zipf)
	if p.Zipf == 0 {
		choice = "uniform"
	}
	return []string{
		fmt.Sprintf("edgecache bench, %s, %.0f s, %s", r.Began.UTC().Format(time.RFC3339), r.Seconds, r.Version),
		fmt.Sprintf("%s, %d cores, %s, kernel %s, load before %s, after %s", m.CPU, m.Cores, m.Memory, m.Kernel, m.LoadBefore, cmp.Or(m.LoadAfter, "-")),
		fmt.Sprintf("Redis: %s. Origin: %s.", m.Redis, m.Origin),
		fmt.Sprintf("%d users chosen by %s, %v a run, up to %d at once, seed %d", p.Users, cmp.Or(p.Trace, choice),
			time.Duration(p.Duration), p.Goroutines, p.Seed),
	}
}

// Outcome says in a line whether the figures may be used.
func (r *Result) Outcome() string {
	v := &r.Verdict
	text := fmt.Sprintf("The oracle judged %s reads during %s changes: %d older than %v allows, %d more while this process stood still; the oldest answer had been overtaken %v before.",
		Count(float64(v.Reads)), Count(float64(v.Changes)), v.Violations, time.Duration(v.Bound), v.Excused, time.Duration(v.MaxLag).Round(time.Microsecond))
	switch {
	case v.Violations > 0:
		text = "FAILED: a read broke the promise. " + text + "\n" + v.First
	case r.Failed:
		text = "FAILED: operations ended with an error. " + text
	}
	if r.Interrupted {
		text = "Interrupted: what is missing was not measured. " + text
	}
	return text + r.Machine.unrest()
}

// unrest says that others used the machine, as far as the load of before tells; "" when not.
func (m *Machine) unrest() string {
	first, _, _ := strings.Cut(m.LoadBefore, " ")
	if load, err := strconv.ParseFloat(first, 64); err != nil || load <= float64(m.Cores) {
		return ""
	}
	return fmt.Sprintf("\nThe machine was busy before this began, with a load of %s on %d cores: the figures show that as well.", first, m.Cores)
}
