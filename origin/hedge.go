package origin

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// hedgeWindow is the number of lookups whose times tell what is usual.
	hedgeWindow = 256
	// hedgeRenew is after how many lookups that is worked out again.
	hedgeRenew = 32
	// hedgePercent of the lookups are faster than what is taken for slow.
	hedgePercent = 95
	// hedgeEvery is how many lookups pay for one second request: 5 % more requests at most.
	hedgeEvery = 20
	// hedgeSaved bounds how many second requests can be saved up, so that a service that slows down
	// as a whole is not given a burst of them.
	hedgeSaved = 10
)

// hedge decides when a lookup is slow and whether a second request is affordable, after Dean and
// Barroso, "The Tail at Scale": a request that hangs in one connection or one process is often
// answered at once by another.
type hedge struct {
	mu     sync.Mutex
	took   [hedgeWindow]time.Duration // guarded by mu, as all that follows: a ring of the latest
	noted  int
	slow   time.Duration // 0 until enough is known
	credit int           // in lookups; hedgeEvery of them pay for one
}

// begin counts one lookup and returns after how long it is slow, 0 when that is not known.
func (h *hedge) begin() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.credit = min(h.credit+1, hedgeSaved*hedgeEvery)
	return h.slow
}

// spend reports whether a second request is affordable, and pays for it.
func (h *hedge) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.credit < hedgeEvery {
		return false
	}
	h.credit -= hedgeEvery
	return true
}

// note takes how long an answer took.
func (h *hedge) note(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.took[h.noted%hedgeWindow] = took
	h.noted++
	if h.noted%hedgeRenew == 0 {
		known := slices.Sorted(slices.Values(h.took[:min(h.noted, hedgeWindow)]))
		h.slow = known[len(known)*hedgePercent/100]
	}
}

// race makes the request of a call, and a second one when the first is slow. A failure loses
// against an answer.
func (c *Client) race(ctx context.Context, call *call) (first fetched) {
	if call.hedge == nil {
		return c.fetch(ctx, call)
	}
	began, slow := time.Now(), call.hedge.begin()
	ctx, cancel := context.WithCancel(ctx)
	r := &race{results: make(chan fetched, 2), fetch: func() fetched { return c.fetch(ctx, call) }}
	// the loser ends with its context; that is waited for, so that none is left behind
	defer func() {
		cancel()
		for r.running > 0 {
			r.next()
		}
	}()
	r.start(false)
	if r.slow(slow) && c.breaker.closed() && c.holdOff.left() <= 0 && call.hedge.spend() {
		c.hedges.Add(1)
		c.requests.Add(1)
		r.start(true)
	}
	if first = r.next(); first.verdict != works && r.running > 0 {
		first = r.next()
	}
	if first.verdict == works {
		call.hedge.note(time.Since(began))
		if first.hedge {
			c.hedgesWon.Add(1)
		}
	}
	return first
}

// race is the requests under way for one call.
type race struct {
	fetch   func() fetched
	results chan fetched
	running int
}

func (r *race) start(second bool) {
	r.running++
	go func() {
		var f fetched
		defer func() {
			f.hedge, f.panicked = second, recover()
			r.results <- f
		}()
		f = r.fetch()
	}()
}

// slow reports whether there is no result after d; 0 stands for ever.
func (r *race) slow(d time.Duration) bool {
	if d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case f := <-r.results:
		r.results <- f
		return false
	case <-timer.C:
		return true
	}
}

// next waits for a result. A panic of what makes the tokens goes on here, where the caller can
// catch it.
func (r *race) next() fetched {
	f := <-r.results
	r.running--
	if f.panicked != nil {
		panic(f.panicked)
	}
	return f
}
