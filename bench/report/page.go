package report

import (
	"fmt"
	"html"
	"strings"
)

// The page is written without html/template: a template finds methods by their names, so that the
// linker would have to keep every method of every type of the binary.

func escape(text string) string { return html.EscapeString(text) }

const pageHead = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root{color-scheme:light dark;--ink:#24292f;--soft:#57606a;--line:#d0d7de;--paper:#fff;--good:#1a7f37;--bad:#cf222e}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--paper:#0d1117;--good:#3fb950;--bad:#f85149}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1100px;margin:0 auto;padding:1.5rem}
h1{font-size:1.7rem;margin:0 0 .5rem}h2{margin:2.5rem 0 .3rem;font-size:1.25rem}
p,li{max-width:52rem}.soft{color:var(--soft)}.mark{padding:.6rem .9rem;border-left:4px solid var(--good);margin:1rem 0}
.mark.bad{border-color:var(--bad)}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;margin:.7rem 0}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{font-weight:600;color:var(--soft)}td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}
td:last-child,th:last-child{white-space:normal;text-align:left}
svg{max-width:100%;height:auto;display:block;margin:1rem 0}pre{white-space:pre-wrap}
</style>
`

const pageMethod = `<h2>How it was measured</h2>
<ul>
<li><b>Open loop.</b> When an operation begins is planned before, and its latency counts from that plan. One that waits because an
earlier one was slow has the wait in its latency. Nothing is left out: what had not begun at the end counts with the time it had waited.</li>
<li><b>Saturation first.</b> The rate that a closed loop reaches, if an open loop at 95 % of it can then be kept; else less. The rows
are at 50, 80 and 95 % of each contender's own saturation, so that rows of two contenders are not at the same rate.</li>
<li><b>In memory</b>, an operation is shorter than any timer can plan. Groups of lookups are due together; the first of each is timed,
from the planned moment, by a goroutine that spins; one processor is left to the rest of the process. The rows of the harness itself do nothing: what they show is in
all the others.</li>
<li><b>Bands</b> are the lowest and highest of five parts of each run. Percentiles in brackets have fewer than ten samples beyond
them; pictures leave these out.</li>
<li><b>The load comes from this process</b>, and shares its processors with the nodes, the embedded parts and, on one machine, Redis.
"Late generator" in rows.csv (pacer) is how late it was itself when it had only to wait.</li>
<li><b>The oracle</b> knows which changes were acknowledged, and judges edgecache's reads while they are measured.</li>
</ul>
`

// Frame returns a page of its own around a body of HTML.
func Frame(title, body string) []byte {
	return []byte(pageHead + "<title>" + escape(title) + "</title></head><body>\n" + body + "</body></html>\n")
}

// Page returns the result as one HTML page that needs nothing else.
func Page(r *Result) ([]byte, error) {
	var b strings.Builder
	b.WriteString("<h1>What each tier costs</h1>\n")
	for _, text := range r.head() {
		fmt.Fprintf(&b, `<div class="soft">%s</div>`+"\n", escape(text))
	}
	class := "mark"
	if r.Failed || r.Interrupted {
		class = "mark bad"
	}
	fmt.Fprintf(&b, `<pre class="%s">%s</pre>`+"\n", class, escape(r.Outcome()))
	if err := pictures(&b, r); err != nil {
		return nil, err
	}
	for _, s := range r.Suites {
		if err := s.section(&b); err != nil {
			return nil, err
		}
	}
	b.WriteString(pageMethod)
	return Frame("edgecache bench", b.String()), nil
}

// TierRows returns one row for each tier: edgecache's, at half of what it can do. Above that memory
// takes all processors, and what is seen is the queue for them.
func TierRows(r *Result) (rows []Row) {
	for _, one := range []struct{ suite, name string }{{"l1", "L1: this process's memory"}, {"l2", "L2: Redis"}, {"origin", "origin: nobody had it"}} {
		if row := r.Suite(one.suite).subject(); row != nil {
			shown := *row
			shown.Contender = one.name
			rows = append(rows, shown)
		}
	}
	return rows
}

// Subject is how the names of edgecache's own contenders begin.
const Subject = "edgecache"

// subject returns edgecache's row at 50 %, else its first; nil when there is none.
func (s *Suite) subject() (found *Row) {
	if s == nil {
		return nil
	}
	for i := range s.Rows {
		if strings.HasPrefix(s.Rows[i].Contender, Subject) && (found == nil || s.Rows[i].Load == "50 %") {
			found = &s.Rows[i]
		}
	}
	return found
}

// pictures puts the tiers side by side.
func pictures(b *strings.Builder, r *Result) error {
	rows := TierRows(r)
	if len(rows) < 2 {
		return nil
	}
	svg, err := TierPicture(r)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "<h2>The tiers</h2>\n<p>A lookup of one user by the tier that answered. Further up is slower, each line ten times; further right is rarer.</p>\n%s\n", svg)
	return nil
}

// TierPicture returns the latency of L1, L2 and the origin by percentile, as SVG.
func TierPicture(r *Result) (string, error) {
	rows := TierRows(r)
	if len(rows) == 0 {
		return LatencyPicture("Latency of a lookup, by the tier that answers", "not measured", nil)
	}
	return LatencyPicture("Latency of a lookup, by the tier that answers", "at "+rows[0].Load+" of what each can do, from the planned start", rows)
}

func (s *Suite) section(b *strings.Builder) error {
	fmt.Fprintf(b, "<h2>%s: %s</h2>\n<p>%s</p>\n", escape(s.Name), escape(s.Title), escape(s.Note))
	if s.Skipped != "" {
		fmt.Fprintf(b, "<p class=\"soft\">Not measured: %s</p>\n", escape(s.Skipped))
	}
	if s.Failure != "" {
		fmt.Fprintf(b, "<pre class=\"mark bad\">FAILED, the rest is missing: %s</pre>\n", escape(s.Failure))
	}
	if rows := s.picturedRows(); len(rows) > 0 {
		svg, err := LatencyPicture(s.Title, s.pictureNote(), rows)
		if err != nil {
			return err
		}
		b.WriteString(svg + "\n")
	}
	if len(s.Rows) > 0 {
		table(b, s.cells())
	}
	if len(s.Figures) > 0 {
		table(b, s.figureCells())
	}
	return s.curves(b)
}

// maxLines is how many lines a picture may have and still be read.
const maxLines = 8

// picturedRows returns the rows of the suite's picture: at 80 % where there is such a load.
func (s *Suite) picturedRows() (rows []Row) {
	for _, r := range s.Rows {
		if r.Load == "50 %" || r.Load == "95 %" || len(rows) == maxLines {
			continue
		}
		if r.Load != "80 %" {
			r.Contender += ", " + r.Load
		}
		rows = append(rows, r)
	}
	return rows
}

// pictureNote says of the suite's picture what its lines do not.
func (s *Suite) pictureNote() string {
	for _, r := range s.Rows {
		if r.Load == "80 %" {
			return "at 80 % of what each can do, from the planned start"
		}
	}
	return "latency from the planned start"
}

func (s *Suite) curves(b *strings.Builder) error {
	by := map[string][]Curve{}
	for _, c := range s.Curves {
		by[c.Picture] = append(by[c.Picture], c)
	}
	if all := by[PictureThroughput]; len(all) > 0 {
		svg, err := ThroughputPicture("Throughput by goroutines", "closed loop: each asks again at once", all)
		if err != nil {
			return err
		}
		b.WriteString(svg + "\n")
	}
	if all := by[PictureHitRatio]; len(all) > 0 {
		svg, err := HitRatioPicture("Hit ratio by L1 size", "share of lookups that L1 answered", "L1 size", mebibytes, all)
		if err != nil {
			return err
		}
		b.WriteString(svg + "\n")
	}
	return nil
}

func mebibytes(v float64) string { return number(v/(1<<20)) + " MiB" }

func table(b *strings.Builder, lines [][]string) {
	b.WriteString("<div class=\"wide\"><table>\n")
	for i, line := range lines {
		cell := "td"
		if i == 0 {
			cell = "th"
		}
		b.WriteString("<tr>")
		for _, text := range line {
			fmt.Fprintf(b, "<%s>%s</%s>", cell, escape(text), cell)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</table></div>\n")
}
