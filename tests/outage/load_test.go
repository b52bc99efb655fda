package outage

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/internal/testkit/canary"
)

// openLoad asks at a steady rate, whatever the answers take: each request is due at its own time,
// and its latency counts from then, so that a pause hides none of those who would have asked
// meanwhile.
type openLoad struct {
	rate    int // a second
	workers int // requests under way at most; more wait, and their wait counts
	ask     func(worker int, n int) error

	mu      sync.Mutex
	samples []sampled // guarded by mu
}

// sampled is one request.
type sampled struct {
	due  time.Time
	took time.Duration
	err  error
}

// run asks until ctx ends, and waits for the answers.
func (l *openLoad) run(ctx context.Context) {
	due := make(chan time.Time, l.rate*30) // more than any pause lasts
	var asking sync.WaitGroup
	var number struct {
		sync.Mutex
		n int
	}
	for w := range l.workers {
		asking.Go(func() {
			for at := range due {
				number.Lock()
				number.n++
				n := number.n
				number.Unlock()
				err := l.ask(w, n)
				l.add(sampled{at, time.Since(at), err})
			}
		})
	}
	began, step := time.Now(), time.Second/time.Duration(l.rate)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; {
		for at := began.Add(time.Duration(n) * step); !at.After(time.Now()); at = began.Add(time.Duration(n) * step) {
			due <- at
			n++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	close(due)
	asking.Wait()
}

func (l *openLoad) add(s sampled) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
}

// summary is what the requests of some time came to.
type summary struct {
	n, failed     int
	p50, p99, max time.Duration
	err           error // one of the failures
}

// between sums up the requests that were due from a to b.
func (l *openLoad) between(a, b time.Time) (s summary) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var took []time.Duration
	for _, one := range l.samples {
		if one.due.Before(a) || !one.due.Before(b) {
			continue
		}
		took = append(took, one.took)
		if one.err != nil {
			s.failed++
			s.err = one.err
		}
	}
	s.n = len(took)
	s.p50, s.p99, s.max = quantile(took, 0.50), quantile(took, 0.99), quantile(took, 1)
	return s
}

// slower counts the requests due from a to b that took longer than bound, but for those that the
// machine held up.
func (l *openLoad) slower(a, b time.Time, bound time.Duration, bird *canary.Canary) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.samples {
		if !one.due.Before(a) && one.due.Before(b) && !bird.Excuses("a request", one.due, one.due.Add(one.took), bound) {
			n++
		}
	}
	return n
}

// quantile sorts d.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}
