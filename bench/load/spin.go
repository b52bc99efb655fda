package load

import (
	"context"
	"sync"
	"time"
)

// maxSamples bounds what one worker of Spin keeps, 8 bytes each: further groups are load only.
const maxSamples = 4 << 20

// Spin runs pass as planned, in groups. It ends early with ctx, whose cause it then returns beside
// what there is. The other errors wrap ErrPlan. One goroutine a worker keeps a processor busy all
// the time, so that there should be no more workers than processors. Outcome.Planned and Unstarted
// count operations, the histograms groups, by their first operation.
func Spin(ctx context.Context, p Plan, pass Pass) (*Outcome, error) {
	p = p.withDefaults()
	if err := p.validate(); err != nil {
		return nil, err
	}
	r := &spin{plan: p, pass: pass, gap: float64(time.Second) / p.Rate * float64(p.Group*p.Workers), windows: newWindows(p.Windows)}
	r.groups = max(1, int(float64(p.Duration)/r.gap))
	r.done = make([]int, p.Workers)
	r.began = time.Now().Add(time.Millisecond)
	var workers sync.WaitGroup
	for w := range p.Workers {
		workers.Go(func() { r.done[w] = r.work(ctx, w) })
	}
	workers.Wait()
	return r.outcome(), context.Cause(ctx)
}

// spin is one run of Spin.
type spin struct {
	plan    Plan
	pass    Pass
	gap     float64 // nanoseconds between two groups of one worker
	groups  int     // of each worker
	began   time.Time
	done    []int // groups of each worker
	windows []*window
	failed  failures
}

// due is when the i-th group of a worker is: those of the workers are spread over the gap.
func (r *spin) due(w, i int) time.Duration {
	return time.Duration((float64(i) + float64(w)/float64(r.plan.Workers)) * r.gap)
}

func (r *spin) work(ctx context.Context, w int) (done int) {
	took := make([]int64, min(r.groups, maxSamples))
	defer func() { r.keep(took[:min(done, len(took))]) }()
	for done < r.groups {
		due, now := r.due(w, done), time.Since(r.began)
		for now < due {
			now = time.Since(r.began)
		}
		if now > r.plan.end() || done%64 == 0 && ctx.Err() != nil {
			return done
		}
		n := uint64(done * r.plan.Group)
		err := r.pass(w, n, 1)
		if done < len(took) {
			took[done] = int64(time.Since(r.began) - due)
		}
		if err == nil {
			err = r.pass(w, n+1, r.plan.Group-1)
		}
		if err != nil {
			r.failed.add(err)
		}
		done++
	}
	return done
}

// keep adds the samples of one worker to the windows.
func (r *spin) keep(took []int64) {
	n := len(r.windows)
	for i, w := range r.windows {
		from, to := min(i*r.groups/n, len(took)), min((i+1)*r.groups/n, len(took))
		w.add(took[from:to])
	}
}

func (r *spin) outcome() *Outcome {
	o := &Outcome{
		Offered: r.plan.Rate, Planned: uint64(r.groups * r.plan.Workers * r.plan.Group), Began: r.began,
		Took: time.Since(r.began), Failed: r.failed.count, Err: r.failed.first, Pacer: NewHistogram(),
	}
	groups := 0
	for _, n := range r.done {
		groups += n
		o.Unstarted += uint64((r.groups - n) * r.plan.Group)
	}
	planned := time.Duration(float64(r.groups) * r.gap)
	o.Achieved = float64(groups*r.plan.Group) / max(o.Took, planned).Seconds()
	for _, w := range r.windows {
		o.Windows = append(o.Windows, w.hist)
	}
	return o
}
