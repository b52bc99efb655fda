package compare

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Report is the outcome of a run, as it is written.
type Report struct {
	Date       string  `json:"date"`
	Commit     string  `json:"commit"`
	Machine    Machine `json:"machine"`
	Parameters params  `json:"parameters"`
	Tables     []Table `json:"tables"`
	Seconds    float64 `json:"seconds"`
}

// Table is one row of the target table: contenders side by side, the bare one first.
type Table struct {
	Title string `json:"title"`
	Note  string `json:"note,omitempty"`
	Unit  string `json:"unit"`
	// Goroutines or connections that ran at once.
	Goroutines int `json:"goroutines,omitempty"`
	// MoreIsBetter says so of the unit; then a goal is the lowest ratio instead of the highest.
	MoreIsBetter bool  `json:"moreIsBetter,omitempty"`
	Rows         []Row `json:"rows"`
}

// Row is one contender's outcome.
type Row struct {
	Name string `json:"name"`
	// Median, Min and Max are over the rounds.
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Ratio is the median over the rounds of this contender's figure divided by the bare one's in
	// the same round.
	Ratio float64 `json:"ratio"`
	// Goal is the ratio to reach; 0 when there is none.
	Goal float64 `json:"goal,omitempty"`
	// Limit is the figure itself to stay below; 0 when there is none.
	Limit   float64 `json:"limit,omitempty"`
	Reached bool    `json:"reached,omitempty"`
	Extras  []Extra `json:"extras,omitempty"`
	// Rounds are the figures of each round.
	Rounds []float64 `json:"rounds"`
}

// Extra is one more figure of a row; it becomes a column of the table.
type Extra struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

func newRow(name string, rounds []float64) Row {
	return Row{Name: name, Median: median(rounds), Min: slices.Min(rounds), Max: slices.Max(rounds), Rounds: rounds}
}

// against compares r, which is about to be appended to t, with t's first row.
func (r *Row) against(t *Table, goal float64) {
	r.Ratio, r.Goal = 1, goal
	if len(t.Rows) > 0 {
		r.Ratio = medianRatio(r.Rounds, t.Rows[0].Rounds)
	}
	switch {
	case r.Limit > 0:
		r.Reached = r.Median <= r.Limit
	case t.MoreIsBetter:
		r.Reached = goal > 0 && r.Ratio >= goal
	default:
		r.Reached = r.Ratio <= goal
	}
}

func medianRatio(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the q-quantile of values, between two of them by interpolation.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// cells returns t as text, its header first.
func (t *Table) cells() [][]string {
	head := []string{"", "median " + t.Unit, "min", "max", "x bare", "goal", ""}
	for _, e := range t.Rows[0].Extras {
		head = append(head, e.Name)
	}
	lines := [][]string{head}
	for _, r := range t.Rows {
		line := []string{r.Name, figure(r.Median), figure(r.Min), figure(r.Max), strconv.FormatFloat(r.Ratio, 'f', 2, 64), "", ""}
		if goal := r.goalText(t); goal != "" {
			line[5], line[6] = goal, r.outcome()
		}
		for _, e := range r.Extras {
			line = append(line, figure(e.Value))
		}
		lines = append(lines, line)
	}
	return lines
}

// goalText says what r has to reach, "" for nothing.
func (r *Row) goalText(t *Table) string {
	switch {
	case r.Limit > 0:
		return "<= " + figure(r.Limit) + " " + t.Unit
	case r.Goal == 0:
		return ""
	case t.MoreIsBetter:
		return fmt.Sprintf(">= %.2f x", r.Goal)
	}
	return fmt.Sprintf("<= %.2f x", r.Goal)
}

func (r *Row) outcome() string {
	if r.Reached {
		return "reached"
	}
	return "missed"
}

// figure writes v with as many digits as mean something.
func figure(v float64) string {
	switch {
	case v < 0.005:
		return "0"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

func (t *Table) heading() string {
	if t.Note == "" {
		return t.Title
	}
	return t.Title + ". " + t.Note
}

// text returns t for a terminal.
func (t *Table) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", t.heading())
	lines := t.cells()
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, line := range lines {
		fmt.Fprintf(&b, "  %-*s", widths[0], line[0])
		for i, cell := range line[1:] {
			fmt.Fprintf(&b, "  %*s", widths[i+1], cell)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// markdown returns t as a section.
func (t *Table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n", t.Title)
	if t.Note != "" {
		fmt.Fprintf(&b, "%s\n\n", t.Note)
	}
	for i, line := range t.cells() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|---|%s\n", strings.Repeat("---:|", len(line)-1))
		}
	}
	return b.String()
}

// head says what was measured, where.
func (r *Report) head() string {
	m := &r.Machine
	return fmt.Sprintf("edgecache benchmarks, %s\ncommit %s\n%s, %d cores, %.1f GiB, kernel %s; load before: %s\n%s, redis-server %s\n"+
		"%d users, %d of them in the L1 and HTTP rows; %d rounds; seed %d\n",
		r.Date, r.Commit, m.CPU, m.Cores, m.MemoryGiB, m.Kernel, m.LoadBefore, m.Go, m.Redis,
		r.Parameters.Users, r.Parameters.L1Users, r.Parameters.Rounds, r.Parameters.Seed)
}

// verdict lists the goals.
func (r *Report) verdict() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nGoals (%.0f s; load after: %s)\n", r.Seconds, r.Machine.LoadAfter)
	for _, t := range r.Tables {
		for _, row := range t.Rows {
			if goal := row.goalText(&t); goal != "" {
				fmt.Fprintf(&b, "  %-7s  %.2f x, %s %s  goal %s  %s: %s\n", row.outcome(), row.Ratio, figure(row.Median), t.Unit, goal, t.Title, row.Name)
			}
		}
	}
	return b.String()
}

// write writes name.md and name.json into folder, which it makes; nothing when folder is empty.
func (r *Report) write(folder, name string) error {
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("folder for the results: %w", err)
	}
	full, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("results as JSON: %w", err)
	}
	for ext, content := range map[string][]byte{".json": append(full, '\n'), ".md": []byte(r.markdown())} {
		if err := os.WriteFile(filepath.Join(folder, name+ext), content, 0o644); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	return nil
}

func (r *Report) markdown() string {
	var b strings.Builder
	head := strings.Split(strings.TrimSpace(r.head()), "\n")
	fmt.Fprintf(&b, "# %s\n\n- %s\n", head[0], strings.Join(head[1:], "\n- "))
	for _, v := range r.Machine.Libraries {
		fmt.Fprintf(&b, "- %s\n", v)
	}
	b.WriteString("\nContenders take turns in an order drawn anew each round. \"x bare\" is the median over the rounds of a contender's " +
		"figure divided by the first row's in the same round; it is what the goals are about. Every contender ends with the same " +
		"decoded profiles, which is checked in each round.\n")
	for _, t := range r.Tables {
		b.WriteString(t.markdown())
	}
	fmt.Fprintf(&b, "\n```%s```\n", r.verdict())
	return b.String()
}
