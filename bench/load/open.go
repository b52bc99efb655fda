package load

import (
	"context"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Open runs op as planned. It ends early with ctx, whose cause it then returns beside what there
// is. The other errors wrap ErrPlan; those of op are in the Outcome.
func Open(ctx context.Context, p Plan, op Op) (*Outcome, error) {
	p = p.withDefaults()
	if err := p.validate(); err != nil {
		return nil, err
	}
	r := &open{
		plan: p, op: op, gap: float64(time.Second) / p.Rate,
		total: max(1, uint64(p.Rate*p.Duration.Seconds())), windows: newWindows(p.Windows),
		pacer: NewHistogram(), began: time.Now(),
	}
	var workers sync.WaitGroup
	for w := range p.Workers {
		workers.Go(func() { r.work(ctx, w) })
	}
	workers.Wait()
	return r.outcome(), context.Cause(ctx)
}

// open is one run of Open.
type open struct {
	plan  Plan
	op    Op
	gap   float64 // nanoseconds between two planned starts
	total uint64
	began time.Time

	// turn is held by the worker that waits for the next planned start; so the others sleep.
	turn sync.Mutex
	next uint64 // guarded by turn
	over bool   // guarded by turn: nothing more is begun

	windows []*window
	failed  failures

	pacing sync.Mutex
	pacer  *hdr.Histogram // guarded by pacing
}

// window is one part of a run.
type window struct {
	mu   sync.Mutex
	hist *hdr.Histogram // guarded by mu
}

func newWindows(n int) []*window {
	all := make([]*window, n)
	for i := range all {
		all[i] = &window{hist: NewHistogram()}
	}
	return all
}

func (w *window) add(values []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	record(w.hist, values)
}

// due is when the n-th operation is, after the beginning of the run.
func (r *open) due(n uint64) time.Duration { return time.Duration(float64(n) * r.gap) }

// batch is how many latencies a worker keeps before it adds them to a window.
const batch = 1024

// work does what is due until nothing is.
func (r *open) work(ctx context.Context, w int) {
	took, late := make([][]int64, len(r.windows)), make([]int64, 0, batch)
	for {
		n, idle, ok := r.take(ctx)
		if !ok {
			break
		}
		due := r.due(n)
		if idle {
			late = append(late, int64(time.Since(r.began)-due))
		}
		if err := r.op(ctx, w, n); err != nil {
			r.failed.add(err)
		}
		i := r.window(n)
		if took[i] = append(took[i], int64(time.Since(r.began)-due)); len(took[i]) == batch {
			r.windows[i].add(took[i])
			took[i] = took[i][:0]
		}
		if len(late) == batch {
			late = r.addLate(late)
		}
	}
	r.addLate(late)
	for i, values := range took {
		r.windows[i].add(values)
	}
}

func (r *open) window(n uint64) int { return int(n * uint64(len(r.windows)) / r.total) }

func (r *open) addLate(late []int64) []int64 {
	r.pacing.Lock()
	defer r.pacing.Unlock()
	record(r.pacer, late)
	return late[:0]
}

// take waits until the next operation is due and returns which it is; idle when it was waited for.
func (r *open) take(ctx context.Context) (n uint64, idle, ok bool) {
	r.turn.Lock()
	defer r.turn.Unlock()
	passed := time.Since(r.began)
	if r.over = r.over || r.next >= r.total || ctx.Err() != nil || passed > r.plan.end(); r.over {
		return 0, false, false
	}
	n = r.next
	r.next++
	due := r.due(n)
	if idle = passed < due; idle {
		waitUntil(ctx, r.began, due)
	}
	return n, idle, true
}

func (r *open) outcome() *Outcome {
	took := time.Since(r.began)
	o := &Outcome{
		Offered: r.plan.Rate, Planned: r.total, Began: r.began, Took: took, Pacer: r.pacer,
		Failed: r.failed.count, Err: r.failed.first,
	}
	o.Achieved = float64(r.next) / max(took, r.due(r.total)).Seconds()
	for n := r.next; n < r.total && r.due(n) < took; n++ {
		o.Unstarted++
		r.windows[r.window(n)].add([]int64{int64(took - r.due(n))})
	}
	for _, w := range r.windows {
		o.Windows = append(o.Windows, w.hist)
	}
	return o
}
