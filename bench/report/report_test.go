package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// row is a row of n samples from nanos up, the slowest ten times that.
func row(contender, load string, nanos int64, n int) Row {
	windows := make([]*hdr.Histogram, 5)
	for i := range windows {
		windows[i] = hdr.New(1, int64(time.Minute), 3)
		for k := range n / 5 {
			_ = windows[i].RecordValue(nanos + nanos*9*int64(k)/int64(n/5))
		}
	}
	r := NewRow(contender, load, windows, time.UnixMilli(1_700_000_000_000), time.Second)
	r.Offered, r.Achieved = 1000, 999
	return r
}

func sampleResult() *Result {
	return &Result{
		Schema: Schema, Version: "v1 <b>", Began: time.UnixMilli(1_700_000_000_000).UTC(), Machine: Machine{CPU: "a processor", Cores: 2, Redis: "7", Origin: "here"},
		Parameters: Parameters{Users: 100, Goroutines: 8}, Verdict: Verdict{Reads: 5, Changes: 1, Bound: int64(250 * time.Millisecond)},
		Suites: []*Suite{
			{Name: "l1", Title: "memory", Note: "a note", Rows: []Row{row("bare", "80 %", 50, 10_000), row(Subject+" Get", "50 %", 60, 10_000), row(Subject+" Get", "80 %", 70, 10_000)},
				Figures: []Figure{{Subject + " Get", "saturation", "operations/s", 1e6, Band{9e5, 11e5}, true}},
				Curves:  []Curve{{PictureThroughput, Subject, []Point{{1, 1e6}, {4, 3e6}}}, {PictureHitRatio, Subject, []Point{{1 << 20, 0.5}, {1 << 21, 0.9}}}}},
			{Name: "l2", Title: "Redis", Rows: []Row{row(Subject+" Get", "80 %", 70_000, 100)}},
			{Name: "change", Title: "changes", Skipped: "not asked for"},
		},
	}
}

func TestWriteAndRead(t *testing.T) {
	dir, want := filepath.Join(t.TempDir(), "new", "folder"), sampleResult()
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, b := got.Suite("l1").Rows[2], want.Suite("l1").Rows[2]
	if got.Version != want.Version || a.At(99.9) != b.At(99.9) || a.P99 != b.P99 || a.Samples != 10_000 || got.Suite("nobody") != nil {
		t.Errorf("read %+v; want %+v", a, b)
	}
	text, err := os.ReadFile(filepath.Join(dir, "rows.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(lines) != 5 || lines[1][1] != "bare" || lines[0][7] != "p0_ns" || lines[1][7] != "50" {
		t.Errorf("%v: %q", err, lines)
	}
}

// TestTheLogIsReadByHdrHistogram reads latency.hlog with the library's reader.
func TestTheLogIsReadByHdrHistogram(t *testing.T) {
	text, err := histogramLog(sampleResult())
	if err != nil {
		t.Fatal(err)
	}
	reader, tags, samples := hdr.NewHistogramLogReader(bytes.NewReader(text)), map[string]int{}, int64(0)
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			t.Fatalf("%v\n%.500s", err, text)
		}
		if h == nil {
			break
		}
		tags[h.Tag()]++
		samples += h.TotalCount()
	}
	if tags["l1/edgecache_Get/80_%"] != 5 || samples != 30_100 {
		t.Errorf("%d samples under %v", samples, tags)
	}
}

func TestThePageNeedsNothingElse(t *testing.T) {
	page, err := Page(sampleResult())
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{"v1 &lt;b&gt;", "<h2>The tiers</h2>", "Throughput by goroutines", "Hit ratio by L1 size", "Not measured: not asked for", "prefers-color-scheme:dark"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, reach := range []string{"<script", "<img", "<link", "@import", "src=", "href=\"http", ink, "rgb(1,2,3)"} {
		if strings.Contains(text, reach) {
			t.Errorf("the page has %q", reach)
		}
	}
	if n := strings.Count(text, "<svg "); n != 5 {
		t.Errorf("%d pictures; want 5", n)
	}
}

func TestPicturesLeaveOutWhatIsLuck(t *testing.T) {
	r := row("x", "80 %", 1000, 100)
	if !r.Lucky(99) || r.Lucky(90) || r.Lucky(100) {
		t.Errorf("of 100 samples p99 is luck %v, p90 %v, max %v", r.Lucky(99), r.Lucky(90), r.Lucky(100))
	}
	s := series{values: []float64{1, math.NaN(), math.NaN(), 4, math.NaN()}}.bridged()
	if s.values[1] != 2 || s.values[2] != 3 || !math.IsNaN(s.values[4]) {
		t.Errorf("bridged: %v", s.values)
	}
}

func TestTextSaysWhatWentWrong(t *testing.T) {
	r := sampleResult()
	r.Suites[0].Rows[0].Strays, r.Suites[0].Rows[0].Failed = 12_345, 2
	text := Text(r)
	for _, want := range []string{"2 failed, 12.3 k from another tier", "(669 µs)", "not measured: not asked for", "judged 5 reads during 1 changes"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	r.Suites[1].Failure, r.Machine.LoadBefore = "it <broke>", "2.51 1 1"
	for _, want := range []string{"FAILED, the rest is missing: it <broke>", "a load of 2.51 on 2 cores"} {
		if text := Text(r); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if page, err := Page(r); err != nil || !strings.Contains(string(page), "missing: it &lt;broke&gt;") {
		t.Errorf("the page does not say what failed: %v", err)
	}
	if r.Machine.LoadBefore = "1.99 3 3"; strings.Contains(r.Outcome(), "busy") {
		t.Errorf("a quiet machine is called busy: %s", r.Outcome())
	}
	r.Verdict.Violations, r.Failed, r.Interrupted = 3, true, true
	if text := r.Outcome(); !strings.Contains(text, "FAILED") || !strings.Contains(text, "Interrupted") {
		t.Errorf("the outcome is %s", text)
	}
}

func TestCompare(t *testing.T) {
	a := sampleResult()
	same := Compare(a, sampleResult(), DefaultTolerance)
	if same.Worse() != 0 || len(same.Changes) != 9 || len(same.Missing)+len(same.Notes) != 0 || same.FailedB {
		t.Fatalf("beside itself: %+v", same)
	}
	b := sampleResult()
	b.Suites[0].Rows[2] = row(Subject+" Get", "80 %", 700, 10_000) // ten times as slow
	// whose fault that is nobody judges
	b.Suites[0].Rows[0] = row("bare", "80 %", 500, 10_000)
	b.Suites[0].Figures[0] = Figure{Subject + " Get", "saturation", "operations/s", 1e5, Band{9e4, 11e4}, true}
	b.Suites[1].Rows[0] = row(Subject+" Get", "80 %", 7000, 100) // ten times as fast
	b.Machine.CPU, b.Failed = "another", true
	c := Compare(a, b, DefaultTolerance)
	worse, better := map[string]bool{}, map[string]bool{}
	for _, one := range c.Changes {
		if one.Worse {
			worse[one.key()] = true
		}
		if one.Better {
			better[one.key()] = true
		}
	}
	if want := map[string]bool{"l1 | edgecache Get | 80 % | p50": true, "l1 | edgecache Get | 80 % | p99": true, "l1 | edgecache Get |  | saturation": true}; fmt.Sprint(worse) != fmt.Sprint(want) {
		t.Errorf("worse are %v; want %v", worse, want)
	}
	if len(better) != 2 || !c.FailedB || len(c.Notes) != 2 || !strings.Contains(c.Text(), "WORSE") {
		t.Errorf("better are %v; notes %q", better, c.Notes)
	}
	if wide := Compare(a, b, 20); wide.Worse() != 0 {
		t.Errorf("%d are worse by more than twenty times", wide.Worse())
	}
	b.Suites = b.Suites[1:]
	if c := Compare(a, b, 0); len(c.Missing) != 7 {
		t.Errorf("missing are %q", c.Missing)
	}
}

func TestWhatIsNoResult(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"text": "x", "other": `{"schema":99}`} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder without one: %v", err)
	}
}

func TestDigits(t *testing.T) {
	for want, got := range map[string]string{
		"1.50 ns": Nanos(1.5), "12.0 µs": Nanos(12_000), "123 ms": Nanos(123e6), "2.00 s": Nanos(2e9), "0 ns": Nanos(0),
		"9999": Count(9999), "12.3 k": Count(12_345), "4.56 M": Count(4_560_000), "10 ns": decade(Nanos, 1), "1 ms": decade(Nanos, 6), "1 k": decade(Count, 3), "10 k": decade(Count, 4),
	} {
		if got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
}
