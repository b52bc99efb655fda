// Package load puts load on something in an open loop: when an operation begins is planned before,
// whatever those before it take, and its latency counts from that planned start. An operation that
// had to wait because an earlier one was slow has the wait in its latency, as a user would have it
// (nothing is hidden by coordinated omission).
//
// Operations of a microsecond and more go through Open: up to Plan.Workers of them are under way;
// of the workers that are free one waits for the next planned start, the others behind it. What is
// due while all workers are busy waits, and its latency goes on.
//
// Operations of tens of nanoseconds go through Spin: no timer is as fine. Each worker has a
// schedule of its own, in groups: at a planned moment, which it awaits with a loop of its own, a
// whole group is due. The first of the group is timed, from the planned moment; the rest are the
// load. The cost of the clock is in each sample; an operation that does nothing shows how much that
// is.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// DefaultWindows is in how many parts of equal length a run is judged.
	DefaultWindows = 5
	// Longest is the longest latency that is told apart, in nanoseconds: a minute.
	Longest = int64(time.Minute)
	// digits is to how many significant digits latencies are kept.
	digits = 3
	// maxPatience is how long after the planned end of a run what was planned may still begin, at
	// most; of a short run it is as long as the run.
	maxPatience = time.Second
)

// ErrPlan reports a Plan that cannot be carried out.
var ErrPlan = errors.New("load: bad plan")

// Op is an operation: the n-th of the run, done by a worker. It is called from all workers at once.
type Op func(ctx context.Context, worker int, n uint64) error

// Pass does count operations one after another, the first of them the n-th of its worker. It is
// called from all workers at once.
type Pass func(worker int, n uint64, count int) error

// Plan says how much load, and for how long.
type Plan struct {
	// Rate is how many operations are due a second, evenly spread. Required.
	Rate float64
	// Duration is how long operations are due. Required.
	Duration time.Duration
	// Workers is how many operations may be under way at once. Default 1.
	Workers int
	// Group is how many operations are due at once in Spin. Default 64.
	Group int
	// Windows is in how many parts the run is judged, to see how much the figures vary within it.
	// Default DefaultWindows.
	Windows int
}

func (p Plan) withDefaults() Plan {
	p.Workers = max(p.Workers, 1)
	if p.Group <= 0 {
		p.Group = 64
	}
	if p.Windows <= 0 {
		p.Windows = DefaultWindows
	}
	return p
}

// end is when nothing more may begin, after the beginning of the run.
func (p Plan) end() time.Duration { return p.Duration + min(p.Duration, maxPatience) }

func (p Plan) validate() error {
	if !(p.Rate > 0) || p.Rate > 1e12 {
		return fmt.Errorf("%w: a rate of %g a second; want more than 0", ErrPlan, p.Rate)
	}
	if p.Duration <= 0 {
		return fmt.Errorf("%w: a duration of %v; want more than 0", ErrPlan, p.Duration)
	}
	return nil
}

// Outcome is what a run has shown.
type Outcome struct {
	// Offered and Achieved are operations a second: as planned, and as they ended.
	Offered, Achieved float64
	// Planned operations were due; Unstarted of them had not begun when the run was over. The
	// latency of these is counted as the time for which they had waited by then.
	Planned, Unstarted uint64
	// Failed operations returned an error, of which Err is the first. Their latencies count.
	Failed uint64
	Err    error
	// Began is when the run began, Took how long it was until the last operation had ended.
	Began time.Time
	Took  time.Duration
	// Windows are the latencies by the part of the run in which they were due, in nanoseconds.
	Windows []*hdr.Histogram
	// Pacer is how late a worker was woken that was free and waited: the fault of the load
	// generator, and part of the latencies. Of Spin it is empty.
	Pacer *hdr.Histogram
}

// Kept reports whether the load was there as planned: nothing was left, and all ended about when it
// was due.
func (o *Outcome) Kept() bool { return o.Unstarted == 0 && o.Achieved >= 0.97*o.Offered }

// Latency returns the latencies of the whole run.
func (o *Outcome) Latency() *hdr.Histogram {
	all := NewHistogram()
	for _, w := range o.Windows {
		all.Merge(w)
	}
	return all
}

// NewHistogram returns an empty histogram of latencies in nanoseconds.
func NewHistogram() *hdr.Histogram { return hdr.New(1, Longest, digits) }

// record adds latencies to a histogram; what it cannot tell apart becomes its least or greatest.
func record(h *hdr.Histogram, values []int64) {
	for _, v := range values {
		_ = h.RecordValue(min(max(v, 1), Longest)) // within its range
	}
}

// failures counts errors and keeps the first.
type failures struct {
	mu    sync.Mutex
	count uint64
	first error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.first == nil {
		f.first = err
	}
}
