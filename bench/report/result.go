// Package report is what a benchmark has found, and how it is shown: as JSON, CSV and HdrHistogram
// logs, as a table on a terminal, as one HTML page with pictures, and side by side with another.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// Schema is the version of the layout of result.json. It is raised when the meaning of a field
	// changes, or one goes.
	Schema = 1
	// maxFile is the largest result.json that is read, in bytes.
	maxFile = 64 << 20
)

// ErrSchema reports a result that this build does not understand.
var ErrSchema = errors.New("report: no result of edgecache bench")

// Result is the outcome of a run, as result.json has it. Durations are nanoseconds.
type Result struct {
	// Schema is the version of this layout.
	Schema int `json:"schema"`
	// Version is the build that measured.
	Version string    `json:"version"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	Machine Machine   `json:"machine"`
	// Parameters are what was asked for.
	Parameters Parameters `json:"parameters"`
	// Suites are in the order in which they ran.
	Suites []*Suite `json:"suites"`
	// Verdict is about the reads that edgecache answered meanwhile.
	Verdict Verdict `json:"verdict"`
	// Failed is true when a read broke a promise, or operations failed: the figures are worth
	// nothing then.
	Failed bool `json:"failed"`
	// Interrupted is true when the run was called off: suites are missing.
	Interrupted bool `json:"interrupted"`
}

// Machine is where a run took place, and beside what.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Redis  string `json:"redis"`
	Origin string `json:"origin"`
	// LoadBefore and LoadAfter are the system's averages over 1, 5 and 15 minutes. Well above the
	// run's own share, the machine was not quiet.
	LoadBefore string `json:"loadBefore"`
	LoadAfter  string `json:"loadAfter"`
}

// Parameters are the settings of a run.
type Parameters struct {
	Users      int     `json:"users"`
	Duration   int64   `json:"duration"`
	Rate       float64 `json:"rate,omitempty"`
	Zipf       float64 `json:"zipf"`
	Trace      string  `json:"trace,omitempty"`
	Goroutines int     `json:"goroutines"`
	Nodes      int     `json:"nodes,omitempty"`
	Seed       uint64  `json:"seed"`
}

// Suite is what belongs together.
type Suite struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Note says what was measured, and how.
	Note string `json:"note"`
	// Skipped says why nothing was measured; "" when it was.
	Skipped string `json:"skipped,omitempty"`
	// Failure says why it ended early; "" when it did not. What it has was measured before.
	Failure string   `json:"failure,omitempty"`
	Rows    []Row    `json:"rows,omitempty"`
	Figures []Figure `json:"figures,omitempty"`
	Curves  []Curve  `json:"curves,omitempty"`
	Seconds float64  `json:"seconds"`
}

// Row is one contender under one load.
type Row struct {
	// Contender is what was asked, and Load how hard: "50 %" is of the contender's own saturation.
	Contender string `json:"contender"`
	Load      string `json:"load"`
	// Offered and Achieved are operations a second.
	Offered  float64 `json:"offered"`
	Achieved float64 `json:"achieved"`
	// Samples is how many latencies there are, in nanoseconds from the planned start on.
	Samples int64        `json:"samples"`
	Mean    float64      `json:"mean"`
	Latency []Percentile `json:"latency"`
	// P50 and P99 say between what these were in the parts of the run: the noise band.
	P50 Band `json:"p50"`
	P99 Band `json:"p99"`
	// Pacer50 and Pacer99 are how late the load generator itself was when it had only to wait.
	Pacer50 int64 `json:"pacer50"`
	Pacer99 int64 `json:"pacer99"`
	// Failed operations returned an error, Unstarted were still waiting at the end, Strays were
	// answered by another tier than the row is about.
	Failed    uint64 `json:"failed,omitempty"`
	Unstarted uint64 `json:"unstarted,omitempty"`
	Strays    uint64 `json:"strays,omitempty"`

	windows []*hdr.Histogram
	began   time.Time
	took    time.Duration
}

// Percentile is the latency that so many percent of the samples did not exceed.
type Percentile struct {
	Percent float64 `json:"percent"`
	Nanos   int64   `json:"nanos"`
}

// Band is the lowest and the highest of several measurements of the same thing.
type Band struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Figure is one number of a contender.
type Figure struct {
	Contender string  `json:"contender"`
	Name      string  `json:"name"`
	Unit      string  `json:"unit"`
	Value     float64 `json:"value"`
	Band      Band    `json:"band"`
	// MoreIsBetter says which way is good.
	MoreIsBetter bool `json:"moreIsBetter"`
}

// Curve is one line of a picture.
type Curve struct {
	// Picture names the picture: PictureThroughput or PictureHitRatio.
	Picture   string  `json:"picture"`
	Contender string  `json:"contender"`
	Points    []Point `json:"points"`
}

// Point is one of a curve's.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

const (
	// PictureThroughput is operations a second (y) by goroutines (x).
	PictureThroughput = "throughput"
	// PictureHitRatio is the share of lookups that L1 answered, 0 to 1 (y), by its size in bytes
	// (x).
	PictureHitRatio = "hitratio"
)

// Verdict is what the oracle saw: it judges reads against the changes that were acknowledged.
type Verdict struct {
	// Reads were judged, while Changes were acknowledged.
	Reads   int64 `json:"reads"`
	Changes int64 `json:"changes"`
	// Bound is after how long a change must be seen, in nanoseconds.
	Bound int64 `json:"bound"`
	// Violations are reads that returned something older. Excused were those within Bound of a
	// moment at which this process itself did not get the processor.
	Violations int64 `json:"violations"`
	Excused    int64 `json:"excused"`
	// MaxLag is the longest time by which an answer had been overtaken when its read began, in
	// nanoseconds; up to Bound it is within the promise.
	MaxLag int64 `json:"maxLag"`
	// First is the first violation in full.
	First string `json:"first,omitempty"`
}

// percents are the percentiles that are kept of each row.
var percents = []float64{0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100}

// NewRow makes a row of the latencies in the parts of a run.
func NewRow(contender, load string, windows []*hdr.Histogram, began time.Time, took time.Duration) Row {
	r := Row{Contender: contender, Load: load, windows: windows, began: began, took: took}
	all := r.histogram()
	r.Samples, r.Mean = all.TotalCount(), all.Mean()
	for _, p := range percents {
		r.Latency = append(r.Latency, Percentile{p, at(all, p)})
	}
	r.P50, r.P99 = r.band(50), r.band(99)
	return r
}

func at(h *hdr.Histogram, percent float64) int64 {
	switch {
	case h.TotalCount() == 0:
		return 0
	case percent == 0:
		return h.Min()
	case percent == 100:
		return h.Max()
	}
	return h.ValueAtPercentile(percent)
}

func (r *Row) histogram() *hdr.Histogram {
	if len(r.windows) == 0 {
		return hdr.New(1, int64(time.Minute), 3)
	}
	all := r.windows[0].Clone()
	for _, w := range r.windows[1:] {
		all.Merge(w)
	}
	return all
}

func (r *Row) band(percent float64) (b Band) {
	for _, w := range r.windows {
		if w.TotalCount() == 0 {
			continue
		}
		v := float64(at(w, percent))
		if b.High == 0 || v < b.Low {
			b.Low = v
		}
		b.High = max(b.High, v)
	}
	return b
}

// At returns the latency at a percentile that is kept, 0 when it is not.
func (r *Row) At(percent float64) int64 {
	for _, p := range r.Latency {
		if p.Percent == percent {
			return p.Nanos
		}
	}
	return 0
}

// fewBeyond is below how many samples beyond it a percentile is a matter of luck.
const fewBeyond = 10

// Lucky reports whether fewer than ten samples lie beyond a percentile.
func (r *Row) Lucky(percent float64) bool {
	return percent < 100 && float64(r.Samples)*(100-percent)/100 < fewBeyond-1e-6
}

// Suite returns the suite of that name, nil when there is none.
func (r *Result) Suite(name string) *Suite {
	for _, s := range r.Suites {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Read reads a result: result.json, or a folder with one. Errors wrap ErrSchema for what is none.
func Read(path string) (*Result, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "result.json")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrSchema, path, maxFile)
	}
	r := new(Result)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSchema, path, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("%w: %s has schema %d; this build knows %d", ErrSchema, path, r.Schema, Schema)
	}
	return r, nil
}
