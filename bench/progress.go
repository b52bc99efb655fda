package bench

import (
	"context"
	"sync"
	"time"
)

// tick is the pause between two words about how far a run is.
const tick = 200 * time.Millisecond

// progress tells how far a run is, by what its suites are expected to take.
type progress struct {
	tell func(share float64, left time.Duration, what string)

	mu    sync.Mutex
	total time.Duration // guarded by mu, as the rest
	past  time.Duration // what the suites that are over were expected to take
	what  string        // is measured now
}

func (p *progress) plan(total time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = total
}

// say names what is measured now.
func (p *progress) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
}

// begin starts to tell about a suite; the function that it returns ends that.
func (p *progress) begin(ctx context.Context, name string, takes time.Duration) (end func()) {
	p.say(name)
	ctx, cancel := context.WithCancel(ctx)
	var teller sync.WaitGroup
	began := time.Now()
	teller.Go(func() {
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.report(time.Since(began), takes)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		teller.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.past += takes
	}
}

// report tells how far it is, when a suite that takes so long has run for a while.
func (p *progress) report(since, takes time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.past + min(since, takes)
	p.tell(float64(done)/float64(max(1, p.total)), p.total-done, p.what)
}
