// Package hitratio replays recorded requests through a node's memory and through others, and counts
// hits: whether what edgecache puts in front of ristretto is worth its place.
//
//	go run -C benchmarks . hitratio -traces DIR -chat FILE -out results
package hitratio

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/chatapp-ngomna/edgecache/bench/report"
)

// shares are the sizes, as parts of how many different keys a trace has.
var shares = []float64{0.01, 0.05, 0.10, 0.25, 0.50}

// Run is the command hitratio.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("hitratio", flag.ContinueOnError)
	traces := f.String("traces", "", "folder with the traces: web*.gz, request*.gz, and *.gz with a key a line")
	chat := f.String("chat", "", "file with a chat, as edgecache replay takes it; default none")
	out := f.String("out", "", "folder for hitratio.md and hitratio.svg; default none are written")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *traces == "" {
		return errors.New("want -traces DIR")
	}
	all, err := read(*traces, *chat)
	if err != nil {
		return err
	}
	var results []result
	for _, r := range all {
		one, err := replay(ctx, r)
		if err != nil {
			return err
		}
		fmt.Fprint(stdout, one.markdown())
		results = append(results, one)
	}
	return write(*out, results, stdout)
}

// result is one trace under all policies.
type result struct {
	recorded
	rooms []int
	// hits and offers are shares of the requests, by room and policy.
	hits, offers [][]float64
}

func replay(ctx context.Context, r recorded) (result, error) {
	out := result{recorded: r}
	for _, share := range shares {
		room := max(10, int(share*float64(r.keys)))
		hits, offers := []float64{}, []float64{}
		for _, p := range policies() {
			if err := ctx.Err(); err != nil {
				return out, err
			}
			h, o, err := p.run(r, room)
			if err != nil {
				return out, fmt.Errorf("%s, %s: %w", r.name, p.name, err)
			}
			hits = append(hits, float64(h)/float64(len(r.requests)))
			offers = append(offers, float64(o)/float64(len(r.requests)))
		}
		out.rooms, out.hits, out.offers = append(out.rooms, room), append(out.hits, hits), append(out.offers, offers)
	}
	return out, nil
}

func (r *result) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s: %d requests of %d keys\n\n| entries |", r.name, len(r.requests), r.keys)
	for _, p := range policies() {
		fmt.Fprintf(&b, " %s |", p.name)
	}
	fmt.Fprintf(&b, " offers, without and with |\n|---:|%s\n", strings.Repeat("---:|", len(policies())+1))
	for i, room := range r.rooms {
		fmt.Fprintf(&b, "| %d |", room)
		for _, h := range r.hits[i] {
			fmt.Fprintf(&b, " %.2f |", 100*h)
		}
		n := len(policies())
		fmt.Fprintf(&b, " %.1f, %.1f |\n", 100*r.offers[i][n-2], 100*r.offers[i][n-1])
	}
	return b.String()
}

const head = `# Hit ratios on recorded requests

Hits in percent of all requests, the first request of each key among them, by how many entries there is room for. Belady knows the future:
nobody has more. LRU is exact. otter and ristretto are the libraries, with ten counters an entry for ristretto as its documentation asks
for; edgecache is ristretto as a node's memory has it, with four counters an entry, without and with the filter that, once memory is
full, offers an answer of Redis only if its user was asked for lately. All entries cost the same, and each offer is waited for, so that
nothing is dropped. "offers" are how many of 100 requests ended in an offer to the engine, which samples, evicts and stores.

The traces are those of LIRS (gli, loop, multi1, sprite, 2_pools), of a web shop (web07, web12; cache2k) and of AdaptSize (request), as Caffeine's simulator has them; the chat
is who a node looks up to show a recorded one.

`

// verdict says in figures what the filter brings and costs.
func verdict(results []result) string {
	n := len(policies())
	var b strings.Builder
	b.WriteString("## Does the filter pay?\n\n| trace | hits with the filter, less those without, in points: least, mean, most | offers that it saves, of 100 |\n|---|---:|---:|\n")
	sumHits, sumSaved, rows := 0.0, 0.0, 0.0
	for _, r := range results {
		least, most, mean, saved := 100.0, -100.0, 0.0, 0.0
		for i := range r.rooms {
			d := 100 * (r.hits[i][n-1] - r.hits[i][n-2])
			least, most, mean = min(least, d), max(most, d), mean+d/float64(len(r.rooms))
			saved += 100 * (1 - r.offers[i][n-1]/r.offers[i][n-2]) / float64(len(r.rooms))
		}
		fmt.Fprintf(&b, "| %s | %+.2f, %+.2f, %+.2f | %.0f |\n", r.name, least, mean, most, saved)
		sumHits, sumSaved, rows = sumHits+mean, sumSaved+saved, rows+1
	}
	fmt.Fprintf(&b, "| mean | %+.2f | %.0f |\n\n", sumHits/rows, sumSaved/rows)
	return b.String()
}

func write(dir string, results []result, stdout io.Writer) error {
	text := head + verdict(results)
	fmt.Fprint(stdout, "\n", verdict(results))
	if dir == "" {
		return nil
	}
	text += judgement + "\n![Hit ratio of the chat by room](hitratio.svg)\n"
	for _, r := range results {
		text += r.markdown()
	}
	svg, err := picture(results[0])
	if err != nil {
		return err
	}
	for name, content := range map[string]string{"hitratio.md": text, "hitratio.svg": svg} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// picture draws one trace.
func picture(r result) (string, error) {
	curves := make([]report.Curve, len(policies()))
	for k, p := range policies() {
		curves[k].Contender = p.name
		for i, room := range r.rooms {
			curves[k].Points = append(curves[k].Points, report.Point{X: float64(room), Y: r.hits[i][k]})
		}
	}
	return report.HitRatioPicture("Hit ratio, "+r.name, "by how many entries there is room for", "entries", report.Count, curves)
}
