package contracts

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chatapp-ngomna/edgecache/bench/report"
)

// write writes the README's figures and its picture in the place of comparing them.
var write = flag.Bool("write", false, "write README's table and docs/pictures from the committed results")

const (
	readmeFile = "../../README.md"
	resultsDir = "../../benchmarks/results/"
	tiersFile  = "../../docs/pictures/tiers.svg"
)

// compared is what the test needs of results/NAME.json, which package compare of benchmarks writes.
type compared struct {
	Commit string
	Tables []struct {
		Title string
		Rows  []comparedRow
	}
}

type comparedRow struct {
	Name          string
	Median, Ratio float64
	Goal, Limit   float64
	Extras        []struct {
		Name  string
		Value float64
	}
}

func readCompared(t *testing.T, name string) compared {
	t.Helper()
	text, err := os.ReadFile(resultsDir + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var c compared
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// row returns a row by the beginnings of its table's title and of its name.
func (c compared) row(t *testing.T, title, name string) comparedRow {
	t.Helper()
	for _, table := range c.Tables {
		if !strings.HasPrefix(table.Title, title) {
			continue
		}
		for _, r := range table.Rows {
			if strings.HasPrefix(r.Name, name) {
				return r
			}
		}
	}
	t.Fatalf("the results have no row %q under %q", name, title)
	return comparedRow{}
}

// nanos writes a time as the README does.
func nanos(v float64) string {
	switch {
	case v >= 1e5:
		return fmt.Sprintf("%.2f ms", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0f µs", v/1e3)
	case v >= 2e3:
		return fmt.Sprintf("%.1f µs", v/1e3)
	}
	return commas(v) + " ns"
}

// commas writes a whole number with commas between the thousands.
func commas(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// thousands writes a rate to the thousand.
func thousands(v float64) string { return commas(1000*float64(int64(v/1000+0.5))) + "/s" }

func (r comparedRow) ratio(bare string) string { return fmt.Sprintf("%.2f x %s", r.Ratio, bare) }

func (r comparedRow) allocations() string {
	for _, e := range r.Extras {
		if e.Name == "allocs/op" {
			return fmt.Sprintf("%.0f allocations", e.Value)
		}
	}
	return "unknown allocations"
}

// readmeLines are the lines that the results demand, by their beginnings.
func readmeLines(t *testing.T) (lines []string) {
	latest, warmed := readCompared(t, "latest"), readCompared(t, "prewarm")
	const zipf, alone = "L1 hit, all 2 cores, Zipf", "L1 hit, one goroutine, uniform"
	peer := func(title, name string, write func(float64) string) string {
		return write(latest.row(t, title, name).Median)
	}
	ns := func(v float64) string { return commas(v) + " ns" }
	for _, one := range []struct{ label, title, peers string }{
		{"L1 hit, two cores, Zipf", zipf, "rueidis " + peer(zipf, "rueidis client-side cache, packed", ns) + ", go-redis/cache " + peer(zipf, "go-redis/cache", ns)},
		{"L1 hit, one goroutine", alone, "go-redis/cache " + peer(alone, "go-redis/cache", ns) + ", rueidis " + peer(alone, "rueidis client-side cache, packed", ns)},
	} {
		r := latest.row(t, one.title, "edgecache")
		lines = append(lines, fmt.Sprintf("| %s | %s, %s | %s | %g | %s |", one.label, nanos(r.Median), r.allocations(), r.ratio("ristretto"), r.Goal, one.peers))
	}
	for _, one := range []struct{ label, title, bare, peer string }{
		{"L2 hit, one goroutine", "L2 hit, one goroutine", "HGETALL", "rueidis HGETALL"},
		{"L2 hit, 128 goroutines", "L2 hit, 128 goroutines", "auto-pipelined HGETALL", "rueidis HGETALL"},
		{"batch of 100 from L2", "Batch of 100 from L2", "pipeline", "rueidis DoMulti"},
	} {
		r := latest.row(t, one.title, "edgecache")
		lines = append(lines, fmt.Sprintf("| %s | %s | %s | %g | rueidis %s |", one.label, nanos(r.Median), r.ratio(one.bare), r.Goal, peer(one.title, one.peer, nanos)))
	}
	web, change, memory := latest.row(t, "HTTP lookup, L1 hit, wrk", "edgecache"), latest.row(t, "Change to refused", "edgecache"), latest.row(t, "Memory", "edgecache")
	near, far := warmed.row(t, "Prewarm", "prewarm, 3 nodes, origin in"), warmed.row(t, "Prewarm", "prewarm, 3 nodes, origin over")
	return append(lines,
		fmt.Sprintf("| HTTP, L1 hit, wrk | %s | %s | %g | |", thousands(web.Median), web.ratio("Fiber"), web.Goal),
		fmt.Sprintf("| change to refused by L1, 3 nodes, p99 | %.2f ms | %s | %g | |", change.Median, change.ratio("XADD to XREAD"), change.Goal),
		fmt.Sprintf("| memory, 300,000 users | %.0f B a user, up to 4 MiB of notes | %s | %.0f B | |", memory.Median, memory.ratio("a map"), memory.Limit),
		fmt.Sprintf("| [300,000 users prewarmed](benchmarks/results/prewarm.md), no throttle | %s; over HTTP %s | %s; %.2f x | %g | |",
			thousands(near.Median), thousands(far.Median), near.ratio("bare scripted writes"), far.Ratio, near.Goal))
}

// TestTheREADMESaysWhatWasMeasured compares the README's table with benchmarks/results. With -write
// it writes the lines that differ.
func TestTheREADMESaysWhatWasMeasured(t *testing.T) {
	text, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, want := range readmeLines(t) {
		label := want[:strings.Index(want[2:], " | ")+2]
		found := false
		for i, line := range lines {
			if !strings.HasPrefix(line, label+" |") {
				continue
			}
			if found = true; *write {
				lines[i] = want
			} else if line != want {
				t.Errorf("README has\n%s\nthe results say\n%s\n(go test ./tests/contracts -run README -write)", line, want)
			}
		}
		if !found {
			t.Errorf("README has no line %q", label)
		}
	}
	if *write {
		if err := os.WriteFile(readmeFile, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheREADMEsPictureIsThatOfTheResult draws the tiers of the committed run again.
func TestTheREADMEsPictureIsThatOfTheResult(t *testing.T) {
	r, err := report.Read(resultsDir + "tiers")
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed || r.Interrupted || len(report.TierRows(r)) != 3 {
		t.Errorf("the committed run failed (%v), was interrupted (%v), or has %d of 3 tiers", r.Failed, r.Interrupted, len(report.TierRows(r)))
	}
	want, err := report.TierPicture(r)
	if err != nil {
		t.Fatal(err)
	}
	if *write {
		if err := os.WriteFile(tiersFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(tiersFile); err != nil || string(got) != want {
		t.Errorf("%s is not the picture of benchmarks/results/tiers: %v (go test ./tests/contracts -run README -write)", tiersFile, err)
	}
}

// TestTheHistoryHasTheLatestRun: `make bench` writes both.
func TestTheHistoryHasTheLatestRun(t *testing.T) {
	page, err := os.ReadFile("../../benchmarks/history.html")
	if err != nil {
		t.Fatal(err)
	}
	if commit := readCompared(t, "latest").Commit; len(commit) < 7 || !strings.Contains(string(page), commit[:7]) {
		t.Errorf("benchmarks/history.html does not have the run of %.7s (go run -C benchmarks . history)", commit)
	}
}
