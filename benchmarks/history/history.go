// Package history shows what every committed run of package compare has found, so that a drift that
// is smaller than the noise of each is seen.
package history

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/chatapp-ngomna/edgecache/bench/report"
)

// latest is the file whose versions are the history, from the top of the repository.
const latest = "benchmarks/results/latest.json"

// run is one version of it, as package compare writes it.
type run struct {
	Commit, Date string
	Tables       []struct {
		Title string
		Rows  []row
	}
}

type row struct {
	Name        string
	Goal, Limit float64
	Rounds      []float64
}

// Run is the command history.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("history", flag.ContinueOnError)
	out := f.String("out", "history.html", "file to write")
	if err := f.Parse(args); err != nil {
		return err
	}
	runs, err := committed(ctx)
	if err != nil {
		return err
	}
	page, err := page(runs)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d runs\n", len(runs))
	return os.WriteFile(*out, page, 0o644)
}

// committed returns the runs that Git has, the oldest first, and the one in the tree.
func committed(ctx context.Context) (runs []run, err error) {
	commits, err := git(ctx, "log", "--reverse", "--format=%h", "--", ":/"+latest)
	if err != nil {
		return nil, err
	}
	for _, commit := range strings.Fields(commits) {
		if runs, err = add(ctx, runs, "show", commit+":"+latest); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile("results/latest.json")
	if err != nil {
		return nil, err
	}
	return addText(runs, string(text))
}

func add(ctx context.Context, runs []run, args ...string) ([]run, error) {
	text, err := git(ctx, args...)
	if err != nil {
		return nil, err
	}
	return addText(runs, text)
}

// addText adds a run unless it is the last again.
func addText(runs []run, text string) ([]run, error) {
	var r run
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("a version of %s: %w", latest, err)
	}
	if n := len(runs); n > 0 && runs[n-1].Date == r.Date {
		return runs, nil
	}
	return append(runs, r), nil
}

func git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

const intro = `<h1>The ratios over time</h1>
<p>Each figure of edgecache divided by that of the bare library beside it in the same round, as every committed run of
<code>make bench</code> has it: the median over its rounds, and between what half of them were. Runs are named by their day and the
commit that was measured. Memory is in bytes a user. A step that stays, outside of the band of before, is a change; a band that moves up
slowly is a drift.</p>
`

// page draws a picture for each row with a goal of the last run.
func page(runs []run) ([]byte, error) {
	var b strings.Builder
	b.WriteString(intro)
	for _, table := range runs[len(runs)-1].Tables {
		for _, r := range table.Rows {
			if r.Goal == 0 && r.Limit == 0 {
				continue
			}
			svg, err := drift(runs, table.Title, r.Name)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "<h2>%s</h2>\n%s\n", html.EscapeString(table.Title+": "+r.Name), svg)
		}
	}
	return report.Frame("edgecache: the ratios over time", b.String()), nil
}

// drift draws one row over the runs that have it.
func drift(runs []run, title, name string) (string, error) {
	var labels []string
	var low, median, high []float64
	for _, r := range runs {
		values := r.ratios(title, name)
		if len(values) == 0 {
			continue
		}
		slices.Sort(values)
		n := len(values)
		labels = append(labels, strings.TrimPrefix(r.Date[:10], "20")+" "+r.Commit[:7])
		low, median, high = append(low, values[n/4]), append(median, values[n/2]), append(high, values[n-1-n/4])
	}
	return report.DriftPicture("x bare", "median and middle half of the rounds", labels, low, median, high)
}

// ratios returns what a row was in each round, divided by the first row of its table; of a row
// alone what it was.
func (r run) ratios(title, name string) (values []float64) {
	for _, table := range r.Tables {
		if table.Title != title {
			continue
		}
		for _, one := range table.Rows {
			if one.Name != name {
				continue
			}
			for i, v := range one.Rounds {
				if one.Limit == 0 && i < len(table.Rows[0].Rounds) {
					v /= table.Rows[0].Rounds[i]
				}
				values = append(values, v)
			}
		}
	}
	return values
}
