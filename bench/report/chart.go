package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"
)

const (
	chartWidth, chartHeight = 900, 460
	// ink and line are colours that the library is given and that nothing else has: they become
	// variables of the page's style, so that a picture is readable on light and on dark.
	ink, line = "#010203", "#040506"
)

// legendGap follows each name: readers' fonts are wider than the library's.
const legendGap = "    "

// strokes are the colours of the lines, which stand out from white and from black.
var strokes = []string{"#d1495b", "#2a7de1", "#2e9e6b", "#b7791f", "#8a63d2", "#0f9aa8", "#c2508f", "#6b7f2a"}

// style gives the variables their colours. In a file of its own a picture follows the reader's
// system; in a page it is told by the page.
const style = `<style>svg.chart{--ink:#24292f;--line:#d0d7de}` +
	`@media (prefers-color-scheme:dark){svg.chart{--ink:#e6edf3;--line:#3d444d}}</style>`

// plot is a picture of lines over named places.
type plot struct {
	title, subtitle, x string
	labels             []string
	series             []series
	min, max           float64
	ticks              int
	value              func(float64) string
}

// series is one line; a missing value is NaN.
type series struct {
	name   string
	values []float64
}

func (p *plot) svg() (string, error) {
	values, names := make([][]float64, len(p.series)), make([]string, len(p.series))
	for i, s := range p.series {
		names[i], values[i] = s.name+legendGap, make([]float64, len(s.values))
		for j, v := range s.values {
			if values[i][j] = v; math.IsNaN(v) {
				values[i][j] = charts.GetNullValue()
			}
		}
	}
	o := charts.NewLineChartOptionWithData(values)
	o.Theme = theme()
	o.Title = charts.TitleOption{Text: p.title + ", " + p.subtitle, FontStyle: charts.FontStyle{FontSize: 12}}
	o.Padding = charts.NewBox(16, 14, 20, 12)
	o.Legend = charts.LegendOption{SeriesNames: names, Offset: charts.OffsetStr{Left: charts.PositionLeft, Top: "34"}, FontStyle: charts.FontStyle{FontSize: 10}}
	o.XAxis = charts.XAxisOption{Labels: p.labels, LabelCount: len(p.labels), Title: p.x, BoundaryGap: charts.Ptr(true),
		LabelFontStyle: charts.FontStyle{FontSize: 10}, TitleFontStyle: charts.FontStyle{FontSize: 10}}
	o.YAxis = []charts.YAxisOption{{Min: charts.Ptr(p.min), Max: charts.Ptr(p.max), LabelCount: p.ticks,
		LabelFontStyle: charts.FontStyle{FontSize: 10}, PreferNiceIntervals: charts.Ptr(false), RangeValuePaddingScale: charts.Ptr(0.0), ValueFormatter: p.value, SplitLineShow: charts.Ptr(true)}}
	o.LineStrokeWidth = 2.2
	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: chartWidth, Height: chartHeight})
	if err := painter.LineChart(o); err != nil {
		return "", fmt.Errorf("picture %q: %w", p.title, err)
	}
	text, err := painter.Bytes()
	return themed(string(text), p.title), err
}

func theme() charts.ColorPalette {
	colors := make([]charts.Color, len(strokes))
	for i, s := range strokes {
		colors[i] = charts.ColorFromHex(s)
	}
	return charts.MakeTheme(charts.ThemeOption{
		AxisStrokeColor: charts.ColorFromHex(line), AxisSplitLineColor: charts.ColorFromHex(line),
		BackgroundColor: charts.ColorTransparent, TextColor: charts.ColorFromHex(ink), SeriesColors: colors,
	})
}

// themed puts variables in the place of the colours, and a name for those who do not see it.
func themed(svg, name string) string {
	var pairs []string
	for color, variable := range map[string]string{ink: "var(--ink)", line: "var(--line)"} {
		c := charts.ColorFromHex(color)
		pairs = append(pairs, color, variable, fmt.Sprintf("rgb(%d,%d,%d)", c.R, c.G, c.B), variable,
			fmt.Sprintf("rgba(%d,%d,%d,1.0)", c.R, c.G, c.B), variable)
	}
	svg = strings.NewReplacer(pairs...).Replace(svg)
	head := `<svg class="chart" role="img" aria-label="` + escape(name) + `" `
	svg = head + strings.TrimPrefix(strings.TrimSpace(svg), "<svg ")
	open := strings.Index(svg, ">") + 1
	return svg[:open] + style + svg[open:]
}

// LatencyPicture returns the latencies of rows by percentile, on a logarithmic axis, as SVG.
func LatencyPicture(title, subtitle string, rows []Row) (string, error) {
	p := plot{title: title, subtitle: subtitle, x: "percentile"}
	shown := []float64{0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100}
	low, high := math.Inf(1), math.Inf(-1)
	for _, percent := range shown {
		p.labels = append(p.labels, map[bool]string{true: percentName(percent), false: "min"}[percent > 0])
	}
	for i := range rows {
		s := series{name: rows[i].Contender}
		for _, percent := range shown {
			v := math.Log10(float64(max(1, rows[i].At(percent))))
			if rows[i].Lucky(percent) {
				v = math.NaN()
			} else {
				low, high = min(low, v), max(high, v)
			}
			s.values = append(s.values, v)
		}
		p.series = append(p.series, s.bridged())
	}
	p.decades(low, high)
	p.value = func(v float64) string { return decade(Nanos, v) }
	return p.svg()
}

// decade writes a power of ten without a fraction.
func decade(write func(float64) string, v float64) string {
	text := write(math.Pow(10, math.Round(v)))
	if text == "1000" {
		return "1 k" // between 100 and 10 k
	}
	return strings.Replace(strings.Replace(text, ".00", "", 1), ".0", "", 1)
}

// bridged returns s with the values that are missing between two others on the line between them:
// the library would break it.
func (s series) bridged() series {
	last := -1
	for i, v := range s.values {
		if math.IsNaN(v) {
			continue
		}
		for j := last + 1; last >= 0 && j < i; j++ {
			s.values[j] = s.values[last] + (v-s.values[last])*float64(j-last)/float64(i-last)
		}
		last = i
	}
	return s
}

// decades sets the axis to whole powers of ten around what there is.
func (p *plot) decades(low, high float64) {
	if low > high {
		low, high = 0, 1
	}
	p.min, p.max = math.Floor(low), math.Ceil(high+1e-9)
	p.max = max(p.max, p.min+1)
	p.ticks = int(p.max-p.min) + 1
}

// ThroughputPicture returns operations a second by goroutines, both logarithmic, as SVG.
func ThroughputPicture(title, subtitle string, curves []Curve) (string, error) {
	p := plot{title: title, subtitle: subtitle, x: "goroutines"}
	xs, low, high := axis(curves), math.Inf(1), math.Inf(-1)
	for _, x := range xs {
		p.labels = append(p.labels, number(x))
	}
	for _, c := range curves {
		s := series{name: c.Contender}
		for _, x := range xs {
			v := c.at(x)
			if v <= 0 {
				v = math.NaN()
			}
			v = math.Log10(v)
			if !math.IsNaN(v) {
				low, high = min(low, v), max(high, v)
			}
			s.values = append(s.values, v)
		}
		p.series = append(p.series, s.bridged())
	}
	p.decades(low, high)
	p.value = func(v float64) string { return decade(Count, v) + "/s" }
	return p.svg()
}

// HitRatioPicture returns the share of hits by size, as SVG.
func HitRatioPicture(title, subtitle, x string, size func(float64) string, curves []Curve) (string, error) {
	p := plot{title: title, subtitle: subtitle, x: x, min: 80, max: 100}
	xs := axis(curves)
	for _, v := range xs {
		p.labels = append(p.labels, size(v))
	}
	for _, c := range curves {
		s := series{name: c.Contender}
		for _, x := range xs {
			v := 100 * c.at(x)
			if s.values = append(s.values, v); v < p.min {
				p.min = 20 * math.Floor(v/20)
			}
		}
		p.series = append(p.series, s.bridged())
	}
	p.ticks = 1 + int(p.max-p.min)/10
	p.value = func(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + " %" }
	return p.svg()
}

// axis returns all places of the curves, in order.
func axis(curves []Curve) (xs []float64) {
	for _, c := range curves {
		for _, p := range c.Points {
			xs = append(xs, p.X)
		}
	}
	slices.Sort(xs)
	return slices.Compact(xs)
}

func (c *Curve) at(x float64) float64 {
	for _, p := range c.Points {
		if p.X == x {
			return p.Y
		}
	}
	return math.NaN()
}

// DriftPicture returns what a figure was at several times, with its noise band, as SVG. The three
// have a value for each label.
func DriftPicture(title, subtitle string, labels []string, low, median, high []float64) (string, error) {
	p := plot{title: title, subtitle: subtitle, x: "run", labels: labels, ticks: 6}
	p.series = []series{{"median", median}, {"a quarter of the rounds below", low}, {"a quarter above", high}}
	p.min, p.max = slices.Min(low), slices.Max(high)
	margin := max((p.max-p.min)/2, 0.02*p.max)
	p.min, p.max = max(0, p.min-margin), p.max+margin
	p.value = func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	return p.svg()
}
