package load

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Closed has workers do one operation after another for a while, each as soon as its last one has
// ended, and returns how many a second they did, with the first error. It says what a thing can do
// at most, and nothing of latency: an operation that hangs keeps the others of its worker from
// being asked for.
func Closed(ctx context.Context, workers int, d time.Duration, op Op) (rate float64, err error) {
	return closed(ctx, workers, d, func(w int, n uint64) (int, error) { return 1, op(ctx, w, n) })
}

// ClosedPass is Closed for operations that are done in passes of group. Operations of a
// microsecond and less wait for nothing, so after each pass a worker lets others run: of 256
// that did not, each would keep its processor for 10 ms, and whatever else lives in the process
// would starve.
func ClosedPass(ctx context.Context, workers, group int, d time.Duration, pass Pass) (rate float64, err error) {
	return closed(ctx, workers, d, func(w int, n uint64) (int, error) {
		err := pass(w, n, group)
		runtime.Gosched()
		return group, err
	})
}

// apart is between the first operations of two workers: they are not to do the same ones side by
// side.
const apart = 4099

func closed(ctx context.Context, workers int, d time.Duration, do func(w int, n uint64) (int, error)) (float64, error) {
	counts := make([]uint64, workers)
	var failed failures
	var all sync.WaitGroup
	began := time.Now()
	end := began.Add(d)
	for w := range workers {
		all.Go(func() {
			n := uint64(0)
			for ctx.Err() == nil && time.Now().Before(end) {
				count, err := do(w, uint64(w)*apart+n)
				if n += uint64(count); err != nil {
					failed.add(err)
					break
				}
			}
			counts[w] = n // once, so that workers do not share a cache line while they run
		})
	}
	all.Wait()
	sum := uint64(0)
	for _, n := range counts {
		sum += n
	}
	if ctx.Err() != nil {
		failed.add(context.Cause(ctx))
	}
	return float64(sum) / time.Since(began).Seconds(), failed.first
}

// Median calls f rounds times and returns the median of what it returned, or its first error.
func Median(rounds int, f func() (float64, error)) (float64, error) {
	values := make([]float64, rounds)
	for i := range values {
		var err error
		if values[i], err = f(); err != nil {
			return 0, err
		}
	}
	slices.Sort(values)
	return values[rounds/2], nil
}
