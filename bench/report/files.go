package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Write writes a result into a folder, which it makes: result.json, rows.csv, figures.csv,
// latency.hlog and index.html. Files of those names are replaced.
func Write(dir string, r *Result) error {
	if err := Prepare(dir); err != nil {
		return err
	}
	for name, make := range map[string]func(*Result) ([]byte, error){
		"result.json": asJSON, "rows.csv": rowsCSV, "figures.csv": figuresCSV, "latency.hlog": histogramLog, "index.html": Page,
	} {
		content, err := make(r)
		if err != nil {
			return fmt.Errorf("make %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	return nil
}

// Prepare makes the folder for a result and reports whether files can be written there: before a
// run, whose end is too late to find out.
func Prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("folder for the results: %w", err)
	}
	f, err := os.CreateTemp(dir, ".write-*")
	if err != nil {
		return fmt.Errorf("folder for the results: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func asJSON(r *Result) ([]byte, error) {
	text, err := json.MarshalIndent(r, "", " ")
	return append(text, '\n'), err
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// rowsCSV is one line a row; latencies are nanoseconds.
func rowsCSV(r *Result) ([]byte, error) {
	head := []string{"suite", "contender", "load", "offered_per_s", "achieved_per_s", "samples", "mean_ns"}
	for _, p := range percents {
		head = append(head, "p"+number(p)+"_ns")
	}
	head = append(head, "p50_low_ns", "p50_high_ns", "p99_low_ns", "p99_high_ns", "pacer_p99_ns", "failed", "unstarted", "strays")
	lines := [][]string{head}
	for _, s := range r.Suites {
		for i := range s.Rows {
			lines = append(lines, rowCells(s.Name, &s.Rows[i]))
		}
	}
	return asCSV(lines)
}

func rowCells(suite string, row *Row) []string {
	cells := []string{suite, row.Contender, row.Load, number(row.Offered), number(row.Achieved), number(float64(row.Samples)), number(row.Mean)}
	for _, p := range row.Latency {
		cells = append(cells, number(float64(p.Nanos)))
	}
	for _, v := range []float64{row.P50.Low, row.P50.High, row.P99.Low, row.P99.High, float64(row.Pacer99),
		float64(row.Failed), float64(row.Unstarted), float64(row.Strays)} {
		cells = append(cells, number(v))
	}
	return cells
}

// figuresCSV has the single numbers, and the points of the curves.
func figuresCSV(r *Result) ([]byte, error) {
	lines := [][]string{{"suite", "contender", "name", "x", "value", "low", "high", "unit"}}
	for _, s := range r.Suites {
		for _, f := range s.Figures {
			lines = append(lines, []string{s.Name, f.Contender, f.Name, "", number(f.Value), number(f.Band.Low), number(f.Band.High), f.Unit})
		}
		for _, c := range s.Curves {
			for _, p := range c.Points {
				lines = append(lines, []string{s.Name, c.Contender, c.Picture, number(p.X), number(p.Y), "", "", ""})
			}
		}
	}
	return asCSV(lines)
}

func asCSV(lines [][]string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.WriteAll(lines)
	return b.Bytes(), err
}

// histogramLog has the latencies of each part of each row, tagged with the row, as HdrHistogram's
// tools read them. Times are in milliseconds as the format wants it, values in nanoseconds.
func histogramLog(r *Result) ([]byte, error) {
	var b bytes.Buffer
	w := hdr.NewHistogramLogWriter(&b)
	options := hdr.DefaultHistogramLogOptions()
	if err := w.OutputLogFormatVersion(); err != nil {
		return nil, err
	}
	if err := w.OutputComment("[latencies in nanoseconds, from the planned start; the tag is suite/contender/load]"); err != nil {
		return nil, err
	}
	if err := w.OutputLegend(); err != nil {
		return nil, err
	}
	for _, s := range r.Suites {
		for i := range s.Rows {
			if err := logRow(w, options, s.Name, &s.Rows[i]); err != nil {
				return nil, err
			}
		}
	}
	return b.Bytes(), nil
}

// logRow writes one interval for each part.
func logRow(w *hdr.HistogramLogWriter, options *hdr.HistogramLogOptions, suite string, row *Row) error {
	each := row.took.Milliseconds() / int64(max(1, len(row.windows)))
	for i, h := range row.windows {
		h.SetTag(tag(suite + "/" + row.Contender + "/" + row.Load))
		h.SetStartTimeMs(row.began.UnixMilli() + int64(i)*each)
		h.SetEndTimeMs(row.began.UnixMilli() + int64(i+1)*each)
		if err := w.OutputIntervalHistogramWithLogOptions(h, options); err != nil {
			return err
		}
	}
	return nil
}

// tag has no comma, blank or line break, which the format forbids.
func tag(text string) string {
	return strings.NewReplacer(", ", "_", ",", "_", " ", "_", "\n", "_").Replace(text)
}
