package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/bench/load"
	"github.com/chatapp-ngomna/edgecache/bench/report"
	"github.com/chatapp-ngomna/edgecache/origin"
)

const (
	// probes is how often the saturation is looked for.
	probes = 3
	// group is how many lookups in memory are due at once: about 5 µs of them.
	group = 64
	// attempts is how often a saturation that an open loop does not keep is lowered.
	attempts = 3
	// churnRate is how many users change a second while reads are measured.
	churnRate = 20
)

// shares are the loads of each contender, of what it can do; the highest first, which tells whether
// that can be kept at all.
var shares = []float64{0.95, 0.80, 0.50}

// contender is one way to get what a suite is about. It has op, or pass where an operation takes
// less than a microsecond.
type contender struct {
	name string
	op   load.Op
	pass load.Pass
	// judged makes one read, outside of what is timed, that the oracle judges; nil for none.
	judged func(n uint64)
	// strays counts operations that another tier answered, since the beginning; nil for none.
	strays func() uint64
	// workers is how many operations may be under way.
	workers int
	close   func() error
}

func (c *contender) end() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

func (c *contender) strayed() uint64 {
	if c.strays == nil {
		return 0
	}
	return c.strays()
}

// measure finds the saturation of a contender and puts the loads on it.
func (w *world) measure(ctx context.Context, s *report.Suite, c *contender) error {
	w.progress.say(s.Name + ": " + c.name)
	if w.conf.Rate > 0 {
		row, _, err := w.under(ctx, c, fmt.Sprintf("%s/s", report.Count(w.conf.Rate)), w.conf.Rate, w.conf.Duration)
		if err == nil {
			s.Rows = append(s.Rows, row)
		}
		return err
	}
	most, band, err := c.saturation(ctx, w.probe())
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	rows, err := w.atShares(ctx, c, &most)
	if err != nil {
		return err
	}
	s.Rows = append(s.Rows, rows...)
	band.Low = min(band.Low, most) // an open loop did not keep what the closed one promised
	s.Figures = append(s.Figures, report.Figure{
		Contender: c.name, Name: "saturation", Unit: "operations/s", Value: most, Band: band, MoreIsBetter: true,
	})
	return nil
}

// atShares puts the loads on a contender, lightest first in what it returns. most is lowered while
// the heaviest cannot be kept.
func (w *world) atShares(ctx context.Context, c *contender, most *float64) ([]report.Row, error) {
	rows := make([]report.Row, len(shares))
	for i, share := range shares {
		for attempt := 1; ; attempt++ {
			row, kept, err := w.under(ctx, c, fmt.Sprintf("%.0f %%", 100*share), share**most, w.conf.Duration)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			rows[len(rows)-1-i] = row
			if kept || i > 0 || attempt == attempts {
				break
			}
			*most = min(0.9**most, row.Achieved/0.97)
		}
	}
	return rows, nil
}

// under puts one load on a contender. kept tells whether it was there as planned.
func (w *world) under(ctx context.Context, c *contender, name string, rate float64, d time.Duration) (row report.Row, kept bool, err error) {
	runtime.GC() // each pays for its own garbage only
	before := c.strayed()
	p := load.Plan{Rate: rate, Duration: d, Workers: c.workers, Group: group}
	var out *load.Outcome
	if c.pass != nil {
		out, err = load.Spin(ctx, p, c.judging())
	} else {
		out, err = load.Open(ctx, p, c.op)
	}
	if err != nil {
		return row, false, err
	}
	if out.Failed == out.Planned {
		return row, false, out.Err
	}
	row = report.NewRow(c.name, name, out.Windows, out.Began, out.Took)
	row.Offered, row.Achieved, row.Failed, row.Unstarted = out.Offered, out.Achieved, out.Failed, out.Unstarted
	row.Pacer50, row.Pacer99 = out.Pacer.ValueAtPercentile(50), out.Pacer.ValueAtPercentile(99)
	row.Strays = c.strayed() - before
	return row, out.Kept(), nil
}

// judging adds the judged read to the groups: after those that are timed.
func (c *contender) judging() load.Pass {
	if c.judged == nil {
		return c.pass
	}
	return func(worker int, n uint64, count int) error {
		err := c.pass(worker, n, count)
		if count > 1 {
			c.judged(n)
		}
		return err
	}
}

// probe is how long one look for the saturation takes; half as long for a point of a picture.
func (w *world) probe() time.Duration { return min(300*time.Millisecond, w.conf.Duration/4) }

// saturation returns how many operations a second a contender does when each worker asks again at
// once: the median of a few, and their band.
func (c *contender) saturation(ctx context.Context, probe time.Duration) (most float64, band report.Band, err error) {
	most, err = load.Median(probes, func() (float64, error) {
		rate, err := c.closed(ctx, c.workers, probe)
		if band.Low == 0 || rate < band.Low {
			band.Low = rate
		}
		band.High = max(band.High, rate)
		return rate, err
	})
	return most, band, err
}

func (c *contender) closed(ctx context.Context, workers int, d time.Duration) (float64, error) {
	if c.pass != nil {
		return load.ClosedPass(ctx, workers, group, d, c.judging())
	}
	return load.Closed(ctx, workers, d, c.op)
}

// crowds are the numbers of goroutines of the pictures.
var crowds = []int{1, 2, 4, 8, 16, 32, 64, 128, 256}

// crowd measures what a contender does with more and more goroutines, in a closed loop.
func (w *world) crowd(ctx context.Context, s *report.Suite, c *contender) error {
	w.progress.say(s.Name + ": " + c.name + ", by goroutines")
	curve := report.Curve{Picture: report.PictureThroughput, Contender: c.name}
	for _, n := range crowds {
		rate, err := c.closed(ctx, n, w.probe()/2)
		if err != nil {
			return fmt.Errorf("%s, %d goroutines: %w", c.name, n, err)
		}
		curve.Points = append(curve.Points, report.Point{X: float64(n), Y: rate})
	}
	s.Curves = append(s.Curves, curve)
	return nil
}

// churn changes users at the source of truth, until stop is called; nothing where that is somebody
// else's. What was acknowledged binds the reads.
func (w *world) churn(ctx context.Context) (stop func()) {
	if w.truth.foreign {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var changing sync.WaitGroup
	changing.Go(func() {
		t := time.NewTicker(time.Second / churnRate)
		defer t.Stop()
		r := rand.New(rand.NewPCG(w.conf.Seed, 7))
		for {
			select {
			case <-t.C:
				_, _ = w.change(ctx, w.ids[r.IntN(len(w.ids))]) // one that fails binds nobody
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		changing.Wait()
	}
}

// change changes a user at the source of truth and returns the new version. The judge is told when
// the change is acknowledged and announced.
func (w *world) change(ctx context.Context, id string) (version int64, err error) {
	value := time.Now().Format(time.RFC3339Nano)
	wrote, err := w.truth.client.Put(ctx, id, origin.Update{Attrs: map[string]*string{"bench": &value}})
	if err != nil {
		return 0, err
	}
	if wrote.Relayed {
		w.judge.acked(id, wrote.Version, time.Now())
	}
	return wrote.Version, nil
}
